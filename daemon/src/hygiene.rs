//! What the process does to itself before it touches a secret or a socket. Each step is a single
//! call to the kernel; what a service manager can do from outside is in the units.

use nix::errno::Errno;
use nix::libc::MCL_ONFAULT;
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt}")]
pub struct HygieneError {
    attempt: &'static str,
    source: Errno,
}

/// Whether the kernel may write the memory of this process to a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It may not.
    Locked,
    /// It may: locking was not allowed.
    Swappable,
}

/// Keeps the memory of this process from other processes and from core files.
///
/// # Errors
/// When the kernel refuses; a process whose memory can be read must not load a key.
pub fn seal_memory() -> Result<(), HygieneError> {
    prctl::set_dumpable(false)
        .map_err(|source| HygieneError { attempt: "make this process undumpable", source })?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
        .map_err(|source| HygieneError { attempt: "forbid core files", source })
}

/// Keeps all memory of this process, that which comes later too, from being swapped out: each page
/// from its first use on. All or nothing, since under a limit of locked memory that is used up, no
/// thread could be started and no memory taken any more.
#[must_use]
pub fn keep_out_of_swap() -> Memory {
    match lock_all_memory() {
        Ok(()) => Memory::Locked,
        Err(_not_allowed) => Memory::Swappable,
    }
}

/// Before root becomes another user, under whose limit of locked memory none could be taken any more: the
/// limit is lifted, or where root may not do that, the memory unlocked.
pub(crate) fn lock_memory_without_privilege() {
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
        let _never_locked = munlockall();
    }
}

fn lock_all_memory() -> Result<(), Errno> {
    let flags =
        MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | MlockAllFlags::from_bits_retain(MCL_ONFAULT);
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if hard == RLIM_INFINITY {
        setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)?;
        return mlockall(flags);
    }
    // Under a soft limit of nothing only CAP_IPC_LOCK can lock, and for that no limit counts.
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard)?;
    let locked = mlockall(flags);
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    locked
}

/// From here on the mode of a file is exactly the mode it is created with: a socket bound under a
/// umask of 0077 would be 0600 whatever its descriptor says, and no sandbox could connect.
pub fn create_with_exact_modes() {
    umask(Mode::empty());
}

/// Takes all the descriptors that the hard limit allows: every resource has a listener of its own,
/// and the usual soft limit of 1,024 is meant for programs that call `select`.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_descriptor_limit() -> Result<(), HygieneError> {
    let failed = |source| HygieneError { attempt: "raise the limit of open files", source };
    let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)
}
