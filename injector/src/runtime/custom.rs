//! A tenant's own harness: the tenant names the command, the platform hands over what the run says.

use super::{Form, Request};

/// No command of its own. The run's instruction, model and provider reach it as variables, since a
/// custom harness has no other way to learn of them.
pub(super) fn form(request: &Request<'_>) -> Form {
    let said = [
        ("MIOSA_AGENT_INSTRUCTION", request.instruction()),
        ("MIOSA_AGENT_MODEL", request.model()),
        ("MIOSA_AGENT_PROVIDER", request.provider()),
    ];
    let env = said.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
    Form { argv: Vec::new(), env }
}
