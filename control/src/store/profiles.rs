//! Agent runtime profiles. Nothing in them is secret by definition, so that all of it is stored in
//! plain, what clients sent as JSON as they sent it.

use miosa_injector::json;
use miosa_injector::model::{self, AppliesTo, Connector, EnvName, SecretValue, TenantId};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Doing as _, Store, StoreError, Write, is_taken};
use crate::clock::Millis;
use crate::page::{Page, Position};
use crate::token::generate_id;

/// A profile as stored: the columns `id, workspace_id, project_id, name, runtime, description,
/// applies_to, tools, connectors, env, policy, metadata, is_default, created_at, updated_at`.
#[derive(Debug, Clone)]
pub(crate) struct StoredProfile {
    pub(crate) id: String,
    pub(crate) columns: ProfileColumns,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// What a client decides about a profile.
#[derive(Debug, Clone)]
pub(crate) struct ProfileColumns {
    /// Empty when there is none.
    pub(crate) workspace_id: String,
    /// Empty when there is none.
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) runtime: String,
    pub(crate) description: Option<String>,
    pub(crate) applies_to: Box<RawValue>,
    /// An array, or null for a profile that does not restrict its tools.
    pub(crate) tools: Box<RawValue>,
    pub(crate) connectors: Box<RawValue>,
    pub(crate) env: Box<RawValue>,
    pub(crate) policy: Box<RawValue>,
    pub(crate) metadata: Box<RawValue>,
    pub(crate) is_default: bool,
}

/// Which profiles to list; empty strings match all.
#[derive(Debug, Default)]
pub(crate) struct ProfileFilter {
    pub(crate) workspace_id: String,
    pub(crate) project_id: String,
}

/// What came of writing a profile.
#[derive(Debug)]
pub(crate) enum ProfileWritten {
    /// It is stored now.
    Stored(Box<StoredProfile>),
    /// Another profile of its scope has its name. The transaction is of no use any more.
    NameTaken,
}

impl StoredProfile {
    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.created_at, id: &self.id }
    }

    fn into_model(self, tenant_id: TenantId) -> Option<model::Profile> {
        let columns = self.columns;
        Some(model::Profile {
            id: self.id.try_into().ok()?,
            tenant_id,
            workspace_id: optional_id(columns.workspace_id)?,
            project_id: optional_id(columns.project_id)?,
            name: columns.name,
            runtime: columns.runtime.parse().ok()?,
            applies_to: AppliesTo::from_json(&parsed(&columns.applies_to)?).ok()?,
            tools: serde_json::from_str(columns.tools.get()).ok()?,
            connectors: array(&columns.connectors)?
                .into_iter()
                .map(|connector| Connector::from_json(connector).ok())
                .collect::<Option<_>>()?,
            env: object(&columns.env)?
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(value) => {
                        Some((EnvName::parse(&name).ok()?, SecretValue::new(value).ok()?))
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        None
                    }
                })
                .collect::<Option<_>>()?,
            policy: object(&columns.policy)?,
            is_default: columns.is_default,
        })
    }
}

impl Store {
    /// One profile of a tenant.
    pub(crate) async fn profile(&self, tenant: &str, id: &str) -> Result<Option<StoredProfile>, StoreError> {
        let row = sqlx::query(
            "SELECT id, workspace_id, project_id, name, runtime, description, applies_to, tools, connectors,
                    env, policy, metadata, is_default, created_at, updated_at
             FROM profiles WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant)
        .bind(id)
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        row.as_ref().map(read).transpose()
    }

