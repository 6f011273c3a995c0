//! The runtime catalog: how each harness is started so that it keeps what its profile says. One file
//! a harness; adding one touches its file and the table in [`form`].
//!
//! A promise that a harness can't keep is refused, never loosened in silence.

mod claude_code;
pub(crate) mod custom;
mod plain;

use crate::launch::CommandError;
use crate::model::{Approval, Profile, Run, Runtime};

/// How a harness is started.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// Empty when the harness has no command of its own.
    pub(crate) argv: Vec<String>,
    /// Variables the harness needs for this form, below every other layer.
    pub(crate) env: Vec<(&'static str, &'static str)>,
}

/// What an adapter is given.
pub(crate) struct Request<'a> {
    profile: &'a Profile,
    run: Option<&'a Run>,
    approval: Option<Approval>,
}

/// The form of a profile's harness for a run, or for a start without one.
pub(crate) fn form(
    profile: &Profile,
    run: Option<&Run>,
    approval: Option<Approval>,
) -> Result<Form, CommandError> {
    let request = Request { profile, run, approval };
    match profile.runtime {
        Runtime::ClaudeCode => claude_code::form(&request),
        Runtime::Custom => Ok(custom::form()),
        Runtime::Codex => plain::form(&request, &["codex"]),
        Runtime::Pi => plain::form(&request, &["pi"]),
        Runtime::Hermes => plain::form(&request, &["hermes"]),
        Runtime::Osa => plain::form(&request, &["osagent", "serve"]),
    }
}

impl<'a> Request<'a> {
    fn instruction(&self) -> Option<&'a str> {
        said(self.run?.instruction.as_deref())
    }

    fn model(&self) -> Option<&'a str> {
        said(self.run?.model.as_deref())
    }

    fn provider(&self) -> Option<&'a str> {
        said(self.run?.provider.as_deref())
    }

    fn refuse(&self, code: &'static str, what: &str) -> CommandError {
        let (id, runtime) = (&self.profile.id, self.profile.runtime);
        CommandError { code, message: format!("profile {id}: {runtime} {what}") }
    }
}

/// What a run says; saying nothing is not saying it.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
