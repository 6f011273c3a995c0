//! The floor on disk: the position and the trust document below which this host never goes again, in
//! two copies with a checksum each. An unreadable floor is never taken for a first start. What the
//! floor forbids of updates is decided by `miosa-snapshot`.
//!
//! An update waits for one copy, which is written over in place, since it has a fixed size; the other
//! follows when there is time ([`Floors::settle`]). No write can lower or lose the floor:
//!
//! - only the copy that is *not* the newest is ever written over, and that only once the newest is on
//!   disk. A torn write is told by the checksum, and leaves the newest one. If the update it was for was
//!   not acknowledged, that is the floor; acknowledged is an update only after its copy is on disk;
//! - both are read at a start and the higher one counts, so a stop between the two costs nothing;
//! - where a write failed, the kernel may hold for written what is not: that copy is replaced by a new
//!   file next, never written over;
//! - until the second copy has followed, damage to the very newest one would show the floor of the
//!   update before. The update itself is on disk by then, and raises the floor at the next start.

use std::path::{Path, PathBuf};

use miosa_snapshot::{Digest, Floor};
use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};

/// The two copies.
pub(crate) struct Floors {
    copies: [PathBuf; 2],
    /// None: what they hold is not known.
    state: Option<Known>,
}

/// What the copies hold.
#[derive(Clone, Copy)]
struct Known {
    /// The higher of them.
    mark: Mark,
    /// Which one has it.
    newest: Place,
    other: Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Second,
}

/// How the copy that is not the newest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Same,
    Behind,
    /// A write to it failed.
    Unknown,
}

/// What this host has come to, kept apart from the files that say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The position of the updates.
    pub(crate) floor: Floor,
    /// The version of the newest trust document that was followed; 0 for none. Without it, who
    /// damages or removes that document would give a revoked signer its voice back.
    pub(crate) trust: u64,
}

/// What was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The higher of the readable copies. `None`: there is no readable one.
    pub(crate) mark: Option<Mark>,
    /// The copies that are missing or damaged.
    pub(crate) unreadable: Vec<PathBuf>,
    /// The copies that can't be read just now, and may be good.
    pub(crate) unread: Vec<PathBuf>,
}

impl Floors {
    /// The copies at these paths.
    pub(crate) fn new(copies: [PathBuf; 2]) -> Self {
        Self { copies, state: None }
    }

    /// Reads both copies. They differ when the daemon was stopped between writing them; the higher
    /// one counts, since what it speaks of was durable before.
    pub(crate) fn read(&mut self) -> Found {
        let mut found = Found { mark: None, unreadable: Vec::new(), unread: Vec::new() };
        let [first, second] = &self.copies;
        let [first, second] = [first, second].map(|copy| read_copy(copy, &mut found));
        found.mark = match (first, second) {
            (Some(first), Some(second)) => Some(first.higher(second)),
            (first, second) => first.or(second),
        };
        self.state = match (first, second) {
            (Some(first), Some(second)) if first == second => {
                Some(Known { mark: first, newest: Place::First, other: Other::Same })
            }
            (Some(first), Some(second)) if first.higher(second) == first => {
                Some(Known { mark: first, newest: Place::First, other: Other::Behind })
            }
            (Some(first), Some(second)) if first.higher(second) == second => {
                Some(Known { mark: second, newest: Place::Second, other: Other::Behind })
            }
            // Neither is above the other, or one is not there: both are to be written anew.
            _ => None,
        };
        found
    }

    /// Makes both copies this mark, durably, each as a new file.
    pub(crate) fn write(&mut self, mark: &Mark) -> Result<(), DiskError> {
        self.state = None;
        disk::replace_copies(&self.copies.each_ref().map(PathBuf::as_path), encode(mark).as_bytes())?;
        self.state = Some(Known { mark: *mark, newest: Place::First, other: Other::Same });
        Ok(())
    }

    /// Makes this the mark, durably; it is not below the one before. The second copy is left to
    /// [`settle`](Self::settle).
    pub(crate) fn raise(&mut self, mark: &Mark) -> Result<(), DiskError> {
        let Some(known) = self.state else { return self.write(mark) };
        if known.mark == *mark {
            return Ok(());
        }
        self.put(known, mark)?;
        self.state = Some(Known { mark: *mark, newest: known.newest.other(), other: Other::Behind });
        Ok(())
    }

