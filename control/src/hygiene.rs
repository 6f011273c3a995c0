//! What the process does to itself before it reads a secret: no core file, nothing for other
//! processes to read, nothing on a swap device.

use nix::errno::Errno;
use nix::libc::MCL_ONFAULT;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// The kernel does not keep this process's memory to itself.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the memory of this process from core files and other processes")]
pub(crate) struct HygieneError(#[from] Errno);

/// Whether the kernel may write the memory of this process to a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Locked,
    /// Locking was not allowed.
    Swappable,
}

/// Keeps the memory of this process from other processes and from core files.
pub(crate) fn seal_memory() -> Result<(), HygieneError> {
    prctl::set_dumpable(false)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Keeps all memory of this process, that which comes later too, from being swapped out: each page
/// from its first use on. All or nothing, since under a limit of locked memory that is used up, no
/// thread could be started and no memory taken any more.
pub(crate) fn keep_out_of_swap() -> Memory {
    match lock_all_memory() {
        Ok(()) => Memory::Locked,
        Err(_not_allowed) => Memory::Swappable,
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
