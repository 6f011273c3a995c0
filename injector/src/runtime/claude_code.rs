//! Claude Code (npm `@anthropic-ai/claude-code`), as its 2.1 line takes its configuration.

use super::{Form, Request};
use crate::launch::CommandError;
use crate::model::Approval;
use crate::policy::excerpt;

/// `claude`, or with an instruction its headless form, whose first line of output reports the
/// directory, tools and permission mode that took effect.
pub(super) fn form(request: &Request<'_>) -> Result<Form, CommandError> {
    if let Some(provider) = request.provider().filter(|provider| *provider != "anthropic") {
        let what = format!("speaks to anthropic only, and the run asks for provider {:?}", excerpt(provider));
        return Err(request.refuse("provider_unsupported", &what));
    }
    let mut form = Form { argv: vec!["claude".to_owned()], env: Vec::new() };
    let headless = request.instruction().is_some();
    if headless {
        form.argv.extend(["-p", "--output-format", "stream-json", "--verbose"].map(str::to_owned));
    }
    if let Some(model) = request.model() {
        form.argv.extend(["--model".to_owned(), model.to_owned()]);
    }
    if let Some(bundles) = &request.profile.tools {
        // --tools is the set that exists at all; --allowedTools would only pre-approve.
        form.argv.extend(["--tools".to_owned(), tools_of(bundles).join(",")]);
    }
    let mode = match request.approval {
        None => None,
        Some(Approval::Never | Approval::Auto) => {
            // Without it the mode is refused for uid 0, which agents in sandboxes commonly have.
            form.env.push(("IS_SANDBOX", "1"));
            Some("bypassPermissions")
        }
        // Nobody is there to ask in a headless run, so what is risky is denied, not allowed.
        Some(Approval::ConfirmRisky) if headless => {
            form.argv.extend(["--allowedTools".to_owned(), HARMLESS.join(",")]);
            Some("dontAsk")
        }
        Some(Approval::ConfirmRisky) => Some("acceptEdits"),
        Some(Approval::Always) if headless => Some("dontAsk"),
        Some(Approval::Always) => Some("default"),
    };
    if let Some(mode) = mode {
        form.argv.extend(["--permission-mode", mode].map(str::to_owned));
    }
    if let Some(instruction) = request.instruction() {
        // After --, so that an instruction that begins with a dash is no option.
        form.argv.extend(["--".to_owned(), instruction.to_owned()]);
    }
    Ok(form)
}

/// The harness's own tools of each bundle. Previews, artifacts and deploy are tools of the platform
/// that reach the harness as connectors, so their bundles add none here.
fn tools_of(bundles: &[String]) -> Vec<&'static str> {
    let mut tools = Vec::new();
    for bundle in bundles {
        match bundle.as_str() {
            "files" => tools.extend(["Read", "Edit", "Write", "Glob", "Grep", "NotebookEdit"]),
            "exec" => tools.push("Bash"),
            "browser" => tools.extend(["WebFetch", "WebSearch"]),
            _ => {}
        }
    }
    tools
}

/// What an agent may do unasked under `confirm-risky`: look at and edit files of its own sandbox.
const HARMLESS: [&str; 6] = ["Read", "Edit", "Write", "Glob", "Grep", "NotebookEdit"];
