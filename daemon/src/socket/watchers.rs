//! Who waits for one resource to change: how many may, and how they learn of it. What they are answered
//! is `watch`'s business.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::ledger::Ledger;

/// Those who wait for one resource.
#[derive(Default)]
pub(crate) struct Watchers {
    changes: Notify,
    count: AtomicUsize,
    ledger: Arc<Ledger>,
}

/// One of them, until this is dropped.
pub(super) struct Watching<'a>(&'a Watchers);

impl Watchers {
    /// Nobody yet.
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, ..Self::default() }
    }

    /// A place among them, if there is one.
    pub(super) fn join(&self) -> Option<Watching<'_>> {
        let free = |count: usize| (count < MOST_WATCHERS).then_some(count.saturating_add(1));
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        self.ledger.traffic().begin_watch();
        Some(Watching(self))
    }

    /// The next change from now on: to be had before one looks at what there is, so that none falls
    /// between.
    pub(super) fn next_change(&self) -> Notified<'_> {
        self.changes.notified()
    }

    /// The resource may have changed.
    pub(super) fn tell(&self) {
        self.changes.notify_waiters();
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.ledger.traffic().end_watch();
    }
}

/// How many may wait for one resource at a time.
pub(super) const MOST_WATCHERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_may_wait_and_who_leaves_makes_room() {
        let watchers = Watchers::default();
        let mut places: Vec<_> = (0..16).map(|_| watchers.join().unwrap()).collect();
        assert!(watchers.join().is_none());
        assert_eq!(watchers.ledger.traffic().watches(), 16);
        places.pop();
        let _last = watchers.join().unwrap();
        assert!(watchers.join().is_none());
        places.clear();
        assert_eq!(watchers.ledger.traffic().watches(), 1);
    }

    #[tokio::test]
    async fn a_change_reaches_whoever_asked_for_the_next_one_before_it() {
        let watchers = Watchers::default();
        let before = [watchers.next_change(), watchers.next_change()];
        watchers.tell();
        let after = watchers.next_change();
        for change in before {
            change.await;
        }
        assert!(tokio::time::timeout(std::time::Duration::ZERO, after).await.is_err());
    }
}
