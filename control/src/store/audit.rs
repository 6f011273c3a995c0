//! The audit, as it is read. It is written where changes are committed.

use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Doing as _, Store, StoreError};
use crate::clock::Millis;
use crate::page::{Page, Position};

/// One row of the audit.
#[derive(Debug)]
pub(crate) struct AuditRow {
    /// Empty for what belongs to no tenant.
    pub(crate) tenant_id: String,
    pub(crate) number: i64,
    pub(crate) at: Millis,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) record_id: String,
    /// Empty for what was done outside requests.
    pub(crate) request_id: String,
    pub(crate) detail: Box<RawValue>,
    /// Number and tenant as one text, for its place in lists.
    key: String,
}

/// Which rows to list; empty strings match all.
#[derive(Debug, Default)]
pub(crate) struct AuditFilter {
    pub(crate) tenant_id: String,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) record_id: String,
}

impl AuditRow {
    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.at, id: &self.key }
    }
}

impl Store {
    /// The audit, oldest first.
    pub(crate) async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Vec<AuditRow>, StoreError> {
        let after = page.after();
        let (number, tenant) = after.id.split_once('-').unwrap_or_default();
        let rows = sqlx::query(
            "SELECT tenant_id, number, at, actor, action, record_id, request_id, detail FROM audit
             WHERE ($1 = '' OR tenant_id = $1)
               AND ($2 = '' OR actor = $2)
               AND ($3 = '' OR action = $3)
               AND ($4 = '' OR record_id = $4)
               AND (at, number, tenant_id) > ($5, $6, $7)
             ORDER BY at, number, tenant_id LIMIT $8",
        )
        .bind(filter.tenant_id.as_str())
        .bind(filter.actor.as_str())
        .bind(filter.action.as_str())
        .bind(filter.record_id.as_str())
        .bind(after.created_at.0)
        .bind(number.parse().unwrap_or(i64::MIN))
        .bind(tenant)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing(DOING)?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<AuditRow, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column).doing(DOING);
    let (number, tenant_id) = (row.try_get("number").doing(DOING)?, text("tenant_id")?);
    Ok(AuditRow {
        key: format!("{number}-{tenant_id}"),
        tenant_id,
        number,
        at: Millis(row.try_get("at").doing(DOING)?),
        actor: text("actor")?,
        action: text("action")?,
        record_id: text("record_id")?,
        request_id: text("request_id")?,
        detail: RawValue::from_string(text("detail")?)
            .map_err(|_never_written| StoreError::Corrupt { what: "audit row" })?,
    })
}

const DOING: &str = "read the audit";
