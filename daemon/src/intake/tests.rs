//! The intake with clocks that are moved by hand and files that are damaged on purpose.
#![expect(clippy::arithmetic_side_effects, reason = "the numbers of tests are small")]

mod clocks;
mod damage;
mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use miosa_injector::{Change, Records};
use miosa_snapshot::{Age, Digest, HostId, HostPrivateKey};

use super::*;
use crate::clock::stepped::Hands;
use crate::disk;
use crate::floor::GROUND;
use crate::generation::{Asks, Unservable, Workshop};
use crate::host::HostFile;
use crate::layout::StateDir;
use crate::publisher::{Publisher, resource, resources};

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// A host whose daemon can be restarted and whose disk can be reached.
struct World {
    _directory: tempfile::TempDir,
    state: StateDir,
    key: HostPrivateKey,
    file: HostFile,
    publisher: Publisher,
    hands: Arc<Hands>,
    shared: Shared,
    calls: Calls,
}

/// The calls, each with the version that was served at that moment.
type Calls = Arc<Mutex<Vec<(&'static str, Option<u64>)>>>;

/// Notes when it is called, and which version was served then.
struct NotedSockets {
    current: Arc<Current>,
    calls: Calls,
}

impl NotedSockets {
    fn note(&self, call: &'static str) {
        let served = self.current.generation().map(|generation| generation.content.version);
        self.calls.lock().unwrap().push((call, served));
    }
}

impl Sockets for NotedSockets {
    fn retire(&mut self, _next: &State) {
        self.note("retire");
    }
    fn open(&mut self, _state: &State) {
        self.note("open");
    }
    fn sweep(&mut self, _state: &State) {
        self.note("sweep");
    }
    fn tell(&mut self, _before: &Generation, _now: &Generation) {
        self.note("tell");
    }
}

impl World {
    fn new() -> Self {
        // In memory, where thousands of starts cost no disk anything.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(base).unwrap();
        let state = StateDir::new(directory.path().to_owned());
        let key = HostPrivateKey::generate().unwrap();
        let publisher = Publisher::new("host_1", NOW).seal_to(&key.public());
        let trust = publisher.trust(1);
        let pinned = Digest::of(&trust);
        TrustStore::load(state.trust(), pinned).unwrap().0.take(&trust).unwrap();
        Floors::new(state.floors()).write(&GROUND).unwrap();
        let (host_id, name) = ("host_1".parse().unwrap(), "one".to_owned());
        let file = HostFile { host_id, name, trust: pinned, key: key.public() };
        let (clock, hands) = Hands::at(NOW);
        let shared =
            Shared { current: Arc::default(), ledger: Arc::default(), clock, access: Default::default() };
        Self { _directory: directory, state, key, file, publisher, hands, shared, calls: Arc::default() }
    }

    /// A fresh start of the daemon over what is on disk.
    fn start(&mut self) -> Intake {
        let clock = self.shared.clock.clone();
        self.shared =
            Shared { current: Arc::default(), ledger: Arc::default(), clock, access: Default::default() };
        let sockets =
            NotedSockets { current: Arc::clone(&self.shared.current), calls: Arc::clone(&self.calls) };
        let key = HostPrivateKey::from_bytes(self.key.to_bytes().as_slice()).unwrap();
        let identity = HostIdentity { id: self.file.host_id.clone(), key };
        Intake::restore(&self.state, &self.file, identity, Box::new(sockets), self.shared.clone()).unwrap()
    }

    /// What resource `sbx-1` is greeted with, or why it isn't.
    fn greeting(&self) -> Result<String, Unservable> {
        let current = self.shared.current.load();
        let (generation, aged) = Generation::servable(current.as_ref(), self.shared.clock.boot_ms())?;
        let resource = "sbx-1".parse().unwrap();
        let tenant = &generation.content.state.records().resources[&resource].tenant_id;
        let asks = Asks { tenant, resource: &resource, run: None };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let in_turn = || runtime.block_on(generation.content.answer_in_turn(asks, &Workshop::default()));
        let built = generation.content.answer(asks).unwrap().unwrap_or_else(|| in_turn().unwrap());
        let body = built.body(generation.moving(aged)).concat();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        Ok(body["env"]["GREETING"].as_str().unwrap().to_owned())
    }

    fn age(&self) -> (Age, u64) {
        let aged = self.shared.current.generation().unwrap().freshness.at(self.shared.clock.boot_ms());
        (aged.age, aged.seconds)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.hands.pass(milliseconds);
        self.publisher.now_ms += milliseconds;
    }

    fn cached(&self) -> Vec<PathBuf> {
        let contents = self.cache().contents().unwrap();
        contents.updates.into_iter().chain(contents.heartbeat).collect()
    }

    fn cache(&self) -> Cache {
        Cache::open(self.state.cache(), self.state.quarantine()).unwrap()
    }

    fn set_aside(&self) -> Vec<String> {
        self.shared.ledger.facts().set_aside.into_iter().map(|file| file.reason).collect()
    }

    fn alarms(&self) -> Vec<&'static str> {
        self.shared.ledger.facts().alarms.into_keys().collect()
    }

    fn image(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.cached().into_iter().chain(self.state.floors());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

impl Intake {
    /// As by the socket.
    pub(crate) fn take_update(&mut self, bytes: &[u8]) -> Result<Accepted, Refused> {
        let taken = self.take(&Offer::Update(bytes.to_vec()), &Origin::Socket, Tell::Always);
        self.settle();
        taken
    }

    pub(crate) fn take_trust(&mut self, bytes: &[u8]) -> Result<Accepted, Refused> {
        self.take(&Offer::Trust(bytes.to_vec()), &Origin::Socket, Tell::Always)
    }
}

fn greeting(value: &str) -> Records {
    resources(&[("sbx-1", "t1", value)])
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    overwrite(path, &bytes);
}

/// As a faulty disk or a visitor does it, not as the daemon does.
#[expect(clippy::disallowed_methods, reason = "damages state on purpose")]
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn name(refused: Result<Accepted, Refused>) -> &'static str {
    refused.unwrap_err().name()
}

#[test]
fn nothing_is_served_before_the_first_update() {
    let mut world = World::new();
    let mut intake = world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    let full = world.publisher.full(1, greeting("hello"));
    assert_eq!(intake.take_update(&full).unwrap(), Accepted { verdict: "replace" });
    assert_eq!(world.greeting().unwrap(), "hello");
    assert_eq!(intake.take_update(&full).unwrap(), Accepted { verdict: "unchanged" });
}

#[test]
fn what_was_accepted_is_served_after_a_restart() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(1, greeting("hello"));
    intake.take_update(&full).unwrap();
    world.pass(5 * MINUTE);
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    world.pass(MINUTE);
    let before = world.age();
    assert_eq!(before, (Age::Fresh, 60));

    world.start();
    assert_eq!(world.greeting().unwrap(), "hello");
    assert_eq!(world.age(), before);
    assert!(world.set_aside().is_empty());
    assert_eq!(world.shared.current.generation().unwrap().source, Source::Cache);
}

