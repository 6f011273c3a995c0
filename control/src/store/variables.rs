//! Runtime env: variables of a tenant's scopes. Values are sealed under the variable's identity,
//! which never changes, so that a ciphertext can't be given another name, target or scope.

use miosa_injector::model::{self, EnvName, Scope, SecretValue, TenantId};
use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Doing as _, Store, StoreError, Write};
use crate::at_rest::{DataKey, RowId, Sealed};
use crate::clock::Millis;
use crate::delivery;
use crate::page::{Page, Position};
use crate::token::generate_id;

/// A variable as stored: the columns `id, tenant_id, scope, scope_id, workspace_id, target, name,
/// generation, sealed, enabled, metadata, created_at, updated_at`.
#[derive(Debug)]
pub(crate) struct SealedVariable {
    /// Its tenant.
    pub(crate) tenant_id: String,
    /// Which of the tenant's data keys opens it.
    pub(crate) generation: i64,
    sealed: Vec<u8>,
    open: Columns,
}

/// A variable as stored, its value opened.
#[derive(Debug)]
pub(crate) struct StoredVariable {
    pub(crate) columns: Columns,
    pub(crate) value: SecretValue,
}

/// What of a variable is stored in plain.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) id: String,
    pub(crate) scope: String,
    /// The workspace or project that the scope names; empty for the tenant scope.
    pub(crate) scope_id: String,
    /// Empty when there is none. With the project scope it is a note, and no part of the identity.
    pub(crate) workspace_id: String,
    pub(crate) target: String,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) metadata: Box<RawValue>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// What makes a variable the same variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VariableIdentity<'a> {
    pub(crate) scope: &'a str,
    pub(crate) scope_id: &'a str,
    pub(crate) target: &'a str,
    pub(crate) name: &'a str,
}

/// A value to be stored.
#[derive(Debug)]
pub(crate) struct SealedValue {
    sealed: Sealed,
    /// Bytes of `NAME=value` and its NUL.
    size: i64,
}

/// What is to be stored under an identity. `None` leaves a stored variable's field as it is, and
/// gives a new one the default.
#[derive(Debug)]
pub(crate) struct VariableChange<'a> {
    pub(crate) workspace_id: Option<&'a str>,
    pub(crate) value: &'a SealedValue,
    pub(crate) enabled: Option<bool>,
    pub(crate) metadata: Option<&'a str>,
}

/// What is to change of a stored variable. `None` leaves a field as it is.
#[derive(Debug)]
pub(crate) struct VariableUpdate<'a> {
    pub(crate) value: Option<&'a SealedValue>,
    pub(crate) enabled: Option<bool>,
    pub(crate) metadata: Option<&'a str>,
}

/// Which variables to list; empty strings match all.
#[derive(Debug, Default)]
pub(crate) struct VariableFilter {
    pub(crate) scope: String,
    pub(crate) workspace_id: String,
    pub(crate) project_id: String,
    pub(crate) target: String,
}

/// Whether an upsert made a row or found one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upserted {
    Created,
    Updated,
}

impl<'a> VariableIdentity<'a> {
    /// The identity as additional data of the value's ciphertext.
    pub(crate) fn seal(
        self,
        tenant: &str,
        key: &DataKey,
        value: &SecretValue,
    ) -> Result<SealedValue, StoreError> {
        let parts = self.parts();
        let sealed = key
            .seal(row_id(tenant, &parts), value.expose().as_bytes())
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        let size = self.name.len().saturating_add(value.expose().len()).saturating_add(SEPARATORS);
        Ok(SealedValue { sealed, size: i64::try_from(size).unwrap_or(i64::MAX) })
    }

    fn parts(self) -> [&'a str; 4] {
        [self.scope, self.scope_id, self.target, self.name]
    }
}

