//! Having the service manager keep the listeners, so that who connects while the daemon restarts
//! waits and is answered. On a thread of its own: the service manager may take its time, and takes
//! more of it the more it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use super::ListenerName;
use crate::failure::in_one_line;

/// The way to the service manager's store of descriptors. When the last of these is gone, so is its
/// thread.
#[derive(Clone)]
pub(crate) struct Keeper(Option<Arc<Handle>>);

/// How many are kept, and of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeeperReport {
    /// Listeners that outlive this process.
    pub(crate) kept: usize,
    /// How many there is room for; 0 where nobody keeps any.
    pub(crate) room: usize,
}

struct Handle(Arc<Desk>);

/// What is to be done, and what was.
struct Desk {
    work: Mutex<Work>,
    news: Condvar,
    room: usize,
}

#[derive(Default)]
struct Work {
    coming: BTreeMap<String, OwnedFd>,
    leaving: BTreeSet<String>,
    /// Names that are kept, or will be once all is done.
    kept: BTreeSet<String>,
    is_busy: bool,
    is_over: bool,
}

enum Task {
    Keep(OwnedFd),
    LetGo,
}

impl Keeper {
    /// The service manager's, if there is one.
    pub(crate) fn start() -> io::Result<Self> {
        if env::var_os(NOTIFY_SOCKET).is_none() {
            return Ok(Self::absent());
        }
        let room = env::var(ROOM).ok().and_then(|room| room.parse().ok()).unwrap_or(DEFAULT_ROOM);
        let desk = Desk { work: Mutex::default(), news: Condvar::new(), room };
        let desk = Arc::new(desk);
        let handle = Handle(Arc::clone(&desk));
        thread::Builder::new().name("keeper".to_owned()).spawn(move || desk.serve())?;
        Ok(Self(Some(Arc::new(handle))))
    }

    /// Keeps nothing.
    pub(crate) fn absent() -> Self {
        Self(None)
    }

    /// Has a listener kept from now on. False: there is no room, or no descriptor to be had.
    pub(crate) fn keep(&self, name: &ListenerName, listener: &UnixListener) -> bool {
        let Some(desk) = self.desk() else { return true };
        let mut work = desk.lock();
        if work.kept.len() >= desk.room {
            return false;
        }
        let Ok(descriptor) = listener.as_fd().try_clone_to_owned() else { return false };
        work.kept.insert(name.to_string());
        work.coming.insert(name.to_string(), descriptor);
        desk.news.notify_all();
        true
    }

    /// Notes that a listener is kept already, by the process before this one.
    pub(crate) fn is_kept(&self, name: &ListenerName) {
        if let Some(desk) = self.desk() {
            desk.lock().kept.insert(name.to_string());
        }
    }

    /// Has the listener of this name closed where it is kept.
    pub(crate) fn let_go(&self, name: &str) {
        let Some(desk) = self.desk() else { return };
        let mut work = desk.lock();
        work.kept.remove(name);
        work.coming.remove(name);
        work.leaving.insert(name.to_owned());
        desk.news.notify_all();
    }

    /// Waits until all is done that was asked for, or the time is over.
    pub(crate) fn finish(&self, at_most: Duration) {
        let Some(desk) = self.desk() else { return };
        let is_at_work = |work: &mut Work| work.is_busy || work.is_pending();
        drop(desk.news.wait_timeout_while(desk.lock(), at_most, is_at_work));
    }

    pub(crate) fn report(&self) -> KeeperReport {
        let report = |desk: &Desk| KeeperReport { kept: desk.lock().kept.len(), room: desk.room };
        self.desk().map(report).unwrap_or_default()
    }

    fn desk(&self) -> Option<&Desk> {
        self.0.as_ref().map(|handle| &*handle.0)
    }
}

impl Desk {
    fn serve(&self) {
        while let Some((name, task)) = self.next() {
            let done = match &task {
                Task::Keep(descriptor) => sd_notify::notify_with_fds(
                    &[NotifyState::FdStore, NotifyState::FdName(&name)],
                    &[descriptor.as_fd()],
                ),
                Task::LetGo => sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]),
            };
            if let Err(error) = done {
                let error = in_one_line(&error);
                tracing::warn!(
                    event = "listener_not_kept",
                    error,
                    "the service manager can't be told; clients that connect during a restart are refused"
                );
            }
        }
    }

    fn next(&self) -> Option<(String, Task)> {
        let mut work = self.lock();
        work.is_busy = false;
        self.news.notify_all();
        let mut work = self
            .news
            .wait_while(work, |work| !work.is_pending() && !work.is_over)
            .unwrap_or_else(PoisonError::into_inner);
        let next = work.next();
        work.is_busy = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn is_pending(&self) -> bool {
        !self.leaving.is_empty() || !self.coming.is_empty()
    }

    /// Who leaves first: a store that is full takes nothing, and does not say so.
    fn next(&mut self) -> Option<(String, Task)> {
        let leaving = self.leaving.pop_first().map(|name| (name, Task::LetGo));
        leaving.or_else(|| self.coming.pop_first().map(|(name, descriptor)| (name, Task::Keep(descriptor))))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.news.notify_all();
    }
}

/// sd_notify(3)
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Set to the unit's `FileDescriptorStoreMax=` by systemd 254 and later; systemd.exec(5).
const ROOM: &str = "FDSTORE";

/// `FileDescriptorStoreMax=` of the unit that comes with this program.
const DEFAULT_ROOM: usize = 4_096;
