//! What is counted of one content of one resource or run, and of the refusals of one resource. Counting
//! is on the path of every answer; how it is written is `writer`'s business.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{self, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use miosa_injector::model::{ResourceId, TenantId};
use tokio::net::unix::UCred;

use super::Content;

/// The count of one thing that is asked for.
pub(crate) struct Tally {
    /// No other one of this process has it.
    pub(super) number: u64,
    pub(super) of: Subject,
    whole: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    last_boot_ms: AtomicU64,
    is_queued: AtomicBool,
    seldom: Mutex<Seldom>,
}

/// What is asked for.
pub(super) enum Subject {
    /// An answer of this content.
    Content(Box<Content>),
    /// Nothing: the requests of a resource that were refused.
    Nothing {
        /// Whose resource it is.
        tenant: TenantId,
        /// The resource.
        resource: ResourceId,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// The whole answer.
    Whole,
    /// Word that the client has it already.
    Unchanged,
    /// An error of this code.
    Refusal(&'static str),
}

/// Whoever is at the other end of a connection. By default nobody that could be named.
#[derive(Default)]
pub(crate) struct Visitor {
    peer: Option<Id>,
    /// The number of the tally it was noted at last, plus one: most connections ask for one thing.
    noted_at: AtomicU64,
}

/// A process as the kernel saw it connect. Ids of another namespace that has no name here are 0, or
/// 65534: good for a log, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) pid: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What moves seldom.
#[derive(Default)]
pub(super) struct Seldom {
    pub(super) first_boot_ms: Option<u64>,
    /// The first few distinct ones.
    pub(super) peers: Vec<Id>,
    /// Connections of others.
    pub(super) more_peers: u64,
    /// The codes are ours, so they are few.
    pub(super) codes: BTreeMap<&'static str, u64>,
    /// How it was written last.
    pub(super) written: Option<Written>,
}

/// A line of a tally.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) at_boot_ms: u64,
    /// In which file: each names a tally in full once.
    pub(super) file: u64,
    pub(super) peers: usize,
    pub(super) codes: usize,
}

/// How often something was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) asked: u64,
    pub(super) unchanged: u64,
    pub(super) last_boot_ms: u64,
}

impl Visitor {
    pub(super) fn new(peer: Option<UCred>) -> Self {
        let id = |peer: UCred| Id { pid: peer.pid().unwrap_or(0), uid: peer.uid(), gid: peer.gid() };
        Self { peer: peer.map(id), noted_at: AtomicU64::new(0) }
    }

    #[cfg(test)]
    pub(super) fn of_process(pid: i32) -> Self {
        Self { peer: Some(Id { pid, uid: 0, gid: 0 }), noted_at: AtomicU64::new(0) }
    }

    fn is_new_at(&self, tally: &Tally) -> bool {
        let number = tally.number.wrapping_add(1);
        let is_new = self.noted_at.load(Ordering::Relaxed) != number;
        if is_new {
            self.noted_at.store(number, Ordering::Relaxed);
        }
        is_new
    }
}

impl Tally {
    /// For one content, from when it is built to when no client can be given it any more.
    pub(crate) fn of_content(content: Content) -> Self {
        Self::new(Subject::Content(Box::new(content)))
    }

    /// For the requests of a resource that are refused, as long as its socket is open.
    pub(crate) fn of_refusals(tenant: TenantId, resource: ResourceId) -> Self {
        Self::new(Subject::Nothing { tenant, resource })
    }

    fn new(of: Subject) -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            of,
            whole: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_boot_ms: AtomicU64::new(0),
            is_queued: AtomicBool::new(false),
            seldom: Mutex::default(),
        }
    }

    pub(super) fn count(&self, visitor: &Visitor, given: Given, boot_ms: u64) {
        self.last_boot_ms.store(boot_ms, Ordering::Relaxed);
        match given {
            Given::Whole => self.whole.fetch_add(1, SeqCst),
            Given::Unchanged => self.unchanged.fetch_add(1, SeqCst),
            Given::Refusal(code) => {
                let mut seldom = self.seldom();
                let count = seldom.codes.entry(code).or_default();
                *count = count.saturating_add(1);
                self.refused.fetch_add(1, SeqCst)
            }
        };
        if visitor.is_new_at(self) {
            self.seldom().meet(visitor.peer, boot_ms);
        }
    }

    /// Whether it has to be put into the queue: it counts something and is not there. A count comes
    /// before this, and [`Self::counts`] after [`Self::leave_queue`], so that none falls in between.
    pub(super) fn enter_queue(&self) -> bool {
        !self.is_queued.load(SeqCst) && !self.is_queued.swap(true, SeqCst)
    }

    pub(super) fn leave_queue(&self) {
        self.is_queued.store(false, SeqCst);
    }

    pub(super) fn counts(&self) -> Counts {
        let (whole, unchanged) = (self.whole.load(SeqCst), self.unchanged.load(SeqCst));
        Counts {
            asked: whole.saturating_add(unchanged).saturating_add(self.refused.load(SeqCst)),
            unchanged,
            last_boot_ms: self.last_boot_ms.load(Ordering::Relaxed),
        }
    }

    /// A panic while the lock was held left nothing half done.
    pub(super) fn seldom(&self) -> MutexGuard<'_, Seldom> {
        self.seldom.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seldom {
    fn meet(&mut self, peer: Option<Id>, boot_ms: u64) {
        self.first_boot_ms.get_or_insert(boot_ms);
        let Some(peer) = peer.filter(|peer| !self.peers.contains(peer)) else { return };
        if self.peers.len() < MAX_PEERS {
            self.peers.push(peer);
        } else {
            self.more_peers = self.more_peers.saturating_add(1);
        }
    }
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// How many distinct peers a record names.
const MAX_PEERS: usize = 8;
