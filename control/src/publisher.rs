//! The publisher: brings what every host was last sent in line with what the database says.
//!
//! It is a reconciler. [`Publisher::reconcile`] takes no input but the store: it finds the hosts whose
//! newest update may no longer be right, reads what each of them needs in one state of the database,
//! and issues an update where that differs from what was issued last. Running it once too often
//! changes nothing, and whatever wakes it (a commit of this process, a host that connects, the timer)
//! is only a reason to run it sooner: a lost nudge costs one period of the timer, never correctness.
//!
//! Any number of replicas may do so at once. Each version of a host's state is issued by one of them,
//! since the store takes only the first: as a rule the one that the host is connected to, which the others
//! give time. They find it there.
//!
//! Every version is issued as a full update, and where that is much smaller, to a host that is connected
//! here, as an incremental one too ([`issue`]). Which of the two a host is sent is decided by its stream,
//! which knows what the host holds ([`stream`]); either way it is the same version of the same state.

mod applied;
mod build;
mod due;
mod fleet;
mod in_force;
mod increments;
mod issue;
mod left_out;
mod look;
mod marks;
mod memory;
mod opening;
mod reports;
mod sealer;
mod stream;
mod sweep;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use miosa_snapshot::HostId;
use tokio::sync::{Notify, watch};

use crate::cli::ServeFor;
use crate::metrics::Metrics;
use crate::report::Chain;
use crate::store::{Store, StoreError};
use crate::token::NoRandomness;

pub(crate) use applied::{Applied, Change};
pub(crate) use build::state_of;
pub(crate) use fleet::{Holding, Version};
pub(crate) use sealer::SignerError;
pub(crate) use stream::Told;

use due::{Batch, Due};
use fleet::Fleet;
use in_force::InForce;
use issue::Want;
use left_out::LeftOut;
use look::{Look, Touched};
use marks::Marker;
use memory::Memory;
use reports::Reports;
use sealer::Sealer;

/// The publisher of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Inner>);

struct Inner {
    store: Store,
    sealer: Sealer,
    fleet: Fleet,
    marker: Marker,
    memory: Memory,
    reports: Reports,
    metrics: Arc<Metrics>,
    /// The trust document that every host was looked at for.
    dealt_with: AtomicU64,
    /// Hosts that somebody waits for.
    asked: Mutex<BTreeSet<HostId>>,
    /// Records that the log says can't be read: once is enough.
    told: Mutex<BTreeSet<String>>,
    left_out: LeftOut,
    nudge: Notify,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Publisher")
    }
}

/// How a host is.
#[derive(Debug)]
pub(crate) struct HostNow {
    /// Whether it has a stream open here.
    pub(crate) connected: bool,
    /// Why nothing can be published to it.
    pub(crate) failure: Option<String>,
}

