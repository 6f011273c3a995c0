//! The accepted updates on disk, byte for byte as they were received: one file for each update with
//! state, one for the newest heartbeat. It neither verifies nor judges them; whoever reads one treats
//! it as if it came from outside.

use std::path::{Path, PathBuf};

use miosa_snapshot::{Kind, MAX_ENVELOPE_BYTES, Statement};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk::{self, DiskError, Entry, TEMPORARY_PREFIX};
use crate::failure::in_one_line;

/// The cache directory, and the place for what was found in it and does not verify.
pub(crate) struct Cache {
    directory: PathBuf,
    quarantine: PathBuf,
}

/// What is in the cache directory.
pub(crate) struct Contents {
    /// The updates with state, in the order of their epochs and versions.
    pub(crate) updates: Vec<PathBuf>,
    /// The newest heartbeat.
    pub(crate) heartbeat: Option<PathBuf>,
    /// What this daemon never wrote: other names, and what is no regular file.
    pub(crate) foreign: Vec<PathBuf>,
}

/// A file that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetAside {
    /// Its name in the quarantine directory.
    pub(crate) file: String,
    /// The name of the refusal.
    pub(crate) reason: String,
}

impl Cache {
    /// The cache in these directories, which exist from here on.
    pub(crate) fn open(directory: PathBuf, quarantine: PathBuf) -> Result<Self, DiskError> {
        disk::make_private_directory(&directory)?;
        let cache = Self { directory, quarantine };
        if let Err(error) = cache.make_quarantine() {
            // Then nothing can be moved there: what does not verify stays where it is, unserved.
            tracing::error!(event = "no_quarantine", error = in_one_line(&error), "cannot set files aside");
        }
        Ok(cache)
    }

    /// The cache in these directories as they are, to be looked at only.
    pub(crate) fn at(directory: PathBuf, quarantine: PathBuf) -> Self {
        Self { directory, quarantine }
    }

