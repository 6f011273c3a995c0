//! The apply rule as a table, and random histories against what the publisher knows to be true.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const STATE: &str = "state";
const NOW: u64 = 10_000_000;
const IF_STATE_EQUAL: Verdict = Verdict::ReplaceIfStateEqual(Unsettled { if_equal: Ok(()) });
const REFUSED_EVEN_IF_STATE_EQUAL: Verdict =
    Verdict::ReplaceIfStateEqual(Unsettled { if_equal: Err(Refusal::IssuedBackwards) });

#[test]
fn the_apply_rule() {
    use Refusal::{IssuedBackwards, StaleVersion, WrongBase};
    use Verdict::{Extend, Refresh, Replace};
    let full = Kind::Full;
    let inc = |from, prev| Kind::Incremental { from, prev: Digest::of(prev) };
    let beat = |from, prev| Kind::Heartbeat { from, prev: Digest::of(prev) };
    let state = STATE.as_bytes();
    // Held is epoch 3, version 7, issued at NOW. Update: epoch, version, kind, how much later issued.
    let table = [
        (3, 7, full, 0, Ok(IF_STATE_EQUAL)),
        (3, 7, full, 5, Ok(IF_STATE_EQUAL)),
        (3, 7, full, -1, Ok(REFUSED_EVEN_IF_STATE_EQUAL)),
        (3, 8, full, 0, Ok(Replace)),
        (3, 900, full, 0, Ok(Replace)),
        (3, 6, full, 5, Err(StaleVersion)),
        (3, 0, full, 5, Err(StaleVersion)),
        (2, 900, full, 5, Err(StaleVersion)),
        (4, 0, full, 0, Ok(Replace)),
        (4, 7, full, 0, Ok(Replace)),
        (4, 0, full, -1, Ok(Replace)),
        (4, 900, full, -1, Ok(Replace)),
        (3, 8, full, -1, Err(IssuedBackwards)),
        (3, 8, inc(7, state), 0, Ok(Extend)),
        (3, 900, inc(7, state), 5, Ok(Extend)),
        (3, 8, inc(7, state), -1, Err(IssuedBackwards)),
        (3, 8, inc(7, b"other"), 5, Err(WrongBase)),
        (3, 8, inc(6, state), 5, Err(WrongBase)),
        (3, 9, inc(8, state), 5, Err(WrongBase)),
        (3, 9, inc(8, b"other"), 5, Err(WrongBase)),
        (4, 8, inc(7, state), 5, Err(WrongBase)),
        (4, 7, inc(6, state), 5, Err(WrongBase)),
        (3, 7, inc(6, state), 5, Err(StaleVersion)),
        (3, 7, inc(6, b"other"), 5, Err(StaleVersion)),
        (3, 7, inc(6, b"other"), -1, Err(StaleVersion)),
        (3, 6, inc(5, b"other"), 5, Err(StaleVersion)),
        (2, 8, inc(7, state), 5, Err(StaleVersion)),
        (3, 7, beat(7, state), 5, Ok(Refresh)),
        (3, 7, beat(7, state), 0, Ok(Refresh)),
        (3, 7, beat(7, state), -1, Err(IssuedBackwards)),
        (3, 7, beat(7, b"other"), 5, Err(WrongBase)),
        (3, 8, beat(8, state), 5, Err(WrongBase)),
        (4, 7, beat(7, state), 5, Err(WrongBase)),
        (3, 6, beat(6, state), 5, Err(StaleVersion)),
        (2, 7, beat(7, state), 5, Err(StaleVersion)),
    ];
    let held = held();
    for (epoch, version, kind, later, expected) in table {
        let update = update(epoch, version, kind, NOW.saturating_add_signed(later), "update");
        let verdict = judge(&update, Some(&held), FloorCheck::AtLeast(held.floor()));
        assert_eq!(verdict, expected, "{epoch}.{version} {kind:?} {later:+}");
        // The floor of what is held decides nothing that what is held does not.
        assert_eq!(judge(&update, Some(&held), FloorCheck::None), expected, "{epoch}.{version} {kind:?}");
    }
}

