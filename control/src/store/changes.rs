//! Change numbers, as readers see them.

use sqlx::Row as _;

use super::{Doing as _, Read, StoreError};

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

/// The newest change number of one tenant; 0 when it never changed.
pub(crate) async fn change_number(read: &mut Read, tenant: &str) -> Result<i64, StoreError> {
    let number: Option<i64> = sqlx::query_scalar("SELECT number FROM change_counters WHERE tenant_id = $1")
        .bind(tenant)
        .fetch_optional(&mut **read)
        .await
        .doing("read a change number")?;
    Ok(number.unwrap_or_default())
}