impl SealedVariable {
    /// Reads a row.
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let text = |column: &str| row.try_get::<String, _>(column).doing(DOING);
        let metadata = RawValue::from_string(text("metadata")?);
        Ok(Self {
            tenant_id: text("tenant_id")?,
            generation: row.try_get("generation").doing(DOING)?,
            sealed: row.try_get("sealed").doing(DOING)?,
            open: Columns {
                id: text("id")?,
                scope: text("scope")?,
                scope_id: text("scope_id")?,
                workspace_id: text("workspace_id")?,
                target: text("target")?,
                name: text("name")?,
                enabled: row.try_get::<i64, _>("enabled").doing(DOING)? != 0,
                metadata: metadata.map_err(|_malformed| StoreError::Corrupt { what: WHAT })?,
                created_at: Millis(row.try_get("created_at").doing(DOING)?),
                updated_at: Millis(row.try_get("updated_at").doing(DOING)?),
            },
        })
    }

    /// Opens it with its data key.
    pub(crate) fn open(self, key: &DataKey) -> Result<StoredVariable, StoreError> {
        let parts = self.open.identity().parts();
        let mut plain = key
            .open(row_id(&self.tenant_id, &parts), &self.sealed)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        // Moved, so that no copy is left behind.
        let text = String::from_utf8(std::mem::take(&mut *plain));
        let value = text.ok().and_then(|text| SecretValue::new(text).ok());
        Ok(StoredVariable { value: value.ok_or(StoreError::Corrupt { what: WHAT })?, columns: self.open })
    }

    /// Opens it with its data key, as hosts resolve it.
    pub(crate) fn into_model(self, key: &DataKey) -> Result<model::Variable, StoreError> {
        const MALFORMED: StoreError = StoreError::Corrupt { what: WHAT };
        let tenant = self.tenant_id.parse().map_err(|_malformed| MALFORMED)?;
        self.open(key)?.into_model(tenant).ok_or(MALFORMED)
    }
}

impl Columns {
    /// What makes it this variable.
    pub(crate) fn identity(&self) -> VariableIdentity<'_> {
        VariableIdentity {
            scope: &self.scope,
            scope_id: &self.scope_id,
            target: &self.target,
            name: &self.name,
        }
    }
}

impl StoredVariable {
    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.columns.created_at, id: &self.columns.id }
    }

    fn into_model(self, tenant_id: TenantId) -> Option<model::Variable> {
        let Self { columns, value } = self;
        let scope = match columns.scope.as_str() {
            "tenant" => Scope::Tenant,
            "workspace" => Scope::Workspace(columns.scope_id.parse().ok()?),
            "project" => Scope::Project(columns.scope_id.parse().ok()?),
            _ => return None,
        };
        Some(model::Variable {
            id: columns.id.try_into().ok()?,
            tenant_id,
            scope,
            target: columns.target.parse().ok()?,
            name: EnvName::parse(&columns.name).ok()?,
            value,
            enabled: columns.enabled,
            deliver: delivery::stored(&columns.metadata),
        })
    }
}

