//! What every request handler and background task of `serve` shares.

use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::store::Store;

/// Cheap to clone; axum clones it for every request.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The database.
    pub(crate) store: Store,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What brings hosts up to date.
    pub(crate) publisher: Publisher,
    /// Turns true when the process is asked to end: answers that never end by themselves must end.
    pub(crate) ending: watch::Receiver<bool>,
}
