//! What changed since the last look: which hosts must be looked at again. Told by the feed of this
//! process's commits at once, and found by reading the change numbers from time to time, since other
//! processes write too and a telling can be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use miosa_snapshot::HostId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::store::feed::Committed;
use crate::store::{Store, StoreError};

/// Looks for changes.
pub(super) struct Look {
    feed: Receiver<Committed>,
    seen: BTreeMap<String, Seen>,
    /// What `feed` gave while somebody waited for it.
    told: Option<Committed>,
    next_poll: Instant,
    /// Whether the whole store was looked through once.
    started: bool,
    /// What was found and not yet dealt with. What is in `seen` is told once, so that this must not
    /// be lost to an error on the way.
    touched: Touched,
}

/// What must be looked at again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Hosts that something changed on.
    pub(super) hosts: BTreeSet<HostId>,
    /// Tenants of which something changed that may be on any of their hosts.
    pub(super) tenants: BTreeSet<String>,
    /// Every tenant that changed at all.
    pub(super) changed: BTreeSet<String>,
    /// The trust documents or signing keys may have changed.
    pub(super) trust: bool,
}

/// Which changes of a tenant were seen: all up to a number, and some beyond it, since they are not
/// always told in order.
#[derive(Debug, Default)]
struct Seen {
    up_to: i64,
    beyond: BTreeSet<i64>,
}

impl Look {
    pub(super) fn new(feed: Receiver<Committed>) -> Self {
        Self {
            feed,
            seen: BTreeMap::new(),
            told: None,
            next_poll: Instant::now(),
            started: false,
            touched: Touched::default(),
        }
    }

    /// Waits until there may be something new.
    pub(super) async fn wait(&mut self) {
        if self.told.is_some() {
            return;
        }
        tokio::select! {
            told = self.feed.recv() => match told {
                Ok(told) => self.told = Some(told),
                Err(RecvError::Lagged(_)) => self.next_poll = Instant::now(),
                // Only the end of the process closes the feed.
                Err(RecvError::Closed) => tokio::time::sleep_until(self.next_poll).await,
            },
            () = tokio::time::sleep_until(self.next_poll) => {}
        }
    }

    /// Gathers what changed since [`Look::forget`]. An error loses nothing: the next look finds it.
    pub(super) async fn gather(&mut self, store: &Store) -> Result<&Touched, StoreError> {
        if self.started {
            self.listen();
        }
        if Instant::now() >= self.next_poll {
            if self.started {
                self.poll(store).await?;
            } else {
                self.start(store).await?;
            }
            self.next_poll = Instant::now().checked_add(POLL_EVERY).unwrap_or_else(Instant::now);
        }
        Ok(&self.touched)
    }

    /// What was gathered is dealt with.
    pub(super) fn forget(&mut self) {
        self.touched = Touched::default();
    }

    fn listen(&mut self) {
        loop {
            let told = match self.told.take() {
                Some(told) => Ok(told),
                None => self.feed.try_recv(),
            };
            match told {
                Ok(told) if told.number > 0 => {
                    self.seen.entry(told.tenant.to_string()).or_default().add(told.number);
                    self.touched.add(&told.tenant, told.host.as_deref());
                }
                // Not known what, or too much to be told.
                Ok(_) | Err(TryRecvError::Lagged(_)) => self.next_poll = Instant::now(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// The first look: every host whose newest update is not of now.
    async fn start(&mut self, store: &Store) -> Result<(), StoreError> {
        let (numbers, behind) = store.hosts_behind().await?;
        for (tenant, number) in numbers {
            self.seen.insert(tenant, Seen { up_to: number, beyond: BTreeSet::new() });
        }
        self.touched.hosts.extend(behind);
        // It may have changed while nobody was here to see it.
        self.touched.trust = true;
        self.started = true;
        Ok(())
    }

    async fn poll(&mut self, store: &Store) -> Result<(), StoreError> {
        for (tenant, number) in store.change_numbers().await? {
            let seen = self.seen.entry(tenant.clone()).or_default();
            if number <= seen.up_to {
                continue;
            }
            for host in store.hosts_changed_since(&tenant, seen.up_to).await? {
                self.touched.add(&tenant, Some(host.as_str()).filter(|host| !host.is_empty()));
            }
            *seen = Seen { up_to: number, beyond: BTreeSet::new() };
        }
        Ok(())
    }
}

impl Touched {
    fn add(&mut self, tenant: &str, host: Option<&str>) {
        match (tenant, host.and_then(|host| host.parse().ok())) {
            (_, Some(host)) => drop(self.hosts.insert(host)),
            ("", None) => self.trust = true,
            (tenant, None) => drop(self.tenants.insert(tenant.to_owned())),
        }
        self.changed.insert(tenant.to_owned());
    }
}

impl Seen {
    fn add(&mut self, number: i64) {
        if number > self.up_to {
            self.beyond.insert(number);
        }
        while self.beyond.remove(&self.up_to.saturating_add(1)) {
            self.up_to = self.up_to.saturating_add(1);
        }
    }
}

/// How late a change by another process is noticed, and a lost telling made good.
const POLL_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, entry, origin};

    #[tokio::test]
    async fn what_was_found_is_told_until_it_is_dealt_with() {
        let test = TestStore::open().await;
        let mut look = Look::new(test.store.feed().subscribe());
        look.gather(&test.store).await.unwrap();
        let write = test.store.begin(&origin()).await.unwrap();
        write.commit(entry("t", "x")).await.unwrap();
        for _look in 0..2 {
            let touched = look.gather(&test.store).await.unwrap();
            assert_eq!(touched.tenants, BTreeSet::from(["t".to_owned()]));
        }
        look.forget();
        assert_eq!(*look.gather(&test.store).await.unwrap(), Touched::default());
    }

    #[test]
    fn changes_may_be_told_in_any_order() {
        let mut seen = Seen { up_to: 4, beyond: BTreeSet::new() };
        seen.add(6);
        assert_eq!(seen.up_to, 4);
        seen.add(5);
        assert_eq!((seen.up_to, seen.beyond.len()), (6, 0));
        seen.add(2);
        assert_eq!((seen.up_to, seen.beyond.len()), (6, 0));
    }

    #[test]
    fn a_change_on_one_host_touches_that_host_only() {
        let mut touched = Touched::default();
        touched.add("t", Some("host_1"));
        touched.add("t", None);
        touched.add("", None);
        assert_eq!(touched.hosts, BTreeSet::from(["host_1".parse().unwrap()]));
        assert_eq!(touched.tenants, BTreeSet::from(["t".to_owned()]));
        assert!(touched.trust);
    }
}
