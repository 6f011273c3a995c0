//! Data keys: one per tenant and generation, wrapped in the database, unwrapped in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Doing as _, Store, StoreError};
use crate::at_rest::DataKey;
use crate::clock::Millis;

/// Unwrapped keys by tenant and generation.
#[derive(Debug, Default)]
pub(super) struct KeyRing(Mutex<BTreeMap<String, BTreeMap<i64, Arc<DataKey>>>>);

impl Store {
    /// The key that seals a tenant's new values, made if the tenant has none.
    ///
    /// To be called before the write begins: the key commits by itself, so that no rolled-back
    /// write can leave behind, in memory, a key that is in no database.
    pub(crate) async fn data_key(&self, tenant: &str) -> Result<Arc<DataKey>, StoreError> {
        if let Some(key) = self.0.keys.latest(tenant) {
            return Ok(key);
        }
        let generation = match self.newest_generation(tenant).await? {
            Some(generation) => generation,
            None => self.make_data_key(tenant).await?,
        };
        self.data_key_of(tenant, generation).await
    }

    /// The key to seal with in a write that will not be committed: a tenant that has none is not given
    /// one for that, and what is sealed can't be opened again.
    pub(crate) async fn trial_key(&self, tenant: &str) -> Result<Arc<DataKey>, StoreError> {
        if self.newest_generation(tenant).await?.is_some() {
            return self.data_key(tenant).await;
        }
        let made = self.master_key().new_data_key(tenant, FIRST_GENERATION);
        let (key, _wrapped) = made.map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        Ok(Arc::new(key))
    }

    async fn newest_generation(&self, tenant: &str) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT MAX(generation) FROM data_keys WHERE tenant_id = $1")
            .bind(tenant)
            .fetch_one(self.reader())
            .await
            .doing("find a tenant's newest data key")
    }

    async fn make_data_key(&self, tenant: &str) -> Result<i64, StoreError> {
        let (_, wrapped) = self
            .master_key()
            .new_data_key(tenant, FIRST_GENERATION)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        // Two replicas may meet here; the first one's key stays, and is read back by both.
        sqlx::query(
            "INSERT INTO data_keys (tenant_id, generation, wrapped, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant_id, generation) DO NOTHING",
        )
        .bind(tenant)
        .bind(FIRST_GENERATION)
        .bind(wrapped)
        .bind(Millis::now().0)
        .execute(&self.0.writer)
        .await
        .doing("store a data key")?;
        Ok(FIRST_GENERATION)
    }

    /// The key of a generation, to open what it sealed.
    pub(crate) async fn data_key_of(
        &self,
        tenant: &str,
        generation: i64,
    ) -> Result<Arc<DataKey>, StoreError> {
        if let Some(key) = self.0.keys.get(tenant, generation) {
            return Ok(key);
        }
        let wrapped: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT wrapped FROM data_keys WHERE tenant_id = $1 AND generation = $2")
                .bind(tenant)
                .bind(generation)
                .fetch_optional(self.reader())
                .await
                .doing("read a data key")?;
        let wrapped = wrapped.ok_or(StoreError::Corrupt { what: WHAT })?;
        let key = self
            .master_key()
            .unwrap_data_key(tenant, generation, &wrapped)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        Ok(self.0.keys.keep(tenant, generation, key))
    }
}

impl KeyRing {
    fn latest(&self, tenant: &str) -> Option<Arc<DataKey>> {
        self.locked().get(tenant)?.last_key_value().map(|(_, key)| Arc::clone(key))
    }

    fn get(&self, tenant: &str, generation: i64) -> Option<Arc<DataKey>> {
        self.locked().get(tenant)?.get(&generation).map(Arc::clone)
    }

    fn keep(&self, tenant: &str, generation: i64, key: DataKey) -> Arc<DataKey> {
        let mut keys = self.locked();
        let generations = keys.entry(tenant.to_owned()).or_default();
        Arc::clone(generations.entry(generation).or_insert_with(|| Arc::new(key)))
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<i64, Arc<DataKey>>>> {
        // Nothing is left half-done by a panic here: each change is one insertion.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FIRST_GENERATION: i64 = 1;
const WHAT: &str = "data key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn a_key_to_try_with_is_the_tenants_own_or_is_gone_afterwards() {
        let test = TestStore::open().await;
        let keys = "SELECT COUNT(*) FROM data_keys";
        let (first, second) = (test.store.trial_key("t1").await, test.store.trial_key("t1").await);
        assert!(!Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert_eq!(test.count(keys).await, 0);
        let kept = test.store.data_key("t1").await.unwrap();
        assert!(Arc::ptr_eq(&kept, &test.store.trial_key("t1").await.unwrap()));
        assert_eq!(test.count(keys).await, 1);
    }
}
