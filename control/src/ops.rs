//! What operators' tools ask for, on its own listener: health, readiness, metrics.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::app::App;
use crate::report::Chain;

/// The routes of `--ops-listen`.
pub(crate) fn router(app: App) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(app)
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can do its work: the database answers, and it isn't about to end.
async fn readyz(State(app): State<App>) -> (StatusCode, &'static str) {
    if *app.ending.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n");
    }
    match app.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!("{}", Chain(&error));
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
