//! The directory of one resource, which is mounted into its sandbox. It lives exactly as long as its
//! resource: a mount shows the directory it was made from, and would be stranded by another one of
//! the same name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::disk::{self, DiskError};
use crate::intake::Shared;
use crate::layout::RESOURCE_SOCKET;

/// The directory, made now or kept from an earlier run.
pub(super) fn make(directory: &Path) -> Result<(), DiskError> {
    disk::make_directory(directory, WALK_IN).map(drop)
}

/// Removes the directory of a resource that is gone.
///
/// Nothing but the socket should be in it. If something is, then it was mounted writable by mistake:
/// it is renamed out of the way, so that the next resource of this id gets a directory of its own.
pub(super) fn remove(directory: &Path, shared: &Shared) {
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

/// Removes what earlier runs left in the directory of the directories: those of resources that are
/// not in `keep`, and those that were renamed out of the way.
pub(super) fn sweep(resources: &Path, keep: impl Fn(&str) -> bool, shared: &Shared) -> Result<(), DiskError> {
    let _opened = disk::open_directory(resources)?;
    let Ok(entries) = fs::read_dir(resources) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(ASIDE_PREFIX) {
            // Emptied by hand, perhaps; if not, it stays, and the alarm was raised when it was moved.
            let _still_full = fs::remove_dir(entry.path());
        } else if !keep(name) {
            remove(&entry.path(), shared);
        }
    }
    Ok(())
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
        Shared { current: Arc::default(), ledger: Arc::default(), clock: Clock::System }
    }

    #[test]
    fn a_directory_with_foreign_files_is_moved_so_that_the_next_one_is_new() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sbx-1");
        make(&directory).unwrap();
        let first = fs::metadata(&directory).unwrap().ino();
        disk::replace(&directory.join("planted"), b"x").unwrap();
        let shared = shared();
        remove(&directory, &shared);
        assert_eq!(shared.ledger.facts().alarms["resource_directory_tampered"], 1);
        assert!(!directory.exists());
        make(&directory).unwrap();
        assert_ne!(fs::metadata(&directory).unwrap().ino(), first);
        sweep(root.path(), |name| name == "sbx-1", &shared).unwrap();
        assert!(directory.exists());
    }

    #[test]
    fn a_kept_directory_is_the_same_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sbx-1");
        make(&directory).unwrap();
        let first = fs::metadata(&directory).unwrap().ino();
        make(&directory).unwrap();
        sweep(root.path(), |name| name == "sbx-1", &shared()).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().ino(), first);
    }
}
