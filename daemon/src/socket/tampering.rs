//! Notices when a socket, or a directory that leads to one, is no longer what it was made: somebody
//! mounted a resource's directory writable, or had a hand in the runtime directory. It looks, compares
//! and tells; it opens no file, follows no link, connects to nothing and mends nothing.
//!
//! On a thread of its own: a look at thousands of sockets must not make an answer wait.

mod finding;
mod place;

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use miosa_injector::model::ResourceId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use place::{Looks, RuntimePlace};

pub(crate) use finding::{TamperReport, Tampered};

use super::bind::SocketFile;
use crate::intake::Shared;
use crate::layout::RuntimeDir;

/// The file that is to be each resource's socket. Written by the intake's thread, which makes and
/// removes them.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<BTreeMap<ResourceId, SocketFile>>>);

/// The way to the thread that looks. When the last of these is gone, so is the thread.
#[derive(Clone)]
pub(crate) struct Patrol(SyncSender<oneshot::Sender<()>>);

/// What that thread works with.
struct Round {
    place: RuntimePlace,
    register: Register,
    looks: BTreeMap<ResourceId, Looks>,
    /// What was found by the last look.
    found: TamperReport,
    shared: Shared,
}

impl Register {
    /// From here on this very file is to be the resource's socket.
    pub(crate) fn expect(&self, id: &ResourceId, socket: SocketFile) {
        self.lock().insert(id.clone(), socket);
    }

    /// From here on the resource is to have no socket. To be called before it is removed.
    pub(crate) fn forget(&self, id: &ResourceId) {
        self.lock().remove(id);
    }

    fn all(&self) -> BTreeMap<ResourceId, SocketFile> {
        self.lock().clone()
    }

    fn expects(&self, id: &ResourceId, socket: SocketFile) -> bool {
        self.lock().get(id) == Some(&socket)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ResourceId, SocketFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patrol {
    /// Looks now and then from here on. The runtime directory and the sockets of operators are taken to
    /// be as they should.
    ///
    /// # Errors
    /// When the runtime directory can't be opened, or no thread be started.
    pub(crate) fn start(directory: &RuntimeDir, register: Register, shared: Shared) -> io::Result<Self> {
        let place = RuntimePlace::open(directory)?;
        let (sender, requests) = sync_channel(REQUESTS);
        let round = Round { place, register, looks: BTreeMap::new(), found: BTreeMap::new(), shared };
        thread::Builder::new().name("patrol".to_owned()).spawn(move || round.walk(&requests))?;
        Ok(Self(sender))
    }

    /// Has the ledger's report be no older than a second, so that who has just mended something sees it.
    /// Nobody can make it look more often than that, and nobody waits long for a look that hangs.
    pub(crate) async fn refresh(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.try_send(reply).is_ok() {
            let _done_or_hanging = timeout(REFRESH, done).await;
        }
    }
}

impl Round {
    fn walk(mut self, requests: &Receiver<oneshot::Sender<()>>) {
        let mut looked_at = self.look();
        loop {
            let left = PERIOD.saturating_sub(self.since(looked_at));
            let asked = match requests.recv_timeout(left) {
                Ok(reply) => Some(reply),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if asked.is_none() || self.since(looked_at) >= RECENT {
                looked_at = self.look();
            }
            if let Some(reply) = asked {
                let _hung_up = reply.send(());
            }
        }
    }

    fn since(&self, boot_ms: u64) -> Duration {
        Duration::from_millis(self.shared.clock.boot_ms().saturating_sub(boot_ms))
    }

    /// When it was begun.
    fn look(&mut self) -> u64 {
        let now = self.shared.clock.now();
        let mut report = self.place.look_around();
        // Where the way to all of them is lost, nothing more is to be said of each.
        if report.is_empty() {
            report = self.look_at_each(now.unix_ms);
        }
        self.tell(report);
        now.boot_ms
    }

    fn look_at_each(&mut self, unix_ms: u64) -> TamperReport {
        let mut report = TamperReport::new();
        let expected = self.register.all();
        self.looks.retain(|id, looks| expected.get(id) == Some(&looks.of()));
        for (id, socket) in expected {
            let path = self.place.home(&id);
            let looks = self.looks.entry(id.clone()).or_insert_with(|| Looks::at(socket));
            let found = match self.place.look_at(&id, looks, unix_ms) {
                Ok(found) => found,
                // Out of descriptors, perhaps. What is not seen is as it was.
                Err(_) => self.found.get(&path).map(|before| before.found.clone()).unwrap_or_default(),
            };
            // It may have been removed meanwhile, and rightly so.
            if !found.is_empty() && self.register.expects(&id, socket) {
                report.insert(path.clone(), Tampered::resource(&id, path, found));
            }
        }
        report
    }

    /// Tells of what was not so at the last look.
    fn tell(&mut self, report: TamperReport) {
        for (path, tampered) in &report {
            if self.found.get(path) != Some(tampered) {
                self.shared.alarm("socket_tampered", &tampered.to_string());
            }
        }
        for (path, tampered) in &self.found {
            if !report.contains_key(path) {
                let resource = tampered.resource.as_deref();
                let message = "it is as it should be again, or no longer needed";
                tracing::info!(event = "socket_tampering_ended", resource, path, "{message}");
            }
        }
        if report != self.found {
            self.shared.ledger.set_tampered(report.clone());
            self.found = report;
        }
    }
}

/// A sandbox that connects meanwhile fails or is answered by itself; so minutes would be too long.
const PERIOD: Duration = Duration::from_secs(10);

/// What is shown to who asks is no older.
const RECENT: Duration = Duration::from_secs(1);

/// How long who asks waits for a look.
const REFRESH: Duration = Duration::from_secs(1);

/// Who comes when that many wait sees the last look.
const REQUESTS: usize = 16;
