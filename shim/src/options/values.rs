//! The values of options, one reader for each form. The failures quote names and what is no secret.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miosa_injector::model::{EnvName, RunId};
use nix::sys::signal::Signal;

use super::{OnChange, OnFailure, Print};
use crate::failure::Failure;

pub(super) fn run(origin: &str, value: &OsStr) -> Result<RunId, Failure> {
    value
        .to_string_lossy()
        .parse()
        .map_err(|error| Failure::usage(format_args!("{origin}: the id of a run {error}")))
}

pub(super) fn seconds(origin: &str, value: &OsStr) -> Result<Duration, Failure> {
    number(value)
        .map(|seconds: u32| Duration::from_secs(seconds.into()))
        .ok_or_else(|| Failure::usage(format_args!("{origin} takes a whole number of seconds")))
}

pub(super) fn switch(origin: &str, value: &OsStr) -> Result<bool, Failure> {
    match value.as_bytes() {
        b"1" | b"true" => Ok(true),
        b"0" | b"false" => Ok(false),
        _ => Err(Failure::usage(format_args!("{origin} takes 1 or 0"))),
    }
}

/// The name of a variable that is not the platform's.
pub(super) fn name(origin: &str, name: &str) -> Result<EnvName, Failure> {
    let parsed = EnvName::parse(name).map_err(|error| {
        // Who leaves the name out and types a key that holds a = has typed no name.
        let is_short = name.len() <= LONGEST_QUOTE;
        let quoted = if is_short { format!("{name:?}") } else { "before the =".to_owned() };
        Failure::usage(format_args!("{origin}: the name {quoted} {error}"))
    })?;
    if parsed.is_reserved() {
        return Err(Failure::usage(format_args!("{origin}: {name} is set by the platform alone")));
    }
    Ok(parsed)
}

/// `NAME=` and what stands behind it.
pub(super) fn assignment<'a>(
    origin: &str,
    text: &'a OsStr,
    what: &str,
) -> Result<(String, &'a OsStr), Failure> {
    let bytes = text.as_bytes();
    let split = || {
        let (name, value) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'=')?)?;
        Some((OsStr::from_bytes(name).to_string_lossy().into_owned(), OsStr::from_bytes(value.get(1..)?)))
    };
    split().ok_or_else(|| Failure::usage(format_args!("{origin} takes NAME={what}")))
}

/// Absolute, since the command may start elsewhere.
pub(super) fn path(origin: &str, value: &OsStr) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(Path::new(value)).ok();
    path.filter(|path| path.file_name().is_some())
        .ok_or_else(|| Failure::usage(format_args!("{origin} takes the path of a file")))
}

pub(super) fn descriptor(origin: &str, value: &OsStr) -> Result<RawFd, Failure> {
    number(value)
        .filter(|number| *number >= FIRST_FREE)
        .ok_or_else(|| Failure::usage(format_args!("{origin} takes a descriptor's number, 3 or more")))
}

pub(super) fn on_change(origin: &str, value: &OsStr) -> Result<OnChange, Failure> {
    let named = |text: &str| {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let signal = Signal::iterator().find(|signal| signal.as_str().strip_prefix("SIG") == Some(name));
        signal.filter(|signal| !UNFIT.contains(signal)).map(OnChange::Signal)
    };
    match value.to_str() {
        Some("ignore") => Some(OnChange::Ignore),
        Some("restart") => Some(OnChange::Restart),
        other => other.and_then(|text| text.strip_prefix("signal=")).and_then(named),
    }
    .ok_or_else(|| {
        Failure::usage(format_args!("{origin} takes ignore, restart or signal=NAME, such as signal=HUP"))
    })
}

pub(super) fn on_failure(origin: &str, value: &OsStr) -> Result<OnFailure, Failure> {
    match value.as_bytes() {
        b"fail" => Ok(OnFailure::Fail),
        b"continue" => Ok(OnFailure::Continue),
        _ => Err(Failure::usage(format_args!("{origin} takes fail or continue"))),
    }
}

pub(super) fn print(origin: &str, value: &OsStr) -> Result<Print, Failure> {
    match value.as_bytes() {
        b"env" => Ok(Print::Env),
        b"json" => Ok(Print::Json),
        b"explain" => Ok(Print::Explain),
        b"command" => Ok(Print::Command),
        _ => Err(Failure::usage(format_args!("{origin} takes env, json, explain or command"))),
    }
}

/// Digits alone.
fn number<T: std::str::FromStr>(value: &OsStr) -> Option<T> {
    value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// After the standard ones.
const FIRST_FREE: RawFd = 3;

/// Keys are longer.
const LONGEST_QUOTE: usize = 20;

/// Nobody can act upon these.
const UNFIT: [Signal; 3] = [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGCHLD];
