//! A tenant's own harness: the tenant names the command, the platform hands over what the run says.

use super::{Form, said};
use crate::model::Run;

/// No command of its own.
pub(super) fn form() -> Form {
    Form::default()
}

/// The run's instruction, model and provider as variables, since a custom harness has no other way to
/// learn of them. They are the run's word, and lie just below its own `env`.
pub(crate) fn told_by(run: &Run) -> impl Iterator<Item = (&'static str, &str)> {
    let words = [
        ("MIOSA_AGENT_INSTRUCTION", &run.instruction),
        ("MIOSA_AGENT_MODEL", &run.model),
        ("MIOSA_AGENT_PROVIDER", &run.provider),
    ];
    words.into_iter().filter_map(|(name, word)| Some((name, said(word.as_deref())?)))
}
