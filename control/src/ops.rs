//! What operators' tools ask for, on its own listener: health, readiness, metrics.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;

use crate::app::App;
use crate::report::Chain;

/// The routes of `--ops-listen`.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(app)
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// What Prometheus reads.
async fn metrics(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.text())
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