#[test]
fn the_cache_holds_exactly_the_bytes_received() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(7, greeting("hello"));
    let heartbeat = world.publisher.heartbeat(7, &full);
    intake.take_update(&full).unwrap();
    intake.take_update(&heartbeat).unwrap();
    let bytes: Vec<_> = world.cached().iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(bytes, [full, heartbeat]);

    let next = world.publisher.full(8, greeting("next"));
    intake.take_update(&next).unwrap();
    let bytes: Vec<_> = world.cached().iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(bytes, [next]);
}

#[test]
fn a_refused_update_changes_neither_what_is_served_nor_a_byte_on_disk() {
    let mut world = World::new();
    let mut intake = world.start();
    let first = world.publisher.full(1, greeting("first"));
    intake.take_update(&first).unwrap();
    let held = world.publisher.full(5, greeting("held"));
    intake.take_update(&held).unwrap();
    let before = world.image();

    let other = Publisher::new("host_2", NOW).seal_to(&world.key.public());
    let stranger = Publisher::new("host_1", NOW).seal_to(&world.key.public());
    let mut late = Publisher::new("host_1", NOW).seal_to(&world.key.public());
    std::mem::swap(&mut late.signer, &mut world.publisher.signer);
    late.now_ms = NOW - 16 * MINUTE;
    let expired = late.full(6, greeting("x"));
    late.now_ms = NOW + 61 * MINUTE;
    let early = late.full(6, greeting("x"));
    late.now_ms = NOW;
    let malformed = late.seal(6, Kind::Full, b"{\"put\":{}}");
    std::mem::swap(&mut late.signer, &mut world.publisher.signer);
    let mut flipped = held.clone();
    flipped[100] ^= 1;

    let publisher = &world.publisher;
    for (bytes, expected) in [
        (first.clone(), "stale_version"),
        (other.full(6, greeting("x")), "wrong_host"),
        (stranger.full(6, greeting("x")), "unknown_signer"),
        (expired, "expired"),
        (early, "from_the_future"),
        (malformed, "malformed_payload"),
        (publisher.full(5, greeting("another")), "equivocation"),
        (publisher.heartbeat(4, &first), "stale_version"),
        (publisher.heartbeat(5, &first), "wrong_base"),
        (publisher.incremental(7, 6, &held, &Change::default()), "wrong_base"),
        (b"{}".to_vec(), "malformed_envelope"),
        (Vec::new(), "malformed_envelope"),
    ] {
        assert_eq!(name(intake.take_update(&bytes)), expected);
        assert_eq!(world.greeting().unwrap(), "held", "{expected}");
        assert_eq!(world.image(), before, "{expected}");
    }
    assert!(intake.take_update(&flipped).is_err());
    assert_eq!(world.image(), before);
    assert_eq!(world.alarms(), ["equivocation"]);
    assert_eq!(world.shared.ledger.facts().refused["stale_version"], 2);
}

