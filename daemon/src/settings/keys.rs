//! Every key of the configuration file: its name, what it takes, and when a change of it holds. A new
//! key is a line here, one in `systemd/miosad.toml` and one in `docs/configuration.md`; tests hold the
//! three together.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeValue;

use super::{MIN_HEADER_BYTES, Settings};
use crate::layout::{RuntimeDir, StateDir};

/// A key of the configuration file.
pub(super) struct Key {
    /// Its name, with its section.
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    /// Sets it; or says what it takes.
    pub(super) set: fn(&mut Settings, &DeValue<'_>) -> Result<(), String>,
    /// Its value in words, by which two are told apart.
    pub(super) text: fn(&Settings) -> String,
}

/// When a changed value holds.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    /// As soon as it is read.
    AtOnce,
    /// Only in another run. Until then the value of the running settings is copied into the new ones.
    AfterRestart(fn(&mut Settings, running: &Settings)),
}

/// All keys, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "state_dir",
        holds: Holds::AfterRestart(|to, running| to.state = running.state.clone()),
        set: |to, value| directory(value).map(|path| to.state = StateDir::new(path)),
        text: |of| of.state.path().display().to_string(),
    },
    Key {
        name: "runtime_dir",
        holds: Holds::AfterRestart(|to, running| to.runtime = running.runtime.clone()),
        set: |to, value| directory(value).map(|path| to.runtime = RuntimeDir::new(path)),
        text: |of| of.runtime.path().display().to_string(),
    },
    Key {
        name: "log_level",
        holds: Holds::AtOnce,
        set: |to, value| word(value).map(|level| to.log_level = level),
        text: |of| name_of(&of.log_level),
    },
    Key {
        name: "log_format",
        holds: Holds::AfterRestart(|to, running| to.log_format = running.log_format),
        set: |to, value| word(value).map(|format| to.log_format = format),
        text: |of| name_of(&of.log_format),
    },
    Key {
        name: "limits.resource_connections",
        holds: Holds::AtOnce,
        set: |to, value| count(value, 1, MOST_CONNECTIONS).map(|n| to.limits.resource_connections = n),
        text: |of| of.limits.resource_connections.to_string(),
    },
    Key {
        name: "limits.operator_connections",
        holds: Holds::AtOnce,
        set: |to, value| count(value, 1, MOST_CONNECTIONS).map(|n| to.limits.operator_connections = n),
        text: |of| of.limits.operator_connections.to_string(),
    },
    Key {
        name: "limits.header_bytes",
        holds: Holds::AtOnce,
        set: |to, value| count(value, MIN_HEADER_BYTES, MAX_HEADER_BYTES).map(|n| to.limits.header_bytes = n),
        text: |of| of.limits.header_bytes.to_string(),
    },
    Key {
        name: "limits.idle_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.limits.idle = time),
        text: |of| of.limits.idle.as_secs().to_string(),
    },
    Key {
        name: "limits.write_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.limits.write = time),
        text: |of| of.limits.write.as_secs().to_string(),
    },
    Key {
        name: "link.connect_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.link.connect = time),
        text: |of| of.link.connect.as_secs().to_string(),
    },
    Key {
        name: "link.answer_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.link.answer = time),
        text: |of| of.link.answer.as_secs().to_string(),
    },
    Key {
        name: "link.silence_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.link.silence = time),
        text: |of| of.link.silence.as_secs().to_string(),
    },
    Key {
        name: "link.line_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.link.line = time),
        text: |of| of.link.line.as_secs().to_string(),
    },
    Key {
        name: "link.retry_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.link.retry = time),
        text: |of| of.link.retry.as_secs().to_string(),
    },
    Key {
        name: "access_log.enabled",
        holds: Holds::AtOnce,
        set: |to, value| yes_or_no(value).map(|enabled| to.access_log.enabled = enabled),
        text: |of| of.access_log.enabled.to_string(),
    },
    Key {
        name: "access_log.megabytes",
        holds: Holds::AtOnce,
        set: |to, value| count(value, 1, MOST_MEGABYTES).map(|n| to.access_log.megabytes = n),
        text: |of| of.access_log.megabytes.to_string(),
    },
    Key {
        name: "access_log.flush_seconds",
        holds: Holds::AtOnce,
        set: |to, value| seconds(value, HOUR).map(|time| to.access_log.flush = time),
        text: |of| of.access_log.flush.as_secs().to_string(),
    },
];

/// A value that is not as it must be is not quoted: who pastes into the wrong file may paste a secret.
fn directory(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = value.as_str().map(|text| Path::new(OsStr::from_bytes(text.as_bytes())));
    let path = path.filter(|path| path.is_absolute() && !path.as_os_str().as_bytes().contains(&0));
    path.map(Path::to_owned).ok_or_else(|| format!("it takes an absolute path in quotes, {}", not(value)))
}

fn word<T: ValueEnum>(value: &DeValue<'_>) -> Result<T, String> {
    let known = value.as_str().and_then(|text| T::from_str(text, false).ok());
    known.ok_or_else(|| {
        let words: Vec<_> = T::value_variants().iter().map(|word| format!("\"{}\"", name_of(word))).collect();
        format!("it takes one of {}, {}", words.join(", "), not(value))
    })
}

fn yes_or_no(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("it takes true or false, {}", not(value)))
}

fn seconds(value: &DeValue<'_>, most: u64) -> Result<Duration, String> {
    let seconds = whole(value).filter(|seconds| (1..=most).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("it takes whole seconds from 1 to {most}, {}", not(value)));
    seconds.map(Duration::from_secs)
}

fn count(value: &DeValue<'_>, least: usize, most: usize) -> Result<usize, String> {
    let count = whole(value).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| format!("it takes a whole number from {least} to {most}, {}", not(value)))
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// What a value is, where it should be something else.
fn not(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(integer) if integer.as_str().len() <= MOST_DIGITS => {
            format!("not {}", integer.as_str())
        }
        DeValue::Integer(_) => "not so large a number".to_owned(),
        DeValue::String(_) => "and this text is not".to_owned(),
        DeValue::Boolean(_) => "not true or false".to_owned(),
        DeValue::Float(_) => "not a fraction".to_owned(),
        DeValue::Datetime(_) => "not a time".to_owned(),
        DeValue::Array(_) => "not a list".to_owned(),
        DeValue::Table(_) => "not a section".to_owned(),
    }
}

fn name_of(word: &impl ValueEnum) -> String {
    word.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// More could not be told from no limit: the descriptors of the process end before.
const MOST_CONNECTIONS: usize = 65_536;

/// As much is set aside for every connection that sends so much.
const MAX_HEADER_BYTES: usize = 1_048_576;

/// Longer than this, waiting is no limit any more.
const HOUR: u64 = 3_600;

/// The whole of what is written is read at once.
const MOST_MEGABYTES: usize = 1_024;

const MOST_DIGITS: usize = 20;