#[test]
fn another_state_of_the_held_version_is_equivocation_whenever_it_was_issued() {
    let held = held();
    for (later, if_equal) in [(-1, Err(Refusal::IssuedBackwards)), (0, Ok(())), (1, Ok(()))] {
        let update = update(3, 7, Kind::Full, NOW.saturating_add_signed(later), "update");
        let verdict = judge(&update, Some(&held), FloorCheck::AtLeast(held.floor()));
        let Ok(Verdict::ReplaceIfStateEqual(unsettled)) = verdict else { panic!("{later:+}: {verdict:?}") };
        assert_eq!(unsettled.settle(&"held", &"other"), Err(Refusal::Equivocation), "{later:+}");
        assert_eq!(unsettled.settle(&"held", &"held"), if_equal, "{later:+}");
    }
}

#[test]
fn an_incremental_update_accepted_once_raises_no_alarm_after_its_version_was_sent_as_full() {
    let six = Held::after(None, &update(3, 6, Kind::Full, NOW, "six"));
    let incremental = update(3, 7, Kind::Incremental { from: 6, prev: six.state }, NOW, "incremental");
    assert_eq!(judge(&incremental, Some(&six), FloorCheck::AtLeast(six.floor())), Ok(Verdict::Extend));
    let seven = Held::after(Some(&six), &incremental);
    let full = update(3, 7, Kind::Full, NOW, "full");
    assert_eq!(judge(&full, Some(&seven), FloorCheck::AtLeast(seven.floor())), Ok(IF_STATE_EQUAL));
    let seven = Held::after(Some(&seven), &full);
    let replayed = judge(&incremental, Some(&seven), FloorCheck::AtLeast(seven.floor()));
    assert_eq!(replayed, Err(Refusal::StaleVersion));
}

#[test]
fn a_higher_epoch_starts_time_anew() {
    let held = held();
    let ahead = FloorCheck::AtLeast(Floor { issued_at: NOW + 3_600_000, ..held.floor() });
    let restored = update(4, 1, Kind::Full, NOW - 1_000, "restored");
    assert_eq!(judge(&restored, Some(&held), ahead), Ok(Verdict::Replace));
    assert_eq!(judge(&restored, None, ahead), Ok(Verdict::Replace));
    let restored = Held::after(Some(&held), &restored);
    let floor = Floor { issued_at: NOW + 3_600_000, ..held.floor() }.higher(restored.floor());
    // In the new epoch it goes on from there, and not back.
    let beat = Kind::Heartbeat { from: 1, prev: restored.state };
    for (later, expected) in [(0, Ok(Verdict::Refresh)), (-1, Err(Refusal::IssuedBackwards))] {
        let beat = update(4, 1, beat, (NOW - 1_000).saturating_add_signed(later), "beat");
        assert_eq!(judge(&beat, Some(&restored), FloorCheck::AtLeast(floor)), expected, "{later:+}");
    }
}

#[test]
fn the_higher_of_two_floors_forbids_what_either_forbids() {
    let floor = Floor { epoch: 3, version: 7, issued_at: NOW };
    let table = [
        (floor, floor),
        (Floor { version: 6, ..floor }, floor),
        (Floor { version: 8, ..floor }, Floor { version: 8, ..floor }),
        (Floor { version: 6, issued_at: NOW + 1, ..floor }, Floor { issued_at: NOW + 1, ..floor }),
        (Floor { version: 8, issued_at: NOW - 1, ..floor }, Floor { version: 8, ..floor }),
        (Floor { epoch: 2, version: 900, issued_at: NOW + 1 }, floor),
        (Floor { epoch: 4, version: 0, issued_at: 5 }, Floor { epoch: 4, version: 0, issued_at: 5 }),
    ];
    for (other, expected) in table {
        assert_eq!(floor.higher(other), expected, "{other:?}");
        assert_eq!(other.higher(floor), expected, "{other:?}");
    }
}

