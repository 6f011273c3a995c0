//! `/api/v1/runtime-env`: encrypted variables of a tenant's scopes. Values go in and never come out.

mod input;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use miosa_injector::model::VariableId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::absent::absent_if_empty;
use super::answer::Answer;
use super::body::Body;
use super::caller::{TenantCaller, TenantWriter};
use super::error::{ApiError, FieldError};
use super::idempotency::{Begun, IdempotencyKey};
use super::query::Params;
use super::record_id::{RecordId, not_found};
use super::wait::{Wait, Written};
use crate::app::App;
use crate::page::Page;
use crate::store::variables::{StoredVariable, Upserted, VariableChange, VariableUpdate};
use crate::store::{Entry, Record, StoreError, Write};
use input::{Patch, Upsert};

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/runtime-env", get(list).post(upsert))
        .route("/runtime-env/{id}", get(fetch).patch(update).put(update).delete(delete))
}

async fn list(State(app): State<App>, caller: TenantCaller, mut params: Params) -> Result<Answer, ApiError> {
    let filter = input::filter(&mut params);
    let page = Page::new(params.take("limit"), params.take("cursor"));
    params.finish()?;
    let mut rows = app.store.variables(caller.tenant().as_str(), &filter, &page).await?;
    let next_cursor = page.cut(&mut rows, StoredVariable::position);
    let shown: Vec<_> = rows.iter().map(|row| Shown::of(row, &caller)).collect();
    Answer::list(&shown, next_cursor)
}

async fn fetch(
    State(app): State<App>,
    caller: TenantCaller,
    RecordId(id): RecordId<VariableId>,
    params: Params,
) -> Result<Answer, ApiError> {
    params.finish()?;
    let row = app
        .store
        .variable(caller.tenant().as_str(), id.as_str())
        .await?
        .ok_or_else(not_found::<VariableId>)?;
    Answer::record(StatusCode::OK, &Shown::of(&row, &caller))
}

async fn upsert(
    State(app): State<App>,
    TenantWriter(caller): TenantWriter,
    mut params: Params,
    idempotency: IdempotencyKey,
    body: Body,
) -> Result<Response, ApiError> {
    let tenant = caller.tenant().as_str();
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    let mut idempotent = idempotency.with(tenant, body.bytes(), app.store.master_key()).unless(dry_run);
    if let Some(answered) = idempotent.answered(&app.store).await? {
        return Ok(wait.again(&app, answered).await);
    }
    let upsert = Upsert::parse(body.into_fields(), params)?;

    let key = if dry_run { app.store.trial_key(tenant).await? } else { app.store.data_key(tenant).await? };
    let identity = upsert.identity();
    let value = identity.seal(tenant, &key, &upsert.value)?;
    let change = VariableChange {
        workspace_id: upsert.workspace_column(),
        value: &value,
        enabled: upsert.enabled,
        metadata: upsert.metadata.as_deref().map(RawValue::get),
    };
    let mut write = match idempotent.begin(&app.store, caller.origin()).await? {
        Begun::Write(write) => write,
        Begun::Answered(answered) => return Ok(wait.again(&app, answered).await),
    };
    let before = if dry_run { write.variable_like(tenant, identity).await? } else { None };
    let (upserted, row) = write.upsert_variable(tenant, identity, &change, &key).await?;
    if let Some(error) = too_much(&mut write, tenant, &row).await? {
        write.rollback().await?;
        return Err(error);
    }
    if dry_run {
        write.rollback().await?;
        let mut data = Shown::of(&row, &caller);
        if upserted == Upserted::Created {
            data.id = None;
        }
        let before = before.as_ref().map(|before| Shown::of(before, &caller));
        return Ok(Answer::dry_run(action(upserted), before, Some(data), Vec::new())?.into_response());
    }
    let (status, action) = match upserted {
        Upserted::Created => (StatusCode::CREATED, "variable.create"),
        Upserted::Updated => (StatusCode::OK, "variable.update"),
    };
    let answer = Answer::record(status, &Shown::of(&row, &caller))?;
    let entry = entry(tenant, action, &row.columns.id, &upsert.given);
    let number = idempotent.commit(write, entry, &answer).await?;
    Ok(wait.answer(&app, written(tenant, number), answer).await)
}

