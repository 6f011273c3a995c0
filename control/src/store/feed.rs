//! Tells the rest of the process what was committed. A hint and no more: whoever listens must also
//! look by itself from time to time, because other processes write to the same database.

use std::sync::Arc;

use tokio::sync::broadcast;

/// One committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The tenant, or `""` for what belongs to none (hosts, keys, trust).
    pub(crate) tenant: Arc<str>,
    /// The host it is about, where it is about one.
    pub(crate) host: Option<Arc<str>>,
    /// Its number, counted per tenant. 0 when it isn't known, as after an interrupted commit.
    pub(crate) number: i64,
}

impl Committed {
    /// Something happened, and nobody knows what: look at everything.
    pub(super) fn unknown() -> Self {
        Self { tenant: Arc::from(""), host: None, number: 0 }
    }
}

/// The sender of changes.
#[derive(Debug)]
pub(crate) struct Feed(broadcast::Sender<Committed>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    /// Listens from now on. `RecvError::Lagged` means: too many to keep, look at everything.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Committed> {
        self.0.subscribe()
    }

    pub(super) fn tell(&self, change: Committed) {
        // An error only means that nobody listens.
        let _listeners = self.0.send(change);
    }
}

/// A listener that is further behind had better look at everything anyway.
const CAPACITY: usize = 1024;
