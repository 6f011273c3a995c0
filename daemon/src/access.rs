//! The access log: who resolved what, and when. Names, never values. An answer costs it an addition and
//! a store; a thread of its own writes what came together, now and then. It is for operators to read,
//! and no answer ever waits for it or fails because of it. docs/access-log.md has the format.

mod content;
mod files;
mod line;
mod read;
mod tally;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;

pub(crate) use content::Content;
pub(crate) use read::{AccessReport, Record, read};
pub(crate) use tally::{Given, Tally, Visitor};
pub(crate) use writer::AccessWriter;

use crate::settings::AccessLogSettings;

/// The way into the log.
#[derive(Clone)]
pub(crate) struct AccessLog(Arc<Desk>);

/// What those who answer and the one who writes share.
struct Desk {
    is_on: AtomicBool,
    queue: Mutex<Queue>,
    bell: Condvar,
    lost: AtomicU64,
}

struct Queue {
    /// Those that were asked for since they were written last.
    tallies: Vec<Arc<Tally>>,
    settings: AccessLogSettings,
    is_over: bool,
}

/// One that is not kept.
impl Default for AccessLog {
    fn default() -> Self {
        Self::new(AccessLogSettings { enabled: false, ..AccessLogSettings::default() })
    }
}

impl AccessLog {
    /// A log that is kept as `settings` say. Nothing is written before a writer is started on it.
    pub(crate) fn new(settings: AccessLogSettings) -> Self {
        Self(Arc::new(Desk {
            is_on: AtomicBool::new(settings.enabled),
            queue: Mutex::new(Queue { tallies: Vec::new(), settings, is_over: false }),
            bell: Condvar::new(),
            lost: AtomicU64::new(0),
        }))
    }

    /// Keeps it as other settings say from here on.
    pub(crate) fn configure(&self, settings: AccessLogSettings) {
        self.0.is_on.store(settings.enabled, Ordering::Relaxed);
        self.0.queue().settings = settings;
    }

    /// Records that could not be written since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whoever is at the other end of a connection, as the kernel says.
    pub(crate) fn visitor(&self, stream: &UnixStream) -> Visitor {
        let is_on = self.0.is_on.load(Ordering::Relaxed);
        Visitor::new(is_on.then(|| stream.peer_cred().ok()).flatten())
    }

    /// Notes that `visitor` was given what `tally` stands for. This is on the path of every answer.
    pub(crate) fn note(&self, tally: &Arc<Tally>, visitor: &Visitor, given: Given, boot_ms: u64) {
        if !self.0.is_on.load(Ordering::Relaxed) {
            return;
        }
        tally.count(visitor, given, boot_ms);
        if tally.enter_queue() {
            self.queue(tally);
        }
    }

    /// At most once for each tally and turn of the writer.
    #[cold]
    fn queue(&self, tally: &Arc<Tally>) {
        let mut queue = self.0.queue();
        if queue.tallies.len() >= MAX_QUEUED {
            tally.leave_queue();
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.tallies.push(Arc::clone(tally));
        if queue.tallies.len() == 1 {
            self.0.bell.notify_all();
        }
    }
}

impl Desk {
    /// A panic while the lock was held left nothing half done.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Far more than a host has resources and runs, with some of the content before.
const MAX_QUEUED: usize = 65_536;
