//! The runtime catalog: how each harness is started so that it keeps what its profile says. One file
//! a harness; adding one touches its file and the table in [`form`].
//!
//! A promise that a harness can't keep is refused, never loosened in silence.

mod claude_code;
mod custom;
mod plain;

use crate::launch::CommandError;
use crate::model::{Approval, Profile, Run, Runtime};

/// How a harness is started.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// Empty when the harness has no command of its own.
    pub(crate) argv: Vec<String>,
    /// Variables the harness needs for this form, below every other layer.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// What an adapter is given.
pub(crate) struct Request<'a> {
    profile: &'a Profile,
    run: Option<&'a Run>,
    approval: Option<Approval>,
}

/// The form of a profile's harness for a run, or for a start without one.
pub(crate) fn form(profile: &Profile, run: Option<&Run>) -> Result<Form, CommandError> {
    let request = Request { profile, run, approval: approval(profile, run)? };
    match profile.runtime {
        Runtime::ClaudeCode => claude_code::form(&request),
        Runtime::Custom => Ok(custom::form(&request)),
        Runtime::Codex => plain::form(&request, &["codex"]),
        Runtime::Pi => plain::form(&request, &["pi"]),
        Runtime::Hermes => plain::form(&request, &["hermes"]),
        Runtime::Osa => plain::form(&request, &["osagent", "serve"]),
    }
}

impl<'a> Request<'a> {
    fn instruction(&self) -> Option<&'a str> {
        self.run.and_then(|run| run.instruction.as_deref())
    }

    fn model(&self) -> Option<&'a str> {
        self.run.and_then(|run| run.model.as_deref())
    }

    fn provider(&self) -> Option<&'a str> {
        self.run.and_then(|run| run.provider.as_deref())
    }

    fn refuse(&self, code: &'static str, what: &str) -> CommandError {
        let (id, runtime) = (&self.profile.id, self.profile.runtime);
        CommandError { code, message: format!("profile {id}: {runtime} {what}") }
    }
}

/// The approval in force: the run's, else the profile's policy's.
fn approval(profile: &Profile, run: Option<&Run>) -> Result<Option<Approval>, CommandError> {
    let unknown = |whose: &str, word: &str| CommandError {
        code: "approval_unknown",
        message: format!(
            "{whose} asks for approval {:?}; known are never, auto, confirm-risky, always",
            word.chars().take(64).collect::<String>()
        ),
    };
    let (whose, value) = match run.and_then(|run| Some((run, run.approval_policy.as_ref()?))) {
        Some((run, policy)) => {
            let named = if policy.is_object() { policy.get("approval") } else { Some(policy) };
            (format!("run {}", run.id), named.cloned().unwrap_or_default())
        }
        None => match profile.policy.get("approval") {
            None | Some(serde_json::Value::Null) => return Ok(None),
            Some(value) => (format!("profile {}", profile.id), value.clone()),
        },
    };
    let word = value.as_str().ok_or_else(|| unknown(&whose, &value.to_string()))?;
    Approval::from_word(word).map(Some).ok_or_else(|| unknown(&whose, word))
}