    /// Brings the second copy up to the first, when there is time.
    pub(crate) fn settle(&mut self) -> Result<(), DiskError> {
        let Some(known) = self.state.filter(|known| known.other != Other::Same) else { return Ok(()) };
        self.put(known, &known.mark)?;
        self.state = Some(Known { other: Other::Same, ..known });
        Ok(())
    }

    /// Writes the copy that is not the newest.
    fn put(&mut self, known: Known, mark: &Mark) -> Result<(), DiskError> {
        // Until it is known to be done.
        self.state = Some(Known { other: Other::Unknown, ..known });
        let [first, second] = &self.copies;
        let path = match known.newest.other() {
            Place::First => first,
            Place::Second => second,
        };
        let bytes = encode(mark);
        if known.other != Other::Unknown && disk::overwrite(path, bytes.as_bytes())? {
            return Ok(());
        }
        disk::replace(path, bytes.as_bytes())
    }
}

impl Place {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

fn read_copy(copy: &Path, found: &mut Found) -> Option<Mark> {
    let read = disk::read(copy, MAX_BYTES);
    if read.as_ref().is_err_and(DiskError::may_pass) {
        found.unread.push(copy.to_owned());
        return None;
    }
    let mark = read.ok().and_then(|bytes| decode(&bytes));
    if mark.is_none() {
        found.unreadable.push(copy.to_owned());
    }
    mark
}

impl Mark {
    /// The mark that forbids all that either of two forbids.
    pub(crate) fn higher(self, other: Self) -> Self {
        Self { floor: self.floor.higher(other.floor), trust: self.trust.max(other.trust) }
    }
}

/// The mark of a host that has accepted nothing yet.
pub(crate) const GROUND: Mark = Mark { floor: Floor { epoch: 0, version: 0, issued_at: 0 }, trust: 0 };

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u8,
    epoch: u64,
    version: u64,
    issued_at: u64,
    trust: u64,
}

/// A line of JSON, a line with its digest, and blanks up to a fixed size, so that one can be written
/// over another.
fn encode(mark: &Mark) -> String {
    let Mark { floor: Floor { epoch, version, issued_at }, trust } = *mark;
    // A struct of numbers is always JSON.
    let line =
        serde_json::to_string(&Wire { format: FORMAT, epoch, version, issued_at, trust }).unwrap_or_default();
    let digest = Digest::of(line.as_bytes());
    let text = format!("{line}\n{digest}\n");
    format!("{text:SIZE$}")
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (line, digest) = std::str::from_utf8(bytes).ok()?.trim_end().split_once('\n')?;
    if digest.parse() != Ok(Digest::of(line.as_bytes())) {
        return None;
    }
    let Wire { format, epoch, version, issued_at, trust } = serde_json::from_str(line).ok()?;
    let mark = Mark { floor: Floor { epoch, version, issued_at }, trust };
    (format == FORMAT && encode(&mark).as_bytes() == bytes).then_some(mark)
}

const FORMAT: u8 = 1;
const MAX_BYTES: usize = 1024;

