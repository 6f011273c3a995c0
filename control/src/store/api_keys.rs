//! Keys of the tenant and platform APIs. A key that was looked up is taken as good for a moment, so
//! that a busy client does not cost a query a request; revoking it takes effect as soon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use miosa_injector::model::TenantId;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Doing as _, Entry, Record, Store, StoreError, Write};
use crate::auth::Role;
use crate::clock::Millis;
use crate::token::{TokenHash, generate_id};

/// A stored key. The key itself is not in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: String,
    pub(crate) role: Role,
    pub(crate) created_at: Millis,
    pub(crate) revoked_at: Option<Millis>,
}

/// Keys that were found good a moment ago.
#[derive(Debug, Default)]
pub(super) struct RecentKeys(Mutex<BTreeMap<TokenHash, (Instant, Arc<ApiKey>)>>);

impl RecentKeys {
    fn get(&self, hash: &TokenHash) -> Option<Arc<ApiKey>> {
        let keys = self.locked();
        let (found_at, key) = keys.get(hash)?;
        (found_at.elapsed() < TRUSTED_FOR).then(|| Arc::clone(key))
    }

    fn keep(&self, hash: TokenHash, key: &Arc<ApiKey>) {
        let mut keys = self.locked();
        if keys.len() >= MAX_RECENT {
            keys.retain(|_, (found_at, _)| found_at.elapsed() < TRUSTED_FOR);
        }
        if keys.len() < MAX_RECENT {
            keys.insert(hash, (Instant::now(), Arc::clone(key)));
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<TokenHash, (Instant, Arc<ApiKey>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The key with this hash, unless it was revoked, at the latest half a second ago.
    pub(crate) async fn api_key(&self, hash: &TokenHash) -> Result<Option<Arc<ApiKey>>, StoreError> {
        if let Some(key) = self.0.recent_keys.get(hash) {
            return Ok(Some(key));
        }
        let Some(key) = self.stored_api_key(hash).await? else { return Ok(None) };
        let key = Arc::new(key);
        self.0.recent_keys.keep(*hash, &key);
        Ok(Some(key))
    }

    async fn stored_api_key(&self, hash: &TokenHash) -> Result<Option<ApiKey>, StoreError> {
        let row = sqlx::query(
            "SELECT id, role, tenant_id, created_at, revoked_at FROM api_keys
             WHERE hash = $1 AND revoked_at IS NULL",
        )
        .bind(hash.as_bytes())
        .fetch_optional(self.reader())
        .await
        .doing("look a key up")?;
        row.as_ref().map(read).transpose()
    }

    /// All keys, oldest first.
    pub(crate) async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, role, tenant_id, created_at, revoked_at FROM api_keys ORDER BY created_at, id",
        )
        .fetch_all(self.reader())
        .await
        .doing("list the keys")?;
        rows.iter().map(read).collect()
    }
}

impl Write {
    /// Stores a new key and commits. Gives its id.
    pub(crate) async fn create_api_key(
        mut self,
        role: &Role,
        hash: &TokenHash,
    ) -> Result<String, StoreError> {
        let id = generate_id("key_")?;
        let at = self.at();
        sqlx::query(
            "INSERT INTO api_keys (id, hash, role, tenant_id, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id.as_str())
        .bind(hash.as_bytes())
        .bind(role.name())
        .bind(tenant_column(role))
        .bind(at.0)
        .execute(self.connection())
        .await
        .doing("store a key")?;
        self.commit(entry("api_key.create", tenant_column(role), &id)).await?;
        Ok(id)
    }

    /// Revokes a key and commits. `false` when there is no such key, or it was revoked before.
    pub(crate) async fn revoke_api_key(mut self, id: &str) -> Result<bool, StoreError> {
        let at = self.at();
        let tenant: Option<String> = sqlx::query_scalar(
            "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING tenant_id",
        )
        .bind(at.0)
        .bind(id)
        .fetch_optional(self.connection())
        .await
        .doing("revoke a key")?;
        let Some(tenant) = tenant else {
            self.rollback().await?;
            return Ok(false);
        };
        self.commit(entry("api_key.revoke", &tenant, id)).await?;
        Ok(true)
    }
}

fn entry<'a>(action: &'static str, tenant: &'a str, id: &'a str) -> Entry<'a> {
    Entry { tenant, action, record: Record { kind: "api_key", id }, also: &[], host: None, fields: &[] }
}

fn tenant_column(role: &Role) -> &str {
    role.tenant().map_or("", TenantId::as_str)
}

fn read(row: &AnyRow) -> Result<ApiKey, StoreError> {
    const DOING: &str = "read a key";
    let role: &str = row.try_get("role").doing(DOING)?;
    let tenant: &str = row.try_get("tenant_id").doing(DOING)?;
    Ok(ApiKey {
        id: row.try_get("id").doing(DOING)?,
        role: Role::from_columns(role, tenant).ok_or(StoreError::Corrupt { what: "key" })?,
        created_at: Millis(row.try_get("created_at").doing(DOING)?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at").doing(DOING)?.map(Millis),
    })
}

/// Half of the second within which a revoked key must be refused.
const TRUSTED_FOR: Duration = Duration::from_millis(500);
const MAX_RECENT: usize = 10_000;
