//! Durable files. [`replace`] is the only writer of state: a file is its old bytes or its new ones,
//! and once the call has returned it is the new ones even after a power cut. What the bytes mean is
//! not known here.

use std::error::Error;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::iter::successors;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

/// What could not be done, on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {path}")]
pub struct DiskError {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What was found in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where.
    pub(crate) path: PathBuf,
    /// Its name, if that is UTF-8.
    pub(crate) name: Option<String>,
    /// Whether it is a regular file.
    pub(crate) is_file: bool,
}

/// Makes `path` hold exactly `bytes`, mode 0600, durably: a temporary file, its fsync, a rename and
/// the fsync of the directory. An error leaves the old file; after an error of the last step the new
/// one may already be seen, but must not be counted on.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    replace_copies(&[path], bytes)
}

/// The same for several copies in one directory, one after the other.
pub(crate) fn replace_copies(paths: &[&Path], bytes: &[u8]) -> Result<(), DiskError> {
    let mut synced_last = None;
    for path in paths {
        let failed = |source| DiskError { attempt: "write", path: (*path).to_owned(), source };
        let (directory, temporary) = neighbours(path).map_err(failed)?;
        let written = write_new(&temporary, &directory, bytes)
            .and_then(|()| put_in_place(&temporary, path, &directory));
        if let Err(source) = written {
            // Only tidiness: the next replacement of this file begins by removing it as well.
            let _left_over = fs::remove_file(&temporary);
            return Err(failed(source));
        }
        synced_last = Some((directory, *path));
    }
    let Some((directory, path)) = synced_last else { return Ok(()) };
    sync_directory(&directory).map_err(|source| DiskError { attempt: "write", path: path.to_owned(), source })
}

/// Writes over a file that has this length already, and waits for the disk: one sync in the place of
/// two. Not for a file that is alone: a power cut can leave it neither the old nor the new one, so only
/// for copies that tell when they are torn, one at a time. False: what stands there is not such a file,
/// or has other names under which the old bytes may be wanted; nothing was written.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) -> Result<bool, DiskError> {
    let failed = |source| DiskError { attempt: "write", path: path.to_owned(), source };
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().write(true).custom_flags(flags.bits()).open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
            return Ok(false);
        }
        opened => opened.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    let has_length = u64::try_from(bytes.len()).is_ok_and(|length| length == metadata.len());
    if !metadata.is_file() || metadata.nlink() != 1 || !has_length {
        return Ok(false);
    }
    (&file).write_all(bytes).map_err(failed)?;
    #[cfg(test)]
    faults::check_sync().map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(true)
}

/// Reads a regular file of at most `limit` bytes, and no link. The bytes are wiped when dropped, since
/// they may be a key.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    read_with(OFlag::O_NOFOLLOW, path, limit).map(|(bytes, _)| bytes)
}

/// The same, with the permission bits of the very file that was read.
pub(crate) fn read_with_mode(path: &Path, limit: usize) -> Result<(Zeroizing<Vec<u8>>, u32), DiskError> {
    let (bytes, metadata) = read_with(OFlag::O_NOFOLLOW, path, limit)?;
    Ok((bytes, metadata.mode() & PERMISSION_BITS))
}

/// The same for a file that an operator named, who may have named a link.
pub(crate) fn read_named(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    read_with(OFlag::empty(), path, limit).map(|(bytes, _)| bytes)
}

