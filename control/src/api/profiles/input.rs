//! What clients may send about profiles, parsed.

use miosa_injector::model::{
    AppliesTo, Connector, EnvMap, ProjectId, Runtime, SecretValue, TOOLS, WorkspaceId,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::api::as_sent::{self, empty_object};
use crate::api::env::take_env;
use crate::api::error::{ApiError, FieldError};
use crate::api::fields::{Fields, Given, array, boolean, string, text};
use crate::api::provider_keys::provider_of;
use crate::api::query::Params;
use crate::store::profiles::{ProfileColumns, ProfileFilter};

/// A change of a profile.
#[derive(Debug)]
pub(super) struct Patch {
    workspace_id: Given<String>,
    project_id: Given<String>,
    name: Option<String>,
    runtime: Option<String>,
    description: Given<String>,
    applies_to: Given<Box<RawValue>>,
    tools: Given<Box<RawValue>>,
    connectors: Given<Box<RawValue>>,
    env: Given<Box<RawValue>>,
    policy: Given<Box<RawValue>>,
    metadata: Given<Box<RawValue>>,
    is_default: Given<bool>,
}

/// Reads a new profile, and the names of the fields that were given.
pub(super) fn parse_new(
    mut fields: Fields,
    params: Params,
) -> Result<(ProfileColumns, Vec<&'static str>), ApiError> {
    let name = fields.require("name", name);
    let runtime = fields.require("runtime", text::<Runtime>).map(String::from);
    let patch = Patch::take(&mut fields, name, runtime);
    let columns = patch.apply(blank());
    complain_of_tools(&mut fields, &columns);
    let given = fields.finish_with(params)?;
    Ok((columns, given))
}

/// The filter of a list.
pub(super) fn filter(params: &mut Params) -> ProfileFilter {
    ProfileFilter {
        workspace_id: params.take::<WorkspaceId>("workspace_id").map(String::from).unwrap_or_default(),
        project_id: params.take::<ProjectId>("project_id").map(String::from).unwrap_or_default(),
    }
}

impl Patch {
    /// Reads a change of the profile that was seen, and the names of the fields that were given.
    pub(super) fn parse(
        mut fields: Fields,
        params: Params,
        seen: &ProfileColumns,
        shown: &impl Serialize,
    ) -> Result<(Self, Vec<&'static str>), ApiError> {
        let name = not_null(&mut fields, "name", name);
        let runtime = not_null(&mut fields, "runtime", text::<Runtime>).map(String::from);
        let patch = Self::take(&mut fields, name, runtime);
        fields.must_equal(&["id", "created_at", "updated_at"], shown)?;
        complain_of_tools(&mut fields, &patch.apply(seen.clone()));
        let given = fields.finish_with(params)?;
        Ok((patch, given))
    }

    /// The profile after the change.
    pub(super) fn over(&self, current: ProfileColumns) -> Result<ProfileColumns, ApiError> {
        let columns = self.apply(current);
        match wrong_tools(&columns) {
            None => Ok(columns),
            Some(what) => Err(ApiError::invalid(vec![FieldError::new("tools", what)])),
        }
    }

    fn take(fields: &mut Fields, name: Option<String>, runtime: Option<String>) -> Self {
        Self {
            name,
            runtime,
            workspace_id: fields.take("workspace_id", |id| text::<WorkspaceId>(id).map(String::from)),
            project_id: fields.take("project_id", |id| text::<ProjectId>(id).map(String::from)),
            description: fields.take("description", description),
            applies_to: fields.take("applies_to", applies_to),
            tools: fields.take("tools", tools),
            connectors: take_connectors(fields),
            env: take_plain_env(fields),
            policy: fields.take("policy", as_sent::object),
            metadata: fields.take("metadata", as_sent::object),
            is_default: fields.take("is_default", boolean),
        }
    }

    fn apply(&self, current: ProfileColumns) -> ProfileColumns {
        let blank = blank();
        ProfileColumns {
            workspace_id: self.workspace_id.clone().over(current.workspace_id, blank.workspace_id),
            project_id: self.project_id.clone().over(current.project_id, blank.project_id),
            name: self.name.clone().unwrap_or(current.name),
            runtime: self.runtime.clone().unwrap_or(current.runtime),
            description: match &self.description {
                Given::Absent => current.description,
                Given::Null => None,
                Given::Value(description) => Some(description.clone()),
            },
            applies_to: self.applies_to.clone().over(current.applies_to, blank.applies_to),
            tools: self.tools.clone().over(current.tools, blank.tools),
            connectors: self.connectors.clone().over(current.connectors, blank.connectors),
            env: self.env.clone().over(current.env, blank.env),
            policy: self.policy.clone().over(current.policy, blank.policy),
            metadata: self.metadata.clone().over(current.metadata, blank.metadata),
            is_default: self.is_default.clone().over(current.is_default, blank.is_default),
        }
    }
}

/// What a profile holds where nothing was given.
fn blank() -> ProfileColumns {
    ProfileColumns {
        workspace_id: String::new(),
        project_id: String::new(),
        name: String::new(),
        runtime: String::new(),
        description: None,
        applies_to: empty_object(),
        tools: RawValue::NULL.to_owned(),
        connectors: RawValue::from_string("[]".to_owned()).unwrap_or_else(|_never| RawValue::NULL.to_owned()),
        env: empty_object(),
        policy: empty_object(),
        metadata: empty_object(),
        is_default: false,
    }
}

fn not_null<T, E: std::fmt::Display>(
    fields: &mut Fields,
    field: &'static str,
    parse: impl FnOnce(Value) -> Result<T, E>,
) -> Option<T> {
    match fields.take(field, parse) {
        Given::Value(value) => Some(value),
        Given::Absent => None,
        Given::Null => {
            fields.wrong(field, "must not be null");
            None
        }
    }
}

fn name(value: Value) -> Result<String, String> {
    let name = string(value)?;
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME {
        return Err(format!("must be 1 to {MAX_NAME} characters"));
    }
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    // Two names that look the same would be two profiles.
    if name.trim() != name {
        return Err("must not begin or end with white space".to_owned());
    }
    Ok(name)
}

fn description(value: Value) -> Result<String, String> {
    let text = string(value)?;
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(format!("must be at most {MAX_DESCRIPTION} characters"));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must not contain control characters other than line breaks and tabs".to_owned());
    }
    Ok(text)
}

