//! The file systems that programs expect and that only the first process can mount.

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, stat};
use nix::unistd::{mkdir, symlinkat};

use crate::failure::Failure;

/// Mounts what is not mounted yet, and gives what went wrong. Nothing of it ends the start: a command may
/// well do without.
pub(super) fn mount_missing() -> Vec<Failure> {
    let (mut troubles, mut no_directory) = (Vec::new(), Vec::<&str>::new());
    for wanted in &FILE_SYSTEMS {
        if no_directory.iter().any(|above| is_in(wanted.at, above)) {
            continue;
        }
        match wanted.mount() {
            Ok(()) => {}
            Err(Trouble::NoDirectory) => no_directory.push(wanted.at),
            Err(Trouble::Refused(error)) => troubles.push(Failure::own(format_args!(
                "cannot mount {} at {}: {}",
                wanted.kind,
                wanted.at,
                error.desc()
            ))),
        }
    }
    if !no_directory.is_empty() {
        let directories = no_directory.join(", ");
        troubles.push(Failure::own(format_args!(
            "nothing is mounted at {directories}: the root has no such directory and can't be written to; put it into the image"
        )));
    }
    link_descriptors();
    troubles
}

/// A file system by its kind, and where it belongs.
struct FileSystem {
    kind: &'static str,
    at: &'static str,
    flags: MsFlags,
    /// The options, and for kernels that refuse them simpler ones.
    options: &'static [&'static str],
}

enum Trouble {
    NoDirectory,
    Refused(Errno),
}

impl FileSystem {
    fn mount(&self) -> Result<(), Trouble> {
        match is_mount_point(self.at) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_missing) => mkdir(self.at, DIRECTORY).map_err(|_read_only| Trouble::NoDirectory)?,
        }
        let mut result = Err(Errno::EINVAL);
        for options in self.options {
            result = mount(Some(self.kind), self.at, Some(self.kind), self.flags, Some(*options));
            if result != Err(Errno::EINVAL) {
                break;
            }
        }
        match result {
            // A file system of which there is only one says so when it is there already.
            Ok(()) | Err(Errno::EBUSY) => Ok(()),
            Err(error) => Err(Trouble::Refused(error)),
        }
    }
}

/// As mountpoint(1): a directory that is on another device than the one it is in. `/` is one too.
fn is_mount_point(path: &str) -> Result<bool, Errno> {
    let (here, above) = (stat(path)?, stat(format!("{path}/..").as_str())?);
    Ok(here.st_dev != above.st_dev || here.st_ino == above.st_ino)
}

fn is_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The names by which shells reach their own descriptors; in a machine without udev nobody else makes them.
fn link_descriptors() {
    for (name, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        // It is there already, or there is no /dev.
        let _there = symlinkat(target, AT_FDCWD, name);
    }
}

/// In this order: a directory before what is in it, and the console before there is anything to say. Flags
/// and options are those of systemd (src/shared/mount-setup.c).
const FILE_SYSTEMS: [FileSystem; 6] = [
    FileSystem { kind: "devtmpfs", at: "/dev", flags: MsFlags::MS_NOSUID, options: &["mode=755", ""] },
    FileSystem { kind: "proc", at: "/proc", flags: LOCKED, options: &[""] },
    FileSystem { kind: "sysfs", at: "/sys", flags: LOCKED, options: &[""] },
    FileSystem {
        kind: "devpts",
        at: "/dev/pts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        // Group 5 is tty: who opens a terminal may be written to by that group, as grantpt(3) wants it.
        options: &["gid=5,mode=620,ptmxmode=666", "gid=5,mode=620", ""],
    },
    FileSystem { kind: "tmpfs", at: "/dev/shm", flags: DATA, options: &["mode=1777"] },
    FileSystem { kind: "tmpfs", at: "/run", flags: DATA, options: &["mode=755"] },
];
const DIRECTORY: Mode =
    Mode::S_IRWXU.union(Mode::S_IRGRP).union(Mode::S_IXGRP).union(Mode::S_IROTH).union(Mode::S_IXOTH);
const DATA: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const LOCKED: MsFlags = DATA.union(MsFlags::MS_NOEXEC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_told_from_what_is_not() {
        for (path, mounted) in [("/", true), ("/proc", true), ("/proc/self", false), ("/usr/bin/..", false)] {
            assert_eq!(is_mount_point(path).unwrap(), mounted, "{path}");
        }
        assert_eq!(is_mount_point("/no/such"), Err(Errno::ENOENT));
    }

    #[test]
    fn what_is_in_a_directory_is_told_by_its_path() {
        assert!(is_in("/dev/pts", "/dev"));
        assert!(!is_in("/dev", "/dev") && !is_in("/device", "/dev") && !is_in("/dev", "/dev/pts"));
    }

    #[test]
    fn a_directory_is_mounted_before_what_is_in_it() {
        let places: Vec<&str> = FILE_SYSTEMS.iter().map(|one| one.at).collect();
        for (index, place) in places.iter().enumerate() {
            assert!(!places[index..].iter().any(|later| is_in(place, later)), "{place}");
        }
    }
}