#[test]
fn a_flipped_bit_in_the_full_update_is_set_aside_and_never_served() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(1, greeting("hello"));
    intake.take_update(&full).unwrap();
    let [path] = &world.cached()[..] else { panic!("one file") };
    for bit in (0..full.len() * 8).step_by(29) {
        overwrite(path, &full);
        flip(path, bit);
        world.start();
        assert_eq!(world.greeting(), Err(Unservable::NotReady), "bit {bit}");
        assert!(!world.set_aside().is_empty(), "bit {bit}");
        assert!(!path.exists(), "bit {bit}");
    }
    overwrite(path, &full);
    world.start();
    assert_eq!(world.greeting().unwrap(), "hello");
}

#[test]
fn after_a_damaged_cache_a_full_update_serves_again() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(3, greeting("hello"));
    intake.take_update(&full).unwrap();
    overwrite(&world.cached()[0], b"");
    let mut intake = world.start();
    assert_eq!(name(intake.take_update(&world.publisher.heartbeat(3, &full))), "wrong_base");
    assert_eq!(name(intake.take_update(&world.publisher.full(2, greeting("older")))), "below_floor");
    intake.take_update(&world.publisher.full(3, greeting("hello"))).unwrap();
    assert_eq!(world.greeting().unwrap(), "hello");
}

#[test]
fn a_flipped_bit_in_the_heartbeat_costs_its_youth_only() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(1, greeting("hello"));
    intake.take_update(&full).unwrap();
    world.pass(20 * MINUTE);
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    assert_eq!(world.age(), (Age::Fresh, 0));
    flip(&world.cached()[1], 4_000);
    let mut intake = world.start();
    assert_eq!(world.greeting().unwrap(), "hello");
    assert_eq!(world.age(), (Age::Stale, 20 * 60));
    assert_eq!(world.set_aside().len(), 1);
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    assert_eq!(world.age(), (Age::Fresh, 0));
}

#[test]
fn without_trust_the_cache_stays_and_is_served_once_the_document_comes_again() {
    let mut world = World::new();
    let trust = world.publisher.trust(1);
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("hello"))).unwrap();
    flip(&world.state.trust().join("1.json"), 1_234);
    let mut intake = world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    assert_eq!(world.set_aside(), ["pin_mismatch"]);
    assert_eq!(world.cached().len(), 1);
    assert!(Position::now(&world.file.host_id, &world.shared).need_full);
    assert_eq!(name(intake.take_update(&world.publisher.full(2, greeting("x")))), "no_trust");
    intake.take_trust(&trust).unwrap();
    assert_eq!(world.greeting().unwrap(), "hello");
    assert!(!Position::now(&world.file.host_id, &world.shared).need_full);
    intake.take_update(&world.publisher.full(2, greeting("again"))).unwrap();
    assert_eq!(world.greeting().unwrap(), "again");
}

#[test]
fn a_trust_document_or_update_that_cannot_be_read_just_now_stays_where_it_is() {
    let mut world = World::new();
    let trust = world.publisher.trust(1);
    let mut intake = world.start();
    let one = world.publisher.full(1, greeting("one"));
    intake.take_update(&one).unwrap();
    intake.take_update(&world.publisher.incremental(2, 1, &one, &Change::default())).unwrap();
    let before = world.image();
    for unreadable in [world.state.trust().join("1.json"), before[0].0.clone(), before[1].0.clone()] {
        disk::faults::make_unreadable(Some(unreadable));
        world.start();
        assert_eq!(world.greeting(), Err(Unservable::NotReady));
        assert!(world.set_aside().is_empty());
        disk::faults::make_unreadable(None);
        assert_eq!(world.image(), before);
        assert_eq!(fs::read(world.state.trust().join("1.json")).unwrap(), trust);
    }
    assert!(world.shared.ledger.facts().refused.contains_key("unreadable"));
    world.start();
    assert_eq!(world.greeting().unwrap(), "one");
    assert!(world.alarms().is_empty());
}

#[test]
fn directories_in_the_place_of_kept_files_are_set_aside_and_written_over() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("one"))).unwrap();
    let [floor, _] = world.state.floors();
    fs::remove_file(&floor).unwrap();
    for place in
        [floor, world.state.cache().join("heartbeat.json"), world.state.cache().join(".new-heartbeat.json")]
    {
        fs::create_dir_all(place.join("deep")).unwrap();
    }
    let mut intake = world.start();
    assert_eq!(world.greeting().unwrap(), "one");
    assert_eq!(world.set_aside(), ["unknown_file", "unknown_file"]);
    let two = world.publisher.full(2, greeting("two"));
    intake.take_update(&two).unwrap();
    intake.take_update(&world.publisher.heartbeat(2, &two)).unwrap();
    world.start();
    assert_eq!(world.greeting().unwrap(), "two");
    assert!(world.alarms().is_empty());
}