impl Store {
    /// One variable of a tenant.
    pub(crate) async fn variable(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<StoredVariable>, StoreError> {
        let row = sqlx::query(
            "SELECT id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                    metadata, created_at, updated_at
             FROM variables WHERE tenant_id = $1 AND id = $2",
        )
        .bind(tenant)
        .bind(id)
        .fetch_optional(self.reader())
        .await
        .doing("read a variable")?;
        match row {
            Some(row) => self.open_variable(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A tenant's variables, oldest first.
    pub(crate) async fn variables(
        &self,
        tenant: &str,
        filter: &VariableFilter,
        page: &Page,
    ) -> Result<Vec<StoredVariable>, StoreError> {
        let after = page.after();
        let rows = sqlx::query(
            "SELECT id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                    metadata, created_at, updated_at
             FROM variables
             WHERE tenant_id = $1
               AND ($2 = '' OR scope = $2)
               AND ($3 = '' OR workspace_id = $3)
               AND ($4 = '' OR (scope = 'project' AND scope_id = $4))
               AND ($5 = '' OR target = $5)
               AND (created_at, id) > ($6, $7)
             ORDER BY created_at, id LIMIT $8",
        )
        .bind(tenant)
        .bind(filter.scope.as_str())
        .bind(filter.workspace_id.as_str())
        .bind(filter.project_id.as_str())
        .bind(filter.target.as_str())
        .bind(after.created_at.0)
        .bind(after.id)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing("list variables")?;
        let mut variables = Vec::with_capacity(rows.len());
        for row in &rows {
            variables.push(self.open_variable(row).await?);
        }
        Ok(variables)
    }

    async fn open_variable(&self, row: &AnyRow) -> Result<StoredVariable, StoreError> {
        let sealed = SealedVariable::read(row)?;
        let key = self.data_key_of(&sealed.tenant_id, sealed.generation).await?;
        sealed.open(&key)
    }
}

impl Write {
    /// The variable of an identity, as it was before this write.
    pub(crate) async fn variable_like(
        &mut self,
        tenant: &str,
        identity: VariableIdentity<'_>,
    ) -> Result<Option<StoredVariable>, StoreError> {
        let row = sqlx::query(
            "SELECT id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                    metadata, created_at, updated_at
             FROM variables
             WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND target = $4 AND name = $5",
        )
        .bind(tenant)
        .bind(identity.scope)
        .bind(identity.scope_id)
        .bind(identity.target)
        .bind(identity.name)
        .fetch_optional(self.connection())
        .await
        .doing("find a variable")?;
        match row {
            Some(row) => self.store().open_variable(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// How many bytes the enabled variables of a scope and target take as an environment.
    pub(crate) async fn enabled_bytes(
        &mut self,
        tenant: &str,
        identity: VariableIdentity<'_>,
    ) -> Result<i64, StoreError> {
        // A sum of BIGINT is NUMERIC on PostgreSQL.
        sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM variables
             WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND target = $4 AND enabled = 1",
        )
        .bind(tenant)
        .bind(identity.scope)
        .bind(identity.scope_id)
        .bind(identity.target)
        .fetch_one(self.connection())
        .await
        .doing("sum up variables")
    }

    /// Creates a variable, or changes the one that has this identity; `key` sealed its value. Until this write ends, no other
    /// changes the tenant's variables, so that their sum stays what it is.
    pub(crate) async fn upsert_variable(
        &mut self,
        tenant: &str,
        identity: VariableIdentity<'_>,
        change: &VariableChange<'_>,
        key: &DataKey,
    ) -> Result<(Upserted, StoredVariable), StoreError> {
        self.alone(WHAT, tenant).await?;
        let new_id = generate_id("env_")?;
        let at = self.at().0;
        let row = sqlx::query(
            "INSERT INTO variables (id, tenant_id, scope, scope_id, workspace_id, target, name, generation,
                                    sealed, size, enabled, metadata, created_at, updated_at)
             VALUES ($1, $2, $3, $4, COALESCE($5, ''), $6, $7, $8, $9, $10, COALESCE($11, 1),
                     COALESCE($12, '{}'), $13, $13)
             ON CONFLICT (tenant_id, scope, scope_id, target, name) DO UPDATE SET
                 workspace_id = COALESCE($5, variables.workspace_id),
                 generation = excluded.generation,
                 sealed = excluded.sealed,
                 size = excluded.size,
                 enabled = COALESCE($11, variables.enabled),
                 metadata = COALESCE($12, variables.metadata),
                 updated_at = excluded.updated_at
             RETURNING id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                       metadata, created_at, updated_at",
        )
        .bind(new_id.as_str())
        .bind(tenant)
        .bind(identity.scope)
        .bind(identity.scope_id)
        .bind(change.workspace_id)
        .bind(identity.target)
        .bind(identity.name)
        .bind(change.value.sealed.generation)
        .bind(change.value.sealed.bytes.as_slice())
        .bind(change.value.size)
        .bind(change.enabled.map(i64::from))
        .bind(change.metadata)
        .bind(at)
        .fetch_one(self.connection())
        .await
        .doing("store a variable")?;
        let stored = SealedVariable::read(&row)?.open(key)?;
        let upserted = if stored.columns.id == new_id { Upserted::Created } else { Upserted::Updated };
        Ok((upserted, stored))
    }

    /// Changes a stored variable; `None` when it is gone. No other write changes the tenant's variables
    /// until this one ends.
    pub(crate) async fn update_variable(
        &mut self,
        tenant: &str,
        id: &str,
        update: &VariableUpdate<'_>,
    ) -> Result<Option<StoredVariable>, StoreError> {
        self.alone(WHAT, tenant).await?;
        let at = self.at().0;
        let row = sqlx::query(
            "UPDATE variables SET generation = COALESCE($3, generation), sealed = COALESCE($4, sealed),
                    size = COALESCE($5, size), enabled = COALESCE($6, enabled),
                    metadata = COALESCE($7, metadata), updated_at = $8
             WHERE tenant_id = $1 AND id = $2
             RETURNING id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                       metadata, created_at, updated_at",
        )
        .bind(tenant)
        .bind(id)
        .bind(update.value.map(|value| value.sealed.generation))
        .bind(update.value.map(|value| value.sealed.bytes.as_slice()))
        .bind(update.value.map(|value| value.size))
        .bind(update.enabled.map(i64::from))
        .bind(update.metadata)
        .bind(at)
        .fetch_optional(self.connection())
        .await
        .doing("change a variable")?;
        match row {
            Some(row) => self.store().open_variable(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Deletes a variable; `false` when there is none.
    pub(crate) async fn delete_variable(&mut self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM variables WHERE tenant_id = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .execute(self.connection())
            .await
            .doing("delete a variable")?;
        Ok(deleted.rows_affected() > 0)
    }
}

fn row_id<'a>(tenant: &'a str, parts: &'a [&'a str]) -> RowId<'a> {
    RowId { kind: WHAT, tenant, parts }
}

/// `=` and the NUL at the end.
const SEPARATORS: usize = 2;
const WHAT: &str = "variable";
const DOING: &str = "read a variable";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, entry, origin};

    const A: VariableIdentity<'_> =
        VariableIdentity { scope: "tenant", scope_id: "", target: "all", name: "A" };
    const B: VariableIdentity<'_> = VariableIdentity { name: "B", ..A };

    async fn stored(store: &Store, tenant: &str, identity: VariableIdentity<'_>, value: &str) -> String {
        let key = store.data_key(tenant).await.unwrap();
        let value = identity.seal(tenant, &key, &SecretValue::new(value.to_owned()).unwrap()).unwrap();
        let change = VariableChange { workspace_id: None, value: &value, enabled: None, metadata: None };
        let mut write = store.begin(&origin()).await.unwrap();
        let (_, row) = write.upsert_variable(tenant, identity, &change, &key).await.unwrap();
        write.commit(entry(tenant, &row.columns.id)).await.unwrap();
        row.columns.id
    }

    #[tokio::test]
    async fn a_value_moved_to_another_row_does_not_open() {
        let test = TestStore::open().await;
        let (a, b) = (stored(&test.store, "t1", A, "of a").await, stored(&test.store, "t1", B, "of b").await);
        let foreign = stored(&test.store, "t2", A, "of another tenant").await;
        for from in [&b, &foreign] {
            sqlx::query(
                "UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE id = $1) WHERE id = $2",
            )
            .bind(from.as_str())
            .bind(a.as_str())
            .execute(test.store.writer())
            .await
            .unwrap();
            let opened = test.store.variable("t1", &a).await;
            assert!(matches!(opened, Err(StoreError::Sealed { .. })), "{opened:?}");
        }
        let listed = test.store.variables("t1", &VariableFilter::default(), &Page::new(None, None)).await;
        assert!(matches!(listed, Err(StoreError::Sealed { .. })), "{listed:?}");
    }

    #[tokio::test]
    async fn a_row_given_another_name_or_target_does_not_open() {
        let test = TestStore::open().await;
        let a = stored(&test.store, "t1", A, "of a").await;
        for change in [
            "UPDATE variables SET name = 'ADMIN_TOKEN' WHERE id = $1",
            "UPDATE variables SET name = 'A', target = 'agent' WHERE id = $1",
            "UPDATE variables SET target = 'all', scope = 'project', scope_id = 'p' WHERE id = $1",
        ] {
            sqlx::query(change).bind(a.as_str()).execute(test.store.writer()).await.unwrap();
            let opened = test.store.variable("t1", &a).await;
            assert!(matches!(opened, Err(StoreError::Sealed { .. })), "{change}: {opened:?}");
        }
    }
}
