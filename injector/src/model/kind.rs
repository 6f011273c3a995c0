//! Kinds of resource, and the scope and target of a variable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ProjectId, WorkspaceId};

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
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
#[serde(try_from = "String", into = "&'static str")]
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

/// Where an env variable is defined; the tenant itself is told apart. In JSON `"tenant"`,
/// `{"workspace": id}` or `{"project": id}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
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

impl TryFrom<String> for ResourceKind {
    type Error = KindError;
    fn try_from(word: String) -> Result<Self, KindError> {
        word.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = KindError;
    fn try_from(word: String) -> Result<Self, KindError> {
        word.parse()
    }
}

impl From<ResourceKind> for &'static str {
    fn from(kind: ResourceKind) -> Self {
        kind.as_str()
    }
}

impl From<Target> for &'static str {
    fn from(target: Target) -> Self {
        target.as_str()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Place(#[serde(deserialize_with = "crate::json::object")] Place),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    workspace: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    project: Option<ProjectId>,
}

/// A member that may be missing, and is not null when it is there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl From<Scope> for Written {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Tenant => Self::Word(scope.name().to_owned()),
            Scope::Workspace(id) => Self::Place(Place { workspace: Some(id), project: None }),
            Scope::Project(id) => Self::Place(Place { workspace: None, project: Some(id) }),
        }
    }
}

impl TryFrom<Written> for Scope {
    type Error = KindError;
    fn try_from(written: Written) -> Result<Self, KindError> {
        match written {
            Written::Word(word) if word == Self::Tenant.name() => Ok(Self::Tenant),
            Written::Place(Place { workspace: Some(id), project: None }) => Ok(Self::Workspace(id)),
            Written::Place(Place { workspace: None, project: Some(id) }) => Ok(Self::Project(id)),
            Written::Word(_) | Written::Place(_) => Err(KindError("tenant, workspace, project")),
        }
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
