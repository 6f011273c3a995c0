//! `/platform/v1/resources/{id}/runs`: agent runs. A run is created and ends; it never changes.

mod input;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use miosa_injector::model::{CommandSpec, ResourceId, RunId};
use miosa_snapshot::HostId;
use serde::Serialize;
use serde_json::Value;

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
use crate::clock::Millis;
use crate::page::Page;
use crate::store::resources::Created;
use crate::store::runs::StoredRun;
use crate::store::{Entry, Record};
use input::NewRun;

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/resources/{id}/runs", get(list).post(create))
        .route("/resources/{id}/runs/{run_id}", get(fetch).delete(delete))
}

async fn list(
    State(app): State<App>,
    _caller: PlatformCaller,
    RecordId(id): RecordId<ResourceId>,
    mut params: Params,
) -> Result<Answer, ApiError> {
    let page = Page::new(params.take("limit"), params.take("cursor"));
    params.finish()?;
    app.store.resource(&id).await?.ok_or_else(not_found::<ResourceId>)?;
    let mut rows = app.store.runs(&id, &page, Millis::now()).await?;
    let next_cursor = page.cut(&mut rows, StoredRun::position);
    let shown: Vec<_> = rows.iter().map(Shown::of).collect();
    Answer::list(&shown, next_cursor)
}

async fn fetch(
    State(app): State<App>,
    _caller: PlatformCaller,
    RunPath { resource, run }: RunPath,
    params: Params,
) -> Result<Answer, ApiError> {
    params.finish()?;
    let row = app.store.run(&resource, &run, Millis::now()).await?.ok_or_else(not_found::<RunId>)?;
    Answer::record(StatusCode::OK, &Shown::of(&row))
}

async fn create(
    State(app): State<App>,
    caller: PlatformCaller,
    RecordId(resource): RecordId<ResourceId>,
    mut params: Params,
    idempotency: IdempotencyKey,
    body: Body,
) -> Result<Response, ApiError> {
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    let mut idempotent = idempotency.with(NO_TENANT, body.bytes(), app.store.master_key()).unless(dry_run);
    if let Some(answered) = idempotent.answered(&app.store).await? {
        return Ok(wait.again(&app, answered).await);
    }
    let resource = app.store.resource(&resource).await?.ok_or_else(not_found::<ResourceId>)?;
    let (tenant, host) = (resource.resource.tenant_id.as_str(), &resource.host_id);
    let new = NewRun::parse(body.into_fields(), params, &resource.resource, &app.store).await?;

    let key = if dry_run { app.store.trial_key(tenant).await? } else { app.store.data_key(tenant).await? };
    let mut write = match idempotent.begin(&app.store, caller.origin()).await? {
        Begun::Write(write) => write,
        Begun::Answered(answered) => return Ok(wait.again(&app, answered).await),
    };
    if write.live_runs(&resource.resource.id).await? >= MAX_LIVE_RUNS {
        write.rollback().await?;
        return Err(ApiError::conflict(
            "TOO_MANY_RUNS",
            format!(
                "a resource has at most {MAX_LIVE_RUNS} runs at a time; delete those that are over, or give them a shorter ttl_seconds"
            ),
        ));
    }
    let (id_was_given, given) = (new.id_was_given, new.given.clone());
    let run = new.created_at(write.at());
    let sealed = run.seal(&key)?;
    let row = match write.insert_run(run, &sealed).await? {
        Created::Yes(row) => row,
        Created::IdTaken => {
            write.rollback().await?;
            return Err(ApiError::conflict("ID_TAKEN", "a run with this id exists"));
        }
        Created::ParentGone => {
            write.rollback().await?;
            return Err(not_found::<ResourceId>());
        }
    };
    let shown = Shown::of(&row);
    if dry_run {
        write.rollback().await?;
        let shown = Shown { id: shown.id.filter(|_| id_was_given), ..shown };
        return Ok(Answer::dry_run("create", None, Some(shown), Vec::new())?.into_response());
    }
    let answer = Answer::record(StatusCode::CREATED, &shown)?;
    let number = idempotent.commit(write, entry("run.create", &row, host, &given), &answer).await?;
    Ok(wait.answer(&app, Written { tenant, host: Some(host), number }, answer).await)
}

