//! Which hosts are to be published to, and when: at once, or after a pause when it failed before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use miosa_snapshot::HostId;
use tokio::time::Instant;

/// Hosts that are due.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeMap<HostId, DueHost>);

#[derive(Debug)]
struct DueHost {
    at: Instant,
    failures: u32,
    /// The tenants whose changes made it due.
    tenants: BTreeSet<String>,
    want: Want,
}

/// What a host is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// An update if its state is another than the one issued last.
    Changes,
    /// An update of now, also if its state is the same: there is nothing at hand to be sent.
    Again,
}

/// What to publish in one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) hosts: Vec<HostId>,
    /// Those of them that want an update in any case.
    pub(super) again: BTreeSet<HostId>,
    /// The tenants whose changes made these hosts due.
    pub(super) tenants: BTreeSet<String>,
}

impl Due {
    /// Makes hosts due because of changes of tenants, each after its `delay`. A pause after a failure
    /// is kept to.
    pub(super) fn add(
        &mut self,
        hosts: impl IntoIterator<Item = HostId>,
        tenants: &BTreeSet<String>,
        delay: impl Fn(&HostId) -> Duration,
    ) {
        for host in hosts {
            let at = after(delay(&host));
            let due = self.entry(host, at);
            due.tenants.extend(tenants.iter().cloned());
            if due.failures == 0 {
                due.at = due.at.min(at);
            }
        }
    }

    /// Makes a host due for an update in any case.
    pub(super) fn add_again(&mut self, host: HostId) {
        let now = Instant::now();
        let due = self.entry(host, now);
        due.want = Want::Again;
        if due.failures == 0 {
            due.at = now;
        }
    }

    /// At most `limit` hosts whose time has come, those that `is_first` before the others. They stay
    /// due until they are settled.
    pub(super) fn batch(&self, limit: usize, is_first: impl Fn(&HostId) -> bool) -> Batch {
        let now = Instant::now();
        let ready: Vec<_> = self.0.iter().filter(|(_, due)| due.at <= now).collect();
        let (first, rest): (Vec<_>, Vec<_>) = ready.into_iter().partition(|(host, _)| is_first(host));
        let mut batch = Batch::default();
        for (host, due) in first.into_iter().chain(rest).take(limit) {
            batch.hosts.push(host.clone());
            if due.want == Want::Again {
                batch.again.insert(host.clone());
            }
            batch.tenants.extend(due.tenants.iter().cloned());
        }
        batch
    }

    /// Ends a batch: hosts that failed are due again, later each time.
    pub(super) fn settle(&mut self, hosts: &[HostId], failed: &BTreeSet<HostId>) {
        for host in hosts {
            if !failed.contains(host) {
                self.0.remove(host);
            } else if let Some(due) = self.0.get_mut(host) {
                due.at = after(pause(due.failures));
                due.failures = due.failures.saturating_add(1);
            }
        }
    }

    fn entry(&mut self, host: HostId, at: Instant) -> &mut DueHost {
        let new = || DueHost { at, failures: 0, tenants: BTreeSet::new(), want: Want::Changes };
        self.0.entry(host).or_insert_with(new)
    }

    /// Waits until a host is due; forever if none is.
    pub(super) async fn wait(&self) {
        match self.0.values().map(|due| due.at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

fn after(delay: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(delay).unwrap_or(now)
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: &str) -> HostId {
        id.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_fails_is_due_again_later_each_time() {
        let mut due = Due::default();
        due.add([host("a"), host("b")], &BTreeSet::from(["t".to_owned()]), |_| Duration::ZERO);
        let batch = due.batch(10, |_| false);
        assert_eq!(batch.hosts, [host("a"), host("b")]);
        assert_eq!(batch.tenants, BTreeSet::from(["t".to_owned()]));
        due.settle(&batch.hosts, &BTreeSet::from([host("b")]));
        for expected in [50, 100, 200] {
            assert!(due.batch(10, |_| false).hosts.is_empty());
            let before = Instant::now();
            due.wait().await;
            assert_eq!(before.elapsed(), Duration::from_millis(expected));
            due.settle(&[host("b")], &BTreeSet::from([host("b")]));
        }
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn connected_hosts_come_first() {
        let mut due = Due::default();
        due.add([host("a"), host("b"), host("c")], &BTreeSet::new(), |_| Duration::ZERO);
        assert_eq!(due.batch(2, |id| *id == host("c")).hosts, [host("c"), host("a")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_whose_turn_comes_later_may_be_asked_for_before() {
        let mut due = Due::default();
        due.add([host("a")], &BTreeSet::new(), |_| Duration::from_secs(1));
        assert!(due.batch(10, |_| false).hosts.is_empty());
        due.add_again(host("a"));
        let batch = due.batch(10, |_| false);
        assert_eq!((batch.hosts, batch.again), (vec![host("a")], BTreeSet::from([host("a")])));
    }
}
