//! The directory of one resource, which is mounted into its sandbox. It lives exactly as long as its
//! resource: a mount shows the directory it was made from, and would be stranded by another one of
//! the same name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use miosa_injector::model::{ResourceId, TenantId};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::disk::{self, DiskError};
use crate::intake::Shared;
use crate::layout::{RESOURCE_SOCKET, RuntimeDir};

/// Where the directories are, and whose each of them is.
///
/// The second cannot be read off the first: a process that ended between taking in a state and closing
/// the sockets of the one before leaves directories that are mounted by those who had them, and the
/// next tenant of the same id must get another. So it stands beside them, out of reach of any mount: a
/// link that leads nowhere, whose target is the tenant's id, since a link is made whole or not at all.
pub(super) struct Homes<'a>(pub(super) &'a RuntimeDir);

impl Homes<'_> {
    /// The place for both.
    pub(super) fn prepare(&self) -> Result<(), DiskError> {
        disk::make_private_directory(&self.0.resources())?;
        disk::make_private_directory(&self.0.tenants())
    }

    /// The directory, made now or kept from an earlier run if it was made for this tenant.
    pub(super) fn make(&self, id: &ResourceId, tenant: &TenantId, shared: &Shared) -> Result<(), HomeError> {
        let home = self.0.home(id);
        if self.tenant_of(id).as_deref() != Some(OsStr::new(tenant.as_str())) {
            self.remove(id, shared);
            if fs::symlink_metadata(&home).is_ok() {
                return Err(HomeError::Occupied(home));
            }
            let noted = symlink(tenant.as_str(), self.record(id));
            noted.map_err(|source| HomeError::Record { home: home.clone(), source })?;
        }
        // Not even root may use a directory that somebody else can change at any time, or set its mode.
        if fs::symlink_metadata(&home).is_ok_and(|there| there.uid() != geteuid().as_raw()) {
            return Err(HomeError::Foreign(home));
        }
        disk::make_directory(&home, WALK_IN)?;
        Ok(())
    }

    /// Removes the directory of a resource that is gone, and then what says whose it was.
    ///
    /// Nothing but the socket should be in it. If something is, then it was mounted writable by mistake:
    /// it is renamed out of the way, so that the next resource of this id gets a directory of its own.
    pub(super) fn remove(&self, id: &ResourceId, shared: &Shared) {
        remove(&self.0.home(id), shared);
        let _absent = fs::remove_file(self.record(id));
    }

    /// Removes what earlier runs left: the directories of resources that are not in `keep`, those that were
    /// renamed out of the way, and what says whose the removed ones were.
    pub(super) fn sweep(&self, keep: impl Fn(&str) -> bool, shared: &Shared) -> Result<(), DiskError> {
        for entry in disk::entries(&self.0.resources())? {
            let Some(name) = entry.name else { continue };
            if name.starts_with(ASIDE_PREFIX) {
                // Emptied by hand, perhaps; if not, it stays, and the alarm was raised when it was moved.
                let _still_full = fs::remove_dir(&entry.path);
            } else if !keep(&name) {
                remove(&entry.path, shared);
            }
        }
        for entry in disk::entries(&self.0.tenants())? {
            if !entry.name.is_some_and(|name| keep(&name)) {
                let _absent = fs::remove_file(&entry.path);
            }
        }
        Ok(())
    }

    fn tenant_of(&self, id: &ResourceId) -> Option<OsString> {
        fs::read_link(self.record(id)).ok().map(PathBuf::into_os_string)
    }

    fn record(&self, id: &ResourceId) -> PathBuf {
        self.0.tenants().join(id.as_str())
    }
}

