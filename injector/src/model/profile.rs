//! Agent runtime profiles: which harness, with which tools, connectors, defaults and policy.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{or_null, strict_object, strict_value};

use super::{EnvMap, ProfileId, ProjectId, ResourceKind, TenantId, WorkspaceId, strict_env};

/// An agent runtime profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The workspace it is scoped to, if any.
    #[serde(deserialize_with = "or_null")]
    pub workspace_id: Option<WorkspaceId>,
    /// The project it is scoped to, if any.
    #[serde(deserialize_with = "or_null")]
    pub project_id: Option<ProjectId>,
    /// The name people know it by.
    pub name: String,
    /// The harness.
    pub runtime: Runtime,
    /// The kinds of resource it is for.
    pub applies_to: AppliesTo,
    /// The tool bundles it allows; `None` when it does not say, which restricts nothing.
    #[serde(deserialize_with = "tool_names")]
    pub tools: Option<Vec<String>>,
    /// The connectors it grants, as they were sent.
    pub connectors: Vec<Connector>,
    /// Non-secret defaults, the lowest layer of the merge.
    #[serde(deserialize_with = "strict_env")]
    pub env: EnvMap,
    /// Approval, quota and risk hints, as they were sent.
    #[serde(deserialize_with = "strict_object")]
    pub policy: Policy,
    /// Whether it is the default of its scope.
    pub is_default: bool,
}

/// A profile's policy, as it was sent.
pub type Policy = Map<String, Value>;

/// The tool bundles of the reference; a `custom` harness may name others.
pub const TOOLS: [&str; 6] = ["files", "exec", "browser", "previews", "artifacts", "deploy"];

/// A runtime harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Runtime {
    /// MIOSA's own.
    Osa,
    /// Codex.
    Codex,
    /// Claude Code.
    ClaudeCode,
    /// Pi.
    Pi,
    /// Hermes.
    Hermes,
    /// The tenant's own command.
    Custom,
}

/// A word that names no harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of osa, codex, claude-code, pi, hermes, custom")]
pub struct RuntimeError;

impl Runtime {
    /// The harness's word in every API and message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Osa => "osa",
            Self::Codex => "codex",
            Self::ClaudeCode => "claude-code",
            Self::Pi => "pi",
            Self::Hermes => "hermes",
            Self::Custom => "custom",
        }
    }
}

impl FromStr for Runtime {
    type Err = RuntimeError;
    /// Takes the words of the reference and the aliases that public clients send.
    fn from_str(word: &str) -> Result<Self, RuntimeError> {
        match word {
            "osa" => Ok(Self::Osa),
            "codex" => Ok(Self::Codex),
            "claude-code" | "claude_code" | "claude" => Ok(Self::ClaudeCode),
            "pi" => Ok(Self::Pi),
            "hermes" | "hermes-agent" => Ok(Self::Hermes),
            "custom" => Ok(Self::Custom),
            _ => Err(RuntimeError),
        }
    }
}

impl TryFrom<String> for Runtime {
    type Error = RuntimeError;
    fn try_from(word: String) -> Result<Self, RuntimeError> {
        word.parse()
    }
}

impl From<Runtime> for String {
    fn from(runtime: Runtime) -> Self {
        runtime.as_str().to_owned()
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kinds of resource a profile is for; none named means every kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AppliesTo(BTreeSet<ResourceKind>);

/// Why an `applies_to` can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppliesToError {
    /// Neither an object nor an array.
    #[error("must be an object such as {{\"resources\": [\"sandbox\"]}} or an array of kinds")]
    Shape,
    /// A member other than `resources`, `sandboxes`, `computers`, `agents`.
    #[error("has an unknown member {0:?}; use resources, sandboxes, computers or agents")]
    Member(String),
    /// A kind that does not exist.
    #[error("must name kinds of sandbox, computer, agent")]
    Kind,
    /// Every kind is switched off.
    #[error("must leave at least one kind; omit it to apply to all")]
    Nothing,
}

impl AppliesTo {
    /// Reads the three forms in use: `{"resources": [kinds]}`, an array of kinds, and
    /// `{"sandboxes": true, …}`. Null, `{}` and an empty array apply to every kind.
    ///
    /// # Errors
    /// On any other form.
    pub fn from_json(value: &Value) -> Result<Self, AppliesToError> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Array(kinds) => Ok(Self(read_kinds(kinds)?)),
            Value::Object(members) => Self::from_members(members),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(AppliesToError::Shape),
        }
    }

    fn from_members(members: &Map<String, Value>) -> Result<Self, AppliesToError> {
        let mut kinds = BTreeSet::new();
        let mut switched_off = false;
        for (member, value) in members {
            let kind = match member.as_str() {
                "resources" => {
                    kinds.extend(read_kinds(value.as_array().ok_or(AppliesToError::Shape)?)?);
                    continue;
                }
                "sandboxes" => ResourceKind::Sandbox,
                "computers" => ResourceKind::Computer,
                "agents" => ResourceKind::Agent,
                _ => return Err(AppliesToError::Member(member.chars().take(64).collect())),
            };
            match value.as_bool().ok_or(AppliesToError::Shape)? {
                true => drop(kinds.insert(kind)),
                false => switched_off = true,
            }
        }
        if kinds.is_empty() && switched_off { Err(AppliesToError::Nothing) } else { Ok(Self(kinds)) }
    }

    /// Whether the profile is for a resource of this kind, or for a run on one: a run matches by its
    /// resource's kind or as an agent.
    #[must_use]
    pub fn allows(&self, kind: ResourceKind, is_run: bool) -> bool {
        self.0.is_empty() || self.0.contains(&kind) || (is_run && self.0.contains(&ResourceKind::Agent))
    }
}

