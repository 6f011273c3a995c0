//! The drop directory: the second door of `serve`. Whatever file is put there is read, handed to the
//! intake as if it had come by the socket, and removed after the verdict. It decides when a file is
//! looked at, never whether it is accepted.
//!
//! Nothing found there, and nothing done to the directory itself, ends the daemon or makes it spin:
//! what is wrong is an alarm, and tried again on a timer.

mod folder;
mod look;
mod watch;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch as channel;

use crate::failure::in_one_line;
use crate::intake::{Queue, Shared};
use folder::{Folder, FolderError};
use look::Looker;
use watch::{Bell, Watch};

/// The door, open until this is dropped.
pub(crate) struct DropDoor(Bell);

/// How the door fares, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DropReport {
    /// `watched`, `polled` (changes are found on a timer only) or `unusable`.
    pub(crate) state: String,
    /// Why it is not `watched`.
    pub(crate) problem: Option<String>,
    /// Files that are looked at again soon, since they may be half written.
    pub(crate) waiting: u64,
    /// What is left where it is: no regular file, or not ours to read. At most 16 of them.
    pub(crate) left: Vec<LeftEntry>,
    /// How many of those there are.
    pub(crate) left_count: u64,
}

/// Something in the directory that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftEntry {
    /// Its name, escaped where it is no plain text.
    pub(crate) file: String,
    /// What it is, or why it can't be read.
    pub(crate) reason: String,
}

impl DropDoor {
    /// Opens the door on a thread of its own, which never holds up an answer on a socket.
    pub(crate) fn open(
        path: PathBuf,
        queue: Queue,
        shared: Shared,
        draining: channel::Receiver<bool>,
    ) -> io::Result<Self> {
        let bell = Bell::default();
        let door = Self(bell.clone());
        let looker = Looker::new(queue, shared.clone(), draining.clone());
        let keeper = Keeper { path, shared, draining, bell, looker, folder: None, problem: None };
        thread::Builder::new().name("drop".to_owned()).spawn(|| keeper.run())?;
        Ok(door)
    }

    /// Has the directory looked at soon, whatever the kernel tells of it.
    pub(crate) fn look_again(&self) {
        self.0.ring();
    }
}

impl Drop for DropDoor {
    fn drop(&mut self) {
        self.0.ring_the_end();
    }
}

/// Keeps the directory open, watched and looked at.
struct Keeper {
    path: PathBuf,
    shared: Shared,
    draining: channel::Receiver<bool>,
    bell: Bell,
    looker: Looker,
    folder: Option<Watched>,
    /// What was told last, so that it is told once.
    problem: Option<&'static str>,
}

struct Watched {
    folder: Folder,
    /// None: the kernel would not watch it, so it is looked at more often.
    watch: Option<Watch>,
}

impl Keeper {
    fn run(mut self) {
        while !*self.draining.borrow() {
            let pause = self.turn();
            if self.bell.wait(pause).is_break() {
                return;
            }
        }
    }

    /// One look, if there is something to look at. Says how long nothing needs to be done unless
    /// something happens.
    fn turn(&mut self) -> Duration {
        if let Err(error) = self.keep_open() {
            self.folder = None;
            self.tell(error.alarm(), &in_one_line(&error));
            let report = self.looker.report("unusable", Some(in_one_line(&error)));
            self.shared.ledger.set_drop(report);
            return MEND;
        }
        let Some(Watched { folder, watch }) = &self.folder else { return MEND };
        let is_watched = watch.is_some();
        let begun = self.shared.clock.boot_ms();
        let looked = self.looker.look(folder);
        let state = if is_watched { "watched" } else { "polled" };
        let problem = (!is_watched).then(|| "the kernel does not watch it".to_owned());
        self.shared.ledger.set_drop(self.looker.report(state, problem));
        // However often something there is touched, looking in vain takes a small part of the time.
        let took = if looked.offered { 0 } else { self.shared.clock.boot_ms().saturating_sub(begun) };
        self.bell.rest(Duration::from_millis(took.saturating_mul(REST)).clamp(LEAST_REST, MEND));
        match (looked.waits, is_watched) {
            (true, _) => SOON,
            (false, true) => RESCAN,
            (false, false) => MEND,
        }
    }

    /// Opens the directory anew when it is not the one at its path any more, making it if need be.
    fn keep_open(&mut self) -> Result<(), FolderError> {
        if let Some(watched) = &mut self.folder
            && watched.folder.is_at(&self.path)
        {
            watched.folder.check()?;
            if watched.watch.is_none() {
                watched.watch = Watch::of(&watched.folder, self.bell.clone()).ok();
            }
            if watched.watch.is_some() {
                self.problem = None;
            }
            return Ok(());
        }
        if self.folder.take().is_some() {
            self.tell("drop_vanished", "the drop directory was removed or replaced; it is made again");
        }
        let folder = Folder::open(&self.path)?;
        let watch = Watch::of(&folder, self.bell.clone());
        if let Err(error) = &watch {
            let why = in_one_line(error);
            self.tell(
                "drop_unwatched",
                &format!("cannot watch the drop directory ({why}); looking on a timer"),
            );
        } else {
            self.problem = None;
        }
        self.looker.forget();
        self.folder = Some(Watched { folder, watch: watch.ok() });
        Ok(())
    }

    fn tell(&mut self, alarm: &'static str, message: &str) {
        if self.problem.replace(alarm) != Some(alarm) {
            self.shared.alarm(alarm, message);
        }
    }
}

/// For what the kernel does not tell: that the directory, which is held open, was removed, and that a
/// file lost its other names.
const RESCAN: Duration = Duration::from_secs(5);

/// While something may be half written, or could not be kept.
const SOON: Duration = Duration::from_secs(1);

/// While the directory can't be used, or not be watched.
const MEND: Duration = Duration::from_secs(2);

/// After a look, for how many times as long nothing is looked at.
const REST: u64 = 9;
const LEAST_REST: Duration = Duration::from_millis(20);