/// In bytes; no number makes the two lines longer. Within one sector, which disks write whole.
const SIZE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark =
        Mark { floor: Floor { epoch: 1, version: 42, issued_at: 1_800_000_000_000 }, trust: 7 };

    fn floors(directory: &tempfile::TempDir) -> Floors {
        Floors::new([directory.path().join("floor.a"), directory.path().join("floor.b")])
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&MARK).unwrap();
        assert_eq!(floors.read(), Found { mark: Some(MARK), unreadable: vec![], unread: vec![] });
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_makes_a_copy_unreadable() {
        let good = encode(&MARK).into_bytes();
        assert_eq!(decode(&good), Some(MARK));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length]), None, "length {length}");
        }
    }

    #[test]
    fn one_copy_is_enough_and_the_other_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&MARK).unwrap();
        disk::replace(&floors.copies[0], b"noise").unwrap();
        assert_eq!(
            floors.read(),
            Found { mark: Some(MARK), unreadable: vec![floors.copies[0].clone()], unread: vec![] }
        );
    }

    #[test]
    fn of_two_different_copies_the_higher_one_counts() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&MARK).unwrap();
        let next = Mark { floor: Floor { epoch: 2, version: 1, issued_at: 5 }, trust: 6 };
        disk::replace(&floors.copies[1], encode(&next).as_bytes()).unwrap();
        assert_eq!(floors.read().mark, Some(Mark { trust: 7, ..next }));
    }

    #[test]
    fn without_a_readable_copy_there_is_no_floor_and_that_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let found = floors(&directory).read();
        assert_eq!((found.mark, found.unreadable.len()), (None, 2));
    }

    fn mark(version: u64) -> Mark {
        Mark { floor: Floor { version, ..MARK.floor }, trust: 7 }
    }

    fn files(floors: &Floors) -> [Vec<u8>; 2] {
        floors.copies.each_ref().map(|copy| std::fs::read(copy).unwrap())
    }

    #[test]
    fn every_mark_has_the_same_size() {
        let largest = miosa_snapshot::MAX_NUMBER;
        let highest = Floor { epoch: largest, version: largest, issued_at: largest };
        for mark in [GROUND, MARK, Mark { floor: highest, trust: largest }] {
            assert_eq!(encode(&mark).len(), SIZE);
        }
    }

    #[test]
    fn one_copy_is_raised_at_a_time_and_the_other_follows() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&mark(1)).unwrap();
        for version in 2..6 {
            floors.raise(&mark(version)).unwrap();
            let held = files(&floors).map(|bytes| decode(&bytes).unwrap().floor.version);
            assert!(held.contains(&version) && held.contains(&(version - 1)), "{held:?}");
        }
        floors.settle().unwrap();
        assert_eq!(files(&floors).map(|bytes| decode(&bytes)), [Some(mark(5)); 2]);
    }

    #[test]
    fn a_write_torn_anywhere_leaves_the_floor_before_or_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&mark(1)).unwrap();
        floors.raise(&mark(2)).unwrap();
        let before = files(&floors);
        floors.raise(&mark(3)).unwrap();
        let after = files(&floors);
        let changed: Vec<_> = (0..2).filter(|copy| before[*copy] != after[*copy]).collect();
        let [copy] = changed[..] else { panic!("one copy is written") };
        assert_eq!(decode(&before[copy]), Some(mark(1)), "and that is the older one");
        for torn in 0..=SIZE {
            for backwards in [false, true] {
                let (new, old) = (&after[copy], &before[copy]);
                let mixed = match backwards {
                    false => [&new[..torn], &old[torn..]].concat(),
                    true => [&old[..torn], &new[torn..]].concat(),
                };
                disk::replace(&floors.copies[copy], &mixed).unwrap();
                let found = floors.read().mark.unwrap();
                assert!(found == mark(2) || found == mark(3), "torn at {torn}: {found:?}");
            }
        }
    }

    #[test]
    fn a_start_between_the_two_copies_goes_on_from_the_higher_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut before = floors(&directory);
        before.write(&mark(1)).unwrap();
        before.raise(&mark(2)).unwrap();
        let mut after = floors(&directory);
        assert_eq!(after.read().mark, Some(mark(2)));
        after.raise(&mark(3)).unwrap();
        let held = files(&after).map(|bytes| decode(&bytes).unwrap().floor.version);
        assert!(held.contains(&2) && held.contains(&3), "the newest one is not written over: {held:?}");
    }

    #[test]
    fn a_copy_that_is_missing_linked_or_of_another_size_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        let linked = directory.path().join("backup");
        for version in (10..40).step_by(10) {
            floors.write(&mark(version)).unwrap();
            let second = floors.copies[1].clone();
            match version {
                10 => disk::remove(&second).unwrap(),
                20 => disk::replace(&second, b"short").unwrap(),
                _ => std::fs::hard_link(&second, &linked).unwrap(),
            }
            floors.raise(&mark(version + 1)).unwrap();
            assert_eq!(decode(&std::fs::read(second).unwrap()), Some(mark(version + 1)));
        }
        assert_eq!(decode(&std::fs::read(linked).unwrap()), Some(mark(30)), "a backup keeps its bytes");
    }

    #[test]
    fn a_copy_that_could_not_be_written_is_replaced_by_a_new_file_next() {
        use std::os::unix::fs::MetadataExt as _;

        let directory = tempfile::tempdir().unwrap();
        let mut floors = floors(&directory);
        floors.write(&mark(1)).unwrap();
        let inode = |floors: &Floors| std::fs::metadata(&floors.copies[1]).unwrap().ino();
        let first = inode(&floors);
        disk::faults::make_unsyncable(true);
        floors.raise(&mark(2)).unwrap_err();
        disk::faults::make_unsyncable(false);
        assert_eq!(decode(&files(&floors)[0]), Some(mark(1)));
        floors.raise(&mark(2)).unwrap();
        assert_ne!(inode(&floors), first);
        assert_eq!(floors.read().mark, Some(mark(2)));
    }
}
