//! `/api/v1/agent-runtime-profiles`: which harness an agent starts with, and what it may do.

mod input;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use miosa_injector::model::ProfileId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::absent::absent_if_empty;
use super::answer::Answer;
use super::body::Body;
use super::caller::{TenantCaller, TenantWriter};
use super::error::ApiError;
use super::idempotency::{Begun, IdempotencyKey};
use super::query::Params;
use super::record_id::{RecordId, not_found};
use super::wait::{Wait, Written};
use crate::app::App;
use crate::page::Page;
use crate::store::profiles::{ProfileColumns, ProfileWritten, StoredProfile};
use crate::store::{Entry, Record, StoreError, Write};
use input::Patch;

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/agent-runtime-profiles", get(list).post(create))
        .route("/agent-runtime-profiles/{id}", get(fetch).put(update).patch(update).delete(delete))
}

async fn list(State(app): State<App>, caller: TenantCaller, mut params: Params) -> Result<Answer, ApiError> {
    let filter = input::filter(&mut params);
    let page = Page::new(params.take("limit"), params.take("cursor"));
    params.finish()?;
    let mut rows = app.store.profiles(caller.tenant().as_str(), &filter, &page).await?;
    let next_cursor = page.cut(&mut rows, StoredProfile::position);
    let shown: Vec<_> = rows.iter().map(Shown::of).collect();
    Answer::list(&shown, next_cursor)
}

async fn fetch(
    State(app): State<App>,
    caller: TenantCaller,
    RecordId(id): RecordId<ProfileId>,
    params: Params,
) -> Result<Answer, ApiError> {
    params.finish()?;
    let row = app.store.profile(caller.tenant().as_str(), id.as_str()).await?;
    Answer::record(StatusCode::OK, &Shown::of(&row.ok_or_else(not_found::<ProfileId>)?))
}

async fn create(
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
    let (columns, given) = input::parse_new(body.into_fields(), params)?;

    let mut write = match idempotent.begin(&app.store, caller.origin()).await? {
        Begun::Write(write) => write,
        Begun::Answered(answered) => return Ok(wait.again(&app, answered).await),
    };
    let unseated = unseat(&mut write, tenant, &columns, "").await?;
    let row = match write.insert_profile(tenant, &columns).await? {
        ProfileWritten::Stored(row) => row,
        ProfileWritten::NameTaken => return name_taken(write).await,
    };
    if dry_run {
        write.rollback().await?;
        let data = Shown { id: None, ..Shown::of(&row) };
        let also = unseated.into_iter().collect();
        return Ok(Answer::dry_run("create", None, Some(data), also)?.into_response());
    }
    let answer = Answer::record(StatusCode::CREATED, &Shown::of(&row))?;
    let also = unseated.as_deref().map(profile);
    let entry = entry(tenant, "profile.create", &row.id, also.as_slice(), &given);
    let number = idempotent.commit(write, entry, &answer).await?;
    Ok(wait.answer(&app, written(tenant, number), answer).await)
}

async fn update(
    State(app): State<App>,
    TenantWriter(caller): TenantWriter,
    RecordId(id): RecordId<ProfileId>,
    mut params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    let (tenant, id) = (caller.tenant().as_str(), id.as_str());
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    let seen = app.store.profile(tenant, id).await?.ok_or_else(not_found::<ProfileId>)?;
    let (patch, given) = Patch::parse(body.into_fields(), params, &seen.columns, &Shown::of(&seen))?;

    let mut write = app.store.begin(caller.origin()).await?;
    let Some(before) = write.profile_to_change(tenant, id).await? else {
        write.rollback().await?;
        return Err(not_found::<ProfileId>());
    };
    // It may have changed since it was first seen, and what was sent may not fit it any more.
    let columns = patch.over(before.columns.clone())?;
    let unseated = unseat(&mut write, tenant, &columns, id).await?;
    let row = match write.replace_profile(tenant, id, &columns).await? {
        ProfileWritten::Stored(row) => row,
        ProfileWritten::NameTaken => return name_taken(write).await,
    };
    if dry_run {
        write.rollback().await?;
        let also = unseated.into_iter().collect();
        let answer = Answer::dry_run("update", Some(Shown::of(&before)), Some(Shown::of(&row)), also)?;
        return Ok(answer.into_response());
    }
    let answer = Answer::record(StatusCode::OK, &Shown::of(&row))?;
    let also = unseated.as_deref().map(profile);
    let number = write.commit(entry(tenant, "profile.update", id, also.as_slice(), &given)).await?;
    Ok(wait.answer(&app, written(tenant, number), answer).await)
}

