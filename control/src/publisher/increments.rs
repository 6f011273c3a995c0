//! Incremental updates on their way to a connected host, in order. Each applies on top of the one
//! before; a host that holds what none of them applies on top of is sent a full update.

use std::collections::VecDeque;

use bytes::Bytes;
use miosa_snapshot::Digest;

use super::fleet::Version;
use crate::clock::Millis;

/// An incremental update that was issued.
#[derive(Debug, Clone)]
pub(super) struct Increment {
    /// The update that it applies on top of.
    pub(super) prev: Digest,
    pub(super) version: Version,
    pub(super) digest: Digest,
    pub(super) issued_at: Millis,
    pub(super) expires_at: Millis,
    pub(super) line: Bytes,
}

/// Those that a host was not sent yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Increment>);

impl Waiting {
    /// What the host holds after all of them.
    pub(super) fn last(&self) -> Option<(Version, Digest)> {
        self.0.back().map(|increment| (increment.version, increment.digest))
    }

    /// Adds one. Others than those that it follows are of no use any more, and all are of none when
    /// together they are heavier than `limit` bytes, which a full update would be.
    pub(super) fn push(&mut self, increment: Increment, limit: usize) {
        if self.0.back().is_some_and(|last| last.digest != increment.prev) {
            self.clear();
        }
        self.0.push_back(increment);
        let size = self.0.iter().fold(0_usize, |size, held| size.saturating_add(held.line.len()));
        if size > limit || self.0.len() > MAX_WAITING {
            self.clear();
        }
    }

    /// Takes the next one for a host that holds `held`.
    pub(super) fn take(&mut self, held: Option<Digest>) -> Option<Increment> {
        let next = self.0.pop_front().filter(|next| Some(next.prev) == held);
        if next.is_none() {
            self.clear();
        }
        next
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn increment(prev: u64, version: u64) -> Increment {
        Increment {
            prev: digest(prev),
            version: Version { epoch: 1, version },
            digest: digest(version),
            issued_at: Millis(0),
            expires_at: Millis(0),
            line: Bytes::from_static(b"line"),
        }
    }

    fn digest(version: u64) -> Digest {
        Digest::of(&version.to_be_bytes())
    }

    fn taken(waiting: &mut Waiting, held: u64) -> Option<u64> {
        waiting.take(Some(digest(held))).map(|increment| increment.version.version)
    }

    #[test]
    fn they_are_sent_one_after_the_other_to_who_holds_their_base() {
        let mut waiting = Waiting::default();
        waiting.push(increment(1, 2), 100);
        waiting.push(increment(2, 3), 100);
        assert_eq!(waiting.last(), Some((Version { epoch: 1, version: 3 }, digest(3))));
        assert_eq!(taken(&mut waiting, 1), Some(2));
        assert_eq!(taken(&mut waiting, 2), Some(3));
        assert_eq!(taken(&mut waiting, 3), None);
    }

    #[test]
    fn a_host_that_holds_something_else_gets_none_of_them() {
        let mut waiting = Waiting::default();
        waiting.push(increment(1, 2), 100);
        waiting.push(increment(2, 3), 100);
        assert_eq!(taken(&mut waiting, 2), None);
        assert_eq!(taken(&mut waiting, 1), None, "and what it was not sent is of no use later");
        waiting.push(increment(1, 2), 100);
        waiting.push(increment(4, 5), 100);
        assert_eq!(taken(&mut waiting, 4), Some(5));
        assert!(waiting.take(None).is_none());
    }

    #[test]
    fn what_weighs_more_than_a_full_update_is_not_kept() {
        let mut waiting = Waiting::default();
        waiting.push(increment(1, 2), 7);
        waiting.push(increment(2, 3), 7);
        assert_eq!(waiting.last(), None);
        for version in 2..=100 {
            waiting.push(increment(version - 1, version), usize::MAX);
        }
        assert_eq!(waiting.last(), Some((Version { epoch: 1, version: 100 }, digest(100))));
        assert_eq!(taken(&mut waiting, 1), None, "a host that takes nothing is not waited for without end");
    }
}