fn applies_to(value: Value) -> Result<Box<RawValue>, String> {
    AppliesTo::from_json(&value).map_err(|error| error.to_string())?;
    as_sent::any(&value)
}

fn tools(value: Value) -> Result<Box<RawValue>, String> {
    let names: Vec<String> = array(value)?
        .into_iter()
        .map(string)
        .collect::<Result<_, _>>()
        .map_err(|_not_a_string| "must be an array of strings")?;
    // MIOSA_AGENT_TOOLS lists them between commas.
    let listable = |name: &String| {
        !name.is_empty() && name.len() <= MAX_TOOL && !name.chars().any(|c| c == ',' || c.is_control())
    };
    if !names.iter().all(listable) {
        return Err(format!("must be names of 1 to {MAX_TOOL} bytes without commas and control characters"));
    }
    as_sent::any(&names)
}

fn take_connectors(fields: &mut Fields) -> Given<Box<RawValue>> {
    match fields.take("connectors", array) {
        Given::Absent => Given::Absent,
        Given::Null => Given::Null,
        Given::Value(items) => {
            let mut connectors = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                match Connector::from_json(item) {
                    Ok(connector) => connectors.push(connector),
                    Err(error) => fields.wrong(format!("connectors[{at}]"), error),
                }
            }
            kept(fields, "connectors", as_sent::any(&connectors))
        }
    }
}

/// The env of a profile is shown to everybody who may read the profile.
fn take_plain_env(fields: &mut Fields) -> Given<Box<RawValue>> {
    match take_env(fields, "env") {
        Given::Absent => Given::Absent,
        Given::Null => Given::Null,
        Given::Value(env) => {
            for (name, value) in &env {
                if let Some(provider) = provider_of(value.expose()) {
                    fields.wrong(
                        format!("env.{name}"),
                        format!("looks like {provider}; profile env is not secret, so put it into runtime env (POST /api/v1/runtime-env) or name a managed one, such as miosa-managed:anthropic/name"),
                    );
                }
            }
            let raw = to_raw_value(&plain(&env)).map_err(|error| error.to_string());
            kept(fields, "env", raw)
        }
    }
}

fn plain(env: &EnvMap) -> Map<String, Value> {
    let text = |value: &SecretValue| Value::String(value.expose().to_owned());
    env.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn complain_of_tools(fields: &mut Fields, columns: &ProfileColumns) {
    if let Some(what) = wrong_tools(columns) {
        fields.wrong("tools", what);
    }
}

/// Only a custom harness has tools that are not known here.
fn wrong_tools(columns: &ProfileColumns) -> Option<String> {
    // Empty: the runtime itself was bad, and has been complained of.
    if columns.runtime == Runtime::Custom.as_str() || columns.runtime.is_empty() {
        return None;
    }
    let names: Option<Vec<String>> = serde_json::from_str(columns.tools.get()).ok()?;
    let known = names.unwrap_or_default().iter().all(|name| TOOLS.contains(&name.as_str()));
    (!known).then(|| format!("must be of {} unless the runtime is custom", TOOLS.join(", ")))
}

fn kept(
    fields: &mut Fields,
    field: &'static str,
    raw: Result<Box<RawValue>, String>,
) -> Given<Box<RawValue>> {
    match raw {
        Ok(raw) => Given::Value(raw),
        Err(what) => {
            fields.wrong(field, what);
            Given::Absent
        }
    }
}

const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 10_000;
const MAX_TOOL: usize = 64;
