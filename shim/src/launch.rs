//! Which command is started, and in which directory.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use miosa_injector::command;
use miosa_injector::protocol::ResolveResponse;

use crate::failure::Failure;
use crate::options::Options;

/// The command: what was typed, else the run's, else `--env MIOSA_AGENT_COMMAND`, else what the
/// daemon found in the environment or in its catalog.
pub(crate) fn command(options: &Options, resolution: &ResolveResponse) -> Result<Vec<CString>, Failure> {
    if !options.command.is_empty() {
        return options.command.iter().map(|word| to_c(word.as_bytes())).collect();
    }
    let words = match own_variable(options, COMMAND_VARIABLE) {
        Some(text) if !is_of_a_run(resolution) => command::split(text)
            .map_err(|error| Failure::own(format_args!("--env {COMMAND_VARIABLE} {error}")))?,
        _ => resolved(resolution)?.to_vec(),
    };
    words.iter().map(|word| to_c(word.as_bytes())).collect()
}

/// A directory, and who named it.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    origin: &'static str,
}

/// The directory, if anybody named one.
pub(crate) fn directory(options: &Options, resolution: &ResolveResponse) -> Option<Directory> {
    let typed = || Some(Directory { path: options.cwd.clone()?, origin: "--cwd" });
    let above = || {
        let path = PathBuf::from(own_variable(options, CWD_VARIABLE)?);
        Some(Directory { path, origin: "--env MIOSA_AGENT_CWD" })
    };
    let resolved = || {
        let path = PathBuf::from(resolution.cwd.as_ref().filter(|path| !path.is_empty())?);
        Some(Directory { path, origin: "miosad" })
    };
    typed().or_else(above).or_else(resolved)
}

/// Goes there; without one we stay where we are.
pub(crate) fn enter(directory: Option<&Directory>) -> Result<(), Failure> {
    let Some(Directory { path, origin }) = directory else { return Ok(()) };
    std::env::set_current_dir(path).map_err(|error| {
        Failure::own(format_args!(
            "cannot change to the directory {} (from {origin}): {error}",
            path.display()
        ))
    })
}

fn resolved(resolution: &ResolveResponse) -> Result<&[String], Failure> {
    match (&resolution.command, &resolution.command_error) {
        (Some(words), _) if !words.is_empty() => Ok(words),
        (_, Some(error)) => Err(Failure::own(format_args!("no command to start: {}", error.message))),
        _ => Err(Failure::usage("no command to start: put one after --")),
    }
}

fn is_of_a_run(resolution: &ResolveResponse) -> bool {
    resolution.command_source.as_ref().is_some_and(|source| source.starts_with("run."))
}

/// A variable of `--env`; an empty one says nothing.
fn own_variable<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    let (_, value) = options.env.iter().find(|(other, _)| other.as_str() == name)?;
    Some(value.expose()).filter(|text| !text.trim().is_empty())
}

fn to_c(word: &[u8]) -> Result<CString, Failure> {
    CString::new(word).map_err(|_nul| Failure::own("the command holds a NUL character"))
}

const COMMAND_VARIABLE: &str = "MIOSA_AGENT_COMMAND";
const CWD_VARIABLE: &str = "MIOSA_AGENT_CWD";
