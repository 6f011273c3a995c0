//! The runtime directory and the sockets in it. Everything is looked at by descriptors that only name it
//! (`O_PATH`), no link is followed, and nothing is connected to.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Group};

use super::finding::Finding;
use super::patient::Patient;
use super::state::{counted, names};
use crate::admin::ResourceLine;
use crate::layout::RESOURCE_SOCKET;

/// The directory itself, and the operators' two sockets.
pub(super) fn directory(patient: &Patient) -> Vec<Finding> {
    let runtime = &patient.settings.runtime;
    let shown = runtime.path().display();
    let metadata = match fs::symlink_metadata(runtime.path()) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let action = "start miosad, which makes it; sandboxes that had mounted it must be started anew";
            return vec![Finding::fail(RUNTIME, format!("{shown} is not there"), action)];
        }
        Err(_) => return vec![Finding::unseen(RUNTIME, format!("{shown} can't be looked at"))],
    };
    let mode = metadata.mode() & PERMISSIONS;
    if !metadata.is_dir() {
        let action = "name the directory itself with --runtime-dir";
        return vec![Finding::fail(RUNTIME, format!("{shown} is a link or a file"), action)];
    }
    if mode & OTHERS_WRITE != 0 {
        let says = format!("{shown} has mode {mode:03o}: others may put sockets of theirs in it");
        return vec![Finding::fail(RUNTIME, says, format!("chmod 750 {shown}, and restart miosad"))];
    }
    let mut findings = Vec::new();
    for (path, group) in [(runtime.admin_socket(), "miosa"), (runtime.intake_socket(), "miosa-link")] {
        findings.extend(door(&path, metadata.uid(), group, patient));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(RUNTIME, format!("{shown} and both operators' sockets are the daemon's")));
    }
    findings
}

/// One of the operators' sockets.
fn door(path: &Path, owner: u32, group: &str, patient: &Patient) -> Option<Finding> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let start = "start miosad; if it runs, restart it";
            return Some(Finding::fail(RUNTIME, format!("{shown} is not there"), start));
        }
        Err(_) => return Some(Finding::unseen(RUNTIME, format!("{shown} can't be looked at"))),
    };
    let is_socket = SFlag::from_bits_truncate(found.mode()) & SFlag::S_IFMT == SFlag::S_IFSOCK;
    if !is_socket || found.uid() != owner {
        let says = format!("{shown} is not the daemon's socket");
        return Some(Finding::fail(
            RUNTIME,
            says,
            "remove it, restart miosad, and find out who put it there",
        ));
    }
    let mode = found.mode() & PERMISSIONS;
    if mode != OPERATORS {
        let says = format!("{shown} has mode {mode:03o}, not {OPERATORS:03o}");
        return Some(Finding::fail(
            RUNTIME,
            says,
            format!("chmod {OPERATORS:03o} {shown}, and find out who changed it"),
        ));
    }
    // Where there is no such group, it stays with the daemon's own.
    let expected = Group::from_name(group).ok().flatten().map(|group| group.gid);
    if expected.is_some_and(|gid| gid != Gid::from_raw(found.gid())) && patient.told().is_some() {
        let says = format!("{shown} belongs to group {}, so the group {group} can't use it", found.gid());
        return Some(Finding::warn(
            RUNTIME,
            says,
            format!("chgrp {group} {shown}; miosad.service does that at its start"),
        ));
    }
    None
}

/// The sockets of the resources.
pub(super) fn sockets(patient: &Patient) -> Vec<Finding> {
    let Some(list) = &patient.resources else { return vec![left_alone(patient)] };
    let mut findings = Vec::new();
    let mut unseen = false;
    for line in &list.resources {
        match look(patient, line) {
            Look::Well => {}
            Look::Unseen => unseen = true,
            Look::Wrong(finding) => findings.push(finding),
        }
    }
    let all = counted(list.resources.len(), "resource");
    let served = list.resources.iter().filter(|line| line.served).count();
    if unseen {
        findings.push(Finding::unseen(
            SOCKETS,
            format!("{served} of {all} served; their files can't be looked at"),
        ));
    } else if findings.is_empty() {
        let says = match list.resources.len() {
            0 => "no resources on this host".to_owned(),
            _ => format!("{served} of {all} served, each by the socket that the daemon made"),
        };
        findings.push(Finding::ok(SOCKETS, says));
    }
    let told = patient.told().into_iter().flat_map(|status| &status.tampered);
    let elsewhere = told.filter(|tampered| tampered.resource.is_none());
    findings.extend(elsewhere.map(|tampered| {
        let found: Vec<&str> = tampered.found.iter().map(|found| found.message.as_str()).collect();
        Finding::fail(SOCKETS, format!("{}: {}", tampered.path, found.join(", ")), tampered.advice.clone())
    }));
    findings
}

