//! The settings of a run: command line and environment first, then the configuration file, then the
//! defaults. A setting that can't be used is an error that names its place; nothing is guessed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::cli::Options;
use crate::layout::{RuntimeDir, StateDir};
use crate::logging::{LogFormat, LogLevel};

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
    /// `write_seconds`: from the moment a client stops reading its answer. Default 10.
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

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file that was named can't be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, holds an unknown key, or a value of the wrong type.
    #[error("cannot use {path} line {line}, key {key}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key on that line.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A limit that would stop everything.
    #[error("cannot use {key} = 0: a limit is at least 1")]
    Zero {
        /// The key.
        key: &'static str,
    },
    /// A request's head could not be read into so little.
    #[error("cannot use limits.header_bytes = {0}: at least 8192")]
    HeaderBytes(usize),
    /// A directory that can't be made absolute.
    #[error("cannot find the directory {path}")]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Settings {
    /// Merges the command line, the environment, the configuration file and the defaults.
    ///
    /// # Errors
    /// When the file was named and can't be read, or any value can't be used.
    pub fn load(options: &Options) -> Result<Self, SettingsError> {
        let file = match &options.config {
            Some(path) => File::read(path)?,
            None => File::read_if_exists(Path::new(DEFAULT_CONFIG))?,
        };
        let state_dir = options.state_dir.clone().or(file.state_dir);
        let runtime_dir = options.runtime_dir.clone().or(file.runtime_dir);
        Ok(Self {
            state: StateDir::new(absolute(state_dir, DEFAULT_STATE_DIR)?),
            runtime: RuntimeDir::new(absolute(runtime_dir, DEFAULT_RUNTIME_DIR)?),
            log_level: options.log_level.or(file.log_level).unwrap_or_default(),
            log_format: options.log_format.or(file.log_format).unwrap_or_default(),
            limits: file.limits.unwrap_or_default().checked()?,
            link: file.link.unwrap_or_default().checked()?,
        })
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

/// The configuration file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    log_level: Option<LogLevel>,
    log_format: Option<LogFormat>,
    limits: Option<FileLimits>,
    link: Option<FileLink>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    resource_connections: Option<usize>,
    operator_connections: Option<usize>,
    header_bytes: Option<usize>,
    idle_seconds: Option<u64>,
    write_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLink {
    connect_seconds: Option<u64>,
    answer_seconds: Option<u64>,
    silence_seconds: Option<u64>,
    line_seconds: Option<u64>,
    retry_seconds: Option<u64>,
}

impl File {
    fn read_if_exists(path: &Path) -> Result<Self, SettingsError> {
        match Self::read(path) {
            Err(SettingsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count();
            let key = text.lines().nth(line).and_then(|line| line.split('=').next()).unwrap_or_default();
            SettingsError::File {
                path: path.to_owned(),
                line: line.saturating_add(1),
                key: key.trim().to_owned(),
                problem: error.message().trim().replace('\n', ", "),
            }
        })
    }
}

impl FileLimits {
    fn checked(self) -> Result<Limits, SettingsError> {
        let default = Limits::default();
        let header_bytes = self.header_bytes.unwrap_or(default.header_bytes);
        if header_bytes < MIN_HEADER_BYTES {
            return Err(SettingsError::HeaderBytes(header_bytes));
        }
        let connections = |key, given: Option<usize>, default| match given {
            Some(0) => Err(SettingsError::Zero { key }),
            given => Ok(given.unwrap_or(default)),
        };
        Ok(Limits {
            resource_connections: connections(
                "limits.resource_connections",
                self.resource_connections,
                default.resource_connections,
            )?,
            operator_connections: connections(
                "limits.operator_connections",
                self.operator_connections,
                default.operator_connections,
            )?,
            header_bytes,
            idle: seconds("limits.idle_seconds", self.idle_seconds, default.idle)?,
            write: seconds("limits.write_seconds", self.write_seconds, default.write)?,
        })
    }
}

impl FileLink {
    fn checked(self) -> Result<LinkPatience, SettingsError> {
        let default = LinkPatience::default();
        Ok(LinkPatience {
            connect: seconds("link.connect_seconds", self.connect_seconds, default.connect)?,
            answer: seconds("link.answer_seconds", self.answer_seconds, default.answer)?,
            silence: seconds("link.silence_seconds", self.silence_seconds, default.silence)?,
            line: seconds("link.line_seconds", self.line_seconds, default.line)?,
            retry: seconds("link.retry_seconds", self.retry_seconds, default.retry)?,
        })
    }
}

fn seconds(key: &'static str, given: Option<u64>, default: Duration) -> Result<Duration, SettingsError> {
    match given {
        Some(0) => Err(SettingsError::Zero { key }),
        given => Ok(given.map_or(default, Duration::from_secs)),
    }
}

fn absolute(given: Option<PathBuf>, default: &str) -> Result<PathBuf, SettingsError> {
    let path = given.unwrap_or_else(|| PathBuf::from(default));
    std::path::absolute(&path).map_err(|source| SettingsError::Directory { path, source })
}

const DEFAULT_CONFIG: &str = "/etc/miosa/miosad.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/miosa";
const DEFAULT_RUNTIME_DIR: &str = "/run/miosa";

/// The least buffer that hyper reads a head into.
const MIN_HEADER_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse(text, Path::new("m.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_key() {
        let error = parse("log_level = \"warn\"\n\nlog_levl = \"info\"\n").unwrap_err();
        assert!(error.starts_with("cannot use m.toml line 3, key log_levl: unknown field"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_file_line_and_key() {
        let error = parse("[limits]\nidle_seconds = \"soon\"\n").unwrap_err();
        assert!(error.starts_with("cannot use m.toml line 2, key idle_seconds: invalid type"), "{error}");
        let error = parse("log_format = \"xml\"").unwrap_err();
        assert!(error.starts_with("cannot use m.toml line 1, key log_format: unknown variant"), "{error}");
    }

    #[test]
    fn every_key_can_be_set() {
        let file = parse(
            "state_dir = \"/s\"\nruntime_dir = \"/r\"\nlog_level = \"debug\"\nlog_format = \"json\"\n[limits]\n\
             resource_connections = 1\noperator_connections = 2\nheader_bytes = 9000\nidle_seconds = 3\n\
             write_seconds = 4\n[link]\nconnect_seconds = 5\nanswer_seconds = 6\nsilence_seconds = 7\n\
             line_seconds = 8\nretry_seconds = 9\n",
        )
        .unwrap();
        let link = file.link.unwrap().checked().unwrap();
        let seconds = [link.connect, link.answer, link.silence, link.line, link.retry];
        assert_eq!(seconds.map(|seconds| seconds.as_secs()), [5, 6, 7, 8, 9]);
        let limits = file.limits.unwrap().checked().unwrap();
        assert_eq!(
            limits,
            Limits {
                resource_connections: 1,
                operator_connections: 2,
                header_bytes: 9000,
                idle: Duration::from_secs(3),
                write: Duration::from_secs(4),
            }
        );
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let file = parse("[limits]\nwrite_seconds = 0").unwrap();
        let error = file.limits.unwrap().checked().unwrap_err();
        assert_eq!(error.to_string(), "cannot use limits.write_seconds = 0: a limit is at least 1");
        let file = parse("[link]\nline_seconds = 0").unwrap();
        let error = file.link.unwrap().checked().unwrap_err();
        assert_eq!(error.to_string(), "cannot use link.line_seconds = 0: a limit is at least 1");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("miosad.toml");
        #[expect(clippy::disallowed_methods, reason = "a test's own file, not state")]
        std::fs::write(&config, "state_dir = \"/file\"\nruntime_dir = \"/file\"").unwrap();
        let options = Options { state_dir: Some("/flag".into()), config: Some(config), ..Options::default() };
        let settings = Settings::load(&options).unwrap();
        assert_eq!(settings.state.path(), Path::new("/flag"));
        assert_eq!(settings.runtime.path(), Path::new("/file"));
    }
}
