//! Change numbers, as readers see them: they become visible in order, so that whoever has seen one
//! has missed none before it.

use sqlx::Row as _;

use super::{Doing as _, Read, Store, StoreError};

/// The newest change number of each tenant at the time of the read; of a tenant that never changed
/// there is none. `""` stands for what belongs to no tenant.
pub(crate) async fn change_numbers(read: &mut Read) -> Result<Vec<(String, i64)>, StoreError> {
    const DOING: &str = "read the change numbers";
    let rows = sqlx::query("SELECT tenant_id, number FROM change_counters ORDER BY tenant_id")
        .fetch_all(&mut **read)
        .await
        .doing(DOING)?;
    rows.iter().map(|row| Ok((row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?))).collect()
}

impl Store {
    /// The newest change number of each tenant now.
    pub(crate) async fn change_numbers(&self) -> Result<Vec<(String, i64)>, StoreError> {
        change_numbers(&mut self.read().await?).await
    }

    /// What the changes of a tenant after `number` were about: ids of hosts, and `""` for what is not
    /// about one host. Keys of the APIs are left out, since hosts know nothing of them.
    pub(crate) async fn hosts_changed_since(
        &self,
        tenant: &str,
        number: i64,
    ) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT host_id FROM changes
             WHERE tenant_id = $1 AND number > $2 AND record_kind <> 'api_key'",
        )
        .bind(tenant)
        .bind(number)
        .fetch_all(self.reader())
        .await
        .doing("read what changed")
    }
}