/// Removes a file. One that is not there is no error. Not durable: a file that a power cut brings
/// back is one that was superseded, and will be again.
pub(crate) fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DiskError { attempt: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Waits until what was removed from a directory is gone for good.
pub(crate) fn sync(directory: &Path) -> Result<(), DiskError> {
    sync_directory(directory).map_err(|source| DiskError {
        attempt: "write",
        path: directory.to_owned(),
        source,
    })
}

/// Removes whatever is there, a file or a directory and all in it; a link, not what it leads to.
/// Nothing there is no error.
pub(crate) fn remove_entry(path: &Path) -> Result<(), DiskError> {
    remove_any(path).map_err(|source| DiskError { attempt: "remove", path: path.to_owned(), source })
}

/// Moves a file.
pub(crate) fn rename(path: &Path, target: &Path) -> Result<(), DiskError> {
    fs::rename(path, target).map_err(|source| DiskError { attempt: "move", path: path.to_owned(), source })
}

/// All that is in a directory, sorted by name. None is left out: what nothing here ever wrote is an
/// obstacle to what will be written.
pub(crate) fn entries(directory: &Path) -> Result<Vec<Entry>, DiskError> {
    let failed = |source| DiskError { attempt: "list", path: directory.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Some file systems do not tell the type in the listing, and looking at the file may fail.
        let is_file = match entry.file_type() {
            Ok(kind) => kind.is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        entries.push(Entry { path: entry.path(), name: entry.file_name().into_string().ok(), is_file });
    }
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// Whether something other than a regular file stands at `path`.
pub(crate) fn is_obstructed(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// Makes a directory of mode 0700, or takes the one that is there if it is ours.
pub(crate) fn make_private_directory(path: &Path) -> Result<(), DiskError> {
    make_directory(path, PRIVATE).map(drop)
}

/// Makes a directory of exactly this mode, or takes the one that is there if it is ours, and opens
/// it. The mode is set on the descriptor, never by path.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<File, DiskError> {
    let failed = |source| DiskError { attempt: "make the directory", path: path.to_owned(), source };
    let made = match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(error)),
    };
    let directory = open_directory(path)?;
    if made {
        let parent = path.parent().unwrap_or(Path::new("/"));
        give_to_owner_of(parent, &directory).map_err(failed)?;
    }
    let metadata = directory.metadata().map_err(failed)?;
    if !made && metadata.uid() != geteuid().as_raw() && !geteuid().is_root() {
        return Err(failed(io::Error::other("it belongs to another user")));
    }
    if metadata.mode() & ALL_MODE_BITS != mode {
        fchmod(&directory, Mode::from_bits_truncate(mode)).map_err(|errno| failed(errno.into()))?;
    }
    Ok(directory)
}

/// Opens a directory itself, not what a link leads to.
pub(crate) fn open_directory(path: &Path) -> Result<File, DiskError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
        let source = if error.kind() == io::ErrorKind::NotADirectory {
            io::Error::new(error.kind(), "it is a symbolic link or a file; name the directory itself")
        } else {
            error
        };
        DiskError { attempt: "open the directory", path: path.to_owned(), source }
    })
}

/// The permission bits of a directory.
pub(crate) fn directory_mode(path: &Path) -> Result<u32, DiskError> {
    let failed = |source| DiskError { attempt: "look at the directory", path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    Ok(metadata.mode() & PERMISSION_BITS)
}

/// Takes a directory for this process alone, for as long as the lock is kept. `None`: another process
/// has it.
pub(crate) fn lock_directory(path: &Path) -> Result<Option<Flock<File>>, DiskError> {
    match Flock::lock(open_directory(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(DiskError { attempt: "lock", path: path.to_owned(), source: errno.into() }),
    }
}

impl DiskError {
    /// Whether the path is simply not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether this process may not look there.
    pub(crate) fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// Whether it says nothing of what stands there: the next attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        !self.is_missing() && !self.is_of_what_is_there()
    }

    /// What an operator can do about it, where the kernel's word says that.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Trouble::of(&self.source).map(Trouble::advice)
    }

    /// The stable word for programs.
    pub(crate) fn alarm(&self) -> &'static str {
        Trouble::of(&self.source).map_or("disk_error", Trouble::alarm)
    }

    /// Whether what stands there can't be read at any time: too large, or no regular file. Every other
    /// error says nothing of the bytes and may pass.
    pub(crate) fn is_of_what_is_there(&self) -> bool {
        let errno = self.source.raw_os_error().map(Errno::from_raw);
        self.source.kind() == io::ErrorKind::InvalidData || matches!(errno, Some(Errno::ELOOP | Errno::ENXIO))
    }
}