    /// A tenant's profiles, oldest first.
    pub(crate) async fn profiles(
        &self,
        tenant: &str,
        filter: &ProfileFilter,
        page: &Page,
    ) -> Result<Vec<StoredProfile>, StoreError> {
        let after = page.after();
        let rows = sqlx::query(
            "SELECT id, workspace_id, project_id, name, runtime, description, applies_to, tools, connectors,
                    env, policy, metadata, is_default, created_at, updated_at
             FROM profiles
             WHERE tenant_id = $1
               AND ($2 = '' OR workspace_id = $2)
               AND ($3 = '' OR project_id = $3)
               AND (created_at, id) > ($4, $5)
             ORDER BY created_at, id LIMIT $6",
        )
        .bind(tenant)
        .bind(filter.workspace_id.as_str())
        .bind(filter.project_id.as_str())
        .bind(after.created_at.0)
        .bind(after.id)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing("list profiles")?;
        rows.iter().map(read).collect()
    }
}

impl Write {
    /// Reads a profile for a change of it: until this write ends, nobody else changes it.
    pub(crate) async fn profile_to_change(
        &mut self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<StoredProfile>, StoreError> {
        self.alone("profile", tenant).await?;
        let row = sqlx::query(
            "SELECT id, workspace_id, project_id, name, runtime, description, applies_to, tools, connectors,
                    env, policy, metadata, is_default, created_at, updated_at
             FROM profiles WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant)
        .bind(id)
        .fetch_optional(self.connection())
        .await
        .doing(DOING)?;
        row.as_ref().map(read).transpose()
    }

    /// Ends the reign of the scope's default, in favour of the profile `except`. Gives its id.
    pub(crate) async fn unseat_default(
        &mut self,
        tenant: &str,
        columns: &ProfileColumns,
        except: &str,
    ) -> Result<Option<String>, StoreError> {
        self.alone("profile", tenant).await?;
        let at = self.at().0;
        sqlx::query_scalar(
            "UPDATE profiles SET is_default = 0, updated_at = $5
             WHERE tenant_id = $1 AND workspace_id = $2 AND project_id = $3 AND is_default = 1 AND id <> $4
             RETURNING id",
        )
        .bind(tenant)
        .bind(columns.workspace_id.as_str())
        .bind(columns.project_id.as_str())
        .bind(except)
        .bind(at)
        .fetch_optional(self.connection())
        .await
        .doing("unseat a default profile")
    }

    /// Stores a new profile. A default must have been unseated before.
    pub(crate) async fn insert_profile(
        &mut self,
        tenant: &str,
        columns: &ProfileColumns,
    ) -> Result<ProfileWritten, StoreError> {
        let id = generate_id("arp_")?;
        let at = self.at().0;
        let row = sqlx::query(
            "INSERT INTO profiles (id, tenant_id, workspace_id, project_id, name, runtime, description,
                                   applies_to, tools, connectors, env, policy, metadata, is_default,
                                   created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)
             RETURNING id, workspace_id, project_id, name, runtime, description, applies_to, tools, connectors,
                       env, policy, metadata, is_default, created_at, updated_at",
        )
        .bind(id)
        .bind(tenant)
        .bind(columns.workspace_id.as_str())
        .bind(columns.project_id.as_str())
        .bind(columns.name.as_str())
        .bind(columns.runtime.as_str())
        .bind(columns.description.as_deref())
        .bind(columns.applies_to.get())
        .bind(columns.tools.get())
        .bind(columns.connectors.get())
        .bind(columns.env.get())
        .bind(columns.policy.get())
        .bind(columns.metadata.get())
        .bind(i64::from(columns.is_default))
        .bind(at)
        .fetch_one(self.connection())
        .await;
        written(row, "store a profile")
    }

