//! Resources: what the platform placed on which host. A resource's own env is sealed under its
//! tenant and id, so that it opens as no other resource's.

use std::str::FromStr;

use miosa_injector::model::{
    EnvMap, ProfileId, Resource, ResourceId, ResourceKind, Selection, TenantId, strict_env,
};
use miosa_snapshot::HostId;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::env_json::{exposed, to_bytes};
use super::{Doing as _, Store, StoreError, Write, is_taken};
use crate::at_rest::{DataKey, RowId, Sealed};
use crate::clock::Millis;
use crate::page::{Page, Position};

/// A resource as stored, its env opened.
#[derive(Debug, Clone)]
pub(crate) struct StoredResource {
    pub(crate) resource: Resource,
    pub(crate) host_id: HostId,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// Which resources to list; empty strings match all.
#[derive(Debug, Default)]
pub(crate) struct ResourceFilter {
    pub(crate) tenant_id: String,
    pub(crate) host_id: String,
    pub(crate) kind: String,
    pub(crate) workspace_id: String,
    pub(crate) project_id: String,
}

/// What is to change of a resource. `None` leaves a field as it is; an empty id means none.
#[derive(Debug, Default)]
pub(crate) struct ResourceUpdate<'a> {
    pub(crate) workspace_id: Option<&'a str>,
    pub(crate) project_id: Option<&'a str>,
    pub(crate) profile_id: Option<&'a str>,
    pub(crate) skip_profile: Option<bool>,
    pub(crate) env: Option<&'a Sealed>,
}

/// What came of creating a record whose id the client may choose.
#[derive(Debug)]
pub(crate) enum Created<T> {
    /// It is stored now.
    Yes(Box<T>),
    /// Its id is in use. The transaction is of no use any more.
    IdTaken,
    /// What it belongs to is gone. The transaction is of no use any more.
    ParentGone,
}

/// A resource's row, its env still sealed.
#[derive(Debug)]
pub(super) struct SealedResource {
    stored: StoredResource,
    generation: i64,
    sealed: Vec<u8>,
}

impl StoredResource {
    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.created_at, id: self.resource.id.as_str() }
    }
}

/// Seals a resource's env.
pub(crate) fn seal_env(
    key: &DataKey,
    tenant: &TenantId,
    id: &ResourceId,
    env: &EnvMap,
) -> Result<Sealed, StoreError> {
    let plain = to_bytes(&Plain { env }).map_err(|_no_io| StoreError::Corrupt { what: WHAT })?;
    key.seal(row_id(tenant, &[id.as_str()]), &plain)
        .map_err(|source| StoreError::Sealed { what: WHAT, source })
}

