//! What clients may send about variables, parsed.

use miosa_injector::model::{
    Deliver, EnvName, MAX_ENTRY_BYTES, ProjectId, SecretValue, Target, WorkspaceId, check_entry,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::as_sent;
use crate::api::env::RESERVED;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Given, boolean, string, text};
use crate::api::query::Params;
use crate::delivery;
use crate::store::variables::{StoredVariable, VariableFilter, VariableIdentity};

/// A variable to be created, or to be changed if there is one like it.
#[derive(Debug)]
pub(super) struct Upsert {
    scope: ScopeIds,
    target: Target,
    name: EnvName,
    pub(super) value: SecretValue,
    /// `None` when it wasn't sent.
    pub(super) enabled: Option<bool>,
    /// `None` when it wasn't sent.
    pub(super) metadata: Option<Box<RawValue>>,
    pub(super) given: Vec<&'static str>,
}

/// A change of a stored variable. `None` leaves a field as it is.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) value: Option<SecretValue>,
    pub(super) enabled: Option<bool>,
    pub(super) metadata: Option<Box<RawValue>>,
    pub(super) given: Vec<&'static str>,
}

/// A scope with the ids that come with it.
#[derive(Debug)]
enum ScopeIds {
    Tenant,
    Workspace(WorkspaceId),
    /// The workspace is a note.
    Project(ProjectId, Given<WorkspaceId>),
}

impl Upsert {
    pub(super) fn parse(mut fields: Fields, params: Params) -> Result<Self, ApiError> {
        let scope = take_scope(&mut fields);
        let target = fields.take("target", text).value().unwrap_or(Target::All);
        let name = fields.require("name", name);
        let value = fields.require("value", value);
        if let (Some(name), Some(value)) = (&name, &value)
            && check_entry(name, value).is_err()
        {
            fields.wrong("value", too_long());
        }
        let enabled = given(fields.take("enabled", boolean), true);
        let metadata = take_metadata(&mut fields, name.as_ref());
        let given = fields.finish_with(params)?;
        match (scope, name, value) {
            (Some(scope), Some(name), Some(value)) => {
                Ok(Self { scope, target, name, value, enabled, metadata, given })
            }
            // Unreachable: each of them has left an error behind.
            _ => Err(ApiError::invalid(Vec::new())),
        }
    }

    /// What it is known by.
    pub(super) fn identity(&self) -> VariableIdentity<'_> {
        let (scope, scope_id) = match &self.scope {
            ScopeIds::Tenant => ("tenant", ""),
            ScopeIds::Workspace(id) => ("workspace", id.as_str()),
            ScopeIds::Project(id, _) => ("project", id.as_str()),
        };
        VariableIdentity { scope, scope_id, target: self.target.as_str(), name: self.name.as_str() }
    }

    /// The workspace to note: `None` leaves it as it is.
    pub(super) fn workspace_column(&self) -> Option<&str> {
        match &self.scope {
            ScopeIds::Tenant | ScopeIds::Project(_, Given::Absent) => None,
            ScopeIds::Workspace(id) | ScopeIds::Project(_, Given::Value(id)) => Some(id.as_str()),
            ScopeIds::Project(_, Given::Null) => Some(""),
        }
    }
}

impl Patch {
    pub(super) fn parse(
        mut fields: Fields,
        params: Params,
        row: &StoredVariable,
        shown: &impl Serialize,
    ) -> Result<Self, ApiError> {
        let value = match fields.take("value", value) {
            Given::Value(value) => Some(value),
            Given::Absent => None,
            Given::Null => {
                fields.wrong("value", "must not be null; delete the variable instead");
                None
            }
        };
        let name = EnvName::parse(&row.columns.name).ok();
        if let (Some(value), Some(name)) = (&value, &name)
            && check_entry(name, value).is_err()
        {
            fields.wrong("value", too_long());
        }
        let enabled = given(fields.take("enabled", boolean), true);
        let metadata = take_metadata(&mut fields, name.as_ref());
        fields.must_equal(&FIXED, shown)?;
        let given = fields.finish_with(params)?;
        Ok(Self { value, enabled, metadata, given })
    }
}

