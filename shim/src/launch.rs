//! Which command is started, and in which directory.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use miosa_injector::command;
use miosa_injector::protocol::ResolveResponse;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

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

/// Whether the command is the value of a variable, which is shown to nobody who did not ask for it.
pub(crate) fn command_is_a_value(options: &Options, resolution: &ResolveResponse) -> bool {
    let own = || own_variable(options, COMMAND_VARIABLE).is_some() && !is_of_a_run(resolution);
    options.command.is_empty() && (own() || resolution.command_source.as_deref() == Some("env"))
}

/// A directory, and who named it.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Typed,
    Run,
    Variable,
}

impl Directory {
    /// Whether it is the value of a variable.
    pub(crate) fn is_a_value(&self) -> bool {
        self.origin == Origin::Variable
    }

    fn refused(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        Failure::own(match self.origin {
            Origin::Typed => format!("cannot change to the directory {path} (from --cwd): {error}"),
            Origin::Run => format!("cannot change to the directory {path} (from the run's cwd): {error}"),
            // Not the path: it is the value of a variable.
            Origin::Variable => format!("cannot change to the directory that {CWD_VARIABLE} names: {error}"),
        })
    }
}

/// The directory, if anybody named one.
pub(crate) fn directory(options: &Options, resolution: &ResolveResponse) -> Option<Directory> {
    let typed = || Some(Directory { path: options.cwd.clone()?, origin: Origin::Typed });
    let above = || {
        let path = PathBuf::from(own_variable(options, CWD_VARIABLE)?);
        Some(Directory { path, origin: Origin::Variable })
    };
    let resolved = || {
        let path = PathBuf::from(resolution.cwd.as_ref().filter(|path| !path.is_empty())?);
        let of_a_run = resolution.cwd_source.as_deref() == Some("run.cwd");
        Some(Directory { path, origin: if of_a_run { Origin::Run } else { Origin::Variable } })
    };
    typed().or_else(above).or_else(resolved)
}

/// Goes there; without one we stay where we are.
pub(crate) fn enter(directory: Option<&Directory>) -> Result<(), Failure> {
    let Some(directory) = directory else { return Ok(()) };
    std::env::set_current_dir(&directory.path).map_err(|error| directory.refused(&error))
}

/// As [`enter`], without going there.
pub(crate) fn check(directory: Option<&Directory>) -> Result<(), Failure> {
    let Some(directory) = directory else { return Ok(()) };
    let is_open = access(&directory.path, AccessFlags::X_OK);
    let is_directory = if directory.path.is_dir() { Ok(()) } else { Err(Errno::ENOTDIR) };
    is_open.and(is_directory).map_err(|error| directory.refused(&error.into()))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::options::typed;

    fn resolution(more: Value) -> ResolveResponse {
        let mut answer = json!({
            "resource_id": "sbx-1", "snapshot_version": 1, "stale": false, "age_seconds": 0, "env": {},
        });
        let Value::Object(more) = more else { panic!("an object") };
        answer.as_object_mut().unwrap().extend(more);
        serde_json::from_value(answer).unwrap()
    }

    fn words(args: &[&str], more: Value) -> Result<Vec<String>, String> {
        command(&typed(args), &resolution(more))
            .map(|words| words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
            .map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn what_is_typed_wins_over_a_run() {
        let run = json!({"command": ["run"], "command_source": "run.command"});
        assert_eq!(words(&["--", "typed", "x"], run.clone()).unwrap(), ["typed", "x"]);
        assert_eq!(words(&[], run).unwrap(), ["run"]);
    }

    #[test]
    fn our_own_variable_stands_above_environment_and_catalog_and_below_a_run() {
        let own = ["--env", "MIOSA_AGENT_COMMAND=agent 'a b'"];
        for source in [json!("env"), json!("catalog"), json!(null)] {
            let held = json!({"command": ["held"], "command_source": source});
            assert_eq!(words(&own, held).unwrap(), ["agent", "a b"], "{source}");
        }
        for source in ["run.command", "run.runtime_command"] {
            let run = json!({"command": ["run"], "command_source": source});
            assert_eq!(words(&own, run).unwrap(), ["run"], "{source}");
        }
        let array = ["--env", r#"MIOSA_AGENT_COMMAND=["agent","$HOME"]"#];
        assert_eq!(words(&array, json!({})).unwrap(), ["agent", "$HOME"]);
    }

    #[test]
    fn without_a_command_the_reason_is_told() {
        let error = json!({"command_error": {"code": "no_command", "message": "give the run a command"}});
        assert_eq!(words(&[], error.clone()).unwrap_err(), "no command to start: give the run a command");
        assert_eq!(words(&["--", "typed"], error).unwrap(), ["typed"]);
        assert_eq!(
            words(&[], json!({"command": []})).unwrap_err(),
            "no command to start: put one after --; see miosa-exec --help"
        );
        assert_eq!(
            words(&["--env", "MIOSA_AGENT_COMMAND=a 'b"], json!({})).unwrap_err(),
            "--env MIOSA_AGENT_COMMAND has an unclosed quote or ends in a backslash"
        );
        let nul = json!({"command": ["a\u{0}b"]});
        assert_eq!(words(&[], nul).unwrap_err(), "the command holds a NUL character");
    }

    #[test]
    fn the_directory_is_typed_or_assigned_or_the_daemons() {
        let of = |args: &[&str], more| directory(&typed(args), &resolution(more)).map(|found| found.path);
        let held = || json!({"cwd": "/held"});
        let assigned = ["--env", "MIOSA_AGENT_CWD=/assigned"];
        assert_eq!(
            of(&["--cwd", "/typed", "--env", "MIOSA_AGENT_CWD=/assigned"], held()),
            Some("/typed".into())
        );
        assert_eq!(of(&assigned, held()), Some("/assigned".into()));
        assert_eq!(of(&["--env", "MIOSA_AGENT_CWD="], held()), Some("/held".into()));
        assert_eq!(of(&[], held()), Some("/held".into()));
        assert_eq!(of(&[], json!({"cwd": null})), None);
    }
}
