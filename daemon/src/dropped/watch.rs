//! Waiting for something to happen in the drop directory, or for the end. The kernel's watch is set on
//! the open directory itself, so no path can lead it elsewhere.

use std::ffi::OsString;
use std::io::PipeReader;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};

use super::folder::Folder;
use super::look::is_finished_name;
use crate::clock::Clock;

/// The kernel's watch over the directory.
pub(super) struct Watch(Inotify);

/// What ends a wait.
pub(super) struct Wakers {
    stopped: PipeReader,
    clock: Clock,
}

impl Watch {
    pub(super) fn of(folder: &Folder) -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let place = format!("/proc/self/fd/{}", folder.directory().as_raw_fd());
        inotify.add_watch(place.as_str(), EVENTS | AddWatchFlags::IN_ONLYDIR)?;
        Ok(Self(inotify))
    }

    /// Takes note of all that happened. True: a look may find something.
    fn is_news(&self) -> bool {
        let mut is_news = false;
        for _read in 0..MOST_READS {
            match self.0.read_events() {
                Ok(events) => is_news |= events.iter().any(deserves_a_look),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return is_news,
                // Unknown, so look.
                Err(_) => return true,
            }
        }
        // As much comes in as is read.
        true
    }
}

impl Wakers {
    pub(super) fn new(stopped: PipeReader, clock: Clock) -> Self {
        Self { stopped, clock }
    }

    /// Waits until something deserves a look or the time is over. Break: the end has come.
    pub(super) fn wait(&self, watch: Option<&Watch>, at_most: Duration) -> ControlFlow<()> {
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        let until = self.clock.boot_ms().saturating_add(at_most);
        loop {
            let left = Duration::from_millis(until.saturating_sub(self.clock.boot_ms()));
            let mut ends = vec![PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN)];
            ends.extend(watch.map(|watch| PollFd::new(watch.0.as_fd(), PollFlags::POLLIN)));
            let woken = poll(&mut ends, timeout(left));
            if ends.first().and_then(PollFd::revents).is_some_and(|events| !events.is_empty()) {
                return ControlFlow::Break(());
            }
            if left.is_zero() || (woken.is_ok_and(|ready| ready > 0) && watch.is_none_or(Watch::is_news)) {
                return ControlFlow::Continue(());
            }
            // Only names that are not looked at yet, or a signal: no reason to look, nor to spin.
            self.rest(QUIET_NAMES);
        }
    }

    /// Waits for nothing but time and the end.
    pub(super) fn rest(&self, time: Duration) {
        let mut stop = [PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN)];
        // Whatever ends it early is seen by the next wait.
        let _ended = poll(&mut stop, timeout(time));
    }
}

fn deserves_a_look(event: &InotifyEvent) -> bool {
    let is_finished = |name: &OsString| is_finished_name(name.as_bytes());
    event.name.as_ref().is_none_or(is_finished)
}

fn timeout(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
}

const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// Of 4 KiB each: more than the kernel keeps.
const MOST_READS: u32 = 4_096;

const QUIET_NAMES: Duration = Duration::from_millis(20);