    /// Replaces what a stored profile holds; it must have been read for that in this write.
    pub(crate) async fn replace_profile(
        &mut self,
        tenant: &str,
        id: &str,
        columns: &ProfileColumns,
    ) -> Result<ProfileWritten, StoreError> {
        let at = self.at().0;
        let row = sqlx::query(
            "UPDATE profiles SET workspace_id = $3, project_id = $4, name = $5, runtime = $6,
                    description = $7, applies_to = $8, tools = $9, connectors = $10, env = $11, policy = $12,
                    metadata = $13, is_default = $14, updated_at = $15
             WHERE tenant_id = $1 AND id = $2
             RETURNING id, workspace_id, project_id, name, runtime, description, applies_to, tools, connectors,
                       env, policy, metadata, is_default, created_at, updated_at",
        )
        .bind(tenant)
        .bind(id)
        .bind(columns.workspace_id.as_str())
        .bind(columns.project_id.as_str())
        .bind(columns.name.as_str())
        .bind(columns.runtime.as_str())
        .bind(columns.description.as_deref())
        .bind(columns.applies_to.get())
        .bind(columns.tools.get())
        .bind(columns.connectors.get())
        .bind(columns.env.get())
        .bind(columns.policy.get())
        .bind(columns.metadata.get())
        .bind(i64::from(columns.is_default))
        .bind(at)
        .fetch_one(self.connection())
        .await;
        written(row, "change a profile")
    }

    /// Deletes a profile; `false` when there is none.
    pub(crate) async fn delete_profile(&mut self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM profiles WHERE tenant_id = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .execute(self.connection())
            .await
            .doing("delete a profile")?;
        Ok(deleted.rows_affected() > 0)
    }
}

/// Reads a row as hosts resolve it: the columns of [`StoredProfile`] and `tenant_id`.
pub(crate) fn read_model(row: &AnyRow) -> Result<model::Profile, StoreError> {
    const MALFORMED: StoreError = StoreError::Corrupt { what: "profile" };
    let tenant: &str = row.try_get("tenant_id").doing(DOING)?;
    read(row)?.into_model(tenant.parse().map_err(|_malformed| MALFORMED)?).ok_or(MALFORMED)
}

/// The only unique index left to fail on is the name's: the default was unseated, and ids are new.
fn written(row: Result<AnyRow, sqlx::Error>, doing: &'static str) -> Result<ProfileWritten, StoreError> {
    match row {
        Ok(row) => Ok(ProfileWritten::Stored(Box::new(read(&row)?))),
        Err(error) if is_taken(&error) => Ok(ProfileWritten::NameTaken),
        Err(error) => Err(error).doing(doing),
    }
}

fn read(row: &AnyRow) -> Result<StoredProfile, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column).doing(DOING);
    let raw = |column: &str| {
        RawValue::from_string(text(column)?).map_err(|_malformed| StoreError::Corrupt { what: "profile" })
    };
    Ok(StoredProfile {
        id: text("id")?,
        columns: ProfileColumns {
            workspace_id: text("workspace_id")?,
            project_id: text("project_id")?,
            name: text("name")?,
            runtime: text("runtime")?,
            description: row.try_get("description").doing(DOING)?,
            applies_to: raw("applies_to")?,
            tools: raw("tools")?,
            connectors: raw("connectors")?,
            env: raw("env")?,
            policy: raw("policy")?,
            metadata: raw("metadata")?,
            is_default: row.try_get::<i64, _>("is_default").doing(DOING)? != 0,
        },
        created_at: Millis(row.try_get("created_at").doing(DOING)?),
        updated_at: Millis(row.try_get("updated_at").doing(DOING)?),
    })
}

fn object(raw: &RawValue) -> Option<Map<String, Value>> {
    match parsed(raw)? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

fn array(raw: &RawValue) -> Option<Vec<Value>> {
    match parsed(raw)? {
        Value::Array(items) => Some(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

/// Read back as it was read when it came, and as hosts read it: by the strict reader.
fn parsed(raw: &RawValue) -> Option<Value> {
    json::parse(raw.get().as_bytes()).ok()
}

/// `Some(None)` for an absent id, `None` for a malformed one.
fn optional_id<T: TryFrom<String>>(stored: String) -> Option<Option<T>> {
    if stored.is_empty() { Some(None) } else { stored.try_into().ok().map(Some) }
}

const DOING: &str = "read a profile";
