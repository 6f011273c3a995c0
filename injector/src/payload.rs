//! The payload of an update as bytes: strict to read, canonical to write. It does not know how the
//! bytes are sealed, signed or ordered.

mod record;
mod understands;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

pub use record::Record;
pub use understands::Understands;

use crate::json::{Object, object};
use crate::model::{
    AppliesTo, CommandSpec, Connector, EntryError, EnvMap, EnvName, Policy, Profile, ProfileId, ProjectId,
    Resource, ResourceId, ResourceKind, Run, RunId, Runtime, Scope, SecretValue, Selection, Target, TenantId,
    Variable, VariableId, WorkspaceId, check_entry,
};
use crate::state::{Records, State, StateError};

/// What an update puts and deletes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Records to add or replace.
    pub put: Records,
    /// Records to remove.
    pub delete: Deleted,
}

/// The ids of records to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// Runtime env variables.
    #[serde(rename = "env")]
    pub variables: BTreeSet<VariableId>,
    /// Profiles.
    pub profiles: BTreeSet<ProfileId>,
    /// Resources.
    pub resources: BTreeSet<ResourceId>,
    /// Runs.
    pub runs: BTreeSet<RunId>,
}

/// Why bytes are no payload, or a payload no state: P1 to P5 of the payload's checks.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// P1: not the JSON of a payload. The source never quotes a value.
    #[error("the payload is malformed")]
    Malformed(#[source] Redacted),
    /// P2: a variable that Linux could not pass to a program.
    #[error("{name} of {id} is too long")]
    EntryTooLong {
        /// The variable's name.
        name: EnvName,
        /// The record that sets it.
        id: String,
        /// Its size.
        source: EntryError,
    },
    /// P3: two records with one id.
    #[error("the payload holds {kind} {id} twice")]
    Twice {
        /// The kind of record.
        kind: &'static str,
        /// The repeated id.
        id: String,
    },
    /// P4: a full payload that deletes.
    #[error("a full payload must not delete anything")]
    FullDeletes,
    /// P5: the records make no state.
    #[error("the payload makes no state")]
    State(#[from] StateError),
}

/// Where a payload is malformed: line and column only, because serde's own text may quote a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{category} at line {line} column {column}")]
pub struct Redacted {
    category: &'static str,
    line: usize,
    column: usize,
}

impl Change {
    /// The change that sets a whole state.
    #[must_use]
    pub fn full(put: Records) -> Self {
        Self { put, delete: Deleted::default() }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// On malformed JSON, unknown or repeated members, ids, names or values out of order, and
    /// records that stand twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        // P1 is the reader, P2 `check_sizes`, P3 `by_id`; P4 and P5 are made where a state is.
        let Object(read): Object<ChangeIn> =
            serde_json::from_slice(bytes).map_err(|error| PayloadError::Malformed(Redacted::from(&error)))?;
        check_sizes(&read.put)?;
        let put = Records {
            variables: by_id("variable", read.put.env, |record: &Variable| &record.id)?,
            profiles: by_id("profile", read.put.profiles, |record: &Profile| &record.id)?,
            resources: by_id("resource", read.put.resources, |record: &Resource| &record.id)?,
            runs: by_id("run", read.put.runs, |record: &Run| &record.id)?,
        };
        Ok(Self { put, delete: read.delete })
    }

    /// Writes the payload. Equal changes give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let change = ChangeOut {
            put: PutOut {
                env: self.put.variables.values().map(VariableOut::from).collect(),
                profiles: self.put.profiles.values().map(ProfileOut::from).collect(),
                resources: self.put.resources.values().map(ResourceOut::from).collect(),
                runs: self.put.runs.values().map(RunOut::from).collect(),
            },
            delete: &self.delete,
        };
        to_bytes(&change)
    }
}