#[test]
fn a_cache_put_back_to_an_earlier_copy_is_not_served() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("old"))).unwrap();
    let old = world.image();
    intake.take_update(&world.publisher.full(2, greeting("new"))).unwrap();
    fs::remove_file(&world.cached()[0]).unwrap();
    overwrite(&old[0].0, &old[0].1);
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    assert_eq!(world.set_aside(), ["below_floor"]);
    assert_eq!(world.alarms(), ["below_floor"]);
}

#[test]
fn one_damaged_copy_of_the_floor_is_repaired() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(4, greeting("hello"))).unwrap();
    flip(&world.state.floors()[0], 40);
    world.start();
    assert_eq!(world.greeting().unwrap(), "hello");
    assert_eq!(world.alarms(), ["floor_damaged"]);
    assert!(Floors::new(world.state.floors()).read().unreadable.is_empty());
}

#[test]
fn without_a_floor_only_a_full_update_of_the_last_minutes_will_do() {
    let mut world = World::new();
    world.publisher.fresh_for_ms = DAY;
    let mut intake = world.start();
    let full = world.publisher.full(4, greeting("held"));
    intake.take_update(&full).unwrap();
    world.state.floors().iter().for_each(|copy| overwrite(copy, b"?"));
    world.pass(16 * MINUTE);
    let mut intake = world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    assert_eq!(world.set_aside(), ["floor_lost"]);
    assert_eq!(world.alarms(), ["floor_lost"]);
    assert_eq!(name(intake.take_update(&full)), "floor_lost");
    assert_eq!(name(intake.take_update(&world.publisher.heartbeat(4, &full))), "floor_lost");
    intake.take_update(&world.publisher.full(5, greeting("recent"))).unwrap();
    assert_eq!(world.greeting().unwrap(), "recent");
    world.start();
    assert_eq!(world.greeting().unwrap(), "recent");
    assert!(world.alarms().is_empty());
}

#[test]
fn a_stop_between_update_and_floor_leaves_the_update_that_was_being_written() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("one"))).unwrap();
    let two = world.publisher.full(2, greeting("two"));
    overwrite(&world.state.cache().join("update-0000000000000001-0000000000000002.json"), &two);
    world.start();
    assert_eq!(world.greeting().unwrap(), "two");
    assert_eq!(Floors::new(world.state.floors()).read().mark.unwrap().floor.version, 2);
}

#[test]
fn increments_are_applied_in_order_now_and_after_a_restart() {
    let mut world = World::new();
    let mut intake = world.start();
    let one = world.publisher.full(1, greeting("one"));
    let changed = resource("sbx-1", "t1", &[("GREETING", "two")]);
    let mut change = Change::default();
    change.put.resources.insert(changed.id.clone(), changed);
    let two = world.publisher.incremental(2, 1, &one, &change);
    let three = world.publisher.incremental(3, 2, &two, &Change::default());
    intake.take_update(&one).unwrap();
    assert_eq!(name(intake.take_update(&three)), "wrong_base");
    assert_eq!(intake.take_update(&two).unwrap(), Accepted { verdict: "extend" });
    intake.take_update(&three).unwrap();
    assert_eq!(world.greeting().unwrap(), "two");

    world.start();
    assert_eq!(world.greeting().unwrap(), "two");
    assert_eq!(world.shared.current.generation().unwrap().content.version, 3);

    flip(&world.cached()[1], 3_000);
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady), "a prefix is older than what was accepted");
    assert_eq!(world.set_aside().len(), 3);
}

#[test]
fn it_goes_stale_and_expires_whatever_the_wall_clock_does() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(1, greeting("hello"));
    intake.take_update(&full).unwrap();
    world.hands.step_wall_to(NOW + 3_650 * DAY);
    assert_eq!(world.age(), (Age::Fresh, 0));
    world.hands.step_wall_to(0);
    world.hands.pass(16 * MINUTE);
    assert_eq!(world.age(), (Age::Stale, 16 * 60));
    assert_eq!(world.greeting().unwrap(), "hello");
    world.hands.pass(3 * DAY);
    assert!(matches!(world.greeting(), Err(Unservable::SnapshotExpired { .. })));
    world.hands.step_wall_to(NOW + 4 * DAY);
    world.publisher.now_ms = NOW + 4 * DAY;
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    assert_eq!(world.age(), (Age::Fresh, 0));
    assert_eq!(world.greeting().unwrap(), "hello");
}