    /// A file in the directory's place is moved to where it is found and set aside.
    fn make_quarantine(&self) -> Result<(), DiskError> {
        if self.quarantine.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            disk::rename(&self.quarantine, &self.directory.join("quarantine-before"))?;
        }
        disk::make_private_directory(&self.quarantine)
    }

    /// Keeps an update, durably.
    pub(crate) fn store(&self, statement: &Statement, bytes: &[u8]) -> Result<(), DiskError> {
        disk::replace(&self.place(statement), bytes)
    }

    /// Removes, durably, what stands between a position and the update that follows it: an attempt that
    /// could not be made durable and was not accepted. The next start would take it before that update,
    /// which does not apply on top of it.
    pub(crate) fn remove_between(
        &self,
        (epoch, version): (u64, u64),
        by: &Statement,
    ) -> Result<(), DiskError> {
        let (before, after) = (self.place_of(epoch, version), self.place_of(by.epoch, by.version));
        let contents = self.look()?;
        let between = contents.updates.iter().filter(|path| before < **path && **path < after);
        between.map(PathBuf::as_path).try_for_each(disk::remove)?;
        disk::sync(&self.directory)
    }

    /// Removes what an accepted update has made superfluous: after a full one everything before it,
    /// after any with state the heartbeat of the state before.
    pub(crate) fn remove_superseded(&self, by: &Statement) -> Result<(), DiskError> {
        if matches!(by.kind, Kind::Heartbeat { .. }) {
            return Ok(());
        }
        let contents = self.contents()?;
        let kept = self.place(by);
        if by.kind == Kind::Full {
            // By name is by version: nothing later than an accepted update can be there but what a
            // failed attempt left, and that was never accepted. The latest goes first, so that a stop in
            // between leaves no update without what it applies to.
            let superseded = contents.updates.iter().rev().filter(|path| **path != kept);
            superseded.map(PathBuf::as_path).try_for_each(disk::remove)?;
        }
        contents.heartbeat.iter().try_for_each(|path| disk::remove(path))
    }

    /// Looks at what is there. Files half written when the daemon was stopped are removed.
    pub(crate) fn contents(&self) -> Result<Contents, DiskError> {
        for Entry { path, name, .. } in disk::entries(&self.directory)? {
            if name.is_some_and(|name| name.starts_with(TEMPORARY_PREFIX)) {
                // Where it can't be removed, as on a read-only disk, it disturbs nothing.
                let _left_over = disk::remove_entry(&path);
            }
        }
        self.look()
    }

    /// Looks at what is there, and leaves it as it is.
    pub(crate) fn look(&self) -> Result<Contents, DiskError> {
        let mut contents = Contents { updates: Vec::new(), heartbeat: None, foreign: Vec::new() };
        for Entry { path, name, is_file } in disk::entries(&self.directory)? {
            let name = name.unwrap_or_default();
            if path == self.quarantine || name.starts_with(TEMPORARY_PREFIX) {
                continue;
            }
            if is_file && name == HEARTBEAT {
                contents.heartbeat = Some(path);
            } else if is_file && is_update(&name) {
                contents.updates.push(path);
            } else {
                contents.foreign.push(path);
            }
        }
        Ok(contents)
    }

    /// The bytes of one of the files.
    pub(crate) fn read(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, DiskError> {
        disk::read(path, MAX_ENVELOPE_BYTES)
    }

    /// Removes one of the files.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), DiskError> {
        disk::remove(path)
    }

    /// Moves a file, of this directory or another, to where nothing is ever served from, under `name`
    /// and `reason`. Keeps the newest of those there.
    pub(crate) fn set_aside(&self, path: &Path, name: &str, reason: &str) -> Result<(), DiskError> {
        let place = self.quarantine.join(format!("{name}.{reason}"));
        // A file takes the place of a file only, and a directory that of an empty one.
        disk::remove_entry(&place)?;
        disk::rename(path, &place)?;
        let entries = disk::entries(&self.quarantine)?;
        let surplus = entries.len().saturating_sub(MAX_SET_ASIDE);
        entries.iter().take(surplus).try_for_each(|entry| disk::remove_entry(&entry.path))
    }

    /// What was set aside, now and in earlier runs.
    pub(crate) fn all_set_aside(&self) -> Vec<SetAside> {
        let entries = disk::entries(&self.quarantine).unwrap_or_default();
        let described = entries.into_iter().map(|entry| {
            let file = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let reason = file.rsplit('.').next().unwrap_or_default().to_owned();
            SetAside { file, reason }
        });
        described.collect()
    }

    /// Where the update that made a version is kept.
    pub(crate) fn place_of(&self, epoch: u64, version: u64) -> PathBuf {
        self.directory.join(update_name(epoch, version))
    }

    fn place(&self, statement: &Statement) -> PathBuf {
        match statement.kind {
            Kind::Heartbeat { .. } => self.directory.join(HEARTBEAT),
            Kind::Full | Kind::Incremental { .. } => self.place_of(statement.epoch, statement.version),
        }
    }
}

/// One name for each position, so that a second attempt at a version takes the place of the first;
/// padded to the digits of 2^53 − 1, so that the order of the names is the order of the updates.
fn update_name(epoch: u64, version: u64) -> String {
    format!("update-{epoch:016}-{version:016}.json")
}