async fn update(
    State(app): State<App>,
    TenantWriter(caller): TenantWriter,
    RecordId(id): RecordId<VariableId>,
    mut params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    let (tenant, id) = (caller.tenant().as_str(), id.as_str());
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    // Outside the write, so that it stays short: what is compared here never changes, and a row
    // that goes away in between is noticed by the update.
    let before = app.store.variable(tenant, id).await?.ok_or_else(not_found::<VariableId>)?;
    let patch = Patch::parse(body.into_fields(), params, &before, &Shown::of(&before, &caller))?;

    let value = match &patch.value {
        Some(value) => {
            let key = app.store.data_key(tenant).await?;
            Some(before.columns.identity().seal(tenant, &key, value)?)
        }
        None => None,
    };
    let update = VariableUpdate {
        value: value.as_ref(),
        enabled: patch.enabled,
        metadata: patch.metadata.as_deref().map(RawValue::get),
    };
    let mut write = app.store.begin(caller.origin()).await?;
    let Some(row) = write.update_variable(tenant, id, &update).await? else {
        write.rollback().await?;
        return Err(not_found::<VariableId>());
    };
    if let Some(error) = too_much(&mut write, tenant, &row).await? {
        write.rollback().await?;
        return Err(error);
    }
    let shown = Shown::of(&row, &caller);
    if dry_run {
        write.rollback().await?;
        let answer = Answer::dry_run("update", Some(Shown::of(&before, &caller)), Some(shown), Vec::new())?;
        return Ok(answer.into_response());
    }
    let answer = Answer::record(StatusCode::OK, &shown)?;
    let number = write.commit(entry(tenant, "variable.update", id, &patch.given)).await?;
    Ok(wait.answer(&app, written(tenant, number), answer).await)
}

async fn delete(
    State(app): State<App>,
    TenantWriter(caller): TenantWriter,
    RecordId(id): RecordId<VariableId>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (tenant, id) = (caller.tenant().as_str(), id.as_str());
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    params.finish()?;
    if dry_run {
        let row = app.store.variable(tenant, id).await?.ok_or_else(not_found::<VariableId>)?;
        let answer = Answer::dry_run("delete", Some(Shown::of(&row, &caller)), None, Vec::new())?;
        return Ok(answer.into_response());
    }
    let mut write = app.store.begin(caller.origin()).await?;
    if !write.delete_variable(tenant, id).await? {
        write.rollback().await?;
        return Err(not_found::<VariableId>());
    }
    let number = write.commit(entry(tenant, "variable.delete", id, &[])).await?;
    Ok(wait.answer(&app, written(tenant, number), Answer::deleted(id)?).await)
}

/// A variable as clients see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: Option<&'a str>,
    tenant_id: &'a str,
    workspace_id: Option<&'a str>,
    project_id: Option<&'a str>,
    scope: &'a str,
    target: &'a str,
    name: &'a str,
    preview: String,
    enabled: bool,
    metadata: &'a RawValue,
    created_at: String,
    updated_at: String,
}

impl<'a> Shown<'a> {
    fn of(row: &'a StoredVariable, caller: &'a TenantCaller) -> Self {
        let columns = &row.columns;
        Self {
            id: Some(&columns.id),
            tenant_id: caller.tenant().as_str(),
            workspace_id: absent_if_empty(&columns.workspace_id),
            project_id: if columns.scope == "project" { Some(&columns.scope_id) } else { None },
            scope: &columns.scope,
            target: &columns.target,
            name: &columns.name,
            preview: row.value.preview(),
            enabled: columns.enabled,
            metadata: &columns.metadata,
            created_at: columns.created_at.rfc3339(),
            updated_at: columns.updated_at.rfc3339(),
        }
    }
}

/// Why a variable that was just written can't stay: programs would not start with all that its scope
/// holds for its target.
async fn too_much(
    write: &mut Write,
    tenant: &str,
    row: &StoredVariable,
) -> Result<Option<ApiError>, StoreError> {
    if !row.columns.enabled {
        return Ok(None);
    }
    let sum = write.enabled_bytes(tenant, row.columns.identity()).await?;
    Ok((sum > MAX_ENABLED).then(|| {
        let what = format!(
            "would bring the enabled variables of this scope and target to {sum} bytes, of which at most \
             {MAX_ENABLED} fit an environment"
        );
        ApiError::invalid(vec![FieldError::new("value", what)])
    }))
}

fn action(upserted: Upserted) -> &'static str {
    match upserted {
        Upserted::Created => "create",
        Upserted::Updated => "update",
    }
}

/// A variable concerns every host that has resources of its tenant.
fn written(tenant: &str, number: i64) -> Written<'_> {
    Written { tenant, host: None, number }
}

fn entry<'a>(tenant: &'a str, action: &'static str, id: &'a str, fields: &'a [&'static str]) -> Entry<'a> {
    Entry { tenant, action, record: Record { kind: "variable", id }, also: &[], host: None, fields }
}

/// Bytes of `NAME=value` and a NUL each: what a whole merged environment may have.
const MAX_ENABLED: i64 = 1024 * 1024;
