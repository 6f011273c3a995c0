//! From a state to what one resource, or one run on it, starts with. The whole computation on one
//! screen: choose the profile, merge the layers, plan the launch, add what the platform says.

use std::fmt::Write as _;

use crate::launch::{self, Launch};
use crate::merge::{Layer, Merged};
use crate::model::{
    Connector, EnvName, MAX_ENTRY_BYTES, Policy, Profile, ProfileId, Resource, ResourceId, ResourceKind, Run,
    RunId, SecretValue,
};
use crate::policy;
use crate::select::{self, ChoiceError};
use crate::state::State;

/// What a resource or a run starts with, with the reasons.
#[derive(Debug)]
pub struct Resolution {
    pub(crate) resource: Resource,
    pub(crate) run_id: Option<RunId>,
    pub(crate) profile: Option<Profile>,
    pub(crate) profile_reason: &'static str,
    pub(crate) policy: Option<Policy>,
    pub(crate) merged: Merged,
    pub(crate) launch: Launch,
}

/// Why a resource can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The state does not hold the resource.
    #[error("resource {0} is not on this host")]
    ResourceNotFound(ResourceId),
    /// The resource has no such run.
    #[error("resource {resource} has no run {run}")]
    RunNotFound {
        /// The resource.
        resource: ResourceId,
        /// The run asked for.
        run: RunId,
    },
    /// The profile that was named is gone.
    #[error("profile {0} was named for it and no longer exists; name another or skip it")]
    ProfileNotFound(ProfileId),
    /// The profile that was named is for other kinds.
    #[error(
        "profile {profile} was named for it and does not apply to a {kind}; name another or change its applies_to"
    )]
    ProfileNotApplicable {
        /// The profile.
        profile: ProfileId,
        /// The resource's kind.
        kind: ResourceKind,
    },
    /// A variable that the platform puts together is longer than Linux passes to a program.
    #[error(
        "{name} is {size} bytes, over the {MAX_ENTRY_BYTES} Linux passes to a program; shorten what it is made of"
    )]
    VariableTooLarge {
        /// Its name.
        name: EnvName,
        /// Its size.
        size: usize,
    },
    /// The merged environment is larger than [`MAX_ENV_BYTES`].
    #[error("the merged environment is {total} bytes, over {MAX_ENV_BYTES}; the biggest are {biggest}")]
    EnvTooLarge {
        /// Its size: names and values, each entry with its `=` and NUL.
        total: usize,
        /// The biggest names with their sizes, biggest first.
        biggest: String,
    },
}

/// The largest merged environment, in bytes: 1 MiB.
pub const MAX_ENV_BYTES: usize = 1024 * 1024;

/// Resolves a resource, or a run on it.
///
/// # Errors
/// When the resource or run is unknown, the named profile is gone or does not apply, or the merged
/// environment is too large. A missing command is no error; see [`crate::protocol::ResolveResponse`].
pub fn resolve(
    state: &State,
    resource_id: &ResourceId,
    run_id: Option<&RunId>,
) -> Result<Resolution, ResolveError> {
    let records = state.records();
    let resource = records.resources.get(resource_id);
    let resource = resource.ok_or_else(|| ResolveError::ResourceNotFound(resource_id.clone()))?;
    let run = run_id.map(|id| find_run(state, resource, id)).transpose()?;
    let choice = select::choose(state, resource, run)?;
    let mut merged = Merged::of(state, resource, run, choice.profile);
    let policy = policy::in_force(choice.profile, run);
    let launch = launch::plan(&mut merged, run, choice.profile, policy.as_ref());
    impose_platform(&mut merged, resource, run, choice.profile, policy.as_ref());
    check_size(&merged)?;
    Ok(Resolution {
        resource: resource.clone(),
        run_id: run_id.cloned(),
        profile: choice.profile.cloned(),
        profile_reason: choice.reason,
        policy,
        merged,
        launch,
    })
}

