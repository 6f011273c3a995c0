//! How much a host has piled up on top of its last full update, and when it asks for another. Every
//! increment is one more file, and one more step of each start.

use miosa_snapshot::Kind;
use serde::{Deserialize, Serialize};

use super::Refused;

/// What stands on top of the last full update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Increments {
    /// How many.
    pub(crate) count: u64,
    /// Their envelopes' size together, in bytes.
    pub(crate) bytes: u64,
    /// The size of the full update's envelope, in bytes.
    pub(crate) full_bytes: u64,
}

impl Increments {
    /// After one more update, whose envelope has this size, was accepted.
    pub(super) fn after(self, kind: Kind, size: usize) -> Self {
        match kind {
            Kind::Full => Self::on_full(size),
            Kind::Incremental { .. } => self.and(size),
            Kind::Heartbeat { .. } => self,
        }
    }

    fn on_full(size: usize) -> Self {
        Self { count: 0, bytes: 0, full_bytes: bytes(size) }
    }

    fn and(self, size: usize) -> Self {
        Self {
            count: self.count.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes(size)),
            full_bytes: self.full_bytes,
        }
    }

    /// Why a full update should come soon. Increments are taken meanwhile.
    pub(crate) fn wish(&self) -> Option<&'static str> {
        if self.count >= ASK_AFTER {
            return Some("many_increments");
        }
        (self.bytes > self.full_bytes).then_some("large_increments")
    }

    /// Refuses one more of this size where there is no room left.
    pub(super) fn check_room(&self, size: usize) -> Result<(), Refused> {
        let next = self.and(size);
        if next.count > MAX_INCREMENTS || next.bytes > MAX_BYTES {
            return Err(Refused::TooManyIncrements { count: self.count });
        }
        Ok(())
    }
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// So many increments are taken before a full update is asked for.
const ASK_AFTER: u64 = 256;

/// So many are taken at most: who never sends a full update can't fill the disk with files.
const MAX_INCREMENTS: u64 = 1_024;

/// Nor with bytes: 256 MiB, sixteen of the largest.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn many(count: usize, size: usize, full: usize) -> Increments {
        (0..count).fold(Increments::on_full(full), |increments, _| increments.and(size))
    }

    #[test]
    fn a_full_update_is_asked_for_after_256_increments() {
        assert_eq!(many(255, 100, 1_000_000).wish(), None);
        assert_eq!(many(256, 100, 1_000_000).wish(), Some("many_increments"));
    }

    #[test]
    fn or_once_they_outweigh_it() {
        assert_eq!(many(10, 100_000, 1_000_000).wish(), None);
        assert_eq!(many(11, 100_000, 1_000_000).wish(), Some("large_increments"));
    }

    #[test]
    fn there_is_room_for_1024_of_them_and_for_256_mebibytes() {
        assert!(many(1_023, 1, 1).check_room(1).is_ok());
        assert!(many(1_024, 1, 1).check_room(1).is_err());
        let largest = 16 * 1024 * 1024;
        assert!(many(15, largest, 1).check_room(largest).is_ok());
        assert!(many(16, largest, 1).check_room(1).is_err());
    }
}
