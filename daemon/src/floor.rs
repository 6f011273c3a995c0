//! The floor on disk: the position and the trust document below which this host never goes again, in
//! two copies with a checksum each. An unreadable floor is never taken for a first start. What the
//! floor forbids of updates is decided by `miosa-snapshot`.

use std::path::PathBuf;

use miosa_snapshot::{Digest, Floor};
use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};

/// The two copies.
pub(crate) struct Floors {
    copies: [PathBuf; 2],
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
        Self { copies }
    }

    /// Reads both copies. They differ when the daemon was stopped between writing them; the higher
    /// one counts, since what it speaks of was durable before.
    pub(crate) fn read(&self) -> Found {
        let mut found = Found { mark: None, unreadable: Vec::new(), unread: Vec::new() };
        for copy in &self.copies {
            let read = disk::read(copy, MAX_BYTES);
            if read.as_ref().is_err_and(DiskError::may_pass) {
                found.unread.push(copy.clone());
                continue;
            }
            match read.ok().and_then(|bytes| decode(&bytes)) {
                Some(mark) => found.mark = Some(found.mark.map_or(mark, |other| other.higher(mark))),
                None => found.unreadable.push(copy.clone()),
            }
        }
        found
    }

    /// Makes both copies this mark, durably.
    pub(crate) fn write(&self, mark: &Mark) -> Result<(), DiskError> {
        disk::replace_copies(&self.copies.each_ref().map(PathBuf::as_path), encode(mark).as_bytes())
    }
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

/// A line of JSON and a line with its digest.
fn encode(mark: &Mark) -> String {
    let Mark { floor: Floor { epoch, version, issued_at }, trust } = *mark;
    // A struct of numbers is always JSON.
    let line =
        serde_json::to_string(&Wire { format: FORMAT, epoch, version, issued_at, trust }).unwrap_or_default();
    let digest = Digest::of(line.as_bytes());
    format!("{line}\n{digest}\n")
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (line, digest) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once('\n')?;
    if digest.parse() != Ok(Digest::of(line.as_bytes())) {
        return None;
    }
    let Wire { format, epoch, version, issued_at, trust } = serde_json::from_str(line).ok()?;
    (format == FORMAT).then_some(Mark { floor: Floor { epoch, version, issued_at }, trust })
}

const FORMAT: u8 = 1;
const MAX_BYTES: usize = 1024;

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
        let floors = floors(&directory);
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
        let floors = floors(&directory);
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
        let floors = floors(&directory);
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
}
