//! Kinds of resource, and the scope and target of a variable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ProjectId, WorkspaceId};

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    /// A container-like sandbox.
    Sandbox,
    /// A virtual machine.
    Computer,
    /// An agent harness process.
    Agent,
}

/// What an env variable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Every kind of resource.
    All,
    /// Sandboxes only.
    Sandbox,
    /// Computers only.
    Computer,
    /// Agent harnesses, and every run.
    Agent,
}

/// Where an env variable is defined; the tenant itself is told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The whole tenant.
    Tenant,
    /// One workspace of the tenant.
    Workspace(WorkspaceId),
    /// One project of the tenant.
    Project(ProjectId),
}

/// A word that names no kind or target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {0}")]
pub struct KindError(&'static str);

impl ResourceKind {
    /// Every kind.
    pub const EVERY: [Self; 3] = [Self::Sandbox, Self::Computer, Self::Agent];

    /// The kind's word in every API and message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Computer => "computer",
            Self::Agent => "agent",
        }
    }

    /// The target that means this kind.
    #[must_use]
    pub fn target(self) -> Target {
        match self {
            Self::Sandbox => Target::Sandbox,
            Self::Computer => Target::Computer,
            Self::Agent => Target::Agent,
        }
    }
}

impl Target {
    /// The target's word in every API and message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Sandbox => "sandbox",
            Self::Computer => "computer",
            Self::Agent => "agent",
        }
    }
}

impl Scope {
    /// `tenant`, `workspace` or `project`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Workspace(_) => "workspace",
            Self::Project(_) => "project",
        }
    }
}

impl FromStr for ResourceKind {
    type Err = KindError;
    fn from_str(word: &str) -> Result<Self, KindError> {
        Self::EVERY
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(KindError("sandbox, computer, agent"))
    }
}

impl FromStr for Target {
    type Err = KindError;
    fn from_str(word: &str) -> Result<Self, KindError> {
        [Self::All, Self::Sandbox, Self::Computer, Self::Agent]
            .into_iter()
            .find(|target| target.as_str() == word)
            .ok_or(KindError("all, sandbox, computer, agent"))
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
