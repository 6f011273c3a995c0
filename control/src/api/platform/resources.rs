//! `/platform/v1/resources`: sandboxes, computers and harnesses, and the hosts they are on. Tenant, host
//! and kind of a resource never change: what moves is deleted in one place and created in another.

mod input;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use miosa_injector::model::ResourceId;
use serde::Serialize;

use super::{NO_TENANT, Preview, previews};
use crate::api::answer::Answer;
use crate::api::body::Body;
use crate::api::caller::PlatformCaller;
use crate::api::error::ApiError;
use crate::api::idempotency::{Begun, IdempotencyKey};
use crate::api::query::Params;
use crate::api::record_id::{Named, RecordId, not_found};
use crate::api::wait::{Wait, Written};
use crate::app::App;
use crate::page::Page;
use crate::store::resources::{Created, ResourceUpdate, StoredResource, seal_env};
use crate::store::{Entry, Record};
pub(super) use input::check_profile;
use input::{NewResource, Patch};

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/resources", get(list).post(create))
        .route("/resources/{id}", get(fetch).patch(update).delete(delete))
}

async fn list(
    State(app): State<App>,
    _caller: PlatformCaller,
    mut params: Params,
) -> Result<Answer, ApiError> {
    let filter = input::filter(&mut params);
    let page = Page::new(params.take("limit"), params.take("cursor"));
    params.finish()?;
    let mut rows = app.store.resources(&filter, &page).await?;
    let next_cursor = page.cut(&mut rows, StoredResource::position);
    let shown: Vec<_> = rows.iter().map(Shown::of).collect();
    Answer::list(&shown, next_cursor)
}

async fn fetch(
    State(app): State<App>,
    _caller: PlatformCaller,
    RecordId(id): RecordId<ResourceId>,
    params: Params,
) -> Result<Answer, ApiError> {
    params.finish()?;
    let row = app.store.resource(&id).await?.ok_or_else(not_found::<ResourceId>)?;
    Answer::record(StatusCode::OK, &Shown::of(&row))
}

async fn create(
    State(app): State<App>,
    caller: PlatformCaller,
    mut params: Params,
    idempotency: IdempotencyKey,
    body: Body,
) -> Result<Response, ApiError> {
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    let mut idempotent = idempotency.with(NO_TENANT, body.bytes(), app.store.master_key()).unless(dry_run);
    if let Some(answered) = idempotent.answered(&app.store).await? {
        return Ok(wait.again(&app, answered).await);
    }
    let new = NewResource::parse(body.into_fields(), params, &app.store).await?;
    let tenant = new.resource.tenant_id.as_str();

    let key = if dry_run { app.store.trial_key(tenant).await? } else { app.store.data_key(tenant).await? };
    let env = seal_env(&key, &new.resource.tenant_id, &new.resource.id, &new.resource.env)?;
    let mut write = match idempotent.begin(&app.store, caller.origin()).await? {
        Begun::Write(write) => write,
        Begun::Answered(answered) => return Ok(wait.again(&app, answered).await),
    };
    let row = match write.insert_resource(&new.host_id, &new.resource, &env).await? {
        Created::Yes(row) => row,
        Created::IdTaken => {
            write.rollback().await?;
            return Err(ApiError::conflict("ID_TAKEN", "a resource with this id exists"));
        }
        Created::ParentGone => {
            write.rollback().await?;
            return Err(input::no_such_host());
        }
    };
    let shown = Shown::of(&row);
    if dry_run {
        write.rollback().await?;
        let shown = Shown { id: shown.id.filter(|_| new.id_was_given), ..shown };
        return Ok(Answer::dry_run("create", None, Some(shown), Vec::new())?.into_response());
    }
    let answer = Answer::record(StatusCode::CREATED, &shown)?;
    let number = idempotent.commit(write, entry("resource.create", &row, &[], &new.given), &answer).await?;
    let written = Written { tenant, host: Some(&row.host_id), number };
    Ok(wait.answer(&app, written, answer).await)
}

