//! Values in files: on file systems that are memory only, and for nobody else to read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use miosa_injector::model::{EnvName, SecretValue};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, Statfs, TMPFS_MAGIC, fstatfs, statfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::Deliveries;
use crate::failure::Failure;

/// Where files go that nobody named a place for: one directory, made when it is needed.
#[derive(Default)]
pub(crate) struct Shelf {
    directory: Option<PathBuf>,
    is_for_show: bool,
}

/// The files there are because of us.
#[derive(Default)]
pub(crate) struct Placed(Vec<PathBuf>);

impl Shelf {
    /// One that makes nothing, to show what would be.
    pub(crate) fn for_show() -> Self {
        Self { directory: None, is_for_show: true }
    }

    /// Where the file of a variable goes; none where no file system is memory and can be written to.
    pub(super) fn path_of(&mut self, name: &EnvName) -> Option<PathBuf> {
        if self.directory.is_none() {
            let homes = HOMES.iter().map(Path::new).filter(|home| is_memory(home));
            self.directory = homes.filter_map(|home| self.make_in(home)).next();
        }
        self.directory.as_ref().map(|directory| directory.join(name.as_str()))
    }

    /// A directory that was not there before: what somebody else has made is not ours to use.
    fn make_in(&self, home: &Path) -> Option<PathBuf> {
        let names =
            (0..MOST_TRIES).map(|number| home.join(format!("miosa-exec.{}.{number}", std::process::id())));
        for path in names {
            if self.is_for_show {
                return Some(path);
            }
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Some(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => return None,
            }
        }
        None
    }
}

/// It is there as long as we need it, whatever comes in between.
impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take().filter(|_| !self.is_for_show) {
            // What is not empty holds something that is not ours.
            drop(fs::remove_dir(directory));
        }
    }
}

impl Placed {
    /// Puts the files of these deliveries where they belong, each in one step, and takes away those that
    /// were placed before and are none of them.
    pub(crate) fn put(&mut self, deliveries: &Deliveries) -> Result<(), Failure> {
        for (path, value) in deliveries.files() {
            put(path, value)?;
            if !self.0.contains(path) {
                self.0.push(path.clone());
            }
        }
        let is_wanted = |path: &PathBuf| deliveries.files().iter().any(|(wanted, _)| wanted == path);
        self.0.retain(|path| is_wanted(path) || fs::remove_file(path).is_err());
        Ok(())
    }
}

/// No value outlives who was to have it: the command that we stay with, or one that could not be started.
impl Drop for Placed {
    fn drop(&mut self) {
        for path in self.0.drain(..) {
            drop(fs::remove_file(path));
        }
    }
}

/// Whoever reads meanwhile finds the former value or the new one, whole. All of it is done in the directory that
/// was looked at: others may be able to put another one in its place.
fn put(path: &Path, value: &SecretValue) -> Result<(), Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::own(format_args!("cannot write {}: {why}", path.display()));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(path.parent().unwrap_or(Path::new("/")), flags, Mode::empty())
        .map_err(|error| failed(&error.desc()))?;
    if !fstatfs(&directory).is_ok_and(is_of_memory) {
        let text = "it would be on a disk, where a secret can be found later; mount a tmpfs there";
        return Err(failed(&text));
    }
    if super::is_over_the_limit(value.expose().len()) {
        return Err(failed(&super::OVER_THE_LIMIT));
    }
    let (temporary, mut file) = create(&directory).map_err(|error| failed(&error.desc()))?;
    let mut write = || -> io::Result<()> {
        // Whatever the umask took away.
        file.set_permissions(Permissions::from_mode(0o400))?;
        file.write_all(value.expose().as_bytes())?;
        let name = path.file_name().unwrap_or_default();
        Ok(renameat(&directory, temporary.as_str(), &directory, name)?)
    };
    write().map_err(|error| {
        let _gone = unlinkat(&directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        failed(&error)
    })
}

/// A file under a name that nobody else uses, which may take several tries where others can make files.
fn create(directory: &OwnedFd) -> Result<(String, File), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mut outcome = Err(Errno::EEXIST);
    for number in 0..MOST_TRIES {
        let name = format!(".miosa-exec.{}.{number}", std::process::id());
        // What a former process of this number has left.
        let _none = unlinkat(directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
        outcome = openat(directory, name.as_str(), flags, Mode::S_IRUSR).map(|file| (name, file.into()));
        if outcome.as_ref().err() != Some(&Errno::EEXIST) {
            break;
        }
    }
    outcome
}

/// Whether what is written there is written to memory.
fn is_memory(directory: &Path) -> bool {
    statfs(directory).is_ok_and(is_of_memory)
}

/// An overlay is a disk.
fn is_of_memory(file_system: Statfs) -> bool {
    MEMORY.contains(&file_system.filesystem_type())
}

/// statfs(2) lists them; the second is ramfs.
const MEMORY: [FsType; 2] = [TMPFS_MAGIC, FsType(0x8584_58f6)];

/// Where a sandbox mostly has one.
const HOMES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

const MOST_TRIES: u32 = 100;
