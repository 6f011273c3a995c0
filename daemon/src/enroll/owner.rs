//! Working as whom the state directory belongs to. Root enrolls a host for the user that the service
//! runs as: from the first write on it is that user, and never root again, so that nothing it makes is
//! out of the service's reach and nothing in the directory can lead root astray.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use crate::hygiene::{self, HygieneError};

/// Why root did not become the owner.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The kernel refused.
    #[error("cannot become the user {uid}, whose state directory it is")]
    Become {
        /// The owner.
        uid: Uid,
        /// Why.
        source: Errno,
    },
    /// What the process was protected by is lost with another user.
    #[error(transparent)]
    Unprotected(#[from] HygieneError),
}

/// Becomes the owner of the directory for good, where root is another user than that. A directory that
/// is not there yet will be its maker's.
pub(super) fn become_owner(directory: &Path) -> Result<(), OwnerError> {
    // Of a link, the link's: it is refused later on, as root's or as anybody's.
    let Ok(owner) = fs::symlink_metadata(directory) else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    if !geteuid().is_root() || uid.is_root() {
        return Ok(());
    }
    hygiene::lock_memory_without_privilege();
    // The user last, since only root may change the others.
    let changed =
        setgroups(&[gid]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid));
    changed.map_err(|source| OwnerError::Become { uid, source })?;
    // The kernel takes a process of another user for a dumpable one, on a host that is set up so.
    Ok(hygiene::seal_memory()?)
}
