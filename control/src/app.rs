//! What every request handler and background task of `serve` shares.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cli::ServeFor;
use crate::metrics::Metrics;
use crate::store::Store;

/// Cheap to clone; axum clones it for every request.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The database.
    pub(crate) store: Store,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How long a published state counts as fresh.
    pub(crate) fresh_for: Duration,
    /// How long a published state may be served.
    pub(crate) serve_for: ServeFor,
    /// Turns true when the process is asked to end: answers that never end by themselves must end.
    pub(crate) ending: watch::Receiver<bool>,
}
