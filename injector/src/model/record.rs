//! The other records a host resolves from: variables, resources and runs.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::json::{object, or_null, strict_value};

use super::{
    CommandSpec, Deliver, EnvMap, EnvName, ProfileId, ProjectId, ResourceId, ResourceKind, RunId, Scope,
    SecretValue, Target, TenantId, VariableId, WorkspaceId, strict_env,
};

/// A runtime env variable.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its id.
    pub id: VariableId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where it is defined.
    pub scope: Scope,
    /// What it is for.
    pub target: Target,
    /// Its name.
    pub name: EnvName,
    /// Its value.
    pub value: SecretValue,
    /// Whether it takes part at all; a disabled one hides nothing.
    pub enabled: bool,
    /// How it is delivered where it wins.
    #[serde(default)]
    pub deliver: Deliver,
}

/// Which profile a resource or a run asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// No profile at all; wins over an id in the same record.
    pub skip: bool,
    /// This very profile.
    #[serde(deserialize_with = "or_null")]
    pub profile_id: Option<ProfileId>,
}

/// A sandbox, computer or agent harness placed on a host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The workspace it belongs to, if any.
    #[serde(deserialize_with = "or_null")]
    pub workspace_id: Option<WorkspaceId>,
    /// The project it belongs to, if any.
    #[serde(deserialize_with = "or_null")]
    pub project_id: Option<ProjectId>,
    /// What it is.
    pub kind: ResourceKind,
    /// Its own variables.
    #[serde(deserialize_with = "strict_env")]
    pub env: EnvMap,
    /// The profile it asks for.
    #[serde(deserialize_with = "object")]
    pub selection: Selection,
}

/// One agent run on a resource.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Where it runs.
    pub resource_id: ResourceId,
    /// Its own variables.
    #[serde(deserialize_with = "strict_env")]
    pub env: EnvMap,
    /// The profile it asks for.
    #[serde(deserialize_with = "object")]
    pub selection: Selection,
    /// What the agent is to do.
    #[serde(deserialize_with = "optional_text")]
    pub instruction: Option<String>,
    /// Where it starts.
    #[serde(deserialize_with = "optional_text")]
    pub cwd: Option<String>,
    /// The command, before everything else.
    #[serde(deserialize_with = "or_null")]
    pub command: Option<CommandSpec>,
    /// The harness command, before what the environment or the catalog says.
    #[serde(deserialize_with = "or_null")]
    pub runtime_command: Option<CommandSpec>,
    /// The model to use.
    #[serde(deserialize_with = "optional_text")]
    pub model: Option<String>,
    /// The model's provider.
    #[serde(deserialize_with = "optional_text")]
    pub provider: Option<String>,
    /// Replaces the approval of the profile's policy: a word, or an object with a member `approval`.
    #[serde(deserialize_with = "strict_value")]
    pub approval_policy: Option<Value>,
}

impl fmt::Debug for Run {
    /// What a run says may carry a secret, so only its ids are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("resource_id", &self.resource_id)
            .finish_non_exhaustive()
    }
}

/// Text that may become an argument or a path, neither of which can carry a NUL.
fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text {
        Some(text) if text.contains('\0') => Err(D::Error::custom("must not contain a NUL character")),
        text => Ok(text),
    }
}