fn is_update(name: &str) -> bool {
    let numbers = name.strip_prefix("update-").and_then(|rest| rest.strip_suffix(".json"));
    let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(epoch, version)| {
        [epoch, version].iter().all(|part| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

const HEARTBEAT: &str = "heartbeat.json";

/// Enough to find out what happened, not enough to fill a disk.
const MAX_SET_ASIDE: usize = 64;

#[cfg(test)]
mod tests {
    use miosa_snapshot::{Digest, HostId, SigningKey, Times};

    use super::*;

    fn statement(kind: Kind, version: u64) -> Statement {
        Statement {
            host_id: "host".parse::<HostId>().unwrap(),
            signer: SigningKey::generate().unwrap().0.key_id(),
            epoch: 1,
            version,
            kind,
            times: Times { issued_at: 1, expires_at: 2, serve_until: 3 },
        }
    }

    fn names(cache: &Cache) -> Vec<String> {
        let entries = disk::entries(&cache.directory).unwrap();
        entries.into_iter().filter(|entry| entry.is_file).filter_map(|entry| entry.name).collect()
    }

    fn cache(directory: &tempfile::TempDir) -> Cache {
        Cache::open(directory.path().join("cache"), directory.path().join("cache/quarantine")).unwrap()
    }

    #[test]
    fn a_full_update_leaves_nothing_older_behind() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory);
        let on = |from| (from, Digest::of(b"x"));
        let (from, prev) = on(9);
        cache.store(&statement(Kind::Full, 9), b"nine").unwrap();
        cache.store(&statement(Kind::Incremental { from, prev }, 10), b"ten").unwrap();
        cache.store(&statement(Kind::Heartbeat { from: 10, prev }, 10), b"beat").unwrap();
        assert_eq!(cache.contents().unwrap().updates.len(), 2);
        assert!(cache.contents().unwrap().heartbeat.is_some());

        let full = statement(Kind::Full, 11);
        cache.store(&full, b"eleven").unwrap();
        cache.remove_superseded(&full).unwrap();
        assert_eq!(names(&cache), ["update-0000000000000001-0000000000000011.json"]);
    }

    #[test]
    fn updates_are_listed_in_the_order_of_their_versions() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory);
        for version in [100, 2, 9_007_199_254_740_991, 10] {
            cache.store(&statement(Kind::Full, version), &[]).unwrap();
        }
        let listed = cache.contents().unwrap().updates;
        let expected = [2, 10, 100, 9_007_199_254_740_991].map(|v| cache.place(&statement(Kind::Full, v)));
        assert_eq!(listed, expected);
    }

    #[test]
    fn what_is_set_aside_is_listed_with_its_reason_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory);
        for version in 0..70 {
            let statement = statement(Kind::Full, version);
            cache.store(&statement, b"x").unwrap();
            let name = update_name(1, version);
            cache.set_aside(&cache.place(&statement), &name, "bad_signature").unwrap();
        }
        let listed = cache.all_set_aside();
        assert_eq!(listed.len(), MAX_SET_ASIDE);
        let last = SetAside {
            file: "update-0000000000000001-0000000000000069.json.bad_signature".to_owned(),
            reason: "bad_signature".to_owned(),
        };
        assert_eq!(listed.last(), Some(&last));
        assert_eq!(names(&cache), Vec::<String>::new());
    }

    #[test]
    fn half_written_files_vanish_and_foreign_ones_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory);
        for name in [".new-heartbeat.json", "update-1-2.json", "notes.txt"] {
            disk::replace(&cache.directory.join(name), b"x").unwrap();
        }
        let foreign = cache.contents().unwrap().foreign;
        assert_eq!(foreign, ["notes.txt", "update-1-2.json"].map(|name| cache.directory.join(name)));
        assert_eq!(names(&cache).len(), 2);
    }

    #[test]
    fn what_is_no_regular_file_of_a_known_name_is_foreign_and_can_be_set_aside() {
        use std::ffi::OsStr;
        use std::fs;
        use std::os::unix::ffi::OsStrExt as _;

        let directory = tempfile::tempdir().unwrap();
        let cache = cache(&directory);
        let update = update_name(1, 2);
        fs::create_dir_all(cache.directory.join(".new-heartbeat.json/x")).unwrap();
        fs::create_dir_all(cache.directory.join("heartbeat.json/x")).unwrap();
        fs::create_dir_all(cache.directory.join(&update).join("x")).unwrap();
        fs::create_dir(cache.directory.join(OsStr::from_bytes(b"\xff"))).unwrap();
        for _again in 0..2 {
            let foreign = cache.contents().unwrap().foreign;
            for path in &foreign {
                let name = path.file_name().unwrap().to_string_lossy();
                cache.set_aside(path, &name, "unknown_file").unwrap();
            }
            assert!(cache.contents().unwrap().foreign.is_empty());
            assert_eq!(cache.all_set_aside().len(), 3);
            fs::create_dir_all(cache.directory.join("heartbeat.json/x")).unwrap();
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_quarantine_is_set_aside_itself() {
        let directory = tempfile::tempdir().unwrap();
        drop(cache(&directory));
        let quarantine = directory.path().join("cache/quarantine");
        disk::remove_entry(&quarantine).unwrap();
        disk::replace(&quarantine, b"x").unwrap();
        let cache = cache(&directory);
        let [path] = &cache.contents().unwrap().foreign[..] else { panic!("one file") };
        cache.set_aside(path, "quarantine-before", "unknown_file").unwrap();
        assert_eq!(cache.all_set_aside().len(), 1);
    }
}