#[test]
fn a_cached_state_of_any_age_is_taken_and_says_so() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("hello"))).unwrap();
    world.pass(DAY);
    world.start();
    assert_eq!(world.age(), (Age::Stale, 24 * 60 * 60));
    world.pass(3 * DAY);
    world.start();
    assert!(matches!(world.greeting(), Err(Unservable::SnapshotExpired { .. })));
    assert!(world.set_aside().is_empty());
}

#[test]
fn a_revoked_signers_state_is_not_served_until_another_one_sends_all() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(3, greeting("by the former"));
    intake.take_update(&full).unwrap();
    world.publisher.change_signer();
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    assert_eq!(world.greeting(), Err(Unservable::SignerRevoked));
    let host: HostId = "host_1".parse().unwrap();
    assert!(Position::now(&host, &world.shared).need_full);
    assert_eq!(name(intake.take_update(&world.publisher.heartbeat(3, &full))), "wrong_base");
    intake.take_update(&world.publisher.full(3, greeting("by the next"))).unwrap();
    assert_eq!(world.greeting().unwrap(), "by the next");
    assert!(!Position::now(&host, &world.shared).need_full);
}

#[test]
fn a_revoked_signers_cache_is_set_aside_at_the_next_start() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(3, greeting("by the former"))).unwrap();
    world.publisher.change_signer();
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    assert_eq!(world.set_aside(), ["unknown_signer"]);
}

#[test]
fn a_signer_for_some_tenants_brings_states_of_these_only() {
    let mut world = World::new();
    world.publisher.signer_tenants = Some(vec!["t1".to_owned()]);
    let mut intake = world.start();
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    let both = resources(&[("sbx-1", "t1", "a"), ("sbx-2", "t2", "b")]);
    assert_eq!(name(intake.take_update(&world.publisher.full(1, both))), "signer_scope");
    assert_eq!(world.greeting(), Err(Unservable::NotReady));

    let full = world.publisher.full(1, greeting("mine"));
    intake.take_update(&full).unwrap();
    let foreign = Change { put: resources(&[("sbx-2", "t2", "b")]), ..Change::default() };
    let incremental = world.publisher.incremental(2, 1, &full, &foreign);
    assert_eq!(name(intake.take_update(&incremental)), "signer_scope");
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    assert_eq!(world.greeting().unwrap(), "mine");
    world.start();
    assert_eq!(world.greeting().unwrap(), "mine");
    assert!(world.set_aside().is_empty());
}

#[test]
fn a_signer_for_some_tenants_cannot_take_away_or_refresh_what_is_anothers() {
    let mut world = World::new();
    let mut intake = world.start();
    let both = world.publisher.full(1, resources(&[("sbx-1", "t1", "a"), ("sbx-2", "t2", "b")]));
    intake.take_update(&both).unwrap();
    world.publisher.signer_tenants = Some(vec!["t2".to_owned()]);
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    assert_eq!(world.greeting(), Err(Unservable::SignerRevoked));
    // Under a document that lists two, the one that speaks for all still stands.
    let mut world = World::new();
    let mut intake = world.start();
    let both = world.publisher.full(1, resources(&[("sbx-1", "t1", "a"), ("sbx-2", "t2", "b")]));
    intake.take_update(&both).unwrap();
    let for_all = world.publisher.add_signer(Some(vec!["t2".to_owned()]));
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    let only_theirs = resources(&[("sbx-2", "t2", "b")]);
    assert_eq!(name(intake.take_update(&world.publisher.full(2, only_theirs))), "signer_scope");
    assert_eq!(name(intake.take_update(&world.publisher.heartbeat(1, &both))), "signer_scope");
    let mut removal = Change::default();
    removal.delete.resources.insert("sbx-1".parse().unwrap());
    let removal = world.publisher.incremental(2, 1, &both, &removal);
    assert_eq!(name(intake.take_update(&removal)), "signer_scope");
    assert_eq!(world.greeting().unwrap(), "a");
    world.publisher.signer = for_all;
    intake.take_update(&world.publisher.heartbeat(1, &both)).unwrap();
}

#[test]
fn a_signer_must_still_speak_for_tenants_that_are_gone_from_what_it_brought() {
    let mut world = World::new();
    let mut intake = world.start();
    let both = world.publisher.full(1, resources(&[("sbx-1", "t1", "a"), ("sbx-2", "t2", "b")]));
    intake.take_update(&both).unwrap();
    let mut removal = Change::default();
    removal.delete.resources.insert("sbx-2".parse().unwrap());
    intake.take_update(&world.publisher.incremental(2, 1, &both, &removal)).unwrap();
    world.publisher.signer_tenants = Some(vec!["t1".to_owned()]);
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    assert_eq!(world.greeting(), Err(Unservable::SignerRevoked));
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady), "a start comes to the same");
}