#[test]
fn with_nothing_held_only_a_full_update_will_do() {
    let prev = Digest::of(b"");
    let kinds = [
        (Kind::Full, Ok(Verdict::Replace)),
        (Kind::Incremental { from: 6, prev }, Err(Refusal::WrongBase)),
        (Kind::Heartbeat { from: 7, prev }, Err(Refusal::WrongBase)),
    ];
    for (kind, expected) in kinds {
        assert_eq!(judge(&update(3, 7, kind, NOW, "update"), None, FloorCheck::None), expected);
    }
}

#[test]
fn the_same_bytes_again_change_nothing_whatever_came_since() {
    let first = update(3, 7, Kind::Full, NOW, STATE);
    let held = Held::after(None, &first);
    let floor = FloorCheck::AtLeast(held.floor());
    assert_eq!(judge(&first, Some(&held), floor), Ok(Verdict::Unchanged));
    let prev = held.state;
    let [one, two] =
        [1, 2].map(|later| update(3, 7, Kind::Heartbeat { from: 7, prev }, NOW + later, &later.to_string()));
    let held = Held::after(Some(&held), &one);
    let held = Held::after(Some(&held), &two);
    let floor = FloorCheck::AtLeast(held.floor());
    assert_eq!(judge(&first, Some(&held), floor), Ok(Verdict::Unchanged));
    assert_eq!(judge(&two, Some(&held), floor), Ok(Verdict::Unchanged));
    assert_eq!(judge(&one, Some(&held), floor), Err(Refusal::IssuedBackwards));
}

#[test]
fn the_floor_outlasts_what_is_held() {
    let floor = FloorCheck::AtLeast(Floor { epoch: 3, version: 7, issued_at: NOW });
    let table = [
        (3, 6, 5, Err(Refusal::BelowFloor)),
        (2, 900, 5, Err(Refusal::BelowFloor)),
        (3, 7, -1, Err(Refusal::IssuedBackwards)),
        (3, 7, 0, Ok(Verdict::Replace)),
        (3, 8, -1, Err(Refusal::IssuedBackwards)),
        (4, 0, -1, Ok(Verdict::Replace)),
    ];
    for (epoch, version, later, expected) in table {
        let update = update(epoch, version, Kind::Full, NOW.saturating_add_signed(later), "update");
        assert_eq!(judge(&update, None, floor), expected, "{epoch}.{version} {later:+}");
    }
    // A cache that was put back is not refreshed by what once refreshed it.
    let earlier = Held { version: 6, ..held() };
    let beat = update(3, 6, Kind::Heartbeat { from: 6, prev: earlier.state }, NOW + 5, "beat");
    assert_eq!(judge(&beat, Some(&earlier), floor), Err(Refusal::BelowFloor));
}

#[test]
fn a_lost_floor_takes_a_recent_full_update_only() {
    let lost = FloorCheck::Lost { now_ms: NOW };
    let minutes = |count: u64| NOW - count * 60_000;
    let held = held();
    let older = Held { times: Times { issued_at: 0, ..held.times }, ..held };
    let prev = held.state;
    let table = [
        (8, Kind::Full, minutes(0), Ok(Verdict::Replace)),
        (8, Kind::Full, minutes(15), Ok(Verdict::Replace)),
        (8, Kind::Full, NOW + crate::MAX_CLOCK_LEAD_MS, Ok(Verdict::Replace)),
        (8, Kind::Full, minutes(15) - 1, Err(Refusal::FloorLost)),
        (7, Kind::Full, minutes(0), Ok(IF_STATE_EQUAL)),
        (6, Kind::Full, minutes(0), Err(Refusal::StaleVersion)),
        (8, Kind::Incremental { from: 7, prev }, minutes(0), Err(Refusal::FloorLost)),
        (7, Kind::Heartbeat { from: 7, prev }, minutes(0), Err(Refusal::FloorLost)),
    ];
    for (version, kind, issued_at, expected) in table {
        let update = update(3, version, kind, issued_at, "update");
        assert_eq!(judge(&update, Some(&older), lost), expected, "{version} {kind:?} {issued_at}");
        let is_full = expected != Err(Refusal::FloorLost);
        let alone = if is_full { Ok(Verdict::Replace) } else { expected };
        assert_eq!(judge(&update, None, lost), alone, "{version} {kind:?} {issued_at}, nothing held");
    }
}

