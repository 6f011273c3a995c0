//! `/platform/v1/audit`: who did what, oldest first.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use miosa_injector::model::TenantId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::absent::absent_if_empty;
use crate::api::answer::Answer;
use crate::api::caller::PlatformCaller;
use crate::api::error::ApiError;
use crate::api::query::Params;
use crate::app::App;
use crate::page::{Limit, Page};
use crate::store::audit::{AuditFilter, AuditRow};

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/audit", get(list))
}

async fn list(
    State(app): State<App>,
    _caller: PlatformCaller,
    mut params: Params,
) -> Result<Answer, ApiError> {
    let filter = AuditFilter {
        tenant_id: params.take::<TenantId>("tenant_id").map(String::from).unwrap_or_default(),
        actor: params.take::<String>("actor").unwrap_or_default(),
        action: params.take::<String>("action").unwrap_or_default(),
        record_id: params.take::<String>("record_id").unwrap_or_default(),
    };
    // The only list that grows for ever, and so the only one that is never given as a whole.
    let limit = params.take("limit").unwrap_or(Limit::DEFAULT);
    let page = Page::new(Some(limit), params.take("cursor"));
    params.finish()?;
    let mut rows = app.store.audit(&filter, &page).await?;
    let next_cursor = page.cut(&mut rows, AuditRow::position);
    let shown: Vec<_> = rows.iter().map(Shown::of).collect();
    Answer::list(&shown, next_cursor)
}

/// One thing that was done.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    tenant_id: Option<&'a str>,
    /// The tenant's change number.
    number: i64,
    at: String,
    /// The id of the key or host that did it, or `cli`.
    actor: &'a str,
    action: &'a str,
    record_id: &'a str,
    request_id: Option<&'a str>,
    detail: &'a RawValue,
}

impl<'a> Shown<'a> {
    fn of(row: &'a AuditRow) -> Self {
        Self {
            tenant_id: absent_if_empty(&row.tenant_id),
            number: row.number,
            at: row.at.rfc3339(),
            actor: &row.actor,
            action: &row.action,
            record_id: &row.record_id,
            request_id: absent_if_empty(&row.request_id),
            detail: &row.detail,
        }
    }
}