impl State {
    /// The state that a full payload sets.
    ///
    /// # Errors
    /// When the payload deletes, or its records make no state.
    pub fn from_full(change: Change) -> Result<Self, PayloadError> {
        if change.delete != Deleted::default() {
            return Err(PayloadError::FullDeletes);
        }
        Ok(Self::new(change.put)?)
    }
}

impl PayloadError {
    /// The number of the check in the description of the format of updates.
    #[must_use]
    pub fn check(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "P1",
            Self::EntryTooLong { .. } => "P2",
            Self::Twice { .. } => "P3",
            Self::FullDeletes => "P4",
            Self::State(_) => "P5",
        }
    }

    /// The stable name of this refusal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_payload",
            Self::EntryTooLong { .. } => "entry_too_long",
            Self::Twice { .. } => "record_twice",
            Self::FullDeletes => "full_deletes",
            Self::State(StateError::RunWithoutResource { .. }) => "run_without_resource",
        }
    }
}

impl From<&serde_json::Error> for Redacted {
    fn from(error: &serde_json::Error) -> Self {
        let category = match error.classify() {
            serde_json::error::Category::Io => "input error",
            serde_json::error::Category::Syntax => "JSON syntax error",
            serde_json::error::Category::Data => "unexpected data",
            serde_json::error::Category::Eof => "unexpected end",
        };
        Self { category, line: error.line(), column: error.column() }
    }
}

/// Serialises secrets without leaving copies behind: a first pass counts, so that the buffer, which
/// is wiped on drop, never moves while it is filled.
pub(crate) fn to_bytes(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut size = Counter(0);
    let counted = serde_json::to_writer(&mut size, value);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
    let written = serde_json::to_writer(&mut *bytes, value);
    debug_assert!(counted.is_ok() && written.is_ok(), "string keys and no I/O: nothing here can fail");
    bytes
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_sizes(put: &PutIn) -> Result<(), PayloadError> {
    let check = |id: &str, name: &EnvName, value: &SecretValue| {
        let too_long = |source| PayloadError::EntryTooLong { name: name.clone(), id: id.to_owned(), source };
        check_entry(name, value).map_err(too_long)
    };
    put.env.iter().try_for_each(|Object(record)| check(record.id.as_str(), &record.name, &record.value))?;
    let envs = put.profiles.iter().map(|Object(record)| (record.id.as_str(), &record.env));
    let envs = envs.chain(put.resources.iter().map(|Object(record)| (record.id.as_str(), &record.env)));
    let mut envs = envs.chain(put.runs.iter().map(|Object(record)| (record.id.as_str(), &record.env)));
    envs.try_for_each(|(id, env)| env.iter().try_for_each(|(name, value)| check(id, name, value)))
}

fn by_id<I: Ord + Clone + ToString, R>(
    kind: &'static str,
    records: Vec<Object<R>>,
    id: fn(&R) -> &I,
) -> Result<BTreeMap<I, R>, PayloadError> {
    let mut map = BTreeMap::new();
    for Object(record) in records {
        let id = id(&record).clone();
        if map.contains_key(&id) {
            return Err(PayloadError::Twice { kind, id: id.to_string() });
        }
        map.insert(id, record);
    }
    Ok(map)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeIn {
    #[serde(deserialize_with = "object")]
    put: PutIn,
    #[serde(deserialize_with = "object")]
    delete: Deleted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutIn {
    env: Vec<Object<Variable>>,
    profiles: Vec<Object<Profile>>,
    resources: Vec<Object<Resource>>,
    runs: Vec<Object<Run>>,
}

#[derive(Serialize)]
struct ChangeOut<'a> {
    put: PutOut<'a>,
    delete: &'a Deleted,
}

#[derive(Serialize)]
struct PutOut<'a> {
    env: Vec<VariableOut<'a>>,
    profiles: Vec<ProfileOut<'a>>,
    resources: Vec<ResourceOut<'a>>,
    runs: Vec<RunOut<'a>>,
}

#[derive(Serialize)]
struct VariableOut<'a> {
    id: &'a VariableId,
    tenant_id: &'a TenantId,
    scope: &'a Scope,
    target: Target,
    name: &'a str,
    value: &'a str,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver: Option<&'static str>,
}