#[test]
fn every_refusal_has_a_name_and_a_text_of_its_own() {
    let table = [
        (Refusal::BelowFloor, "below_floor", "the update is older than what this host has accepted before"),
        (
            Refusal::FloorLost,
            "floor_lost",
            "the floor of this host is lost and only a recent full update can set another",
        ),
        (Refusal::StaleVersion, "stale_version", "the update is older than the state that is held"),
        (Refusal::WrongBase, "wrong_base", "the update does not apply on top of the state that is held"),
        (
            Refusal::Equivocation,
            "equivocation",
            "the update contradicts the state that is held under the same version",
        ),
        (
            Refusal::IssuedBackwards,
            "issued_backwards",
            "the update was issued before one that this host has accepted",
        ),
    ];
    for (refusal, name, text) in table {
        assert_eq!((refusal.name(), refusal.to_string().as_str()), (name, text));
        assert_eq!(
            refusal.needs_full(),
            matches!(refusal, Refusal::FloorLost | Refusal::WrongBase),
            "{name}"
        );
    }
}

/// What a publisher did next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Full,
    Incremental,
    Heartbeat,
    /// A full update of the version just published, with the same state.
    FullAgain,
    /// The control plane was restored from a backup: a new epoch that starts at version 0.
    NewEpoch,
}

/// A publisher's whole output, and the true state after each position.
struct History {
    updates: Vec<Published>,
    truth: BTreeMap<(u64, u64), u64>,
}

struct Published {
    update: Verified,
    /// The whole state of a full update, the change of an incremental one.
    content: u64,
}

proptest! {
    #[test]
    fn in_whatever_order_updates_come_the_state_is_one_that_was_published(
        steps in prop::collection::vec(step(), 1..20),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let history = History::of(&steps);
        let mut host = Host::default();
        let mut kept = Host::default();
        for event in events {
            let before = host.clone();
            match event {
                Event::Update(index) => {
                    let refusal = host.take(index.get(&history.updates)).err();
                    // All of it is honest, however it is carried.
                    prop_assert_ne!(refusal, Some(Refusal::Equivocation));
                }
                Event::KeepCopy => kept = host.clone(),
                Event::PutBack => host = Host { floor: host.floor, ..kept.clone() },
            }
            let Some(held) = host.held else { continue };
            prop_assert_eq!(history.truth.get(&held.position()), Some(&host.content));
            let (Some(floor), false) = (before.floor, matches!(event, Event::PutBack)) else { continue };
            // What was accepted now is neither an earlier position nor, within an epoch, an earlier
            // time than all that was accepted before, also when the cache had been put back.
            if host.held != before.held {
                prop_assert!(held.position() >= floor.position());
                prop_assert!(held.epoch > floor.epoch || held.times.issued_at >= floor.issued_at);
            }
        }
    }

    #[test]
    fn updates_in_the_order_of_publication_are_all_taken(steps in prop::collection::vec(step(), 1..20)) {
        let history = History::of(&steps);
        let mut host = Host::default();
        for published in &history.updates {
            prop_assert_eq!(host.take(published), Ok(()), "{:?}", published.update);
        }
    }

    #[test]
    fn the_cache_alone_leads_back_to_where_the_host_was(
        steps in prop::collection::vec(step(), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let history = History::of(&steps);
        let mut host = Host::default();
        // The last full update, what was put on top of it, and the newest heartbeat only.
        let (mut chain, mut heartbeat) = (Vec::new(), None);
        for index in order {
            let published = index.get(&history.updates);
            let before = host.held;
            if host.take(published).is_err() || host.held == before {
                continue;
            }
            match published.update.statement().kind {
                Kind::Full => (chain, heartbeat) = (vec![published], None),
                Kind::Incremental { .. } => { chain.push(published); heartbeat = None; }
                Kind::Heartbeat { .. } => heartbeat = Some(published),
            }
        }
        let mut restarted = Host::default();
        for published in chain.into_iter().chain(heartbeat) {
            prop_assert_eq!(restarted.take(published), Ok(()));
        }
        prop_assert_eq!(restarted.held, host.held);
        prop_assert_eq!(restarted.content, host.content);
    }
}

/// What happens to a host.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// One of the updates that were ever published arrives.
    Update(prop::sample::Index),
    /// Somebody copies the cache.
    KeepCopy,
    /// The cache becomes that copy again; the floor stays.
    PutBack,
}

