//! A value behind a descriptor: memory that has no name anywhere, can be read again and again, and can't be
//! changed by anybody (memfd_create(2), fcntl(2) "File sealing").

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::os::fd::RawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};

use miosa_injector::model::{EnvName, SecretValue};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::failure::Failure;
use crate::sys;

/// Opens a descriptor of this number that holds the value, from its beginning on.
pub(super) fn hold(number: RawFd, name: &EnvName, value: &SecretValue) -> Result<(), Failure> {
    let failed =
        |why: &str| Failure::own(format_args!("cannot deliver {name} as descriptor {number}: {why}"));
    if super::is_over_the_limit(value.expose().len()) {
        return Err(failed(super::OVER_THE_LIMIT));
    }
    let title = CString::new(name.as_str()).unwrap_or_default();
    let memory = memfd_create(title.as_c_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
        .map_err(|error| failed(error.desc()))?;
    let file = File::from(memory);
    // At an offset, so that whoever reads finds the beginning.
    file.write_all_at(value.expose().as_bytes(), 0)
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o400)))
        .map_err(|error| failed(&error.to_string()))?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|error| failed(error.desc()))?;
    sys::place(file.into(), number).map_err(|error| {
        let is_too_high = error == Errno::EBADF; // dup(2)
        let limited = "the limit on the number of open files (ulimit -n) is too low for it";
        failed(if is_too_high { limited } else { error.desc() })
    })
}
