//! The settings of a run: command line and environment first, then the configuration file, then the
//! defaults. A setting that can't be used is an error that names its place; nothing is guessed.

mod file;
mod keys;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Options;
use crate::layout::{RuntimeDir, StateDir};
use crate::logging::{LogFormat, LogLevel};
use keys::{Holds, KEYS};

/// All settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where keys and accepted updates are kept.
    pub state: StateDir,
    /// Where the sockets are.
    pub runtime: RuntimeDir,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// What one client of a socket may take.
    pub limits: Limits,
    /// How long the link waits for the control plane.
    pub link: LinkPatience,
    /// How the access log is kept.
    pub access_log: AccessLogSettings,
    origin: Origin,
}

/// What the clients of a socket may take. Every key can be set in the section `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `resource_connections`: open connections to one resource's socket; more wait. Default 128.
    pub resource_connections: usize,
    /// `operator_connections`: open connections to the admin socket, and to the intake socket.
    /// Default 32.
    pub operator_connections: usize,
    /// `header_bytes`: the head of one request. Default 8192, which is also the least.
    pub header_bytes: usize,
    /// `idle_seconds`: from a connection's start, or from its last answer, to the end of a request's
    /// head. Default 10.
    pub idle: Duration,
    /// `write_seconds`: for a client to take an answer, from its first byte to its last, however it reads.
    /// Default 10.
    pub write: Duration,
}

/// How long the link waits for the control plane. Every key can be set in the section `[link]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPatience {
    /// `connect_seconds`: for each step of getting a connection. Default 10.
    pub connect: Duration,
    /// `answer_seconds`: for the head of the stream of updates. Default 15.
    pub answer: Duration,
    /// `silence_seconds`: from one sign of life in the stream to the next; the control plane gives one
    /// every 15 seconds. Default 45.
    pub silence: Duration,
    /// `line_seconds`: from the first byte of an update to its last. Default 180, in which the largest
    /// arrives at about a megabit a second.
    pub line: Duration,
    /// `retry_seconds`: the longest pause between two tries, unless the control plane asks for a longer
    /// one. Default 30.
    pub retry: Duration,
}

/// How the access log is kept. Every key can be set in the section `[access_log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// `enabled`: whether it is kept at all. Default true.
    pub enabled: bool,
    /// `megabytes`: how much of the disk all its files take, in MiB. Default 30.
    pub megabytes: usize,
    /// `flush_seconds`: how long lines are held back, to be written together. Default 5.
    pub flush: Duration,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, holds an unknown key, or a value that can't be used.
    #[error("cannot use {} line {line}{}: {reason}", path.display(), of_key(key.as_deref()))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, with its section, where there is one.
        key: Option<String>,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A directory that can't be made absolute.
    #[error("cannot find the directory {path}")]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What differs between two settings: the names of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Those that can be put in force.
    pub(crate) at_once: Vec<&'static str>,
    /// Those that only a restart puts in force.
    pub(crate) after_restart: Vec<&'static str>,
}

/// Where settings come from.
#[derive(Debug, Clone)]
struct Origin {
    options: Options,
    /// The file that was named, or the default one.
    file: PathBuf,
    is_named: bool,
    /// Whether it was there.
    has_file: bool,
}

impl Settings {
    /// Merges the command line, the environment, the configuration file and the defaults.
    ///
    /// # Errors
    /// When the file was named and can't be read, or any value can't be used.
    pub fn load(options: &Options) -> Result<Self, SettingsError> {
        Self::merge(Origin::of(options))
    }

    /// What the command line, the environment and the defaults come to, whatever the file says.
    ///
    /// # Errors
    /// When a directory can't be made absolute.
    pub fn without_file(options: &Options) -> Result<Self, SettingsError> {
        Self::default_from(Origin::of(options)).obey()
    }

