//! Runs on resources. All that a run says is sealed under its tenant, resource and id: not its env
//! alone, since an instruction or a command may carry a secret as well.

use miosa_injector::json::strict_value;
use miosa_injector::model::{
    CommandSpec, EnvMap, ProfileId, ResourceId, Run, RunId, Selection, TenantId, strict_env,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::env_json::{exposed, to_bytes};
use super::resources::{Created, read_selection};
use super::{Doing as _, Store, StoreError, Write, is_taken};
use crate::at_rest::{DataKey, RowId, Sealed};
use crate::clock::Millis;
use crate::page::{Page, Position};

/// A run as stored, opened.
#[derive(Debug, Clone)]
pub(crate) struct StoredRun {
    pub(crate) tenant_id: TenantId,
    pub(crate) run: Run,
    pub(crate) notes: RunNotes,
    pub(crate) created_at: Millis,
    /// When it ends by itself.
    pub(crate) expires_at: Millis,
}

/// What the platform keeps with a run and hosts have no use for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunNotes {
    pub(crate) runner: Option<String>,
    /// In seconds.
    pub(crate) timeout: Option<u64>,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExpiredRun {
    pub(crate) tenant_id: String,
    pub(crate) host_id: String,
    pub(crate) id: String,
}

/// A run's row, still sealed.
#[derive(Debug)]
pub(super) struct SealedRun {
    id: RunId,
    resource_id: ResourceId,
    tenant_id: TenantId,
    selection: Selection,
    created_at: Millis,
    expires_at: Millis,
    generation: i64,
    sealed: Vec<u8>,
}

impl StoredRun {
    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.created_at, id: self.run.id.as_str() }
    }

    /// Seals what it says.
    pub(crate) fn seal(&self, key: &DataKey) -> Result<Sealed, StoreError> {
        let run = &self.run;
        let plain = to_bytes(&Plain {
            env: &run.env,
            instruction: run.instruction.as_deref(),
            cwd: run.cwd.as_deref(),
            command: run.command.as_ref(),
            runtime_command: run.runtime_command.as_ref(),
            model: run.model.as_deref(),
            provider: run.provider.as_deref(),
            approval_policy: run.approval_policy.as_ref(),
            notes: &self.notes,
        });
        let plain = plain.map_err(|_no_io| StoreError::Corrupt { what: WHAT })?;
        key.seal(row_id(&self.tenant_id, &[run.resource_id.as_str(), run.id.as_str()]), &plain)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })
    }
}

