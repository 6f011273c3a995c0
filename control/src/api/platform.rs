//! `/platform/v1`: for the orchestrator that places work on hosts. It sees all tenants.

mod audit;
mod explain;
mod hosts;
mod resources;
mod runs;
mod selection;

use std::collections::BTreeMap;

use axum::Router;
use miosa_injector::model::EnvMap;
use serde::Serialize;

use crate::app::App;

/// The routes.
pub(super) fn routes() -> Router<App> {
    resources::routes()
        .merge(runs::routes())
        .merge(explain::routes())
        .merge(hosts::routes())
        .merge(audit::routes())
}

/// What is shown of an env: an object for each name, so that what was fetched can't be sent back by
/// mistake with previews for values.
fn previews(env: &EnvMap) -> BTreeMap<&str, Preview> {
    env.iter().map(|(name, value)| (name.as_str(), Preview { preview: value.preview() })).collect()
}

#[derive(Debug, Serialize)]
struct Preview {
    preview: String,
}

/// Where answers to platform keys are kept for requests that are sent again. No tenant's id is empty.
const NO_TENANT: &str = "";