impl<'de> Deserialize<'de> for AppliesTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(Self)
    }
}

fn read_kinds(kinds: &[Value]) -> Result<BTreeSet<ResourceKind>, AppliesToError> {
    let read = |kind: &Value| kind.as_str().and_then(|word| word.parse().ok()).ok_or(AppliesToError::Kind);
    kinds.iter().map(read).collect()
}

/// A connector grant: an id, or an object that says more. Kept as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Connector {
    /// Only its id.
    Id(String),
    /// An object; its id is its `uid`, `id` or `name`.
    Object(Map<String, Value>),
}

/// Why a connector can't be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// Neither a string nor an object.
    #[error("must be a connector id or an object")]
    Shape,
    /// No usable id: `MIOSA_AGENT_CONNECTORS` lists ids between commas.
    #[error("must have an id (uid, id or name) that is not empty and holds no comma or control character")]
    Id,
}

impl Connector {
    /// Reads a connector.
    ///
    /// # Errors
    /// When it is neither id nor object, or its id can't be listed.
    pub fn from_json(value: Value) -> Result<Self, ConnectorError> {
        let connector = match value {
            Value::String(id) => Self::Id(id),
            Value::Object(members) => Self::Object(members),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(ConnectorError::Shape);
            }
        };
        match connector.id() {
            Some(id) if is_listable(id) => Ok(connector),
            _ => Err(ConnectorError::Id),
        }
    }

    /// The id it is granted under.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Object(members) => {
                ["uid", "id", "name"].iter().find_map(|member| members.get(*member)?.as_str())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Connector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(strict_value(deserializer)?.unwrap_or_default()).map_err(D::Error::custom)
    }
}

/// Whether a word can stand in a list between commas.
fn is_listable(word: &str) -> bool {
    !word.is_empty() && !word.chars().any(|c| c == ',' || c.is_control())
}

fn tool_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let tools = Option::<Vec<String>>::deserialize(deserializer)?;
    if tools.iter().flatten().all(|tool| is_listable(tool)) {
        Ok(tools)
    } else {
        Err(D::Error::custom("a tool's name must not be empty or hold a comma or control character"))
    }
}

/// How much a harness may do without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Never asks.
    Never,
    /// Decides by itself.
    Auto,
    /// Asks before what is risky.
    ConfirmRisky,
    /// Asks before everything.
    Always,
}

impl Approval {
    /// The approval's word in policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Auto => "auto",
            Self::ConfirmRisky => "confirm-risky",
            Self::Always => "always",
        }
    }

    /// Reads an approval; `None` for a word that is stored but means nothing here.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Never, Self::Auto, Self::ConfirmRisky, Self::Always]
            .into_iter()
            .find(|approval| approval.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applies_to_takes_the_three_forms_in_use() {
        use ResourceKind::{Agent, Computer, Sandbox};
        for form in [
            json!({"resources": ["sandbox", "computer"]}),
            json!(["computer", "sandbox"]),
            json!({"sandboxes": true, "computers": true, "agents": false}),
        ] {
            let applies_to = AppliesTo::from_json(&form).unwrap();
            assert!(applies_to.allows(Sandbox, false) && applies_to.allows(Computer, false), "{form}");
            assert!(!applies_to.allows(Agent, false), "{form}");
        }
        for all in [json!(null), json!({}), json!([]), json!({"resources": []})] {
            let applies_to = AppliesTo::from_json(&all).unwrap();
            assert!(ResourceKind::EVERY.iter().all(|kind| applies_to.allows(*kind, false)), "{all}");
        }
    }

    #[test]
    fn applies_to_refuses_what_it_does_not_know() {
        for bad in [json!("sandbox"), json!(["vm"]), json!({"kinds": []}), json!({"sandboxes": "yes"})] {
            assert!(AppliesTo::from_json(&bad).is_err(), "{bad}");
        }
        assert_eq!(AppliesTo::from_json(&json!({"sandboxes": false})), Err(AppliesToError::Nothing));
    }

    #[test]
    fn a_run_matches_as_an_agent_too() {
        let agents = AppliesTo::from_json(&json!(["agent"])).unwrap();
        assert!(agents.allows(ResourceKind::Sandbox, true));
        assert!(!agents.allows(ResourceKind::Sandbox, false));
    }

    #[test]
    fn a_connector_is_known_by_uid_id_or_name() {
        let object = |value| Connector::from_json(value).unwrap();
        assert_eq!(object(json!({"name": "n", "uid": "u"})).id(), Some("u"));
        assert_eq!(object(json!("refero/design-research")).id(), Some("refero/design-research"));
        for bad in [json!(""), json!("a,b"), json!({}), json!(7)] {
            assert!(Connector::from_json(bad).is_err());
        }
    }

    #[test]
    fn runtimes_have_one_word_and_some_aliases() {
        for (word, runtime) in [("claude", Runtime::ClaudeCode), ("hermes-agent", Runtime::Hermes)] {
            assert_eq!(word.parse(), Ok(runtime));
            assert_eq!(runtime.as_str().parse(), Ok(runtime));
        }
        assert_eq!("gpt".parse::<Runtime>(), Err(RuntimeError));
    }
}