#[test]
fn a_signer_whose_time_is_cut_short_no_longer_stands_for_what_it_signed_later() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("kept"))).unwrap();
    world.publisher.signer_expires_at = NOW;
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    assert_eq!(world.greeting().unwrap(), "kept", "it was issued in time");
    world.publisher.signer_expires_at = NOW - 1;
    intake.take_trust(&world.publisher.trust(3)).unwrap();
    assert_eq!(world.greeting(), Err(Unservable::SignerRevoked));
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady));
    assert_eq!(world.set_aside(), ["signer_expired"], "a start comes to the same");
}

#[test]
fn a_revoked_signer_gets_no_voice_back_by_losing_the_document_that_revoked_it() {
    let mut world = World::new();
    let mut intake = world.start();
    let revoked = world.publisher.full(9, greeting("by the revoked"));
    let first = world.publisher.trust(1);
    world.publisher.change_signer();
    let documents = [world.publisher.trust(2), world.publisher.trust(3)];
    documents.iter().for_each(|bytes| assert_eq!(intake.take_trust(bytes).unwrap().verdict, "follow"));
    let full = world.publisher.full(1, greeting("by the present one"));
    intake.take_update(&full).unwrap();
    for (lost, again) in [(2, 0), (2, 1), (3, 1)] {
        fs::remove_file(world.state.trust().join(format!("{lost}.json"))).unwrap();
        let mut intake = world.start();
        assert_eq!(world.greeting(), Err(Unservable::NotReady));
        assert_eq!(world.alarms(), ["trust_rolled_back"]);
        assert_eq!(name(intake.take_update(&revoked)), "no_trust");
        assert_eq!(intake.take_trust(&first).unwrap().verdict, "unchanged");
        let host: HostId = "host_1".parse().unwrap();
        assert_eq!(Position::now(&host, &world.shared).trust_version, None);
        for bytes in &documents[again.min(lost - 2)..] {
            assert!(intake.take_trust(bytes).is_ok());
        }
        assert_eq!(name(intake.take_update(&revoked)), "unknown_signer");
        assert_eq!(world.greeting().unwrap(), "by the present one");
    }
}

#[test]
fn what_cannot_be_kept_is_not_served() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("kept"))).unwrap();
    let moved = world.state.path().join("elsewhere");
    fs::rename(world.state.cache(), &moved).unwrap();
    let next = world.publisher.full(2, greeting("next"));
    assert_eq!(name(intake.take_update(&next)), "not_durable");
    assert_eq!(world.greeting().unwrap(), "kept");
    fs::rename(&moved, world.state.cache()).unwrap();
    intake.take_update(&next).unwrap();
    assert_eq!(world.greeting().unwrap(), "next");
}

#[test]
fn what_could_not_be_kept_is_no_obstacle_to_what_comes_in_its_place() {
    for is_full in [true, false] {
        let mut world = World::new();
        let mut intake = world.start();
        let one = world.publisher.full(1, greeting("one"));
        intake.take_update(&one).unwrap();
        let two = match is_full {
            true => world.publisher.full(2, greeting("two")),
            false => world.publisher.incremental(2, 1, &one, &Change::default()),
        };
        disk::faults::make_unsyncable(true);
        assert_eq!(name(intake.take_update(&two)), "not_durable");
        disk::faults::make_unsyncable(false);
        // The publisher goes on from what it knows to be held.
        let changed = resource("sbx-1", "t1", &[("GREETING", "three")]);
        let mut change = Change::default();
        change.put.resources.insert(changed.id.clone(), changed);
        let three = world.publisher.incremental(3, 1, &one, &change);
        assert_eq!(intake.take_update(&three).unwrap(), Accepted { verdict: "extend" });
        world.start();
        assert_eq!(world.greeting().unwrap(), "three");
        assert!(world.alarms().is_empty() && world.set_aside().is_empty());
    }
}

#[test]
fn an_equal_state_of_the_same_version_is_taken_again() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("same"))).unwrap();
    world.pass(MINUTE);
    let again = world.publisher.full(1, greeting("same"));
    intake.take_update(&again).unwrap();
    assert_eq!(world.age(), (Age::Fresh, 0));
    assert_eq!(fs::read(&world.cached()[0]).unwrap(), again);
    world.pass(MINUTE);
    intake.take_update(&world.publisher.heartbeat(1, &again)).unwrap();
}

#[test]
fn another_state_of_the_same_version_is_an_alarm_whenever_it_was_issued() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("held"))).unwrap();
    world.publisher.now_ms -= MINUTE;
    assert_eq!(name(intake.take_update(&world.publisher.full(1, greeting("held")))), "issued_backwards");
    assert!(world.alarms().is_empty());
    assert_eq!(name(intake.take_update(&world.publisher.full(1, greeting("other")))), "equivocation");
    assert_eq!(world.alarms(), ["equivocation"]);
    assert_eq!(world.greeting().unwrap(), "held");
}