/// What a daemon that is not there to ask has left.
fn left_alone(patient: &Patient) -> Finding {
    match names(&patient.settings.runtime.resources()) {
        Ok(homes) if homes.is_empty() => Finding::ok(SOCKETS, "no resource has a directory"),
        Ok(homes) => {
            Finding::untold(SOCKETS, format!("{} with a directory", counted(homes.len(), "resource")))
        }
        Err(_) => Finding::unseen(SOCKETS, "the resources' directories can't be looked at"),
    }
}

enum Look {
    Well,
    Unseen,
    Wrong(Finding),
}

/// One resource, by what the daemon says and by what is there.
fn look(patient: &Patient, line: &ResourceLine) -> Look {
    let id = &line.id;
    if let Some(error) = &line.error {
        let action = "mend that; it is tried again with the next update, or when miosad is restarted";
        return Look::Wrong(Finding::fail(SOCKETS, format!("{id} has no socket: {error}"), action));
    }
    if let Some(tampered) = &line.tampered {
        let found: Vec<&str> = tampered.found.iter().map(|found| found.message.as_str()).collect();
        return Look::Wrong(Finding::fail(
            SOCKETS,
            format!("{id}: {}: {}", tampered.path, found.join(", ")),
            tampered.advice.clone(),
        ));
    }
    let tampered = |what: String| {
        let action = "end what runs in that sandbox, mount the directory read-only, then remove the resource and place it anew";
        Look::Wrong(Finding::fail(SOCKETS, format!("{id}: {what}"), action))
    };
    match Seen::of(patient.settings.runtime.path(), id) {
        Ok(Seen { owner, home, socket }) => {
            if home.st_uid != owner || home.st_mode & PERMISSIONS != WALK_IN {
                return tampered("its directory is not the daemon's any more".to_owned());
            }
            let is_socket = SFlag::from_bits_truncate(socket.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
            match (is_socket && socket.st_uid == owner, socket.st_nlink, socket.st_mode & PERMISSIONS) {
                (false, ..) => tampered(format!("{} is not the daemon's socket", line.socket)),
                (true, 1, ANYBODY_MOUNTED) => Look::Well,
                (true, 1, mode) => tampered(format!("{} has mode {mode:03o}, not 666", line.socket)),
                (true, links, _) => tampered(format!("{} has {links} names", line.socket)),
            }
        }
        Err(Errno::EACCES | Errno::EPERM) => Look::Unseen,
        Err(Errno::ENOENT) => tampered(format!("{} is not there", line.socket)),
        Err(_) => tampered(format!("the way to {} leads elsewhere", line.socket)),
    }
}

/// A resource's directory and its socket.
struct Seen {
    /// Whose the runtime directory is.
    owner: u32,
    home: FileStat,
    socket: FileStat,
}

impl Seen {
    fn of(runtime: &Path, id: &str) -> Result<Self, Errno> {
        let run = openat(AT_FDCWD, runtime, NAME_ONLY, Mode::empty())?;
        let resources = step(&run, RESOURCES)?;
        let home = step(&resources, id)?;
        let socket = fstatat(&home, RESOURCE_SOCKET, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(Self { owner: fstat(&run)?.st_uid, home: fstat(&home)?, socket })
    }
}

fn step(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(directory, name, NAME_ONLY, Mode::empty())
}

const RUNTIME: &str = "runtime";
const SOCKETS: &str = "sockets";
const RESOURCES: &str = "resources";

const NAME_ONLY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const PERMISSIONS: u32 = 0o777;
const OTHERS_WRITE: u32 = 0o022;
const OPERATORS: u32 = 0o660;
const WALK_IN: u32 = 0o755;
const ANYBODY_MOUNTED: u32 = 0o666;
