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
}

/// What to publish in one round.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) hosts: Vec<HostId>,
    /// The tenants whose changes made these hosts due.
    pub(super) tenants: BTreeSet<String>,
}

impl Due {
    /// Makes hosts due because of changes of tenants, each after its `delay`. A pause after a failure is
    /// kept to.
    pub(super) fn add(
        &mut self,
        hosts: impl IntoIterator<Item = HostId>,
        tenants: &BTreeSet<String>,
        delay: impl Fn(&HostId) -> Duration,
    ) {
        let now = Instant::now();
        for host in hosts {
            let at = now.checked_add(delay(&host)).unwrap_or(now);
            let new = || DueHost { at, failures: 0, tenants: BTreeSet::new() };
            let due = self.0.entry(host).or_insert_with(new);
            due.tenants.extend(tenants.iter().cloned());
            if due.failures == 0 {
                due.at = due.at.min(at);
            }
        }
    }

    /// Whatever kept hosts waiting may be over: all are due at once.
    pub(super) fn hurry(&mut self) {
        let now = Instant::now();
        self.0.values_mut().for_each(|due| due.at = now);
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
                due.at = Instant::now().checked_add(pause(due.failures)).unwrap_or(due.at);
                due.failures = due.failures.saturating_add(1);
            }
        }
    }

    /// Waits until a host is due; forever if none is.
    pub(super) async fn wait(&self) {
        match self.0.values().map(|due| due.at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
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
        due.hurry();
        assert_eq!(due.batch(10, |_| false).hosts, [host("b")]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_whose_turn_comes_later_may_be_asked_for_before() {
        let mut due = Due::default();
        let later = |host: &HostId| Duration::from_secs(if host.as_str() == "b" { 1 } else { 0 });
        due.add([host("a"), host("b")], &BTreeSet::new(), later);
        assert_eq!(due.batch(10, |_| false).hosts, [host("a")]);
        due.add([host("b")], &BTreeSet::new(), |_| Duration::ZERO);
        assert_eq!(due.batch(10, |_| false).hosts, [host("a"), host("b")]);
        due.settle(&[host("b")], &BTreeSet::from([host("b")]));
        due.add([host("b")], &BTreeSet::new(), |_| Duration::ZERO);
        assert_eq!(due.batch(10, |_| false).hosts, [host("a")], "a pause after a failure is kept to");
    }

    #[tokio::test(start_paused = true)]
    async fn connected_hosts_come_first() {
        let mut due = Due::default();
        due.add([host("a"), host("b"), host("c")], &BTreeSet::new(), |_| Duration::ZERO);
        assert_eq!(due.batch(2, |id| *id == host("c")).hosts, [host("c"), host("a")]);
    }
}
