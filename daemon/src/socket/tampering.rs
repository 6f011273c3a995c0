//! Notices when a socket, or a directory that leads to one, is no longer what it was made: somebody
//! mounted a resource's directory writable, or had a hand in the runtime directory. It looks, compares and
//! tells; it opens no file, follows no link, connects to nothing and mends nothing.
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

pub(crate) use finding::{Finding, TamperReport, Tampered};
use place::{Homes, Seen};

use super::bind::SocketFile;
use crate::disk::DiskError;
use crate::intake::Shared;
use crate::layout::RuntimeDir;

/// The sockets that should be where they were made, by resource. Written by the intake's thread, which makes and removes them.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<BTreeMap<ResourceId, SocketFile>>>);

/// The way to the thread that looks. When the last of these is gone, so is the thread.
#[derive(Clone)]
pub(crate) struct Patrol(SyncSender<oneshot::Sender<()>>);

/// The thread's own.
struct Round {
    homes: Homes,
    register: Register,
    seen: BTreeMap<ResourceId, Seen>,
    told: TamperReport,
    shared: Shared,
}

impl Register {
    /// From here on this very file is to be the resource's socket.
    pub(crate) fn expect(&self, id: &ResourceId, socket: SocketFile) {
        self.lock().insert(id.clone(), socket);
    }

    /// From here on the resource has no socket. To be called before it is removed.
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
    /// Looks now and then from here on. The runtime directory and the operators' sockets are taken to be as they should be.
    pub(crate) fn start(
        directory: &RuntimeDir,
        register: Register,
        shared: Shared,
    ) -> Result<io::Result<Self>, DiskError> {
        let homes = Homes::open(directory)?;
        let (sender, requests) = sync_channel(REQUESTS);
        let round = Round { homes, register, seen: BTreeMap::new(), told: TamperReport::default(), shared };
        let thread = thread::Builder::new().name("patrol".to_owned()).spawn(|| round.walk(&requests));
        Ok(thread.map(|_detached| Self(sender)))
    }

    /// Has what the ledger says be no older than a second, so that who has just mended something sees it.
    /// More often than that nobody can make it look, and nobody waits long for a look that hangs.
    pub(crate) async fn refresh(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.try_send(reply).is_ok() {
            let _done_or_hanging = timeout(REFRESH, done).await;
        }
    }
}

impl Round {
    fn walk(mut self, requests: &Receiver<oneshot::Sender<()>>) {
        loop {
            let began = self.shared.clock.boot_ms();
            self.look();
            loop {
                let reply = match requests.recv_timeout(PERIOD) {
                    Ok(reply) => Some(reply),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let Some(reply) = reply else { break };
                let age = self.shared.clock.boot_ms().saturating_sub(began);
                if age < RECENT_MS {
                    let _hung_up = reply.send(());
                }
            }
        }
    }

    fn look(&mut self) {
        let expected = self.register.all();
        self.seen.retain(|id, _| expected.contains_key(id));
        let mut report = self.homes.look_around();
        if report.is_empty() {
            for (id, socket) in expected {
                let seen = self.seen.entry(id.clone()).or_default();
                let found = self.homes.look_at(&id, socket, seen);
                // Removed meanwhile, and rightly so.
                if !found.is_empty() && self.register.expects(&id, socket) {
                    report.insert(Tampered::resource(&self.homes, &id), found);
                }
            }
        }
        self.tell(report);
    }
}