impl Store {
    /// One run on a resource, unless it is over.
    pub(crate) async fn run(
        &self,
        resource: &ResourceId,
        id: &RunId,
        now: Millis,
    ) -> Result<Option<StoredRun>, StoreError> {
        let row = sqlx::query(
            "SELECT id, resource_id, tenant_id, profile_id, skip_profile, generation, sealed, created_at,
                    expires_at
             FROM runs WHERE id = $1 AND resource_id = $2 AND expires_at > $3",
        )
        .bind(id.as_str())
        .bind(resource.as_str())
        .bind(now.0)
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        match row {
            Some(row) => self.open_run(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The runs on a resource that aren't over, oldest first.
    pub(crate) async fn runs(
        &self,
        resource: &ResourceId,
        page: &Page,
        now: Millis,
    ) -> Result<Vec<StoredRun>, StoreError> {
        let after = page.after();
        let rows = sqlx::query(
            "SELECT id, resource_id, tenant_id, profile_id, skip_profile, generation, sealed, created_at,
                    expires_at
             FROM runs
             WHERE resource_id = $1 AND expires_at > $2 AND (created_at, id) > ($3, $4)
             ORDER BY created_at, id LIMIT $5",
        )
        .bind(resource.as_str())
        .bind(now.0)
        .bind(after.created_at.0)
        .bind(after.id)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing("list runs")?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in &rows {
            runs.push(self.open_run(row).await?);
        }
        Ok(runs)
    }

    /// Runs that are over and still stored: the longest over first, and not too many at once.
    pub(crate) async fn expired_runs(&self, now: Millis) -> Result<Vec<ExpiredRun>, StoreError> {
        const DOING: &str = "look for runs that are over";
        let rows = sqlx::query(
            "SELECT runs.id, runs.tenant_id, resources.host_id
             FROM runs JOIN resources ON resources.id = runs.resource_id
             WHERE runs.expires_at <= $1 ORDER BY runs.expires_at LIMIT 256",
        )
        .bind(now.0)
        .fetch_all(self.reader())
        .await
        .doing(DOING)?;
        let text = |row: &AnyRow, column: &str| row.try_get::<String, _>(column).doing(DOING);
        rows.iter()
            .map(|row| {
                Ok(ExpiredRun {
                    tenant_id: text(row, "tenant_id")?,
                    host_id: text(row, "host_id")?,
                    id: text(row, "id")?,
                })
            })
            .collect()
    }

    async fn open_run(&self, row: &AnyRow) -> Result<StoredRun, StoreError> {
        let sealed = SealedRun::read(row)?;
        let (tenant, generation) = sealed.key();
        let key = self.data_key_of(tenant, generation).await?;
        sealed.open(&key)
    }
}

impl Write {
    /// How many runs on a resource aren't over. Until this write ends, no other that asks adds one.
    pub(crate) async fn live_runs(&mut self, resource: &ResourceId) -> Result<i64, StoreError> {
        self.alone(WHAT, resource.as_str()).await?;
        let now = self.at().0;
        sqlx::query_scalar("SELECT COUNT(*) FROM runs WHERE resource_id = $1 AND expires_at > $2")
            .bind(resource.as_str())
            .bind(now)
            .fetch_one(self.connection())
            .await
            .doing("count runs")
    }

    /// Stores a new run.
    pub(crate) async fn insert_run(
        &mut self,
        run: StoredRun,
        sealed: &Sealed,
    ) -> Result<Created<StoredRun>, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO runs (id, resource_id, tenant_id, profile_id, skip_profile, generation, sealed,
                               created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(run.run.id.as_str())
        .bind(run.run.resource_id.as_str())
        .bind(run.tenant_id.as_str())
        .bind(run.run.selection.profile_id.as_ref().map_or("", |id| id.as_str()))
        .bind(i64::from(run.run.selection.skip))
        .bind(sealed.generation)
        .bind(sealed.bytes.as_slice())
        .bind(run.created_at.0)
        .bind(run.expires_at.0)
        .execute(self.connection())
        .await;
        match inserted {
            Ok(_) => Ok(Created::Yes(Box::new(run))),
            Err(error) if is_taken(&error) => Ok(Created::IdTaken),
            Err(error) if is_orphan(&error) => Ok(Created::ParentGone),
            Err(error) => Err(error).doing("store a run"),
        }
    }

    /// Deletes a run; `false` when it is gone.
    pub(crate) async fn delete_run(&mut self, id: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM runs WHERE id = $1")
            .bind(id)
            .execute(self.connection())
            .await
            .doing("delete a run")?;
        Ok(deleted.rows_affected() > 0)
    }
}

impl SealedRun {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let text = |column: &str| row.try_get::<&str, _>(column).doing(DOING);
        let corrupt = || StoreError::Corrupt { what: WHAT };
        Ok(Self {
            id: text("id")?.parse().map_err(|_never_written| corrupt())?,
            resource_id: text("resource_id")?.parse().map_err(|_never_written| corrupt())?,
            tenant_id: text("tenant_id")?.parse().map_err(|_never_written| corrupt())?,
            selection: read_selection(row, DOING)?.ok_or_else(corrupt)?,
            created_at: Millis(row.try_get("created_at").doing(DOING)?),
            expires_at: Millis(row.try_get("expires_at").doing(DOING)?),
            generation: row.try_get("generation").doing(DOING)?,
            sealed: row.try_get("sealed").doing(DOING)?,
        })
    }

    pub(super) fn tenant_id(&self) -> &TenantId {
        &self.tenant_id
    }

    /// The profile that it names.
    pub(super) fn profile_id(&self) -> Option<&ProfileId> {
        self.selection.profile_id.as_ref()
    }

    /// The tenant and generation of the key that opens it.
    pub(super) fn key(&self) -> (&str, i64) {
        (self.tenant_id.as_str(), self.generation)
    }

    pub(super) fn open(self, key: &DataKey) -> Result<StoredRun, StoreError> {
        let plain = key
            .open(row_id(&self.tenant_id, &[self.resource_id.as_str(), self.id.as_str()]), &self.sealed)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        let opened: Opened =
            serde_json::from_slice(&plain).map_err(|_never_written| StoreError::Corrupt { what: WHAT })?;
        Ok(StoredRun {
            tenant_id: self.tenant_id,
            run: Run {
                id: self.id,
                resource_id: self.resource_id,
                env: opened.env,
                selection: self.selection,
                instruction: opened.instruction,
                cwd: opened.cwd,
                command: opened.command,
                runtime_command: opened.runtime_command,
                model: opened.model,
                provider: opened.provider,
                approval_policy: opened.approval_policy,
            },
            notes: opened.notes,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// What is sealed of a run.
#[derive(Serialize)]
struct Plain<'a> {
    #[serde(serialize_with = "exposed")]
    env: &'a EnvMap,
    instruction: Option<&'a str>,
    cwd: Option<&'a str>,
    command: Option<&'a CommandSpec>,
    runtime_command: Option<&'a CommandSpec>,
    model: Option<&'a str>,
    provider: Option<&'a str>,
    approval_policy: Option<&'a Value>,
    notes: &'a RunNotes,
}

#[derive(Deserialize)]
struct Opened {
    #[serde(deserialize_with = "strict_env")]
    env: EnvMap,
    instruction: Option<String>,
    cwd: Option<String>,
    command: Option<CommandSpec>,
    runtime_command: Option<CommandSpec>,
    model: Option<String>,
    provider: Option<String>,
    #[serde(deserialize_with = "strict_value")]
    approval_policy: Option<Value>,
    notes: RunNotes,
}

/// Whether a statement failed because the row it refers to is gone.
fn is_orphan(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}

fn row_id<'a>(tenant: &'a TenantId, parts: &'a [&'a str]) -> RowId<'a> {
    RowId { kind: WHAT, tenant: tenant.as_str(), parts }
}

const WHAT: &str = "run";
const DOING: &str = "read a run";
