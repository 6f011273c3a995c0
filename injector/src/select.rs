//! Which profile a resource or a run starts with. The choice is control-plane data alone: nothing
//! inside a sandbox can ask for another profile.

use crate::model::{Profile, ProfileId, Resource, ResourceKind, Run};
use crate::state::State;

/// The profile to apply and how it was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice<'a> {
    pub(crate) profile: Option<&'a Profile>,
    /// For people: why this one, or why none.
    pub(crate) reason: &'static str,
}

/// Why the profile that was asked for can't be applied. Never a silent fall-through to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChoiceError {
    NotFound(ProfileId),
    NotApplicable(ProfileId, ResourceKind),
}

/// Chooses in this order: skip or id on the run, then on the resource, then the defaults
/// of project, workspace and tenant.
pub(crate) fn choose<'a>(
    state: &'a State,
    resource: &Resource,
    run: Option<&Run>,
) -> Result<Choice<'a>, ChoiceError> {
    let is_run = run.is_some();
    if let Some(run) = run {
        if run.selection.skip {
            return Ok(Choice { profile: None, reason: "skipped by the run" });
        }
        if let Some(id) = &run.selection.profile_id {
            let profile = explicit(state, resource, is_run, id)?;
            return Ok(Choice { profile: Some(profile), reason: "named by the run" });
        }
    }
    if resource.selection.skip {
        return Ok(Choice { profile: None, reason: "skipped by the resource" });
    }
    if let Some(id) = &resource.selection.profile_id {
        let profile = explicit(state, resource, is_run, id)?;
        return Ok(Choice { profile: Some(profile), reason: "named by the resource" });
    }
    Ok(default(state, resource, is_run))
}

fn explicit<'a>(
    state: &'a State,
    resource: &Resource,
    is_run: bool,
    id: &ProfileId,
) -> Result<&'a Profile, ChoiceError> {
    let profile = state.records().profiles.get(id).filter(|profile| profile.tenant_id == resource.tenant_id);
    let profile = profile.ok_or_else(|| ChoiceError::NotFound(id.clone()))?;
    if profile.applies_to.allows(resource.kind, is_run) {
        Ok(profile)
    } else {
        Err(ChoiceError::NotApplicable(id.clone(), resource.kind))
    }
}

/// A profile with both a workspace and a project is a project default for resources in both, and
/// more specific than the project's own.
fn default<'a>(state: &'a State, resource: &Resource, is_run: bool) -> Choice<'a> {
    let candidates = || {
        state.records().profiles.values().filter(|profile| {
            profile.is_default
                && profile.tenant_id == resource.tenant_id
                && profile.applies_to.allows(resource.kind, is_run)
        })
    };
    let (workspace, project) = (resource.workspace_id.as_ref(), resource.project_id.as_ref());
    let mut levels = Vec::with_capacity(4);
    if project.is_some() {
        if workspace.is_some() {
            levels.push((workspace, project, "default of the project"));
        }
        levels.push((None, project, "default of the project"));
    }
    if workspace.is_some() {
        levels.push((workspace, None, "default of the workspace"));
    }
    levels.push((None, None, "default of the tenant"));
    for (workspace, project, reason) in levels {
        let fits = |profile: &&Profile| {
            profile.workspace_id.as_ref() == workspace && profile.project_id.as_ref() == project
        };
        if let Some(profile) = candidates().find(fits) {
            return Choice { profile: Some(profile), reason };
        }
    }
    Choice { profile: None, reason: "no default applies" }
}
