//! The HTTP APIs: `/api/v1` for tenants, `/platform/v1` for the orchestrator, `/host/v1` for hosts. One
//! file per resource, each with its routes, beside what they share: who calls, what a body may hold,
//! how errors look.

mod absent;
pub(crate) mod answer;
mod as_sent;
pub(crate) mod body;
pub(crate) mod caller;
mod echo;
pub(crate) mod env;
pub(crate) mod error;
pub(crate) mod fields;
mod host;
pub(crate) mod idempotency;
mod platform;
mod profiles;
mod provider_keys;
pub(crate) mod query;
pub(crate) mod record_id;
pub(crate) mod request;
mod variables;
pub(crate) mod wait;

use axum::{Router, middleware};

use crate::app::App;
use error::ApiError;

/// All routes of `--listen`.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .nest("/api/v1", profiles::routes().merge(variables::routes()))
        .nest("/platform/v1", platform::routes())
        .nest("/host/v1", host::routes())
        .fallback(async || ApiError::not_found("route"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn_with_state(app.clone(), request::envelope))
        .with_state(app)
}