async fn delete(
    State(app): State<App>,
    caller: PlatformCaller,
    RunPath { resource, run }: RunPath,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (dry_run, wait) = (params.switch("dry_run"), Wait::take(&mut params));
    params.finish()?;
    let row = app.store.run(&resource, &run, Millis::now()).await?.ok_or_else(not_found::<RunId>)?;
    let resource = app.store.resource(&resource).await?.ok_or_else(not_found::<RunId>)?;
    if dry_run {
        let answer = Answer::dry_run("delete", Some(Shown::of(&row)), None, Vec::new())?;
        return Ok(answer.into_response());
    }
    let mut write = app.store.begin(caller.origin()).await?;
    if !write.delete_run(run.as_str()).await? {
        write.rollback().await?;
        return Err(not_found::<RunId>());
    }
    let number = write.commit(entry("run.delete", &row, &resource.host_id, &[])).await?;
    let (tenant, host) = (row.tenant_id.as_str(), Some(&resource.host_id));
    let answer = Answer::deleted(run.as_str())?;
    Ok(wait.answer(&app, Written { tenant, host, number }, answer).await)
}

/// The two ids of a run's path.
struct RunPath {
    resource: ResourceId,
    run: RunId,
}

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids = path.ok().map(|Path((resource, run))| (resource.parse().ok(), run.parse().ok()));
        match ids {
            Some((Some(resource), Some(run))) => Ok(Self { resource, run }),
            Some(_) | None => Err(not_found::<RunId>()),
        }
    }
}

/// A run as the platform sees it. Of the env it sees names and previews.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: Option<&'a str>,
    resource_id: &'a str,
    tenant_id: &'a str,
    env: BTreeMap<&'a str, Preview>,
    skip_agent_runtime_profile: bool,
    agent_runtime_profile_id: Option<&'a str>,
    instruction: Option<&'a str>,
    cwd: Option<&'a str>,
    command: Option<&'a CommandSpec>,
    runtime_command: Option<&'a CommandSpec>,
    model: Option<&'a str>,
    provider: Option<&'a str>,
    approval_policy: Option<&'a Value>,
    runner: Option<&'a str>,
    timeout: Option<u64>,
    ttl_seconds: i64,
    created_at: String,
    expires_at: String,
}

impl<'a> Shown<'a> {
    fn of(row: &'a StoredRun) -> Self {
        let run = &row.run;
        let ttl = row.expires_at.0.saturating_sub(row.created_at.0);
        Self {
            id: Some(run.id.as_str()),
            resource_id: run.resource_id.as_str(),
            tenant_id: row.tenant_id.as_str(),
            env: previews(&run.env),
            skip_agent_runtime_profile: run.selection.skip,
            agent_runtime_profile_id: run.selection.profile_id.as_ref().map(|id| id.as_str()),
            instruction: run.instruction.as_deref(),
            cwd: run.cwd.as_deref(),
            command: run.command.as_ref(),
            runtime_command: run.runtime_command.as_ref(),
            model: run.model.as_deref(),
            provider: run.provider.as_deref(),
            approval_policy: run.approval_policy.as_ref(),
            runner: row.notes.runner.as_deref(),
            timeout: row.notes.timeout,
            ttl_seconds: ttl.div_euclid(input::MILLIS_PER_SECOND),
            created_at: row.created_at.rfc3339(),
            expires_at: row.expires_at.rfc3339(),
        }
    }
}

fn entry<'a>(
    action: &'static str,
    row: &'a StoredRun,
    host: &'a HostId,
    fields: &'a [&'static str],
) -> Entry<'a> {
    Entry {
        tenant: row.tenant_id.as_str(),
        action,
        record: Record { kind: "run", id: row.run.id.as_str() },
        also: &[],
        host: Some(host.as_str()),
        fields,
    }
}

impl Named for RunId {
    const NAME: &'static str = "run";
}

/// Each may be as large as a body, and all of them go to the resource's host.
const MAX_LIVE_RUNS: i64 = 256;
