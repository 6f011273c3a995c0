//! Harnesses whose executable the catalog knows, and nothing more yet: started bare when the profile
//! and the run promise nothing, refused otherwise.

use super::{Form, Request};
use crate::launch::CommandError;

/// The bare command. Tools, approval, instruction, model and provider would have to be turned into
/// the harness's own flags; dropping them would loosen what the profile says.
pub(super) fn form(request: &Request<'_>, argv: &[&str]) -> Result<Form, CommandError> {
    let unkept = [
        ("tools", request.profile.tools.is_some()),
        ("policy.approval", request.approval.is_some()),
        ("instruction", request.instruction().is_some()),
        ("model", request.model().is_some()),
        ("provider", request.provider().is_some()),
    ];
    let unkept: Vec<&str> = unkept.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name).collect();
    if !unkept.is_empty() {
        let what = format!(
            "can't be started by the catalog with {} yet: give the run a command, or set MIOSA_AGENT_COMMAND",
            unkept.join(", ")
        );
        return Err(request.refuse("promise_unsupported", &what));
    }
    Ok(Form { argv: argv.iter().map(|word| (*word).to_owned()).collect(), env: Vec::new() })
}
