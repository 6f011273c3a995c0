//! What hosts were issued last, as far as this process remembers: what the next incremental update of
//! each can be made from. Bounded: the hosts that were published to longest ago are forgotten first.
//! A host that is not remembered is sent a full update, so that nothing here needs to outlive anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use miosa_snapshot::{HostId, KeyId};

use super::fleet::Version;
use super::marks::Marks;
use crate::store::updates::Issued;

/// The memory of this process.
#[derive(Debug)]
pub(super) struct Memory {
    state: Mutex<State>,
    limit: usize,
}

/// What a host was issued last.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    pub(super) version: Version,
    /// The keyed hash of its state, which the store has too.
    pub(super) content: Vec<u8>,
    /// Who signed it. A state that rests on two signers ends with either.
    pub(super) signer: KeyId,
    pub(super) marks: Marks,
    pub(super) series: Series,
}

/// The incremental updates since the last version that was issued as a full one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    length: u32,
    size: usize,
    /// The size of the smallest full update among all versions of the series: whichever of them a host
    /// began with, it weighs no less.
    lightest_full: usize,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<HostId, (u64, Arc<Remembered>)>,
    /// By when they were remembered, oldest first.
    order: BTreeMap<u64, HostId>,
    next: u64,
    size: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// What a host was issued last, if that is `newest`, the newest in the store.
    pub(super) fn recall(&self, host: &HostId, newest: &Issued) -> Option<Arc<Remembered>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, remembered) = state.hosts.get(host)?;
        let is_newest = remembered.version == newest.version() && remembered.content == newest.content;
        is_newest.then(|| Arc::clone(remembered))
    }

    pub(super) fn remember(&self, host: &HostId, remembered: Remembered) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(host);
        state.size = state.size.saturating_add(remembered.size(host));
        let place = state.next;
        state.next = place.saturating_add(1);
        state.order.insert(place, host.clone());
        state.hosts.insert(host.clone(), (place, Arc::new(remembered)));
        while state.size > self.limit
            && let Some((_, oldest)) = state.order.first_key_value()
        {
            let oldest = oldest.clone();
            state.forget(&oldest);
        }
    }

    pub(super) fn forget(&self, host: &HostId) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).forget(host);
    }
}

impl State {
    fn forget(&mut self, host: &HostId) {
        if let Some((place, remembered)) = self.hosts.remove(host) {
            self.order.remove(&place);
            self.size = self.size.saturating_sub(remembered.size(host));
        }
    }
}

impl Remembered {
    fn size(&self, host: &HostId) -> usize {
        // The id twice, and what the maps and the rest of this take.
        let ids = host.as_str().len().saturating_mul(2);
        self.marks.size().saturating_add(self.content.len()).saturating_add(ids).saturating_add(512)
    }
}

impl Series {
    /// The series that begins with a full update of `size` bytes.
    pub(super) fn begin(size: usize) -> Self {
        Self { length: 0, size: 0, lightest_full: size }
    }

    /// The series with one more update, of `increment` bytes as an incremental and `full` as a full one;
    /// `None` when it is time for a full one. A host asks for that after 256, or when they outweigh the
    /// full one: this comes first, so that it need not.
    pub(super) fn extend(self, increment: usize, full: usize) -> Option<Self> {
        let length = self.length.saturating_add(1);
        let size = self.size.saturating_add(increment);
        let lightest_full = self.lightest_full.min(full);
        let is_light = size.saturating_mul(2) <= lightest_full;
        (length <= MAX_LENGTH && is_light).then_some(Self { length, size, lightest_full })
    }
}

const MAX_LENGTH: u32 = 200;

#[cfg(test)]
mod tests {
    use miosa_injector::Records;
    use miosa_snapshot::{Digest, SigningKey};

    use super::super::marks::Marker;
    use super::*;
    use crate::clock::Millis;
    use crate::store::updates::Positions;

    fn remembered(version: u64) -> Remembered {
        Remembered {
            version: Version { epoch: 1, version },
            content: vec![7],
            signer: SigningKey::generate().unwrap().0.key_id(),
            marks: Marker::new().unwrap().mark(&Records::default()),
            series: Series::begin(1),
        }
    }

    fn issued(version: u64, content: u8) -> Issued {
        Issued {
            epoch: 1,
            version,
            digest: Digest::of(b""),
            increment: None,
            content: vec![content],
            positions: Positions::new(),
            issued_at: Millis(0),
            expires_at: Millis(0),
            trust: 1,
            understands: Default::default(),
        }
    }

    #[test]
    fn only_what_the_store_has_as_the_newest_is_recalled() {
        let memory = Memory::new(usize::MAX);
        let host: HostId = "h".parse().unwrap();
        memory.remember(&host, remembered(2));
        assert!(memory.recall(&host, &issued(2, 7)).is_some());
        assert!(memory.recall(&host, &issued(3, 7)).is_none());
        assert!(memory.recall(&host, &issued(2, 8)).is_none());
        memory.forget(&host);
        assert!(memory.recall(&host, &issued(2, 7)).is_none());
    }

    #[test]
    fn the_hosts_that_were_published_to_longest_ago_are_forgotten_first() {
        let ids: Vec<HostId> = ["a", "b", "c", "d"].iter().map(|id| id.parse().unwrap()).collect();
        let memory = Memory::new(remembered(1).size(&ids[0]) * 2);
        for host in [0, 1, 0, 2, 3, 3] {
            memory.remember(&ids[host], remembered(1));
        }
        let is_known: Vec<_> = ids.iter().map(|id| memory.recall(id, &issued(1, 7)).is_some()).collect();
        assert_eq!(is_known, [false, false, true, true]);
        let state = memory.state.lock().unwrap();
        assert_eq!((state.order.len(), state.size), (2, remembered(1).size(&ids[0]) * 2));
    }

    #[test]
    fn a_series_ends_before_a_host_asks_for_that() {
        let mut series = Series::begin(1_000_000);
        let mut length = 0;
        while let Some(longer) = series.extend(1_000, 1_000_000) {
            series = longer;
            length += 1;
        }
        assert_eq!(length, 200);
        assert_eq!(Series::begin(1_000).extend(501, 1_000), None);
        assert_eq!(Series::begin(1_000).extend(101, 200), None);
        let series = Series::begin(1_000).extend(100, 300).unwrap();
        assert_eq!(series.extend(100, 1_000), None, "a host may have begun with the lighter one");
    }
}