impl<'a> From<&'a Variable> for VariableOut<'a> {
    fn from(record: &'a Variable) -> Self {
        Self {
            id: &record.id,
            tenant_id: &record.tenant_id,
            scope: &record.scope,
            target: record.target,
            name: record.name.as_str(),
            value: record.value.expose(),
            enabled: record.enabled,
            deliver: (!record.deliver.is_env()).then(|| record.deliver.as_str()),
        }
    }
}

#[derive(Serialize)]
struct ProfileOut<'a> {
    id: &'a ProfileId,
    tenant_id: &'a TenantId,
    workspace_id: &'a Option<WorkspaceId>,
    project_id: &'a Option<ProjectId>,
    name: &'a str,
    runtime: Runtime,
    applies_to: &'a AppliesTo,
    tools: &'a Option<Vec<String>>,
    connectors: &'a [Connector],
    env: BTreeMap<&'a str, &'a str>,
    policy: &'a Policy,
    is_default: bool,
}

impl<'a> From<&'a Profile> for ProfileOut<'a> {
    fn from(record: &'a Profile) -> Self {
        Self {
            id: &record.id,
            tenant_id: &record.tenant_id,
            workspace_id: &record.workspace_id,
            project_id: &record.project_id,
            name: &record.name,
            runtime: record.runtime,
            applies_to: &record.applies_to,
            tools: &record.tools,
            connectors: &record.connectors,
            env: exposed(&record.env),
            policy: &record.policy,
            is_default: record.is_default,
        }
    }
}

#[derive(Serialize)]
struct SelectionOut<'a> {
    skip: bool,
    profile_id: &'a Option<ProfileId>,
}

impl<'a> From<&'a Selection> for SelectionOut<'a> {
    fn from(selection: &'a Selection) -> Self {
        Self { skip: selection.skip, profile_id: &selection.profile_id }
    }
}

#[derive(Serialize)]
struct ResourceOut<'a> {
    id: &'a ResourceId,
    tenant_id: &'a TenantId,
    workspace_id: &'a Option<WorkspaceId>,
    project_id: &'a Option<ProjectId>,
    kind: ResourceKind,
    env: BTreeMap<&'a str, &'a str>,
    selection: SelectionOut<'a>,
}

impl<'a> From<&'a Resource> for ResourceOut<'a> {
    fn from(record: &'a Resource) -> Self {
        Self {
            id: &record.id,
            tenant_id: &record.tenant_id,
            workspace_id: &record.workspace_id,
            project_id: &record.project_id,
            kind: record.kind,
            env: exposed(&record.env),
            selection: (&record.selection).into(),
        }
    }
}

#[derive(Serialize)]
struct RunOut<'a> {
    id: &'a RunId,
    resource_id: &'a ResourceId,
    env: BTreeMap<&'a str, &'a str>,
    selection: SelectionOut<'a>,
    instruction: &'a Option<String>,
    cwd: &'a Option<String>,
    command: &'a Option<CommandSpec>,
    runtime_command: &'a Option<CommandSpec>,
    model: &'a Option<String>,
    provider: &'a Option<String>,
    approval_policy: &'a Option<Value>,
}

impl<'a> From<&'a Run> for RunOut<'a> {
    fn from(record: &'a Run) -> Self {
        Self {
            id: &record.id,
            resource_id: &record.resource_id,
            env: exposed(&record.env),
            selection: (&record.selection).into(),
            instruction: &record.instruction,
            cwd: &record.cwd,
            command: &record.command,
            runtime_command: &record.runtime_command,
            model: &record.model,
            provider: &record.provider,
            approval_policy: &record.approval_policy,
        }
    }
}

fn exposed(env: &EnvMap) -> BTreeMap<&str, &str> {
    env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}