#[test]
fn an_increment_that_comes_again_after_its_version_came_whole_is_no_alarm() {
    let mut world = World::new();
    let mut intake = world.start();
    let one = world.publisher.full(1, greeting("same"));
    let two = world.publisher.incremental(2, 1, &one, &Change::default());
    for update in [&one, &two, &world.publisher.full(2, greeting("same"))] {
        intake.take_update(update).unwrap();
    }
    assert_eq!(name(intake.take_update(&two)), "stale_version");
    assert!(world.alarms().is_empty());
}

#[test]
fn a_higher_epoch_does_not_wait_for_a_clock_that_ran_ahead() {
    let mut world = World::new();
    let mut intake = world.start();
    world.publisher.now_ms += 50 * MINUTE;
    intake.take_update(&world.publisher.full(900, greeting("ahead"))).unwrap();
    world.publisher.now_ms = NOW;
    world.publisher.change_signer();
    intake.take_trust(&world.publisher.trust(2)).unwrap();
    assert_eq!(name(intake.take_update(&world.publisher.full(901, greeting("x")))), "issued_backwards");

    world.publisher.epoch = 2;
    intake.take_trust(&world.publisher.trust(3)).unwrap();
    let full = world.publisher.full(1, greeting("restored"));
    intake.take_update(&full).unwrap();
    assert_eq!(world.age(), (Age::Fresh, 0));
    let mut intake = world.start();
    assert_eq!(world.greeting().unwrap(), "restored");
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
}

#[test]
fn sockets_close_before_a_state_is_served_and_open_after() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(2, greeting("hello"));
    intake.take_update(&world.publisher.full(1, greeting("hello"))).unwrap();
    intake.take_update(&full).unwrap();
    intake.take_update(&world.publisher.heartbeat(2, &full)).unwrap();
    let calls = std::mem::take(&mut *world.calls.lock().unwrap());
    let first = [("retire", None), ("sweep", Some(1)), ("open", Some(1))];
    let second = [("retire", Some(1)), ("tell", Some(2)), ("open", Some(2))];
    let heartbeat = [("tell", Some(2)), ("open", Some(2))];
    assert_eq!(calls, [first.as_slice(), &second, &heartbeat].concat());
}

#[test]
fn a_floor_that_cannot_be_read_just_now_costs_no_file() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("kept"))).unwrap();
    world.pass(DAY);
    let before = world.image();
    let [one, other] = world.state.floors();
    disk::faults::make_unreadable(Some(one.clone()));
    world.start();
    assert_eq!(world.greeting().unwrap(), "kept", "the other copy will do");
    assert_eq!(world.alarms(), ["floor_unreadable"]);
    assert_eq!(world.image(), before);

    fs::remove_file(&other).unwrap();
    world.start();
    assert_eq!(world.greeting(), Err(Unservable::NotReady), "older than what is taken without a floor");
    assert_eq!(world.alarms(), ["floor_lost", "floor_unreadable"]);
    assert!(world.set_aside().is_empty());
    disk::faults::make_unreadable(None);
    world.start();
    assert_eq!(world.greeting().unwrap(), "kept");
    assert_eq!(world.image(), before);
}

#[test]
fn after_256_increments_a_full_update_is_asked_for_while_they_are_still_taken() {
    let mut world = World::new();
    let mut intake = world.start();
    let host: HostId = "host_1".parse().unwrap();
    let because = |world: &World| Position::now(&host, &world.shared).need_full_because;
    let large = "x".repeat(100_000);
    let ids = ["sbx-1", "sbx-2", "sbx-3", "sbx-4"];
    let mut last = world.publisher.full(1, resources(&ids.map(|id| (id, "t1", large.as_str()))));
    intake.take_update(&last).unwrap();
    for version in 2..=257 {
        assert_eq!(because(&world), None, "version {version}");
        last = world.publisher.incremental(version, version - 1, &last, &Change::default());
        intake.take_update(&last).unwrap();
    }
    assert_eq!(because(&world).as_deref(), Some("many_increments"));
    let mut intake = world.start();
    assert_eq!(because(&world).as_deref(), Some("many_increments"), "counted again at a start");
    last = world.publisher.incremental(258, 257, &last, &Change::default());
    intake.take_update(&last).unwrap();
    assert_eq!(world.greeting().unwrap(), large);
    assert_eq!(world.cached().len(), 258);

    intake.take_update(&world.publisher.full(259, greeting("whole"))).unwrap();
    assert_eq!(because(&world), None);
    assert_eq!(world.cached().len(), 1);
}

