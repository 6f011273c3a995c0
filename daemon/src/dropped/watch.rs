//! Waiting for something to happen in the drop directory, or for the end. Which events deserve a look
//! is decided here; what is found then is not.

use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, RemoveKind};
use notify::{Config, INotifyWatcher, RecursiveMode, Watcher as _};

use super::folder::Folder;
use super::look::is_finished_name;

/// The kernel's watch over the directory, until this is dropped.
pub(super) struct Watch {
    _watcher: INotifyWatcher,
}

/// What ends a wait. All clones are of one.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<(Mutex<Rung>, Condvar)>);

#[derive(Debug, Clone, Copy, Default)]
struct Rung {
    news: bool,
    end: bool,
}

impl Watch {
    /// Rings the bell for what happens in the directory from now on.
    pub(super) fn of(folder: &Folder, bell: Bell) -> Result<Self, notify::Error> {
        // What is watched is what is open: no path can lead the watch elsewhere.
        let place = PathBuf::from(format!("/proc/self/fd/{}", folder.directory().as_raw_fd()));
        let on_event = move |event: Result<Event, notify::Error>| {
            // Of an error nothing is known, so look.
            if event.map_or(true, |event| deserves_a_look(&event)) {
                bell.ring();
            }
        };
        let mut watcher = INotifyWatcher::new(on_event, Config::default())?;
        watcher.watch(&place, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher })
    }
}

impl Bell {
    /// Something deserves a look.
    pub(super) fn ring(&self) {
        let mut rung = self.lock();
        // Who already has news to look at need not be woken for more.
        if !rung.news {
            rung.news = true;
            self.0.1.notify_one();
        }
    }

    /// The end has come, for whoever waits now or later.
    pub(super) fn ring_the_end(&self) {
        self.lock().end = true;
        self.0.1.notify_one();
    }

    /// Waits until something deserves a look or the time is over. Break: the end has come.
    pub(super) fn wait(&self, at_most: Duration) -> ControlFlow<()> {
        let mut rung = self.wait_while(at_most, |rung| !rung.news && !rung.end);
        rung.news = false;
        if rung.end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Waits for nothing but time and the end.
    pub(super) fn rest(&self, time: Duration) {
        drop(self.wait_while(time, |rung| !rung.end));
    }

    fn wait_while(&self, at_most: Duration, goes_on: impl Fn(&Rung) -> bool) -> MutexGuard<'_, Rung> {
        let waited = self.0.1.wait_timeout_while(self.lock(), at_most, |rung| goes_on(rung));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may have made a file ready to be taken, or the directory another. Not our own looking and
/// removing, which would wake us without end.
fn deserves_a_look(event: &Event) -> bool {
    let is_finished = |path: &Path| path.file_name().is_some_and(|name| is_finished_name(name.as_bytes()));
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) | EventKind::Remove(RemoveKind::File) => return false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => {}
    }
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|path| is_finished(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn news_ends_one_wait_and_the_end_all_of_them() {
        let bell = Bell::default();
        assert!(bell.wait(Duration::ZERO).is_continue());
        bell.ring();
        bell.ring();
        assert!(bell.wait(LONG).is_continue());
        bell.ring();
        bell.ring_the_end();
        bell.rest(LONG);
        assert!(bell.wait(LONG).is_break());
        assert!(bell.wait(LONG).is_break());
    }

    #[test]
    fn what_is_written_or_renamed_is_news_and_what_is_hidden_read_or_removed_is_not() {
        let event = |kind, name: &str| Event::new(kind).add_path(Path::new("/proc/self/fd/9").join(name));
        let closed = |mode| EventKind::Access(AccessKind::Close(mode));
        let renamed = EventKind::Modify(notify::event::ModifyKind::Name(notify::event::RenameMode::To));
        assert!(deserves_a_look(&event(closed(AccessMode::Write), "a.json")));
        assert!(deserves_a_look(&event(renamed, "a.json")));
        assert!(!deserves_a_look(&event(closed(AccessMode::Write), ".a.json")));
        assert!(!deserves_a_look(&event(closed(AccessMode::Read), "a.json")));
        assert!(!deserves_a_look(&event(EventKind::Remove(RemoveKind::File), "a.json")));
        assert!(deserves_a_look(&event(EventKind::Remove(RemoveKind::Folder), "")));
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(deserves_a_look(&overflow));
    }
}
