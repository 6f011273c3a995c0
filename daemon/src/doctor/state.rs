//! The state directory: whose it is, who else may read it, the disk under it, and what lies in it that
//! somebody should look at.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::finding::Finding;
use super::patient::Patient;
use crate::disk::{self, TEMPORARY_PREFIX};
use crate::layout::StateDir;

/// Owners and modes of the directory and of all that is secret in it.
pub(super) fn directory(patient: &Patient) -> Vec<Finding> {
    let state = &patient.settings.state;
    let shown = state.path().display();
    let metadata = match fs::symlink_metadata(state.path()) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let action = "run `miosad enroll`; if it was enrolled, put the directory back";
            return vec![Finding::fail(STATE, format!("{shown} is not there"), action)];
        }
        Err(_) => return vec![Finding::unseen(STATE, format!("{shown} can't be looked at"))],
    };
    let mode = metadata.mode() & PERMISSIONS;
    if !metadata.is_dir() {
        let action = "name the directory itself with --state-dir";
        return vec![Finding::fail(STATE, format!("{shown} is a link or a file"), action)];
    }
    if mode & OTHERS_WRITE != 0 {
        let says =
            format!("{shown} has mode {mode:03o}: others may change what is in it, so no daemon starts");
        return vec![Finding::fail(STATE, says, format!("chmod 700 {shown}, and see what was changed"))];
    }
    if mode & OTHERS != 0 {
        let says = format!("{shown} has mode {mode:03o}: others may look into it");
        return vec![Finding::warn(STATE, says, format!("chmod 700 {shown}"))];
    }
    let wrong = match wrong_below(state, &metadata) {
        Ok(wrong) => wrong,
        Err(_) => {
            return vec![Finding::unseen(
                STATE,
                format!("{shown} has mode 700; what is in it can't be seen"),
            )];
        }
    };
    match wrong.as_slice() {
        [] => {
            vec![Finding::ok(STATE, format!("{shown} and all that is secret in it belong to one user alone"))]
        }
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            let action = "give all of it to the owner of the directory: files mode 600, directories 700; \
                          if somebody may have read host.key, enroll again";
            vec![Finding::fail(STATE, format!("{first}{more}"), action)]
        }
    }
}

/// What does not belong to the owner of the directory alone. The drop directory is others' to fill.
fn wrong_below(state: &StateDir, directory: &Metadata) -> io::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let [first, second] = state.floors();
    let mut paths = vec![state.host(), state.host_key(), state.link(), first, second];
    fs::read_dir(state.path())?;
    for below in [state.trust(), state.cache(), state.quarantine(), state.evidence(), state.drop()] {
        paths.push(below.clone());
        if below != state.drop() && below.is_dir() {
            for entry in fs::read_dir(&below)? {
                paths.push(entry?.path());
            }
        }
    }
    for path in paths {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let mode = found.mode() & PERMISSIONS;
        if found.uid() != directory.uid() {
            wrong.push(format!(
                "{} belongs to user {}, not {}",
                path.display(),
                found.uid(),
                directory.uid()
            ));
        } else if mode & OTHERS != 0 && !found.is_symlink() {
            wrong.push(format!("{} has mode {mode:03o}", path.display()));
        } else if found.is_symlink() {
            wrong.push(format!("{} is a symbolic link", path.display()));
        }
    }
    Ok(wrong)
}

/// Room for what is to come.
pub(super) fn disk(patient: &Patient) -> Vec<Finding> {
    let path = patient.settings.state.path();
    let Ok(found) = statvfs(path) else {
        return vec![Finding::unseen(
            DISK,
            format!("the file system of {} can't be looked at", path.display()),
        )];
    };
    if found.flags().contains(FsFlags::ST_RDONLY) {
        let action = "mount it read-write; the kernel's log may say why it is not";
        return vec![Finding::fail(DISK, "the file system of the state directory is read-only", action)];
    }
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    let (inodes, all_inodes) = (found.files_available(), found.files());
    // Some file systems have as many as they like, and say 0.
    let inodes = (all_inodes > 0).then_some(inodes);
    let says = format!(
        "{} free{}",
        mebibytes(free),
        inodes.map_or(String::new(), |inodes| format!(", {inodes} inodes"))
    );
    let is_below = |bytes, files| free < bytes || inodes.is_some_and(|inodes| inodes < files);
    vec![if is_below(LEAST_BYTES, LEAST_INODES) {
        Finding::fail(DISK, says, "free some space: the next update may find none, and is refused then")
    } else if is_below(LITTLE_BYTES, LITTLE_INODES) {
        Finding::warn(DISK, says, "free some space before updates find none")
    } else {
        Finding::ok(DISK, says)
    }]
}

/// What was kept: how much, and what did not verify.
pub(super) fn cache(patient: &Patient) -> Vec<Finding> {
    let state = &patient.settings.state;
    let mut findings = Vec::new();
    match names(&state.quarantine()) {
        Ok(files) if !files.is_empty() => {
            let says = format!(
                "{} in {}: {}",
                counted(files.len(), "file"),
                state.quarantine().display(),
                first(&files)
            );
            let action = "did not verify when the daemon was started: check the disk, then remove them";
            findings.push(Finding::warn(CACHE, says, action));
        }
        Ok(_) => {}
        Err(Unlisted) => findings.push(Finding::unseen(CACHE, "what was set aside can't be seen")),
    }
    let Some(status) = patient.told() else {
        return or(findings, || Finding::ok(CACHE, "nothing was set aside"));
    };
    match status.need_full_because.as_deref() {
        Some(reason @ ("many_increments" | "large_increments")) => {
            let says = format!(
                "{} on the last full update ({reason})",
                counted_u64(status.increments.count, "increment")
            );
            let action = "a control plane sends a full update by itself; another publisher must";
            findings.push(Finding::warn(CACHE, says, action));
        }
        Some(reason) => findings.push(Finding::fail(
            CACHE,
            format!("a full update is needed: {reason}"),
            "see the lines `trust` and `link`, or `miosad push` one",
        )),
        None => {}
    }
    let full = format!(
        "a full update and {}; nothing was set aside",
        counted_u64(status.increments.count, "increment")
    );
    or(findings, || Finding::ok(CACHE, full))
}

