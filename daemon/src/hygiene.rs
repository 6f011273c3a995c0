//! What the process does to itself before it touches a secret or a socket. Each step is a single
//! call to the kernel; what a service manager can do from outside is in the units.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt}")]
pub struct HygieneError {
    attempt: &'static str,
    source: Errno,
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