async fn update(
    State(app): State<App>,
    caller: PlatformCaller,
    RecordId(id): RecordId<ResourceId>,
    mut params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    let before = app.store.resource(&id).await?.ok_or_else(not_found::<ResourceId>)?;
    let tenant = &before.resource.tenant_id;
    let patch = Patch::parse(body.into_fields(), params, tenant, &Shown::of(&before), &app.store).await?;

    let env = match &patch.env {
        Some(env) => {
            let key = app.store.data_key(tenant.as_str()).await?;
            Some(seal_env(&key, tenant, &id, env)?)
        }
        None => None,
    };
    let (skip_profile, profile_id) = patch.selection.changes();
    let update = ResourceUpdate {
        workspace_id: patch.workspace_id.as_deref(),
        project_id: patch.project_id.as_deref(),
        profile_id,
        skip_profile,
        env: env.as_ref(),
    };
    let mut write = app.store.begin(caller.origin()).await?;
    let Some(row) = write.update_resource(&id, &update).await? else {
        write.rollback().await?;
        return Err(not_found::<ResourceId>());
    };
    let shown = Shown::of(&row);
    if dry_run {
        write.rollback().await?;
        let answer = Answer::dry_run("update", Some(Shown::of(&before)), Some(shown), Vec::new())?;
        return Ok(answer.into_response());
    }
    let number = write.commit(entry("resource.update", &row, &[], &patch.given)).await?;
    let written = Written { tenant: tenant.as_str(), host: Some(&row.host_id), number };
    Ok(wait.answer(&app, written, Answer::record(StatusCode::OK, &shown)?).await)
}

async fn delete(
    State(app): State<App>,
    caller: PlatformCaller,
    RecordId(id): RecordId<ResourceId>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    params.finish()?;
    let row = app.store.resource(&id).await?.ok_or_else(not_found::<ResourceId>)?;
    let mut write = app.store.begin(caller.origin()).await?;
    let Some(runs) = write.delete_resource(&id).await? else {
        write.rollback().await?;
        return Err(not_found::<ResourceId>());
    };
    if dry_run {
        write.rollback().await?;
        return Ok(Answer::dry_run("delete", Some(Shown::of(&row)), None, runs)?.into_response());
    }
    let also: Vec<_> = runs.iter().map(|id| Record { kind: "run", id }).collect();
    let number = write.commit(entry("resource.delete", &row, &also, &[])).await?;
    let tenant = row.resource.tenant_id.as_str();
    let written = Written { tenant, host: Some(&row.host_id), number };
    Ok(wait.answer(&app, written, Answer::deleted(id.as_str())?).await)
}

/// A resource as the platform sees it. Of the env it sees names and previews.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: Option<&'a str>,
    tenant_id: &'a str,
    host_id: &'a str,
    kind: &'static str,
    workspace_id: Option<&'a str>,
    project_id: Option<&'a str>,
    env: BTreeMap<&'a str, Preview>,
    skip_agent_runtime_profile: bool,
    agent_runtime_profile_id: Option<&'a str>,
    created_at: String,
    updated_at: String,
}

impl<'a> Shown<'a> {
    fn of(row: &'a StoredResource) -> Self {
        let resource = &row.resource;
        Self {
            id: Some(resource.id.as_str()),
            tenant_id: resource.tenant_id.as_str(),
            host_id: row.host_id.as_str(),
            kind: resource.kind.as_str(),
            workspace_id: resource.workspace_id.as_ref().map(|id| id.as_str()),
            project_id: resource.project_id.as_ref().map(|id| id.as_str()),
            env: previews(&resource.env),
            skip_agent_runtime_profile: resource.selection.skip,
            agent_runtime_profile_id: resource.selection.profile_id.as_ref().map(|id| id.as_str()),
            created_at: row.created_at.rfc3339(),
            updated_at: row.updated_at.rfc3339(),
        }
    }
}

fn entry<'a>(
    action: &'static str,
    row: &'a StoredResource,
    also: &'a [Record<'a>],
    fields: &'a [&'static str],
) -> Entry<'a> {
    Entry {
        tenant: row.resource.tenant_id.as_str(),
        action,
        record: Record { kind: "resource", id: row.resource.id.as_str() },
        also,
        host: Some(row.host_id.as_str()),
        fields,
    }
}

impl Named for ResourceId {
    const NAME: &'static str = "resource";
}