#[test]
fn no_more_than_1024_increments_are_kept_and_a_full_update_makes_room() {
    let mut world = World::new();
    let mut intake = world.start();
    let mut last = world.publisher.full(1, greeting("grown"));
    intake.take_update(&last).unwrap();
    intake.increments = (0..1_023).fold(intake.increments, |increments, _| {
        increments.after(Kind::Incremental { from: 0, prev: Digest::of(b"") }, 1)
    });
    last = world.publisher.incremental(2, 1, &last, &Change::default());
    intake.take_update(&last).unwrap();
    let next = world.publisher.incremental(3, 2, &last, &Change::default());
    let refused = intake.take_update(&next).unwrap_err();
    assert_eq!(refused.name(), "too_many_increments");
    assert_eq!(refused.status_and_code().1, "need_full");
    assert_eq!(world.greeting().unwrap(), "grown");
    intake.take_update(&world.publisher.heartbeat(2, &last)).unwrap();
    intake.take_update(&world.publisher.full(3, greeting("whole"))).unwrap();
    assert_eq!(world.greeting().unwrap(), "whole");
}

#[test]
fn both_sides_of_an_equivocation_are_kept_as_evidence() {
    let mut world = World::new();
    let mut intake = world.start();
    let held = world.publisher.full(1, greeting("held"));
    intake.take_update(&held).unwrap();
    let other = world.publisher.full(1, greeting("other"));
    for _again in 0..2 {
        assert_eq!(name(intake.take_update(&other)), "equivocation");
    }
    let facts = world.shared.ledger.facts();
    assert_eq!((facts.alarms["equivocation"], facts.refused["equivocation"]), (1, 2), "one alarm for each");
    let kept = |which: &str, bytes: &[u8]| format!("update-{which}-{}.json", Digest::of(bytes));
    let names = [kept("held", &held), kept("refused", &other)];
    assert_eq!(world.shared.ledger.facts().evidence, names);
    assert_eq!(fs::read(world.state.evidence().join(&names[0])).unwrap(), held);
    assert_eq!(fs::read(world.state.evidence().join(&names[1])).unwrap(), other);
    intake.take_update(&world.publisher.full(2, greeting("next"))).unwrap();
    world.start();
    assert_eq!(world.shared.ledger.facts().evidence, names, "told after a restart too");
}

#[test]
fn whoever_only_carries_trust_documents_can_raise_no_alarm_with_them() {
    let mut world = World::new();
    let mut intake = world.start();
    let held = String::from_utf8(world.publisher.trust(1)).unwrap();
    let junk = format!("\"}},{{\"keyid\":\"{}\",\"sig\":\"{}==\"}}]}}", "0".repeat(64), "A".repeat(86));
    let dressed_up = [held.strip_suffix("\"}]}").unwrap(), &junk].concat();
    assert_eq!(name(intake.take_trust(dressed_up.as_bytes())), "trust_equivocation");
    assert!(world.alarms().is_empty() && world.shared.ledger.facts().evidence.is_empty());

    world.publisher.signer_expires_at -= 1;
    assert_eq!(name(intake.take_trust(&world.publisher.trust(1))), "trust_equivocation");
    assert_eq!(world.alarms(), ["trust_equivocation"], "but two documents are one");
    assert_eq!(world.shared.ledger.facts().evidence.len(), 2);
}

#[test]
fn what_a_start_found_is_confirmed_by_the_next_update_or_heartbeat_and_by_no_replay() {
    let mut world = World::new();
    let mut intake = world.start();
    let full = world.publisher.full(1, greeting("held"));
    intake.take_update(&full).unwrap();
    let mut intake = world.start();
    let source = |world: &World| world.shared.current.generation().unwrap().source;
    assert_eq!(source(&world), Source::Cache);
    intake.take_update(&full).unwrap();
    assert_eq!(source(&world), Source::Cache, "the same bytes again prove nothing");
    world.pass(MINUTE);
    intake.take_update(&world.publisher.heartbeat(1, &full)).unwrap();
    assert_eq!(source(&world), Source::Update);
}

#[test]
fn a_state_directory_that_is_gone_is_one_alarm_and_what_is_held_is_served() {
    let mut world = World::new();
    let mut intake = world.start();
    intake.take_update(&world.publisher.full(1, greeting("held"))).unwrap();
    fs::remove_dir_all(world.state.path()).unwrap();
    for version in 2..4 {
        let next = world.publisher.full(version, greeting("next"));
        assert_eq!(name(intake.take_update(&next)), "not_durable");
    }
    let facts = world.shared.ledger.facts();
    assert_eq!(facts.alarms["state_missing"], 1);
    let message = facts.last_refusal.unwrap().message;
    assert!(
        message.contains("was removed or moved: put it back, or stop the daemon and enroll"),
        "{message}"
    );
    assert_eq!(world.greeting().unwrap(), "held");
    assert!(!world.state.path().exists(), "nothing is made in its place");
}