/// What ails a disk, as far as it matters what to do about it.
#[derive(Clone, Copy)]
enum Trouble {
    Full,
    ReadOnly,
    Missing,
    Denied,
    Failing,
}

impl Trouble {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the kernel's errors are many, and these say what to do"
    )]
    fn of(error: &io::Error) -> Option<Self> {
        Some(match Errno::from_raw(error.raw_os_error()?) {
            Errno::ENOSPC | Errno::EDQUOT => Self::Full,
            Errno::EROFS => Self::ReadOnly,
            Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE => Self::Missing,
            Errno::EACCES | Errno::EPERM => Self::Denied,
            Errno::EIO => Self::Failing,
            _ => return None,
        })
    }

    fn alarm(self) -> &'static str {
        match self {
            Self::Full => "disk_full",
            Self::ReadOnly => "disk_read_only",
            Self::Missing => "state_missing",
            Self::Denied => "state_denied",
            Self::Failing => "disk_failing",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Full => "the disk is full: free some space",
            Self::ReadOnly => {
                "the file system is read-only: mount it read-write (the kernel's log may say why it is not)"
            }
            Self::Missing => {
                "the state directory, or a part of it, was removed or moved: put it back, or stop the daemon and \
                 enroll this host again"
            }
            Self::Denied => {
                "the state directory and all in it must belong to the user that miosad runs as, with mode 700"
            }
            Self::Failing => "the disk fails: look at the kernel's log, and replace it",
        }
    }
}

/// What an operator can do about the error of the kernel's at the end of a chain of errors.
pub(crate) fn advice_on(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let chain = successors(Some(error), |error| (**error).source());
    let of_the_kernel = chain.filter_map(|error| error.downcast_ref::<io::Error>());
    of_the_kernel.filter_map(Trouble::of).map(Trouble::advice).last()
}

