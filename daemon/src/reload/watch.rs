//! The kernel's watch over a file: over the directory of its name and over the one that holds its bytes,
//! since whoever replaces a file changes a directory. Which events deserve a look is decided here; what
//! is found then is not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{Config, INotifyWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// The watch, until this is dropped. Where the kernel can't watch there are no news, and no error: the
/// file is looked at on a timer as well.
pub(super) struct Watch {
    file: PathBuf,
    news: Arc<Notify>,
    watcher: Option<INotifyWatcher>,
    /// The directories that are watched, and which ones they were.
    watched: BTreeMap<PathBuf, Identity>,
}

/// One state of one file, links followed: two that are equal are of the same bytes, as far as the
/// kernel can tell. A file that can't be looked at has one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<(Identity, u64, [i64; 4])>);

/// A device and an inode.
type Identity = (u64, u64);

impl Watch {
    /// Begins with the first [`Watch::renew`].
    pub(super) fn over(file: &Path, news: Arc<Notify>) -> Self {
        Self { file: file.to_owned(), news, watcher: None, watched: BTreeMap::new() }
    }

    /// Watches what has to be watched now: links may lead elsewhere, directories may be others.
    pub(super) fn renew(&mut self) {
        let wanted = directories(&self.file);
        if self.watcher.is_some() && wanted == self.watched {
            return;
        }
        self.watched.clear();
        self.watcher = self.watcher();
        let Some(watcher) = &mut self.watcher else { return };
        for (path, identity) in wanted {
            // One that can't be watched is tried again with the next look.
            if watcher.watch(&path, RecursiveMode::NonRecursive).is_ok() {
                self.watched.insert(path, identity);
            }
        }
    }

    fn watcher(&self) -> Option<INotifyWatcher> {
        let news = Arc::clone(&self.news);
        let on_event = move |event: Result<Event, notify::Error>| {
            // Of an error nothing is known, so look.
            if event.map_or(true, |event| deserves_a_look(&event)) {
                news.notify_one();
            }
        };
        INotifyWatcher::new(on_event, Config::default()).ok()
    }
}

impl Stamp {
    pub(super) fn of(file: &Path) -> Self {
        Self(fs::metadata(file).ok().map(|file| {
            let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
            (identity(&file), file.size(), times)
        }))
    }
}

/// The directory of the file's name, and the one that holds its bytes.
fn directories(file: &Path) -> BTreeMap<PathBuf, Identity> {
    let named = file.parent().map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
    let real = fs::canonicalize(file).ok();
    let real = real.as_deref().and_then(Path::parent);
    let there = |path: &Path| Some((path.to_owned(), identity(&fs::metadata(path).ok()?)));
    let named = named.and_then(there);
    let real = real.and_then(there).filter(|real| named.as_ref().is_none_or(|named| named.1 != real.1));
    named.into_iter().chain(real).collect()
}

fn identity(file: &fs::Metadata) -> Identity {
    (file.dev(), file.ino())
}

/// Not our own reading, which would wake us without end; and not the single writes to a file, which is
/// closed in the end: what is half written may be good for something else.
pub(super) fn deserves_a_look(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