impl Store {
    /// One resource.
    pub(crate) async fn resource(&self, id: &ResourceId) -> Result<Option<StoredResource>, StoreError> {
        let row = sqlx::query(
            "SELECT id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile,
                    generation, sealed, created_at, updated_at
             FROM resources WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        match row {
            Some(row) => self.open_resource(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Resources, oldest first.
    pub(crate) async fn resources(
        &self,
        filter: &ResourceFilter,
        page: &Page,
    ) -> Result<Vec<StoredResource>, StoreError> {
        let after = page.after();
        let rows = sqlx::query(
            "SELECT id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile,
                    generation, sealed, created_at, updated_at
             FROM resources
             WHERE ($1 = '' OR tenant_id = $1)
               AND ($2 = '' OR host_id = $2)
               AND ($3 = '' OR kind = $3)
               AND ($4 = '' OR workspace_id = $4)
               AND ($5 = '' OR project_id = $5)
               AND (created_at, id) > ($6, $7)
             ORDER BY created_at, id LIMIT $8",
        )
        .bind(filter.tenant_id.as_str())
        .bind(filter.host_id.as_str())
        .bind(filter.kind.as_str())
        .bind(filter.workspace_id.as_str())
        .bind(filter.project_id.as_str())
        .bind(after.created_at.0)
        .bind(after.id)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing("list resources")?;
        let mut resources = Vec::with_capacity(rows.len());
        for row in &rows {
            resources.push(self.open_resource(row).await?);
        }
        Ok(resources)
    }

    async fn open_resource(&self, row: &AnyRow) -> Result<StoredResource, StoreError> {
        let sealed = SealedResource::read(row)?;
        let (tenant, generation) = sealed.key();
        let key = self.data_key_of(tenant, generation).await?;
        sealed.open(&key)
    }
}

impl Write {
    /// Stores a new resource.
    pub(crate) async fn insert_resource(
        &mut self,
        host: &HostId,
        resource: &Resource,
        env: &Sealed,
    ) -> Result<Created<StoredResource>, StoreError> {
        let at = self.at();
        let inserted = sqlx::query(
            "INSERT INTO resources (id, tenant_id, host_id, kind, workspace_id, project_id, profile_id,
                                    skip_profile, generation, sealed, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        )
        .bind(resource.id.as_str())
        .bind(resource.tenant_id.as_str())
        .bind(host.as_str())
        .bind(resource.kind.as_str())
        .bind(resource.workspace_id.as_ref().map_or("", |id| id.as_str()))
        .bind(resource.project_id.as_ref().map_or("", |id| id.as_str()))
        .bind(resource.selection.profile_id.as_ref().map_or("", |id| id.as_str()))
        .bind(i64::from(resource.selection.skip))
        .bind(env.generation)
        .bind(env.bytes.as_slice())
        .bind(at.0)
        .execute(self.connection())
        .await;
        match inserted {
            Ok(_) => Ok(Created::Yes(Box::new(StoredResource {
                resource: resource.clone(),
                host_id: host.clone(),
                created_at: at,
                updated_at: at,
            }))),
            Err(error) if is_taken(&error) => Ok(Created::IdTaken),
            Err(error) => Err(error).doing("store a resource"),
        }
    }

    /// Changes a stored resource; `None` when it is gone.
    pub(crate) async fn update_resource(
        &mut self,
        id: &ResourceId,
        update: &ResourceUpdate<'_>,
    ) -> Result<Option<StoredResource>, StoreError> {
        let at = self.at().0;
        let row = sqlx::query(
            "UPDATE resources SET workspace_id = COALESCE($2, workspace_id),
                    project_id = COALESCE($3, project_id), profile_id = COALESCE($4, profile_id),
                    skip_profile = COALESCE($5, skip_profile), generation = COALESCE($6, generation),
                    sealed = COALESCE($7, sealed), updated_at = $8
             WHERE id = $1
             RETURNING id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile,
                       generation, sealed, created_at, updated_at",
        )
        .bind(id.as_str())
        .bind(update.workspace_id)
        .bind(update.project_id)
        .bind(update.profile_id)
        .bind(update.skip_profile.map(i64::from))
        .bind(update.env.map(|env| env.generation))
        .bind(update.env.map(|env| env.bytes.as_slice()))
        .bind(at)
        .fetch_optional(self.connection())
        .await
        .doing("change a resource")?;
        match row {
            Some(row) => self.store().open_resource(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Deletes a resource with its runs. Gives the ids of those, or `None` when it is gone.
    pub(crate) async fn delete_resource(
        &mut self,
        id: &ResourceId,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let runs = sqlx::query_scalar("DELETE FROM runs WHERE resource_id = $1 RETURNING id")
            .bind(id.as_str())
            .fetch_all(self.connection())
            .await
            .doing("delete a resource's runs")?;
        let deleted = sqlx::query("DELETE FROM resources WHERE id = $1")
            .bind(id.as_str())
            .execute(self.connection())
            .await
            .doing("delete a resource")?;
        Ok((deleted.rows_affected() > 0).then_some(runs))
    }
}

impl SealedResource {
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let text = |column: &str| row.try_get::<&str, _>(column).doing(DOING);
        let corrupt = || StoreError::Corrupt { what: WHAT };
        let resource = Resource {
            id: text("id")?.parse().map_err(|_never_written| corrupt())?,
            tenant_id: text("tenant_id")?.parse().map_err(|_never_written| corrupt())?,
            workspace_id: optional_id(text("workspace_id")?).ok_or_else(corrupt)?,
            project_id: optional_id(text("project_id")?).ok_or_else(corrupt)?,
            kind: text("kind")?.parse::<ResourceKind>().map_err(|_never_written| corrupt())?,
            env: EnvMap::new(),
            selection: read_selection(row, DOING)?.ok_or_else(corrupt)?,
        };
        let stored = StoredResource {
            resource,
            host_id: text("host_id")?.parse().map_err(|_never_written| corrupt())?,
            created_at: Millis(row.try_get("created_at").doing(DOING)?),
            updated_at: Millis(row.try_get("updated_at").doing(DOING)?),
        };
        let generation = row.try_get("generation").doing(DOING)?;
        Ok(Self { stored, generation, sealed: row.try_get("sealed").doing(DOING)? })
    }

    /// The resource without its env.
    pub(super) fn resource(&self) -> &Resource {
        &self.stored.resource
    }

    /// The tenant and generation of the key that opens it.
    pub(super) fn key(&self) -> (&str, i64) {
        (self.stored.resource.tenant_id.as_str(), self.generation)
    }

    pub(super) fn open(mut self, key: &DataKey) -> Result<StoredResource, StoreError> {
        let resource = &mut self.stored.resource;
        let plain = key
            .open(row_id(&resource.tenant_id, &[resource.id.as_str()]), &self.sealed)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        let opened: Opened =
            serde_json::from_slice(&plain).map_err(|_never_written| StoreError::Corrupt { what: WHAT })?;
        resource.env = opened.env;
        Ok(self.stored)
    }
}

/// The selection in a row of resources or runs.
pub(super) fn read_selection(row: &AnyRow, doing: &'static str) -> Result<Option<Selection>, StoreError> {
    let skip = row.try_get::<i64, _>("skip_profile").doing(doing)? != 0;
    let profile: Option<Option<ProfileId>> = optional_id(row.try_get("profile_id").doing(doing)?);
    Ok(profile.map(|profile_id| Selection { skip, profile_id }))
}

/// An id that may be absent, which is stored as `''`; `None` for what can't be one.
fn optional_id<T: FromStr>(stored: &str) -> Option<Option<T>> {
    if stored.is_empty() { Some(None) } else { stored.parse().ok().map(Some) }
}

/// What is sealed of a resource.
#[derive(Serialize)]
struct Plain<'a> {
    #[serde(serialize_with = "exposed")]
    env: &'a EnvMap,
}

#[derive(Deserialize)]
struct Opened {
    #[serde(deserialize_with = "strict_env")]
    env: EnvMap,
}

fn row_id<'a>(tenant: &'a TenantId, parts: &'a [&'a str]) -> RowId<'a> {
    RowId { kind: WHAT, tenant: tenant.as_str(), parts }
}

const WHAT: &str = "resource";
const DOING: &str = "read a resource";
