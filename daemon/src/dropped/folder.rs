//! The drop directory on disk. Everything in it is reached from one descriptor of the directory and
//! without following links, and looked at before it is opened: opening a device can have effects.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::disk::{self, DiskError};

/// The open directory.
pub(super) struct Folder {
    directory: File,
    path: PathBuf,
}

/// Why the directory can't be used now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("cannot use the drop directory")]
    Disk(#[from] DiskError),
    #[error(
        "cannot use the drop directory {path}: its mode is {mode:03o} and others may write there; set it to 700"
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("cannot use the drop directory {0}: it belongs to another user than the one that miosad runs as")]
    Foreign(PathBuf),
    #[error("cannot look at the drop directory {path}")]
    Look { path: PathBuf, source: io::Error },
}

/// One state of one file: two that are equal are of the same bytes, as far as the kernel can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    /// In bytes.
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// A regular file with this name only.
    File(Stamp),
    /// Something that is not taken, and what it is.
    Other(&'static str),
    /// Nothing any more.
    Gone,
}

/// What came of reading a file.
pub(super) enum Reading {
    /// All of it, unchanged from the beginning to the end of reading.
    Whole(Vec<u8>),
    /// It is being changed, or was replaced since it was looked at.
    Changing,
    /// It can't be read.
    Unreadable,
}

/// What came of removing a file.
pub(super) enum Removal {
    Removed,
    /// Another file, or other bytes, stand there now; nothing was removed.
    Replaced,
    Failed(io::Error),
}

impl Folder {
    /// Opens the directory; makes it, for its owner only, if there is none. The mode of one that is
    /// there is somebody's decision: it is checked, never changed.
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        let directory = match disk::open_directory(path) {
            Err(error) if error.is_missing() => disk::make_directory(path, OWNER_ONLY)?,
            opened => opened?,
        };
        let folder = Self { directory, path: path.to_owned() };
        folder.check()?;
        Ok(folder)
    }

    /// Whether nobody but the owner may put files there.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let metadata = self.directory.metadata().map_err(|source| self.failed(source))?;
        if metadata.uid() != geteuid().as_raw() && !geteuid().is_root() {
            return Err(FolderError::Foreign(self.path.clone()));
        }
        let mode = metadata.mode() & PERMISSION_BITS;
        if mode & OTHERS_WRITE != 0 {
            return Err(FolderError::Exposed { path: self.path.clone(), mode });
        }
        Ok(())
    }

    /// Whether this very directory still stands at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        match (self.directory.metadata(), fs::symlink_metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// The directory itself, for the kernel.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }

    /// The names to look at in their order: of those that `is_wanted`, the first `limit`. Memory is
    /// bounded by that, however many there are. True: there are more.
    pub(super) fn names(
        &self,
        limit: usize,
        is_wanted: impl Fn(&CStr) -> bool,
    ) -> Result<(Vec<CString>, bool), FolderError> {
        let failed = |errno: Errno| self.failed(errno.into());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing = Dir::openat(&self.directory, ".", flags, Mode::empty()).map_err(failed)?;
        let mut first = std::collections::BTreeSet::new();
        let mut is_more = false;
        for entry in listing.iter() {
            let entry = entry.map_err(failed)?;
            if !is_wanted(entry.file_name()) {
                continue;
            }
            first.insert(entry.file_name().to_owned());
            if first.len() > limit {
                first.pop_last();
                is_more = true;
            }
        }
        Ok((first.into_iter().collect(), is_more))
    }

    /// What stands under a name, without opening it: O_PATH touches neither a device nor a FIFO.
    pub(super) fn sight(&self, name: &CStr) -> Sight {
        match self.look_at(name) {
            Ok(metadata) => sight_of(&metadata),
            Err(Errno::ENOENT) => Sight::Gone,
            Err(_) => Sight::Other("unreadable"),
        }
    }

    /// Reads a file that was seen as `stamp`, of at most `limit` bytes.
    pub(super) fn read(&self, name: &CStr, stamp: Stamp, limit: u64) -> Reading {
        // O_NONBLOCK, in case a FIFO took the file's place since, or somebody holds a lease on it.
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EWOULDBLOCK) => {
                return Reading::Changing;
            }
            Err(_) => return Reading::Unreadable,
        };
        let is_as_seen = || file.metadata().is_ok_and(|now| sight_of(&now) == Sight::File(stamp));
        if !is_as_seen() || stamp.size > limit {
            return Reading::Changing;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0).saturating_add(1));
        match (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes) {
            Err(_) => Reading::Unreadable,
            Ok(_) if is_as_seen() && u64::try_from(bytes.len()).is_ok_and(|length| length == stamp.size) => {
                Reading::Whole(bytes)
            }
            Ok(_) => Reading::Changing,
        }
    }

    /// Removes a file if it is still as it was when it was read. Between the look and the removal
    /// another could take its place: who replaces a file uses another name.
    pub(super) fn remove(&self, name: &CStr, stamp: Stamp) -> Removal {
        if self.sight(name) != Sight::File(stamp) {
            return Removal::Replaced;
        }
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Removal::Removed,
            Err(errno) => Removal::Failed(errno.into()),
        }
    }

    fn look_at(&self, name: &CStr) -> Result<Metadata, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = openat(self.directory.as_fd(), name, flags, Mode::empty())?;
        File::from(path).metadata().map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    fn failed(&self, source: io::Error) -> FolderError {
        FolderError::Look { path: self.path.clone(), source }
    }
}

impl FolderError {
    /// The stable word for programs.
    pub(super) fn alarm(&self) -> &'static str {
        match self {
            Self::Disk(_) | Self::Look { .. } => "drop_unusable",
            Self::Exposed { .. } | Self::Foreign(_) => "drop_exposed",
        }
    }
}

fn sight_of(metadata: &Metadata) -> Sight {
    let kind = metadata.file_type();
    if kind.is_file() && metadata.nlink() == 1 {
        return Sight::File(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
    }
    if kind.is_file() {
        // None: it was removed while it was looked at.
        return if metadata.nlink() == 0 { Sight::Gone } else { Sight::Other("hard_link") };
    }
    Sight::Other(if kind.is_symlink() {
        "symbolic_link"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    })
}

const OWNER_ONLY: u32 = 0o700;
const OTHERS_WRITE: u32 = 0o022;
const PERMISSION_BITS: u32 = 0o777;