/// The filter of a list.
pub(super) fn filter(params: &mut Params) -> VariableFilter {
    let scope: Option<ScopeWord> = params.take("scope");
    match scope {
        Some(ScopeWord::Workspace) if !params.has("workspace_id") => {
            params.wrong("workspace_id", "is required with scope=workspace");
        }
        Some(ScopeWord::Project) if !params.has("project_id") => {
            params.wrong("project_id", "is required with scope=project");
        }
        Some(_) | None => {}
    }
    VariableFilter {
        scope: scope.map(|scope| scope.as_str().to_owned()).unwrap_or_default(),
        workspace_id: params.take::<WorkspaceId>("workspace_id").map(String::from).unwrap_or_default(),
        project_id: params.take::<ProjectId>("project_id").map(String::from).unwrap_or_default(),
        target: params.take::<Target>("target").map(|target| target.as_str().to_owned()).unwrap_or_default(),
    }
}

fn take_scope(fields: &mut Fields) -> Option<ScopeIds> {
    match fields.require("scope", text::<ScopeWord>) {
        Some(ScopeWord::Tenant) => {
            refuse(fields, "workspace_id", "must not be given with scope tenant");
            refuse(fields, "project_id", "must not be given with scope tenant");
            Some(ScopeIds::Tenant)
        }
        Some(ScopeWord::Workspace) => {
            refuse(fields, "project_id", "must not be given with scope workspace");
            fields.require("workspace_id", text).map(ScopeIds::Workspace)
        }
        Some(ScopeWord::Project) => {
            let workspace = fields.take("workspace_id", text);
            fields.require("project_id", text).map(|project| ScopeIds::Project(project, workspace))
        }
        None => {
            // Still judged, so that all that is wrong is told at once.
            fields.take("workspace_id", text::<WorkspaceId>);
            fields.take("project_id", text::<ProjectId>);
            None
        }
    }
}

/// An id that the scope has no use for would be lost in silence, and the variable reach further
/// than its author thinks.
fn refuse(fields: &mut Fields, field: &'static str, what: &'static str) {
    fields.take(field, |_: Value| Err::<(), _>(what));
}

fn name(value: Value) -> Result<EnvName, String> {
    let name = EnvName::parse_upper(&string(value)?).map_err(|error| error.to_string())?;
    if name.is_reserved() { Err(RESERVED.to_owned()) } else { Ok(name) }
}

fn value(value: Value) -> Result<SecretValue, String> {
    SecretValue::new(string(value)?).map_err(|error| error.to_string())
}

/// Metadata are kept as they are sent; of what they say only the delivery is judged.
fn take_metadata(fields: &mut Fields, name: Option<&EnvName>) -> Option<Box<RawValue>> {
    let mut judged = Ok(Deliver::Env);
    let metadata = fields.take("metadata", |value| {
        judged = delivery::judge(&value);
        as_sent::object(value)
    });
    match judged {
        Err(error) => fields.wrong(DELIVER, error),
        Ok(Deliver::File | Deliver::Fd) if name.is_some_and(EnvName::is_env_only) => {
            fields.wrong(DELIVER, "must be env: the platform itself reads this variable in the environment");
        }
        Ok(_) => {}
    }
    given(metadata, as_sent::empty_object())
}

fn too_long() -> String {
    format!("must be so short that NAME=value is at most {MAX_ENTRY_BYTES} bytes, all that Linux passes on")
}

/// `null` is the default; absence is `None`, which keeps a stored value.
fn given<T>(field: Given<T>, default: T) -> Option<T> {
    match field {
        Given::Absent => None,
        Given::Null => Some(default),
        Given::Value(value) => Some(value),
    }
}

/// The scopes as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScopeWord {
    Tenant,
    Workspace,
    Project,
}

impl ScopeWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Workspace => "workspace",
            Self::Project => "project",
        }
    }
}

impl std::str::FromStr for ScopeWord {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Tenant, Self::Workspace, Self::Project]
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or("must be one of tenant, workspace, project")
    }
}

const DELIVER: &str = "metadata.deliver";
/// What of a variable can't be changed, but may be sent along as it is.
const FIXED: [&str; 10] = [
    "id",
    "tenant_id",
    "workspace_id",
    "project_id",
    "scope",
    "target",
    "name",
    "preview",
    "created_at",
    "updated_at",
];