async fn delete(
    State(app): State<App>,
    TenantWriter(caller): TenantWriter,
    RecordId(id): RecordId<ProfileId>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (tenant, id) = (caller.tenant().as_str(), id.as_str());
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    params.finish()?;
    if dry_run {
        let row = app.store.profile(tenant, id).await?.ok_or_else(not_found::<ProfileId>)?;
        let answer = Answer::dry_run("delete", Some(Shown::of(&row)), None, Vec::new())?;
        return Ok(answer.into_response());
    }
    let mut write = app.store.begin(caller.origin()).await?;
    if !write.delete_profile(tenant, id).await? {
        write.rollback().await?;
        return Err(not_found::<ProfileId>());
    }
    let number = write.commit(entry(tenant, "profile.delete", id, &[], &[])).await?;
    Ok(wait.answer(&app, written(tenant, number), Answer::deleted(id)?).await)
}

/// A profile concerns every host that has resources of its tenant.
fn written(tenant: &str, number: i64) -> Written<'_> {
    Written { tenant, host: None, number }
}

/// Makes room for a new default; gives the id of the former one.
async fn unseat(
    write: &mut Write,
    tenant: &str,
    columns: &ProfileColumns,
    except: &str,
) -> Result<Option<String>, StoreError> {
    if columns.is_default { write.unseat_default(tenant, columns, except).await } else { Ok(None) }
}

fn entry<'a>(
    tenant: &'a str,
    action: &'static str,
    id: &'a str,
    also: &'a [Record<'a>],
    fields: &'a [&'static str],
) -> Entry<'a> {
    Entry { tenant, action, record: profile(id), also, host: None, fields }
}

fn profile(id: &str) -> Record<'_> {
    Record { kind: "profile", id }
}

async fn name_taken(write: Write) -> Result<Response, ApiError> {
    write.rollback().await?;
    Err(ApiError::conflict("NAME_TAKEN", "another profile of this scope has this name"))
}

/// A profile as clients see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: Option<&'a str>,
    workspace_id: Option<&'a str>,
    project_id: Option<&'a str>,
    name: &'a str,
    runtime: &'a str,
    description: Option<&'a str>,
    applies_to: &'a RawValue,
    tools: &'a RawValue,
    connectors: &'a RawValue,
    env: &'a RawValue,
    policy: &'a RawValue,
    metadata: &'a RawValue,
    is_default: bool,
    created_at: String,
    updated_at: String,
}

impl<'a> Shown<'a> {
    fn of(row: &'a StoredProfile) -> Self {
        let columns = &row.columns;
        Self {
            id: Some(&row.id),
            workspace_id: absent_if_empty(&columns.workspace_id),
            project_id: absent_if_empty(&columns.project_id),
            name: &columns.name,
            runtime: &columns.runtime,
            description: columns.description.as_deref(),
            applies_to: &columns.applies_to,
            tools: &columns.tools,
            connectors: &columns.connectors,
            env: &columns.env,
            policy: &columns.policy,
            metadata: &columns.metadata,
            is_default: columns.is_default,
            created_at: row.created_at.rfc3339(),
            updated_at: row.updated_at.rfc3339(),
        }
    }
}