/// Why a resource has no directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum HomeError {
    /// What another resource of this id had can't be moved out of the way.
    #[error("cannot make {0}: another resource's directory is in its place; remove it")]
    Occupied(PathBuf),
    /// Somebody gave it away.
    #[error("cannot use {0}: it belongs to another user; end what runs in its sandbox, and remove it")]
    Foreign(PathBuf),
    /// It can't be kept whose it is.
    #[error("cannot note whose {home} is")]
    Record {
        /// The directory.
        home: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn remove(directory: &Path, shared: &Shared) {
    if let Ok(opened) = disk::open_directory(directory) {
        remove_socket(&opened);
    }
    if fs::remove_dir(directory).is_ok() || !directory.exists() {
        return;
    }
    let aside = set_aside_name(directory);
    let moved = fs::rename(directory, &aside).is_ok();
    let path = directory.display();
    let moved = if moved { "moved out of the way" } else { "still there" };
    shared.alarm(
        "resource_directory_tampered",
        &format!("{path} holds more than its socket and is {moved}; mount it read-only"),
    );
}

fn remove_socket(directory: &File) {
    let _absent = unlinkat(directory, RESOURCE_SOCKET, UnlinkatFlags::NoRemoveDir);
}

fn set_aside_name(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let aside = |count: u32| directory.with_file_name(format!("{ASIDE_PREFIX}{name}.{count}"));
    (0..).map(aside).find(|path| !path.exists()).unwrap_or_else(|| aside(u32::MAX))
}

/// Anybody in the sandbox may walk in; only this user may change what is there.
const WALK_IN: u32 = 0o755;

/// No resource id begins with a dot.
const ASIDE_PREFIX: &str = ".aside-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;

    fn shared() -> Shared {
        Shared {
            current: Arc::default(),
            ledger: Arc::default(),
            clock: Clock::System,
            access: Default::default(),
        }
    }

    fn prepared(root: &tempfile::TempDir) -> RuntimeDir {
        let directory = RuntimeDir::new(root.path().to_owned());
        Homes(&directory).prepare().unwrap();
        directory
    }

    fn id() -> ResourceId {
        "sbx-1".parse().unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_directory_with_foreign_files_is_moved_so_that_the_next_one_is_new() {
        let root = tempfile::tempdir().unwrap();
        let directory = prepared(&root);
        let (homes, home, shared) = (Homes(&directory), directory.home(&id()), shared());
        homes.make(&id(), &tenant("t1"), &shared).unwrap();
        let first = inode(&home);
        disk::replace(&home.join("planted"), b"x").unwrap();
        homes.remove(&id(), &shared);
        assert_eq!(shared.ledger.facts().alarms["resource_directory_tampered"], 1);
        assert!(!home.exists());
        homes.make(&id(), &tenant("t1"), &shared).unwrap();
        assert_ne!(inode(&home), first);
        homes.sweep(|name| name == "sbx-1", &shared).unwrap();
        assert!(home.exists());
    }

    #[test]
    fn a_kept_directory_is_the_same_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = prepared(&root);
        let (homes, home) = (Homes(&directory), directory.home(&id()));
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        let first = inode(&home);
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        homes.sweep(|name| name == "sbx-1", &shared()).unwrap();
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        assert_eq!(inode(&home), first);
    }

    #[test]
    fn another_tenant_gets_another_directory_though_the_former_was_never_removed() {
        let root = tempfile::tempdir().unwrap();
        let directory = prepared(&root);
        let (homes, home) = (Homes(&directory), directory.home(&id()));
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        let mounted = File::open(&home).unwrap();
        homes.make(&id(), &tenant("t2"), &shared()).unwrap();
        assert_ne!(mounted.metadata().unwrap().ino(), inode(&home));
    }

    #[test]
    fn a_directory_of_which_nothing_tells_whose_it_is_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let directory = prepared(&root);
        let (homes, home) = (Homes(&directory), directory.home(&id()));
        fs::create_dir(&home).unwrap();
        let mounted = File::open(&home).unwrap();
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        assert_ne!(mounted.metadata().unwrap().ino(), inode(&home));
    }

    #[test]
    fn what_is_swept_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let directory = prepared(&root);
        let homes = Homes(&directory);
        homes.make(&id(), &tenant("t1"), &shared()).unwrap();
        homes.sweep(|_| false, &shared()).unwrap();
        let left = |path: PathBuf| fs::read_dir(path).unwrap().count();
        assert_eq!((left(directory.resources()), left(directory.tenants())), (0, 0));
    }
}