    /// What the same command line and environment and the file as it is now come to.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub(crate) fn again(&self) -> Result<Self, SettingsError> {
        Self::merge(self.origin.clone())
    }

    /// The configuration file that was named, or the default one, which need not exist.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.origin.file
    }

    /// Whether that file was there.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.origin.has_file
    }

    /// Which keys have another value in `next`.
    pub(crate) fn changes(&self, next: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in KEYS.iter().filter(|key| (key.text)(self) != (key.text)(next)) {
            match key.holds {
                Holds::AtOnce => changes.at_once.push(key.name),
                Holds::AfterRestart(_) => changes.after_restart.push(key.name),
            }
        }
        changes
    }

    /// These settings, less what only a restart can put in force: there, `running` has it.
    pub(crate) fn less_what_takes_a_restart(mut self, running: &Self) -> Self {
        for key in KEYS {
            if let Holds::AfterRestart(keep) = key.holds {
                keep(&mut self, running);
            }
        }
        self
    }

    fn merge(origin: Origin) -> Result<Self, SettingsError> {
        let mut settings = Self::default_from(origin);
        let read = file::read(settings.file());
        let is_absent = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
        settings.origin.has_file = match read {
            Ok(text) => {
                file::apply(&text, &mut settings)?;
                true
            }
            Err(SettingsError::Read { source, .. }) if !settings.origin.is_named && is_absent(&source) => {
                false
            }
            Err(error) => return Err(error),
        };
        settings.obey()
    }

    fn default_from(origin: Origin) -> Self {
        Self {
            state: StateDir::new(DEFAULT_STATE_DIR.into()),
            runtime: RuntimeDir::new(DEFAULT_RUNTIME_DIR.into()),
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
            limits: Limits::default(),
            link: LinkPatience::default(),
            access_log: AccessLogSettings::default(),
            origin,
        }
    }

    /// The command line wins.
    fn obey(mut self) -> Result<Self, SettingsError> {
        let options = &self.origin.options;
        if let Some(path) = &options.state_dir {
            self.state = StateDir::new(absolute(path)?);
        }
        if let Some(path) = &options.runtime_dir {
            self.runtime = RuntimeDir::new(absolute(path)?);
        }
        self.log_level = options.log_level.unwrap_or(self.log_level);
        self.log_format = options.log_format.unwrap_or(self.log_format);
        Ok(self)
    }
}

impl Origin {
    fn of(options: &Options) -> Self {
        let file = options.config.clone();
        let is_named = file.is_some();
        let file = file.unwrap_or_else(|| DEFAULT_CONFIG.into());
        Self { options: options.clone(), file, is_named, has_file: false }
    }
}

#[cfg(test)]
impl Settings {
    /// With this file in the place of the default one.
    pub(crate) fn of_default_file(file: &Path) -> Result<Self, SettingsError> {
        Self::merge(Origin { file: file.to_owned(), ..Origin::of(&Options::default()) })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resource_connections: 128,
            operator_connections: 32,
            header_bytes: MIN_HEADER_BYTES,
            idle: Duration::from_secs(10),
            write: Duration::from_secs(10),
        }
    }
}

impl Default for LinkPatience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            silence: Duration::from_secs(45),
            line: Duration::from_secs(180),
            retry: Duration::from_secs(30),
        }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self { enabled: true, megabytes: 30, flush: Duration::from_secs(5) }
    }
}

impl AccessLogSettings {
    /// How large one of its files may be.
    pub(crate) fn bytes_in_a_file(&self) -> u64 {
        let mebibytes = u64::try_from(self.megabytes).unwrap_or(u64::MAX);
        mebibytes.saturating_mul(1_048_576) / ACCESS_LOG_FILES
    }
}

impl SettingsError {
    /// What is wrong in a form for programs: the file, the line and the key where there are any, and
    /// the reason.
    pub(crate) fn parts(&self) -> (&Path, Option<usize>, Option<&str>, String) {
        match self {
            Self::File { path, line, key, reason } => (path, Some(*line), key.as_deref(), reason.clone()),
            Self::Read { path, source } => (path, None, None, format!("it can't be read: {source}")),
            Self::Directory { path, source } => (path, None, None, format!("it can't be found: {source}")),
        }
    }
}

fn of_key(key: Option<&str>) -> String {
    key.map_or(String::new(), |key| format!(", key {key}"))
}

fn absolute(path: &Path) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path).map_err(|source| SettingsError::Directory { path: path.to_owned(), source })
}

const DEFAULT_CONFIG: &str = "/etc/miosa/miosad.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/miosa";
const DEFAULT_RUNTIME_DIR: &str = "/run/miosa";

/// The one that is written and the former ones.
const ACCESS_LOG_FILES: u64 = 3;

/// The least buffer that hyper reads a head into.
const MIN_HEADER_BYTES: usize = 8192;

#[cfg(test)]
mod tests;
