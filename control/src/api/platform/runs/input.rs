//! What the platform may send about runs, parsed.

use miosa_injector::model::{CommandSpec, IdError, MAX_ENTRY_BYTES, Resource, Run, RunId, TenantId};
use serde_json::Value;

use crate::api::env::take_env;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, array, string, text};
use crate::api::platform::resources::check_profile;
use crate::api::platform::selection::SelectionFields;
use crate::api::query::Params;
use crate::clock::Millis;
use crate::store::runs::{RunNotes, StoredRun};
use crate::store::{Store, StoreError};
use crate::token::generate_id;

/// A run to be created.
#[derive(Debug)]
pub(super) struct NewRun {
    tenant_id: TenantId,
    run: Run,
    notes: RunNotes,
    ttl_seconds: i64,
    pub(super) id_was_given: bool,
    pub(super) given: Vec<&'static str>,
}

impl NewRun {
    pub(super) async fn parse(
        mut fields: Fields,
        params: Params,
        resource: &Resource,
        store: &Store,
    ) -> Result<Self, ApiError> {
        let sent_id = fields.take("id", text::<RunId>).value();
        let id_was_given = sent_id.is_some();
        let selection = SelectionFields::take(&mut fields).into_selection();
        check_profile(&mut fields, store, &resource.tenant_id, selection.profile_id.as_ref()).await?;
        let run = Run {
            id: sent_id.map_or_else(generated, Ok)?,
            resource_id: resource.id.clone(),
            env: take_env(&mut fields, "env").value().unwrap_or_default(),
            selection,
            instruction: fields.take("instruction", |value| line(value, MAX_ARGUMENT)).value(),
            cwd: fields.take("cwd", |value| line(value, MAX_PATH)).value(),
            command: fields.take("command", command).value(),
            runtime_command: fields.take("runtime_command", command).value(),
            model: fields.take("model", |value| line(value, MAX_NAME)).value(),
            provider: fields.take("provider", |value| line(value, MAX_NAME)).value(),
            approval_policy: fields.take("approval_policy", approval_policy).value(),
        };
        let notes = RunNotes {
            runner: fields.take("runner", |value| line(value, MAX_NAME)).value(),
            timeout: fields.take("timeout", seconds).value().map(u64::from),
        };
        let ttl_seconds = fields.take("ttl_seconds", seconds).value().map_or(DEFAULT_TTL, i64::from);
        let given = fields.finish_with(params)?;
        Ok(Self { tenant_id: resource.tenant_id.clone(), run, notes, ttl_seconds, id_was_given, given })
    }

    /// The run, if it is created at `now`.
    pub(super) fn created_at(self, now: Millis) -> StoredRun {
        StoredRun {
            tenant_id: self.tenant_id,
            run: self.run,
            notes: self.notes,
            created_at: now,
            expires_at: now.plus(self.ttl_seconds.saturating_mul(MILLIS_PER_SECOND)),
        }
    }
}

fn generated() -> Result<RunId, ApiError> {
    let id = generate_id("run_").map_err(StoreError::from)?;
    id.try_into().map_err(|error: IdError| ApiError::internal(&error))
}

/// Text that may become an argument or a path.
fn line(value: Value, max_bytes: usize) -> Result<String, String> {
    let text = string(value)?;
    if text.is_empty() {
        return Err("must not be empty; leave it out instead".to_owned());
    }
    if text.contains('\0') {
        return Err("must not contain a NUL character".to_owned());
    }
    if text.len() > max_bytes {
        return Err(format!("must be at most {max_bytes} bytes"));
    }
    Ok(text)
}

/// A string for the shell, or an array of arguments.
fn command(value: Value) -> Result<CommandSpec, String> {
    let command = match value {
        Value::String(line) => CommandSpec::shell(line),
        Value::Array(_) => CommandSpec::argv(
            array(value)?.into_iter().map(string).collect::<Result<_, _>>().map_err(|_not_a_string| SHAPE)?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(SHAPE.to_owned()),
    };
    let command = command.map_err(|error| error.to_string())?;
    if command.to_argv().iter().any(|argument| argument.len() > MAX_ARGUMENT) {
        return Err(format!("must have no argument over {MAX_ARGUMENT} bytes"));
    }
    Ok(command)
}

/// A word, or an object with a member `approval`. What it means is the host's matter.
fn approval_policy(value: Value) -> Result<Value, String> {
    match value {
        Value::String(word) => line(Value::String(word), MAX_NAME).map(Value::String),
        Value::Object(members) => {
            let policy = Value::Object(members);
            if policy.to_string().len() > MAX_POLICY {
                return Err(format!("must be at most {MAX_POLICY} bytes as JSON"));
            }
            Ok(policy)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err("must be a string or an object".to_owned())
        }
    }
}

fn seconds(value: Value) -> Result<u32, String> {
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    let seconds = seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    seconds.ok_or_else(|| format!("must be a whole number of seconds from 1 to {MAX_SECONDS}"))
}

pub(super) const MILLIS_PER_SECOND: i64 = 1000;
/// A day.
const DEFAULT_TTL: i64 = 24 * 60 * 60;
/// A year.
const MAX_SECONDS: u32 = 365 * 24 * 60 * 60;
/// The longest single string that Linux passes to a program (execve(2)).
const MAX_ARGUMENT: usize = MAX_ENTRY_BYTES;
/// `PATH_MAX` without its NUL.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 256;
/// It joins the profile's policy, at worst twice: as members, and as the word on approval. All of that
/// must fit the one variable that tells it to a program.
const MAX_POLICY: usize = 16 * 1024;
const SHAPE: &str = "must be a string or an array of strings";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_a_string_or_an_array_of_strings() {
        assert_eq!(command(json!("echo hi")), Ok(CommandSpec::Shell("echo hi".into())));
        assert_eq!(command(json!(["a", ""])), Ok(CommandSpec::Argv(vec!["a".into(), String::new()])));
        for bad in [json!(""), json!([]), json!([1]), json!({}), json!("a\0b"), json!(["x".repeat(200_000)])]
        {
            assert!(command(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_approval_policy_leaves_room_for_the_profiles() {
        let of = |bytes: usize| json!({"x": "y".repeat(bytes.saturating_sub(r#"{"x":""}"#.len()))});
        assert!(approval_policy(of(MAX_POLICY)).is_ok());
        assert!(approval_policy(of(MAX_POLICY + 1)).is_err());
    }

    #[test]
    fn times_are_whole_seconds_up_to_a_year() {
        assert_eq!(seconds(json!(86_400)), Ok(86_400));
        for bad in [json!(0), json!(-1), json!(1.5), json!("60"), json!(31_536_001)] {
            assert!(seconds(bad.clone()).is_err(), "{bad}");
        }
    }
}
