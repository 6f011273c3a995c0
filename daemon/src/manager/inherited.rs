//! Listeners that a former process of this service left with the service manager. None is believed:
//! one is taken only by who knows its name and its path, and what nobody takes is closed.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use nix::unistd::close;

use super::{Keeper, ListenerName};

/// The listeners that nobody took yet, by the name they were kept under.
#[derive(Debug, Default)]
pub struct Inherited {
    listeners: BTreeMap<String, Vec<UnixListener>>,
    /// Names of what was handed over and is no listening Unix socket; those are closed already.
    strange: Vec<String>,
}

impl Inherited {
    /// Takes over what the environment names, and removes it from there. To be called once, before
    /// the first thread is started.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut handed_over = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..handed_over.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match handed_over.take_unix_listener(index) {
                Ok(Some(listener)) => inherited.listeners.entry(name).or_default().push(listener),
                Ok(None) => {}
                Err(_no_unix_stream_socket) => {
                    if let Ok(Some(descriptor)) = handed_over.take_raw_fd(index) {
                        // It is nobody else's, and of no use.
                        let _closed = close(descriptor);
                    }
                    inherited.strange.push(name);
                }
            }
        }
        inherited
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.listeners.values().map(Vec::len).fold(0, usize::saturating_add)
    }

    /// The listener of this name, if it is the only one and bound to this path.
    pub(crate) fn take(&mut self, name: &ListenerName, path: &Path) -> Option<UnixListener> {
        let found = self.listeners.get(name.to_string().as_str())?;
        let [listener] = found.as_slice() else { return None };
        let address = listener.local_addr().ok()?;
        if address.as_pathname() != Some(path) || listener.set_nonblocking(true).is_err() {
            return None;
        }
        self.listeners.remove(name.to_string().as_str())?.pop()
    }

    /// Closes those that nobody took, here and where they were kept. Returns how many there were.
    pub(crate) fn close_rest(&mut self, keeper: &Keeper) -> usize {
        let rest = std::mem::take(&mut self.listeners);
        let strange = std::mem::take(&mut self.strange);
        let count = rest.values().map(Vec::len).fold(strange.len(), usize::saturating_add);
        for name in rest.into_keys().chain(strange) {
            keeper.let_go(&name);
        }
        count
    }
}

/// sd_listen_fds(3)
const NAMES: &str = "LISTEN_FDNAMES";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::bind::SocketFile;

    fn name(inode: u64) -> ListenerName {
        ListenerName::of(Path::new("/x"), None, SocketFile { device: 1, inode, made: (0, 0) })
    }

    fn inherited(listeners: impl IntoIterator<Item = (ListenerName, UnixListener)>) -> Inherited {
        let mut inherited = Inherited::default();
        for (name, listener) in listeners {
            inherited.listeners.entry(name.to_string()).or_default().push(listener);
        }
        inherited
    }

    #[test]
    fn a_listener_is_taken_once_by_its_name_and_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let mut inherited = inherited([(name(1), UnixListener::bind(&path).unwrap())]);
        assert!(inherited.take(&name(2), &path).is_none());
        assert!(inherited.take(&name(1), &directory.path().join("other")).is_none());
        assert!(inherited.take(&name(1), &path).is_some());
        assert!(inherited.take(&name(1), &path).is_none());
        assert_eq!(inherited.close_rest(&Keeper::absent()), 0);
    }

    #[test]
    fn of_two_under_one_name_neither_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let listeners = paths.each_ref().map(|path| (name(1), UnixListener::bind(path).unwrap()));
        let mut inherited = inherited(listeners);
        assert!(inherited.take(&name(1), &paths[0]).is_none());
        assert_eq!(inherited.close_rest(&Keeper::absent()), 2);
        assert_eq!(inherited.count(), 0);
    }
}