fn read_with(
    flags: OFlag,
    path: &Path,
    limit: usize,
) -> Result<(Zeroizing<Vec<u8>>, fs::Metadata), DiskError> {
    let failed = |source| DiskError { attempt: "read", path: path.to_owned(), source };
    #[cfg(test)]
    faults::check(path).map_err(failed)?;
    // O_NONBLOCK, so that a FIFO put in the place of a file can't make the daemon wait for a writer.
    let flags = flags | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    if !metadata.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")));
    }
    if metadata.len() > limit {
        let problem = format!("it is larger than {limit} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    let capacity = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok((bytes, metadata))
}

fn write_new(temporary: &Path, directory: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_any(temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET).open(temporary)?;
    give_to_owner_of(directory, &file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The rename. A directory in the file's place would be an obstacle for good: it is moved aside, where
/// an operator finds it, unless the last such obstacle is still there.
fn put_in_place(temporary: &Path, path: &Path, directory: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        let mut aside = std::ffi::OsString::from(OBSTACLE_PREFIX);
        aside.push(path.file_name().unwrap_or_default());
        let aside = directory.join(aside);
        remove_any(&aside)?;
        fs::rename(path, aside)?;
    }
    fs::rename(temporary, path)
}

fn remove_any(path: &Path) -> io::Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What root makes for the service belongs to the service: whose directory it is, theirs is the file.
fn give_to_owner_of(directory: &Path, made: &File) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::symlink_metadata(directory)?;
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory of a file, and the name under which its next bytes are written.
fn neighbours(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it names no file"));
    };
    let mut temporary = std::ffi::OsString::from(TEMPORARY_PREFIX);
    temporary.push(name);
    Ok((directory.to_owned(), directory.join(temporary)))
}

/// Begins the name of a file that was being written.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

/// Begins the name of a directory that stood in a file's place.
const OBSTACLE_PREFIX: &str = "obstacle-";

const SECRET: u32 = 0o600;
const PRIVATE: u32 = 0o700;
const PERMISSION_BITS: u32 = 0o777;
const ALL_MODE_BITS: u32 = 0o7777;

/// Reads that fail as on a faulty disk, on the thread that asked for it.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::RefCell;

    use super::*;

    thread_local!(static FAULTY: RefCell<Option<PathBuf>> = const { RefCell::new(None) });

    /// From here on this path can't be read; `None`: all can.
    pub(crate) fn make_unreadable(path: Option<PathBuf>) {
        FAULTY.set(path);
    }

    thread_local!(static UNSYNCABLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

    /// From here on nothing that was written over reaches the disk, or everything does again.
    pub(crate) fn make_unsyncable(is_unsyncable: bool) {
        UNSYNCABLE.set(is_unsyncable);
    }

    pub(super) fn check_sync() -> io::Result<()> {
        if UNSYNCABLE.get() { Err(Errno::EIO.into()) } else { Ok(()) }
    }

    pub(super) fn check(path: &Path) -> io::Result<()> {
        let faulty = FAULTY.with_borrow(|faulty| faulty.as_deref() == Some(path));
        if faulty { Err(Errno::EIO.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn files(directory: &Path) -> Vec<String> {
        entries(directory)
            .unwrap()
            .into_iter()
            .filter(|entry| entry.is_file)
            .filter_map(|entry| entry.name)
            .collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn replacing_leaves_only_the_new_bytes_and_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(*read(&path, 3).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(files(directory.path()), ["a"]);
    }

    #[test]
    fn a_left_over_temporary_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        replace(&directory.path().join(".new-a"), b"half").unwrap();
        replace(&directory.path().join("a"), b"whole").unwrap();
        assert_eq!(files(directory.path()), ["a"]);
    }

    #[test]
    fn directories_in_the_way_of_a_file_are_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for _again in 0..2 {
            fs::create_dir_all(path.join("deep")).unwrap();
            fs::create_dir_all(directory.path().join(".new-a/deep")).unwrap();
            replace(&path, b"x").unwrap();
            assert_eq!(files(directory.path()), ["a"]);
            assert!(directory.path().join("obstacle-a/deep").exists());
            remove(&path).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_written_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let error = replace(&directory.path().join("no/such"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /"), "{error}");
        assert!(replace(&directory.path().join("no/such"), b"x").unwrap_err().is_missing());
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        replace(&at("file"), b"12345").unwrap();
        symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        assert!(read(&at("file"), 5).is_ok());
        for refused in ["link", "fifo", "."] {
            assert!(read(&at(refused), 5).unwrap_err().is_of_what_is_there(), "{refused}");
        }
        assert!(read_named(&at("link"), 5).is_ok());
        assert!(read_named(&at("fifo"), 5).is_err());
        assert!(read(&at("file"), 4).is_err());
        assert!(read(&at("none"), 4).unwrap_err().is_missing());
        faults::make_unreadable(Some(at("file")));
        assert!(!read(&at("file"), 5).unwrap_err().is_of_what_is_there());
    }

    #[test]
    fn a_directory_gets_exactly_its_mode_and_a_link_is_not_taken_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d");
        make_directory(&path, 0o755).unwrap();
        assert_eq!(mode(&path), 0o755);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        make_private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        symlink(&path, directory.path().join("l")).unwrap();
        assert!(make_directory(&directory.path().join("l"), 0o755).is_err());
    }

    #[test]
    fn a_directory_is_locked_for_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let lock = lock_directory(directory.path()).unwrap();
        assert!(lock.is_some());
        assert!(lock_directory(directory.path()).unwrap().is_none());
        drop(lock);
        assert!(lock_directory(directory.path()).unwrap().is_some());
    }
}
