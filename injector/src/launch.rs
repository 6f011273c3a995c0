//! The launch plan: working directory and command of an agent.

use std::fmt;

use crate::command;
use crate::merge::{Layer, Merged};
use crate::model::{
    Approval, COMMAND_NAME, CWD_NAME, EnvName, MAX_ENTRY_BYTES, Policy, Profile, Run, Runtime, SecretValue,
};
use crate::{policy, runtime};

/// Where and what to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    pub(crate) cwd: Option<Cwd>,
    pub(crate) command: Result<Command, CommandError>,
}

/// A working directory and where it was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cwd {
    pub(crate) path: SecretValue,
    pub(crate) source: CwdSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CwdSource {
    Run,
    Env,
}

/// A command and where it was said.
#[derive(Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) source: CommandSource,
}

/// Where a command comes from. The shim's own `--env MIOSA_AGENT_COMMAND` stands above `Env` and
/// `Catalog` and below the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandSource {
    RunCommand,
    RunRuntimeCommand,
    Env,
    Catalog,
}

/// Why there is no usable command. A resolution succeeds all the same: an image may have its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Plans the launch, and adds to the environment what the harness is told by it.
pub(crate) fn plan(
    merged: &mut Merged,
    run: Option<&Run>,
    profile: Option<&Profile>,
    policy: Option<&Policy>,
) -> Launch {
    if let Some(run) = run.filter(|_| profile.is_none_or(|profile| profile.runtime == Runtime::Custom)) {
        for (name, value) in runtime::custom::told_by(run) {
            add(merged, Layer::Run, run.id.as_str(), name, value);
        }
    }
    let command = policy::approval(policy)
        .and_then(|approval| choose_command(merged, run, profile, approval))
        .and_then(within_limits);
    Launch { cwd: choose_cwd(merged, run), command }
}

fn choose_cwd(merged: &Merged, run: Option<&Run>) -> Option<Cwd> {
    if let Some(path) = run.and_then(|run| run.cwd.as_ref()).filter(|path| !path.is_empty()) {
        // Checked when the run was decoded; a NUL here could only be refused by chdir itself.
        let path = SecretValue::new(path.clone()).ok()?;
        return Some(Cwd { path, source: CwdSource::Run });
    }
    let path = merged.winner(CWD_NAME).filter(|entry| !entry.value.expose().is_empty())?;
    Some(Cwd { path: path.value.clone(), source: CwdSource::Env })
}

fn choose_command(
    merged: &mut Merged,
    run: Option<&Run>,
    profile: Option<&Profile>,
    approval: Option<Approval>,
) -> Result<Command, CommandError> {
    if let Some(spec) = run.and_then(|run| run.command.as_ref()) {
        return Ok(Command { argv: spec.to_argv(), source: CommandSource::RunCommand });
    }
    if let Some(spec) = run.and_then(|run| run.runtime_command.as_ref()) {
        return Ok(Command { argv: spec.to_argv(), source: CommandSource::RunRuntimeCommand });
    }
    // An empty value is how a more specific scope takes a command back.
    if let Some(entry) = merged.winner(COMMAND_NAME).filter(|entry| !entry.value.expose().trim().is_empty()) {
        let argv = command::split(entry.value.expose()).map_err(|error| CommandError {
            code: "bad_command",
            message: format!("{COMMAND_NAME} from {} ({}) {error}", entry.layer, entry.source),
        })?;
        return Ok(Command { argv, source: CommandSource::Env });
    }
    let Some(profile) = profile else {
        return Err(no_command("no profile applies and nothing names a command"));
    };
    let form = runtime::form(profile, run, approval)?;
    if form.argv.is_empty() {
        let (id, runtime) = (&profile.id, profile.runtime);
        return Err(no_command(&format!(
            "profile {id} is for runtime {runtime}, which has no command of its own"
        )));
    }
    for (name, value) in form.env {
        add(merged, Layer::Catalog, profile.runtime.as_str(), name, value);
    }
    Ok(Command { argv: form.argv, source: CommandSource::Catalog })
}

fn no_command(why: &str) -> CommandError {
    let message = format!("{why}: put one after --, give the run a command, or set {COMMAND_NAME}");
    CommandError { code: "no_command", message }
}

fn add(merged: &mut Merged, layer: Layer, source: &str, name: &'static str, value: &str) {
    // What comes here was decoded without a NUL, or is ours.
    if let Ok(value) = SecretValue::new(value.to_owned()) {
        merged.insert(layer, source, EnvName::platform(name), value);
    }
}

fn within_limits(command: Command) -> Result<Command, CommandError> {
    let too_long = command.argv.iter().position(|word| word.len() > MAX_ENTRY_BYTES);
    match too_long {
        None => Ok(command),
        Some(position) => Err(CommandError {
            code: "argument_too_large",
            message: format!(
                "argument {position} of the command is longer than the {MAX_ENTRY_BYTES} bytes Linux passes to a program"
            ),
        }),
    }
}

impl CommandSource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RunCommand => "run.command",
            Self::RunRuntimeCommand => "run.runtime_command",
            Self::Env => "env",
            Self::Catalog => "catalog",
        }
    }
}

impl CwdSource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run.cwd",
            Self::Env => "env",
        }
    }
}

impl fmt::Debug for Command {
    /// A command may come from an encrypted variable, so only its shape is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} words from {})", self.argv.len(), self.source.as_str())
    }
}
