//! Values in files: on file systems that are memory only, and for nobody else to read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use miosa_injector::model::{EnvName, SecretValue};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

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
    pub(super) fn path_of(&mut self, name: &EnvName) -> Result<Option<PathBuf>, Failure> {
        if self.directory.is_none() {
            let homes = HOMES.iter().map(Path::new).filter(|home| is_memory(home));
            self.directory = homes.filter_map(|home| self.make_in(home)).next();
        }
        Ok(self.directory.as_ref().map(|directory| directory.join(name.as_str())))
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

    /// Takes the directory away, once the command is gone.
    pub(crate) fn clear(&mut self) {
        if let Some(directory) = self.directory.take() {
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

    /// Takes all of them away.
    pub(crate) fn clear(&mut self) {
        for path in self.0.drain(..) {
            drop(fs::remove_file(path));
        }
    }
}

/// Whoever reads meanwhile finds the former value or the new one, whole.
fn put(path: &Path, value: &SecretValue) -> Result<(), Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::own(format_args!("cannot write {}: {why}", path.display()));
    let directory = path.parent().unwrap_or(Path::new("/"));
    if directory.is_dir() && !is_memory(directory) {
        let text = "it would be on a disk, where a secret can be found later; mount a tmpfs there";
        return Err(failed(&text));
    }
    if super::is_over_the_limit(value.expose().len()) {
        return Err(failed(&super::OVER_THE_LIMIT));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = directory.join(name);
    let write = || -> io::Result<()> {
        let mut file = create(&temporary)?;
        // Whatever the umask took away.
        file.set_permissions(Permissions::from_mode(0o400))?;
        file.write_all(value.expose().as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        drop(fs::remove_file(&temporary));
        failed(&error)
    })
}

fn create(temporary: &Path) -> io::Result<File> {
    // What a former process of this number has left.
    drop(fs::remove_file(temporary));
    OpenOptions::new().write(true).create_new(true).mode(0o400).open(temporary)
}

/// Whether what is written there is written to memory. An overlay is a disk.
fn is_memory(directory: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(directory.as_os_str().as_bytes()) else { return false };
    statfs(path.as_c_str()).is_ok_and(|about| MEMORY.contains(&about.filesystem_type()))
}

/// statfs(2) lists them; the second is ramfs.
const MEMORY: [FsType; 2] = [TMPFS_MAGIC, FsType(0x8584_58f6)];

/// Where a sandbox mostly has one.
const HOMES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

const MOST_TRIES: u32 = 100;