/// Why a round of publishing came to nothing, for all hosts at once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The store.
    #[error("cannot publish to hosts")]
    Store(#[from] StoreError),
    /// Nothing to sign with.
    #[error("cannot sign updates")]
    Signer(#[from] SignerError),
    /// A panic in a thread that builds updates.
    #[error("building updates broke off")]
    Broken(#[source] tokio::task::JoinError),
}

impl PublishError {
    /// Whether it may be about one host of many. A database that can't be reached is about none, and
    /// neither is a key that is not there.
    fn may_be_of_one_host(&self) -> bool {
        match self {
            Self::Store(StoreError::Database { source, .. }) => !matches!(
                source,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Store(StoreError::Corrupt { .. } | StoreError::Sealed { .. }) | Self::Broken(_) => true,
            Self::Store(StoreError::NoRandomness(_)) | Self::Signer(_) => false,
        }
    }
}

impl Publisher {
    /// A publisher that [`Publisher::run`] sets to work.
    pub(crate) fn new(
        store: Store,
        fresh_for: Duration,
        serve_for: ServeFor,
        metrics: Arc<Metrics>,
    ) -> Result<Self, NoRandomness> {
        Ok(Self(Arc::new(Inner {
            store,
            sealer: Sealer::new(fresh_for, serve_for),
            fleet: Fleet::default(),
            marker: Marker::new()?,
            memory: Memory::new(MAX_REMEMBERED),
            reports: Reports::default(),
            metrics,
            dealt_with: AtomicU64::new(0),
            asked: Mutex::default(),
            told: Mutex::default(),
            left_out: LeftOut::default(),
            nudge: Notify::new(),
        })))
    }

    /// Works until `ending` turns true.
    pub(crate) async fn run(self, mut ending: watch::Receiver<bool>) {
        let sweeping = tokio::spawn(sweep::run(self.0.store.clone(), ending.clone()));
        let noting = tokio::spawn(reports::run(self.clone(), ending.clone()));
        let mut look = Look::new(self.0.store.feed().subscribe());
        let mut due = Due::default();
        loop {
            let round = async {
                self.reconcile(&mut look, &mut due).await;
                tokio::select! {
                    () = look.wait() => {}
                    () = self.0.nudge.notified() => {}
                    () = due.wait() => {}
                }
            };
            tokio::select! {
                () = round => {}
                _ = ending.wait_for(|ending| *ending) => break,
            }
        }
        for task in [sweeping, noting] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the publisher broke off");
            }
        }
    }

    /// Publishes to every host whose newest update may not be right.
    async fn reconcile(&self, look: &mut Look, due: &mut Due) {
        match self.find_due(look, due).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!("{}", Chain(&error));
                // The store is not to be asked again at once; what was missed is found by the timer.
                return tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
        loop {
            let Batch { hosts, tenants } = due.batch(MAX_BATCH, |host| self.0.fleet.is_connected(host));
            if hosts.is_empty() {
                return;
            }
            let failed = match self.publish(&hosts, &tenants, Want::Changes).await {
                Ok(failed) => failed,
                Err(error) if error.may_be_of_one_host() && hosts.len() > 1 => {
                    tracing::error!("{}: its hosts are tried one by one", Chain(&error));
                    self.publish_one_by_one(&hosts, &tenants).await
                }
                Err(error) => self.give_up(&hosts, &error),
            };
            due.settle(&hosts, &failed);
        }
    }

    /// Publishes so that a host that it does not work out for costs no other.
    async fn publish_one_by_one(&self, hosts: &[HostId], tenants: &BTreeSet<String>) -> BTreeSet<HostId> {
        let mut failed = BTreeSet::new();
        let mut rest = hosts;
        while let Some((host, others)) = rest.split_first() {
            match self.publish(std::slice::from_ref(host), tenants, Want::Changes).await {
                Ok(mut again) => failed.append(&mut again),
                Err(error) if error.may_be_of_one_host() => {
                    failed.append(&mut self.give_up(std::slice::from_ref(host), &error));
                }
                // The others would wait for the same, each for itself.
                Err(error) => {
                    failed.append(&mut self.give_up(rest, &error));
                    return failed;
                }
            }
            rest = others;
        }
        failed
    }

    /// Says why hosts are not published to. They are to be tried again.
    fn give_up(&self, hosts: &[HostId], error: &PublishError) -> BTreeSet<HostId> {
        let failure = Chain(error).to_string();
        let host_id = hosts.first().filter(|_| hosts.len() == 1).map(tracing::field::display);
        tracing::error!(host_id, "{failure}");
        hosts.iter().for_each(|host| self.0.fleet.fail(host, failure.clone()));
        hosts.iter().cloned().collect()
    }

    async fn find_due(&self, look: &mut Look, due: &mut Due) -> Result<(), PublishError> {
        let Touched { hosts, tenants, changed, trust } = look.gather(&self.0.store).await?;
        let mut hosts = hosts.clone();
        for tenant in tenants {
            hosts.extend(self.0.store.hosts_of_tenant(tenant).await?);
        }
        if *trust {
            // A new document reaches every host, with a state that was signed under it.
            let in_force = self.0.sealer.read_again(&self.0.store).await?;
            hosts.extend(self.0.store.hosts_not_under(in_force.version()).await?);
            if self.0.dealt_with.swap(in_force.version(), Ordering::Relaxed) != in_force.version() {
                due.hurry();
                self.tell_of(&in_force);
                // Their streams wait for it, also where another replica was first.
                hosts.extend(self.0.fleet.connected());
            }
        }
        // What is connected to another replica is left to that one first: it can send what changed alone.
        let is_others = |host: &HostId| self.0.store.is_shared() && !self.0.fleet.is_connected(host);
        due.add(hosts, changed, |host| if is_others(host) { OTHERS_FIRST } else { Duration::ZERO });
        look.forget();
        let asked = std::mem::take(&mut *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner));
        due.add(asked, &BTreeSet::new(), |_| Duration::ZERO);
        Ok(())
    }

    /// Says which trust document is in force from here on.
    fn tell_of(&self, in_force: &InForce) {
        let version = in_force.version();
        let expires_at = match in_force.signer() {
            Ok(signer) => {
                let signer_id = signer.key_id();
                tracing::info!(event = "trust", version, epoch = signer.epoch, %signer_id, "trust document in force");
                signer.expires_at()
            }
            Err(error) => {
                tracing::error!(event = "no_signer", version, "nothing is published: {error}");
                0
            }
        };
        self.0.metrics.signer_expires_at.store(expires_at / 1000, Ordering::Relaxed);
    }

    /// How a host is at this moment, as far as this process knows.
    pub(crate) fn host_now(&self, host: &HostId) -> HostNow {
        let view = self.0.fleet.watch(host);
        let view = view.borrow();
        HostNow { connected: view.connected, failure: view.failure.clone() }
    }

    /// Asks that a host be looked at, since somebody waits for it.
    fn ask(&self, host: &HostId) {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone());
        self.0.nudge.notify_one();
    }
}

const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// What it takes a replica to hear of a change and to publish it.
const OTHERS_FIRST: Duration = Duration::from_millis(100);
/// The bytes of memory for what hosts were issued last: about a million records.
const MAX_REMEMBERED: usize = 64 * 1024 * 1024;
/// Hosts that are read in one state of the database.
const MAX_BATCH: usize = 512;