#[derive(Clone, Default)]
struct Host {
    held: Option<Held>,
    content: u64,
    floor: Option<Floor>,
}

impl Host {
    /// Does what a daemon does with an update.
    fn take(&mut self, published: &Published) -> Result<(), Refusal> {
        let floor = self.floor.map_or(FloorCheck::None, FloorCheck::AtLeast);
        match judge(&published.update, self.held.as_ref(), floor)? {
            Verdict::Unchanged => return Ok(()),
            Verdict::Replace => self.content = published.content,
            Verdict::ReplaceIfStateEqual(unsettled) => unsettled.settle(&self.content, &published.content)?,
            Verdict::Extend => self.content = extended(self.content, published.content),
            Verdict::Refresh => {}
        }
        let held = Held::after(self.held.as_ref(), &published.update);
        self.held = Some(held);
        self.floor = Some(self.floor.map_or(held.floor(), |floor| floor.higher(held.floor())));
        Ok(())
    }
}

impl History {
    fn of(steps: &[Step]) -> Self {
        let mut history = Self { updates: Vec::new(), truth: BTreeMap::new() };
        let (mut epoch, mut version, mut content, mut prev) = (1, 0, 0, None);
        for (index, step) in (0_u64..).zip(steps) {
            let change = index + 1;
            let (kind, change) = match (step, prev) {
                (Step::Incremental, Some(prev)) => {
                    let from = version;
                    version += 1;
                    content = extended(content, change);
                    (Kind::Incremental { from, prev }, change)
                }
                (Step::Heartbeat, Some(prev)) => (Kind::Heartbeat { from: version, prev }, 0),
                (Step::FullAgain, Some(_)) => (Kind::Full, content),
                (Step::NewEpoch, Some(_)) => {
                    (epoch, version, content) = (epoch + 1, 0, change);
                    (Kind::Full, change)
                }
                (Step::Full, _) | (_, None) => {
                    (version, content) = (version + 1, change);
                    (Kind::Full, change)
                }
            };
            // The clock of whoever starts an epoch is behind.
            let issued_at = NOW - epoch * 1_000 + index / 2;
            let update = update(epoch, version, kind, issued_at, &index.to_string());
            if !matches!(kind, Kind::Heartbeat { .. }) {
                prev = Some(update.digest());
            }
            history.truth.insert((epoch, version), content);
            history.updates.push(Published { update, content: change });
        }
        history
    }
}

/// A change that depends on what it is applied to, so that a wrong base shows.
fn extended(content: u64, change: u64) -> u64 {
    content.wrapping_mul(31).wrapping_add(change)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Full),
        4 => Just(Step::Incremental),
        3 => Just(Step::Heartbeat),
        1 => Just(Step::FullAgain),
        1 => Just(Step::NewEpoch),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        18 => any::<prop::sample::Index>().prop_map(Event::Update),
        1 => Just(Event::KeepCopy),
        1 => Just(Event::PutBack),
    ]
}

fn held() -> Held {
    Held::after(None, &update(3, 7, Kind::Full, NOW, STATE))
}

/// An update whose envelope would be `bytes`.
fn update(epoch: u64, version: u64, kind: Kind, issued_at: u64, bytes: &str) -> Verified {
    let digest = Digest::of(bytes.as_bytes());
    let times = Times { issued_at, expires_at: issued_at, serve_until: issued_at };
    let (host_id, signer) = ("host_1".parse().unwrap(), digest.to_string().parse().unwrap());
    Verified::stated(Statement { host_id, signer, epoch, version, kind, times }, digest)
}