fn find_run<'a>(state: &'a State, resource: &Resource, id: &RunId) -> Result<&'a Run, ResolveError> {
    let run = state.records().runs.get(id).filter(|run| run.resource_id == resource.id);
    run.ok_or_else(|| ResolveError::RunNotFound { resource: resource.id.clone(), run: id.clone() })
}

/// The platform variables. `MIOSA_SNAPSHOT_VERSION` moves with every update and joins
/// where the answer is written; `MIOSA_SOCKET` is the shim's.
fn impose_platform(
    merged: &mut Merged,
    resource: &Resource,
    run: Option<&Run>,
    profile: Option<&Profile>,
    policy: Option<&Policy>,
) {
    let mut impose = |name: &'static str, value: &str| {
        if let Ok(value) = SecretValue::new(value.to_owned()) {
            merged.insert(Layer::Platform, "platform", EnvName::platform(name), value);
        }
    };
    impose("MIOSA_TENANT_ID", resource.tenant_id.as_str());
    if let Some(id) = &resource.workspace_id {
        impose("MIOSA_WORKSPACE_ID", id.as_str());
    }
    if let Some(id) = &resource.project_id {
        impose("MIOSA_PROJECT_ID", id.as_str());
    }
    impose("MIOSA_RESOURCE_ID", resource.id.as_str());
    impose("MIOSA_RESOURCE_KIND", resource.kind.as_str());
    if let Some(run) = run {
        impose("MIOSA_RUN_ID", run.id.as_str());
    }
    if let Some(profile) = profile {
        impose("MIOSA_AGENT_PROFILE_ID", profile.id.as_str());
        impose("MIOSA_AGENT_RUNTIME", profile.runtime.as_str());
        // Absent when the profile does not say: an empty list would read as no tools at all.
        if let Some(tools) = &profile.tools {
            impose("MIOSA_AGENT_TOOLS", &tools.join(","));
        }
        let connectors: Vec<&str> = profile.connectors.iter().filter_map(Connector::id).collect();
        impose("MIOSA_AGENT_CONNECTORS", &connectors.join(","));
    }
    if let Some(policy) = policy {
        impose("MIOSA_AGENT_POLICY", &serde_json::to_string(policy).unwrap_or_default());
    }
}

fn check_size(merged: &Merged) -> Result<(), ResolveError> {
    let mut sizes: Vec<(usize, &EnvName)> = merged
        .histories()
        .map(|(name, winner, _)| {
            let size = name.as_str().len().saturating_add(winner.value.expose().len()).saturating_add(2);
            (size, name)
        })
        .collect();
    // Each has its NUL in it, which Linux does not count.
    if let Some((size, name)) = sizes.iter().find(|(size, _)| *size > MAX_ENTRY_BYTES.saturating_add(1)) {
        return Err(ResolveError::VariableTooLarge { name: (*name).clone(), size: *size });
    }
    let total = sizes.iter().fold(0_usize, |sum, (size, _)| sum.saturating_add(*size));
    if total <= MAX_ENV_BYTES {
        return Ok(());
    }
    sizes.sort_by(|a, b| b.cmp(a));
    let mut biggest = String::new();
    for (size, name) in sizes.iter().take(5) {
        let comma = if biggest.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _infallible = write!(biggest, "{comma}{name} ({size})");
    }
    Err(ResolveError::EnvTooLarge { total, biggest })
}

impl ResolveError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ResourceNotFound(_) => "resource_not_found",
            Self::RunNotFound { .. } => "run_not_found",
            Self::ProfileNotFound(_) => "profile_not_found",
            Self::ProfileNotApplicable { .. } => "profile_not_applicable",
            Self::VariableTooLarge { .. } | Self::EnvTooLarge { .. } => "env_too_large",
        }
    }
}

impl From<ChoiceError> for ResolveError {
    fn from(error: ChoiceError) -> Self {
        match error {
            ChoiceError::NotFound(id) => Self::ProfileNotFound(id),
            ChoiceError::NotApplicable(profile, kind) => Self::ProfileNotApplicable { profile, kind },
        }
    }
}