/// Proof that somebody else holds a key.
pub(super) fn evidence(patient: &Patient) -> Vec<Finding> {
    let directory = patient.settings.state.evidence();
    vec![match names(&directory) {
        Ok(files) if files.is_empty() => Finding::ok(EVIDENCE, "none of equivocation"),
        Ok(files) => Finding::fail(
            EVIDENCE,
            format!(
                "{} in {}: two contents were signed under one version",
                counted(files.len(), "file"),
                directory.display()
            ),
            "treat the signing key as stolen until shown otherwise (docs/trust.md), then move the files away",
        ),
        Err(Unlisted) => match patient.told() {
            Some(status) if status.evidence.is_empty() => Finding::ok(EVIDENCE, "none of equivocation"),
            Some(status) => Finding::fail(
                EVIDENCE,
                format!(
                    "{}: two contents were signed under one version",
                    counted(status.evidence.len(), "file")
                ),
                "treat the signing key as stolen until shown otherwise (docs/trust.md), then move the files away",
            ),
            None => Finding::unseen(EVIDENCE, format!("{} can't be listed", directory.display())),
        },
    }]
}

/// What was put into the drop directory and not taken.
pub(super) fn drop_directory(patient: &Patient) -> Vec<Finding> {
    let directory = patient.settings.state.drop();
    let Some(status) = patient.told() else {
        return vec![match names(&directory) {
            Ok(files) if files.is_empty() => Finding::ok(DROP, "empty"),
            Ok(files) => {
                let says =
                    format!("{} waiting for the daemon: {}", counted(files.len(), "file"), first(&files));
                Finding::warn(DROP, says, "start miosad, which takes or refuses them")
            }
            Err(Unlisted) => Finding::unseen(DROP, format!("{} can't be listed", directory.display())),
        }];
    };
    let report = &status.drop;
    let mut findings = Vec::new();
    if let Some(problem) = &report.problem {
        let says = format!("{}: {problem}", report.state);
        findings.push(match report.state.as_str() {
            "polled" => Finding::warn(DROP, says, "raise fs.inotify.max_user_instances and max_user_watches"),
            _ => Finding::fail(DROP, says, "make it a directory of the user that miosad runs as, mode 700"),
        });
    }
    if report.left_count > 0 {
        let left: Vec<String> =
            report.left.iter().map(|left| format!("{} ({})", left.file, left.reason)).collect();
        let says = format!("{} not taken: {}", counted_u64(report.left_count, "entry"), first(&left));
        findings.push(Finding::warn(
            DROP,
            says,
            format!("put regular files there only, and clear {}", directory.display()),
        ));
    }
    or(findings, || Finding::ok(DROP, format!("{}, nothing left over", report.state)))
}

fn or(findings: Vec<Finding>, well: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![well()] } else { findings }
}

/// It may not be listed by whoever asks.
pub(super) struct Unlisted;

/// The names in a directory; none in one that is not there. Files half written are no names.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, Unlisted> {
    match disk::entries(directory) {
        Ok(entries) => {
            let names = entries.iter().filter_map(|entry| entry.path.file_name());
            let names = names.map(|name| name.to_string_lossy().into_owned());
            Ok(names.filter(|name| !name.starts_with(TEMPORARY_PREFIX) && !name.starts_with('.')).collect())
        }
        // Below a directory that may not be entered, nothing is known to be missing.
        Err(error) if error.is_missing() && parent_is_seen(directory) => Ok(Vec::new()),
        Err(_) => Err(Unlisted),
    }
}

fn parent_is_seen(directory: &Path) -> bool {
    let parents: Vec<PathBuf> = directory.ancestors().skip(1).take(2).map(Path::to_owned).collect();
    parents.iter().any(|parent| fs::read_dir(parent).is_ok())
}

fn first(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn mebibytes(bytes: u64) -> String {
    match bytes / (1024 * 1024) {
        mebibytes @ 0..10_240 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes / 1024),
    }
}

/// A number with its noun.
pub(super) fn counted(count: usize, noun: &str) -> String {
    counted_u64(u64::try_from(count).unwrap_or(u64::MAX), noun)
}

pub(super) fn counted_u64(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (count, Some(stem)) => format!("{count} {stem}ies"),
        (count, None) => format!("{count} {noun}s"),
    }
}

const STATE: &str = "state";
const DISK: &str = "disk";
const CACHE: &str = "cache";
const EVIDENCE: &str = "evidence";
const DROP: &str = "drop";

const PERMISSIONS: u32 = 0o777;
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
const SHOWN: usize = 3;

/// Of the largest updates two fit, with what is written beside them.
const LEAST_BYTES: u64 = 64 * 1024 * 1024;
const LITTLE_BYTES: u64 = 512 * 1024 * 1024;
const LEAST_INODES: u64 = 64;
const LITTLE_INODES: u64 = 2_000;
