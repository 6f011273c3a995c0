//! The runtime directory as it is on disk now, against what it was when it was made. Everything is reached
//! from open directories, so no link is followed; and nothing is opened but directories, since opening a
//! file can have effects.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use miosa_injector::model::ResourceId;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use super::finding::{Finding, TamperReport, Tampered, shown};
use crate::disk;
use crate::layout::{RESOURCE_SOCKET, RuntimeDir};
use crate::socket::bind::SocketFile;

/// The runtime directory and what is in it for all resources.
pub(super) struct RuntimePlace {
    directory: RuntimeDir,
    run: File,
    resources: File,
    /// Names of directories in it.
    folders: Vec<(&'static str, Identity)>,
    /// Names of sockets in it.
    doors: Vec<(&'static str, Identity)>,
}

/// What earlier looks at the directory of a resource have seen.
pub(super) struct Looks {
    socket: SocketFile,
    home: Option<Identity>,
    socket_gid: Option<u32>,
    /// What the directory looked like when it was listed, and what was found in it. As long as it looks
    /// the same, nothing in it has a new name or has lost one.
    listed: Option<(Stamp, Vec<Finding>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    gid: u32,
}

/// When the content of a directory changed, and when anything of it did, which nobody can set back.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
}

impl RuntimePlace {
    /// As it stands now.
    pub(super) fn open(directory: &RuntimeDir) -> io::Result<Self> {
        let run = disk::open_directory(directory.path()).map_err(io::Error::other)?;
        let resources = disk::open_directory(&directory.resources()).map_err(io::Error::other)?;
        let seen = |name: &&'static str| Some((*name, Identity::of(&look(&run, name).ok()?)));
        let (folders, doors) =
            (FOLDERS.iter().filter_map(seen).collect(), DOORS.iter().filter_map(seen).collect());
        Ok(Self { directory: directory.clone(), run, resources, folders, doors })
    }

    /// The path of a resource's directory.
    pub(super) fn home(&self, id: &ResourceId) -> String {
        self.directory.home(id).display().to_string()
    }

    /// What is wrong with the way to all of them.
    pub(super) fn look_around(&self) -> TamperReport {
        let mut report = TamperReport::new();
        let mut note = |path: PathBuf, found: Option<Finding>| {
            let path = path.display().to_string();
            if let Some(found) = found {
                report.insert(path.clone(), Tampered::runtime(path, vec![found]));
            }
        };
        let itself = fstatat(AT_FDCWD, self.directory.path(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let Ok(opened) = fstat(&self.run) else { return report };
        note(self.directory.path().to_owned(), folder(itself, Identity::of(&opened)));
        for (name, identity) in &self.folders {
            note(self.directory.path().join(name), folder(look(&self.run, name), *identity));
        }
        for (name, identity) in &self.doors {
            note(self.directory.path().join(name), door(look(&self.run, name), *identity));
        }
        report
    }

    /// Whether the directories of resources are where they belong, by what was found around.
    pub(super) fn is_there(&self, around: &TamperReport) -> bool {
        let lost = [self.directory.path().to_owned(), self.directory.resources()].into_iter().any(|path| {
            let found = around.get(&path.display().to_string());
            found.is_some_and(|tampered| {
                tampered.found.iter().any(|finding| finding.what != DIRECTORY_CHANGED)
            })
        });
        !lost
    }

    /// What is wrong in a resource's directory. An error says nothing of it: it could not be looked at.
    pub(super) fn look_at(
        &self,
        id: &ResourceId,
        looks: &mut Looks,
        unix_ms: u64,
    ) -> Result<Vec<Finding>, Errno> {
        let there = match look(&self.resources, id.as_str()) {
            Err(Errno::ENOENT) => return Ok(vec![gone("directory")]),
            there => there?,
        };
        if file_type(there.st_mode) != SFlag::S_IFDIR {
            return Ok(vec![replaced("directory", kind(there.st_mode))]);
        }
        let identity = Identity::of(&there);
        let known = *looks.home.get_or_insert(identity);
        if !known.is_same_file(identity) {
            return Ok(vec![replaced("directory", "another directory")]);
        }
        let mut found = attributes("directory", &there, HOME_MODE, known.gid);
        if let Some(planted) = looks.planted_as_of(Stamp::of(&there)) {
            // Who could put a link in the place of this directory since the line above needs none.
            let socket = look(&self.resources, &format!("{id}/{RESOURCE_SOCKET}"));
            found.extend(looks.look_at_socket(socket)?);
            found.extend(planted);
            return Ok(found);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let home = openat(&self.resources, id.as_str(), flags, Mode::empty())?;
        found.extend(looks.look_at_socket(look(&home, RESOURCE_SOCKET))?);
        found.extend(looks.list(&home, &there, unix_ms)?);
        Ok(found)
    }
}

impl Looks {
    /// None so far, at a socket that is this file.
    pub(super) fn at(socket: SocketFile) -> Self {
        Self { socket, home: None, socket_gid: None, listed: None }
    }

    /// The socket that is looked at.
    pub(super) fn of(&self) -> SocketFile {
        self.socket
    }

    fn look_at_socket(&mut self, there: Result<FileStat, Errno>) -> Result<Vec<Finding>, Errno> {
        let there = match there {
            Err(Errno::ENOENT) => return Ok(vec![gone("socket")]),
            there => there?,
        };
        if file_type(there.st_mode) != SFlag::S_IFSOCK {
            return Ok(vec![replaced("socket", kind(there.st_mode))]);
        }
        if self.socket != SocketFile::of(&there) {
            return Ok(vec![replaced("socket", "another socket")]);
        }
        let gid = *self.socket_gid.get_or_insert(there.st_gid);
        let mut found = attributes("socket", &there, SOCKET_MODE, gid);
        if there.st_nlink != 1 {
            found.push(changed("socket", &format!("has {} names", there.st_nlink)));
        }
        Ok(found)
    }

    /// What was found in the directory besides the socket, if it looks as it did then.
    fn planted_as_of(&self, stamp: Stamp) -> Option<Vec<Finding>> {
        self.listed.as_ref().filter(|(listed, _)| *listed == stamp).map(|(_, planted)| planted.clone())
    }

    /// What is in the directory besides the socket.
    fn list(&mut self, home: &OwnedFd, there: &FileStat, unix_ms: u64) -> Result<Vec<Finding>, Errno> {
        let stamp = Stamp::of(there);
        let planted = match planted(home) {
            // Its mode was changed, which is a finding of its own.
            Err(Errno::EACCES) => Vec::new(),
            planted => planted?,
        };
        // A change that comes right after the listing may have the same time.
        if stamp.is_past(unix_ms) {
            self.listed = Some((stamp, planted.clone()));
        }
        Ok(planted)
    }
}

impl Identity {
    fn of(found: &FileStat) -> Self {
        Self { device: found.st_dev, inode: found.st_ino, gid: found.st_gid }
    }

    fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Stamp {
    fn of(found: &FileStat) -> Self {
        Self {
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }

    fn is_past(self, unix_ms: u64) -> bool {
        let now = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
        now.saturating_sub(self.changed.0) > TICK_SECONDS
    }
}

fn look(directory: impl std::os::fd::AsFd, name: &str) -> Result<FileStat, Errno> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// A directory of the runtime directory, or that itself: operators may set its mode and group, as long as
/// nobody else may write there.
fn folder(there: Result<FileStat, Errno>, identity: Identity) -> Option<Finding> {
    let there = match there {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Some(gone("directory")),
        there => there.ok()?,
    };
    if file_type(there.st_mode) != SFlag::S_IFDIR {
        return Some(replaced("directory", kind(there.st_mode)));
    }
    if !identity.is_same_file(Identity::of(&there)) {
        return Some(replaced("directory", "another directory"));
    }
    if there.st_uid != geteuid().as_raw() {
        return Some(changed("directory", &format!("belongs to user {}", there.st_uid)));
    }
    let mode = there.st_mode & MODE_BITS;
    (mode & OTHERS_WRITE != 0)
        .then(|| changed("directory", &format!("has mode {mode:03o}: others may write it")))
}

/// A socket of operators, whose mode and group are theirs to set.
fn door(there: Result<FileStat, Errno>, identity: Identity) -> Option<Finding> {
    let there = match there {
        Err(Errno::ENOENT) => return Some(gone("socket")),
        there => there.ok()?,
    };
    if file_type(there.st_mode) != SFlag::S_IFSOCK {
        return Some(replaced("socket", kind(there.st_mode)));
    }
    (!identity.is_same_file(Identity::of(&there))).then(|| replaced("socket", "another socket"))
}

fn attributes(what: &str, there: &FileStat, mode: u32, gid: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    let (user, now) = (geteuid().as_raw(), there.st_mode & MODE_BITS);
    if there.st_uid != user {
        found.push(changed(what, &format!("belongs to user {}, not {user}", there.st_uid)));
    }
    if there.st_gid != gid {
        found.push(changed(what, &format!("belongs to group {}, not {gid}", there.st_gid)));
    }
    if now != mode {
        found.push(changed(what, &format!("has mode {now:03o}, not {mode:03o}")));
    }
    found
}

/// Everything but the socket, the first few by name. However much was put there, a bounded part of it is
/// read.
fn planted(home: &OwnedFd) -> Result<Vec<Finding>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::openat(home, ".", flags, Mode::empty())?.iter().take(MAX_LISTED) {
        let entry = entry?;
        let name = entry.file_name();
        if ![&b"."[..], b"..", RESOURCE_SOCKET.as_bytes()].contains(&name.to_bytes()) {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let more = names.len().saturating_sub(MAX_NAMED);
    let mut found: Vec<Finding> = names
        .iter()
        .take(MAX_NAMED)
        .map(|(name, kind)| {
            let target = match kind {
                Some(Type::Symlink) => readlinkat(home, name.as_c_str()).ok(),
                _ => None,
            };
            let leads = target.map_or(String::new(), |to| format!(" to {}", shown(to.as_encoded_bytes())));
            let message = format!("holds {}{leads} named {}", planted_kind(*kind), shown(name.to_bytes()));
            Finding::new("planted", message)
        })
        .collect();
    if more > 0 {
        found.push(Finding::new("planted", "holds more than that".to_owned()));
    }
    Ok(found)
}

fn gone(what: &str) -> Finding {
    Finding::new(&format!("{what}_gone"), format!("the {what} is gone"))
}

fn replaced(what: &str, by: &str) -> Finding {
    Finding::new(&format!("{what}_replaced"), format!("{by} is in the place of the {what}"))
}

fn changed(what: &str, how: &str) -> Finding {
    Finding::new(&format!("{what}_changed"), format!("the {what} {how}"))
}

fn file_type(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

fn kind(mode: u32) -> &'static str {
    match file_type(mode) {
        SFlag::S_IFREG => "a file",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    }
}

fn planted_kind(kind: Option<Type>) -> &'static str {
    match kind {
        Some(Type::File) => "a file",
        Some(Type::Directory) => "a directory",
        Some(Type::Symlink) => "a symbolic link",
        Some(Type::Fifo) => "a FIFO",
        Some(Type::Socket) => "a socket",
        Some(Type::CharacterDevice | Type::BlockDevice) => "a device",
        None => "something",
    }
}

/// Of a directory that is still the same one.
const DIRECTORY_CHANGED: &str = "directory_changed";

/// As they are made.
const HOME_MODE: u32 = 0o755;
const SOCKET_MODE: u32 = 0o666;

const MODE_BITS: u32 = 0o7777;
const OTHERS_WRITE: u32 = 0o022;

const FOLDERS: [&str; 2] = ["resources", "tenants"];
const DOORS: [&str; 2] = ["admin.sock", "intake.sock"];

/// How much of a directory is read, and how much of that is told.
const MAX_LISTED: usize = 64;
const MAX_NAMED: usize = 8;

/// The kernel's clock for files is coarser than a listing is short; a second is more than any tick.
const TICK_SECONDS: i64 = 1;
