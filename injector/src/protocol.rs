//! The messages on the resource socket and the admin socket, as their readers see them. Writers of
//! the resolution use [`crate::Answer`], which never copies a value twice.

mod explanation;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use explanation::{
    CommandExplained, CwdExplained, Explanation, IgnoredEntry, Overridden, ProfileExplained,
    VariableExplained,
};

use crate::json::strict_value;
use crate::model::{EnvMap, EnvName, strict_env, strict_words};

/// The body of `GET /v1/resolve`, read by the shim. Members it does not know are let pass, so that an
/// older shim works with a newer daemon.
#[derive(Deserialize)]
pub struct ResolveResponse {
    /// The resource.
    pub resource_id: String,
    /// The run, when one was asked for.
    #[serde(default)]
    pub run_id: Option<String>,
    /// The version of the snapshot.
    pub snapshot_version: u64,
    /// Whether the host has not heard from the control plane in time.
    pub stale: bool,
    /// Seconds since the host last heard that the snapshot is current.
    pub age_seconds: u64,
    /// The merged environment.
    #[serde(deserialize_with = "strict_env")]
    pub env: EnvMap,
    /// How the variables of `env` are delivered that do not go into the environment: `file` or `fd`. A word
    /// that is neither stays as it was sent, so that its reader can name it.
    #[serde(default, deserialize_with = "strict_words")]
    pub delivery: BTreeMap<EnvName, String>,
    /// Files to write before the start.
    #[serde(default)]
    pub files: Vec<Value>,
    /// Where to start; inherited when absent.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Who said it: `run.cwd` or `env`.
    #[serde(default)]
    pub cwd_source: Option<String>,
    /// What to start, when something usable was said.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Who said it: `run.command`, `run.runtime_command`, `env` or `catalog`.
    #[serde(default)]
    pub command_source: Option<String>,
    /// Why there is no command.
    #[serde(default)]
    pub command_error: Option<ErrorDetail>,
    /// The profile that applies.
    #[serde(default, deserialize_with = "strict_value")]
    pub profile: Option<Value>,
}

/// Every error body, on every socket and API: `{"error": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The stable word for programs.
    pub code: String,
    /// One line for people: what failed, on what, what to do.
    pub message: String,
    /// More, per field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl ErrorBody {
    /// An error body without details.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { error: ErrorDetail { code: code.to_owned(), message: message.into(), details: None } }
    }
}

impl fmt::Debug for ResolveResponse {
    /// Names but no values, and of the command only its shape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveResponse")
            .field("resource_id", &self.resource_id)
            .field("run_id", &self.run_id)
            .field("snapshot_version", &self.snapshot_version)
            .field("env", &self.env)
            .field("command_source", &self.command_source)
            .finish_non_exhaustive()
    }
}
