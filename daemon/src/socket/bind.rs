//! Making a listening Unix socket: right from its first moment, never made right afterwards. What is
//! in its place is removed only if it is a socket of this user.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, listen, socket};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat};
use nix::unistd::{Gid, Group, UnlinkatFlags, fchownat, geteuid, unlinkat};

use crate::disk::{self, DiskError};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel's addresses hold 108 bytes with the final NUL, and a mounted or stored socket must
    /// be known by the path it was bound to, so no shorter way to the same place will do.
    #[error(
        "cannot make the socket {path}: its path has {length} bytes and may have 107; \
         use a shorter --runtime-dir"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Something else than a socket of ours is in its place.
    #[error("cannot make the socket {path}: something is in its place that is no socket of this user")]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// What was made is gone, or has been changed.
    #[error(
        "cannot make the socket {path}: somebody else changed it at once; is its directory writable for a sandbox?"
    )]
    Tampered {
        /// The path.
        path: PathBuf,
    },
    /// Its directory is not usable.
    #[error(transparent)]
    Directory(#[from] DiskError),
    /// The kernel refused.
    #[error("cannot make the socket {path}")]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file of a bound socket: no other has this number while it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketFile {
    /// The file system.
    pub(crate) device: u64,
    /// The file on it.
    pub(crate) inode: u64,
    /// When it was made, as seconds and nanoseconds: some file systems give a number again at once.
    /// Nothing but its owner's wish moves the time that a socket was last written.
    pub(crate) made: (i64, i64),
}

impl SocketFile {
    /// What stands at a path now, if it is a socket of this user's with no second name. No link is
    /// followed.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let directory = disk::open_directory(path.parent()?).ok()?;
        let found = fstatat(&directory, path.file_name()?, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let is_ours = is_socket(&found) && found.st_uid == geteuid().as_raw() && found.st_nlink == 1;
        is_ours.then(|| Self::of(&found))
    }

    /// The file that was found.
    pub(crate) fn of(found: &FileStat) -> Self {
        let made = (found.st_mtime, found.st_mtime_nsec);
        Self { device: found.st_dev, inode: found.st_ino, made }
    }
}

/// A listening socket at an absolute path, of exactly this mode, and of this group if it exists on
/// this machine and the process may give it away; and the file that it is. The umask must be empty.
pub(crate) fn bind(
    path: &Path,
    mode: u32,
    group: Option<&str>,
) -> Result<(UnixListener, SocketFile), BindError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH_BYTES {
        return Err(BindError::PathTooLong { path: path.to_owned(), length });
    }
    let refused = |errno: Errno| BindError::Refused { path: path.to_owned(), source: errno.into() };
    remove_stale(path)?;
    let address = UnixAddr::new(path).map_err(refused)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(refused)?;
    // The mode of the descriptor is the mode that `bind` gives the file: at no time is the socket
    // there with another one, and no path is followed to set it.
    fchmod(&descriptor, Mode::from_bits_truncate(mode)).map_err(refused)?;
    nix::sys::socket::bind(descriptor.as_raw_fd(), &address).map_err(refused)?;
    if let Some(group) = group.and_then(find_group) {
        give_to_group(path, group);
    }
    let backlog = Backlog::new(BACKLOG).map_err(refused)?;
    listen(&descriptor, backlog).map_err(refused)?;
    let file = SocketFile::at(path).ok_or_else(|| BindError::Tampered { path: path.to_owned() })?;
    Ok((UnixListener::from(descriptor), file))
}

/// The id of a group, if it exists on this machine.
pub(crate) fn find_group(name: &str) -> Option<Gid> {
    Group::from_name(name).ok().flatten().map(|group| group.gid)
}

/// Removes the socket of an earlier run. The directory is opened first and the name is looked at and
/// removed within it, so that nobody can lead this elsewhere in between.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let occupied = || BindError::Occupied { path: path.to_owned() };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(occupied()) };
    let directory = disk::open_directory(parent)?;
    let found = match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        Err(_) => return Err(occupied()),
        Ok(found) => found,
    };
    if !is_socket(&found) || found.st_uid != geteuid().as_raw() {
        return Err(occupied());
    }
    unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)
        .map_err(|errno| BindError::Refused { path: path.to_owned(), source: errno.into() })
}

fn is_socket(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
}

/// Widens who may connect. It may be that this process must not (it is in no such group): then the
/// socket stays for its own user and group, which is the safe side.
fn give_to_group(path: &Path, group: Gid) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(directory) = disk::open_directory(parent) else { return };
    if let Err(errno) = fchownat(&directory, name, None, Some(group), AtFlags::AT_SYMLINK_NOFOLLOW) {
        tracing::debug!(event = "socket_group_kept", path = %path.display(), error = %errno, "group not given");
    }
}

/// `sun_path` without its final NUL; `unix(7)`.
const MAX_PATH_BYTES: usize = 107;

/// Connections the kernel completes before they are accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn at(directory: &tempfile::TempDir, name: &str) -> PathBuf {
        directory.path().join(name)
    }

    #[test]
    fn a_socket_has_its_mode_and_takes_connections() {
        crate::hygiene::create_with_exact_modes();
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o666, 0o660, 0o600] {
            let path = at(&directory, &format!("{mode:o}"));
            let _listener = bind(&path, mode, None).unwrap();
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, mode);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn the_socket_of_an_earlier_run_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = at(&directory, "s");
        drop(bind(&path, 0o600, None).unwrap());
        UnixStream::connect(&path).unwrap_err();
        let _listener = bind(&path, 0o600, None).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_bound_socket_is_known_by_its_file_and_another_in_its_place_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = at(&directory, "s");
        assert_eq!(SocketFile::at(&path), None);
        let (_listener, file) = bind(&path, 0o600, None).unwrap();
        assert_eq!(SocketFile::at(&path), Some(file));
        symlink(&path, at(&directory, "link")).unwrap();
        assert_eq!(SocketFile::at(&at(&directory, "link")), None);
        fs::hard_link(&path, at(&directory, "second")).unwrap();
        assert_eq!(SocketFile::at(&path), None);
        // Its number is not free while it has the second name.
        let (_listener, next) = bind(&path, 0o600, None).unwrap();
        assert_ne!(next, file);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let _target = bind(&at(&directory, "target"), 0o600, None).unwrap();
        symlink(at(&directory, "target"), at(&directory, "link")).unwrap();
        disk::replace(&at(&directory, "file"), b"mine").unwrap();
        for name in ["link", "file"] {
            let error = bind(&at(&directory, name), 0o600, None).unwrap_err();
            assert!(matches!(error, BindError::Occupied { .. }), "{error}");
        }
        UnixStream::connect(at(&directory, "target")).unwrap();
        assert_eq!(*disk::read(&at(&directory, "file"), 9).unwrap(), b"mine");
    }

    #[test]
    fn a_path_of_108_bytes_is_refused_with_what_to_do() {
        let path = PathBuf::from(format!("/{}", "x".repeat(107)));
        let error = bind(&path, 0o600, None).unwrap_err().to_string();
        assert!(error.contains("has 108 bytes and may have 107; use a shorter --runtime-dir"), "{error}");
    }
}
