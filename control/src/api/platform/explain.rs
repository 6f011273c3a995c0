//! `/platform/v1/resources/{id}/explain`: why a resource, or a run on it, starts with what it starts
//! with. The computation is the host's own, over what the host is sent.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use miosa_injector::model::{ResourceId, RunId};
use miosa_injector::protocol::Explanation;
use miosa_injector::{ResolveError, resolve};
use tokio::task::spawn_blocking;

use crate::api::answer::Answer;
use crate::api::caller::PlatformCaller;
use crate::api::error::ApiError;
use crate::api::query::Params;
use crate::api::record_id::{RecordId, not_found};
use crate::app::App;
use crate::clock::Millis;
use crate::publisher::state_of;

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/resources/{id}/explain", get(explain))
}

async fn explain(
    State(app): State<App>,
    _caller: PlatformCaller,
    RecordId(id): RecordId<ResourceId>,
    mut params: Params,
) -> Result<Answer, ApiError> {
    let run: Option<RunId> = params.take("run");
    params.finish()?;
    let slice = app.store.slice_of_resource(&id, Millis::now()).await?;
    let (slices, version, understands) = slice.ok_or_else(not_found::<ResourceId>)?;
    let explained = spawn_blocking(move || -> Result<Explanation, ApiError> {
        let state = state_of(slices.open()?, understands).map_err(|error| ApiError::internal(&error))?;
        let resolution = resolve(&state, &id, run.as_ref()).map_err(refusal)?;
        Ok(resolution.explain(version))
    });
    let explanation = explained.await.map_err(|error| ApiError::internal(&error))??;
    Answer::record(StatusCode::OK, &explanation)
}

/// The answer that the host would give, in the words of this API.
fn refusal(error: ResolveError) -> ApiError {
    match error {
        ResolveError::ResourceNotFound(_) => not_found::<ResourceId>(),
        ResolveError::RunNotFound { .. } => not_found::<RunId>(),
        ResolveError::ProfileNotFound(_) => ApiError::conflict("PROFILE_NOT_FOUND", error.to_string()),
        ResolveError::ProfileNotApplicable { .. } => {
            ApiError::conflict("PROFILE_NOT_APPLICABLE", error.to_string())
        }
        ResolveError::EnvTooLarge { .. } | ResolveError::VariableTooLarge { .. } => {
            ApiError::env_too_large(error.to_string())
        }
    }
}
