//! Every bit, every length, every exchange of the files a host keeps: what was damaged is never served,
//! what is whole still is where the rules say so, and nothing panics.

use std::collections::BTreeMap;
use std::thread;

use super::*;

/// What damage to a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// A copy of the floor: it is repaired, and told.
    Nothing,
    /// The heartbeat: the state is as old as before it.
    Youth,
    /// An update with state: nothing is served, since what is left is older than what was accepted.
    State,
    /// A trust document: nothing is served until it comes again, and no update is touched.
    Trust,
}

/// A host that has accepted something of everything, and what it has kept.
struct Kept {
    world: World,
    files: BTreeMap<PathBuf, Vec<u8>>,
    trust: Vec<Vec<u8>>,
}

impl Kept {
    /// Whatever the keys, the files of every such host are of the same lengths.
    fn by(world: World) -> Self {
        let mut kept = Self { world, files: BTreeMap::new(), trust: Vec::new() };
        let world = &mut kept.world;
        let mut intake = world.start();
        kept.trust = [1, 2].map(|version| world.publisher.trust(version)).to_vec();
        intake.take_trust(&kept.trust[1]).unwrap();
        let one = world.publisher.full(1, greeting("one"));
        let changed = resource("sbx-1", "t1", &[("GREETING", "two")]);
        let mut change = Change::default();
        change.put.resources.insert(changed.id.clone(), changed);
        let two = world.publisher.incremental(2, 1, &one, &change);
        intake.take_update(&one).unwrap();
        intake.take_update(&two).unwrap();
        world.pass(MINUTE);
        intake.take_update(&world.publisher.heartbeat(2, &two)).unwrap();
        world.pass(MINUTE);
        for folder in [world.state.path().to_owned(), world.state.cache(), world.state.trust()] {
            for entry in disk::entries(&folder).unwrap().into_iter().filter(|entry| entry.is_file) {
                let bytes = fs::read(&entry.path).unwrap();
                kept.files.insert(entry.path, bytes);
            }
        }
        assert_eq!(kept.files.len(), 7);
        kept
    }

    fn cost(&self, path: &Path) -> Cost {
        if path.starts_with(self.world.state.trust()) {
            Cost::Trust
        } else if path.ends_with("heartbeat.json") {
            Cost::Youth
        } else if path.starts_with(self.world.state.cache()) {
            Cost::State
        } else {
            Cost::Nothing
        }
    }

    fn put_back(&self) {
        disk::remove_entry(&self.world.state.quarantine()).unwrap();
        self.files.iter().for_each(|(path, bytes)| overwrite(path, bytes));
    }

    /// The same where a whole file may have its effect in another one's place.
    fn assert_never_wrong(&mut self, damaged: &[(&Path, &[u8])]) {
        self.put_back();
        damaged.iter().for_each(|(path, bytes)| overwrite(path, bytes));
        self.world.start();
        let served = self.world.greeting();
        let allowed = [Ok("two".to_owned()), Err(Unservable::NotReady)];
        assert!(allowed.contains(&served), "{served:?} with {} exchanged", damaged[0].0.display());
    }

    /// Starts over what was kept, but for these files.
    fn assert_costs(&mut self, damaged: &[(&Path, &[u8])], what: &str) {
        self.put_back();
        damaged.iter().for_each(|(path, bytes)| overwrite(path, bytes));
        let cost = damaged.iter().map(|(path, _)| self.cost(path)).max().unwrap();
        let mut intake = self.world.start();
        let (world, what) = (&self.world, format!("{what} of {}", damaged[0].0.display()));
        match cost {
            Cost::Nothing => {
                assert_eq!(world.greeting().unwrap(), "two", "{what}");
                assert_eq!(
                    (world.age(), world.alarms()),
                    ((Age::Fresh, 60), vec!["floor_damaged"]),
                    "{what}"
                );
                assert!(Floors::new(world.state.floors()).read().unreadable.is_empty(), "{what}");
            }
            Cost::Youth => {
                assert_eq!(world.greeting().unwrap(), "two", "{what}");
                assert_eq!(world.age(), (Age::Fresh, 120), "{what}");
            }
            Cost::State => {
                assert_eq!(world.greeting(), Err(Unservable::NotReady), "{what}");
                assert!(!world.set_aside().is_empty(), "{what}");
                assert!(world.shared.ledger.facts().refused.values().sum::<u64>() > 0, "{what}");
            }
            Cost::Trust => {
                assert_eq!(world.greeting(), Err(Unservable::NotReady), "{what}");
                let whole = |path: &&PathBuf| damaged.iter().all(|(damaged, _)| damaged != path);
                let updates = self.files.keys().filter(|path| path.starts_with(world.state.cache()));
                assert!(updates.filter(whole).all(|path| path.exists()), "{what}");
            }
        }
        if cost == Cost::Trust && damaged.iter().all(|(path, _)| self.cost(path) == Cost::Trust) {
            for document in &self.trust {
                intake.take_trust(document).unwrap();
            }
            assert_eq!(self.world.greeting().unwrap(), "two", "{what}");
        }
    }
}

#[test]
fn every_flipped_bit_of_every_kept_file_costs_what_it_must_and_no_more() {
    let tried = in_parallel(|kept, part, parts| {
        let mut tried = 0;
        for (path, good) in kept.files.clone() {
            for bit in (part..good.len() * 8).step_by(parts) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                kept.assert_costs(&[(&path, &bad)], &format!("bit {bit}"));
                tried += 1;
            }
        }
        tried
    });
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn every_length_of_every_kept_file_but_its_own_costs_what_it_must_and_no_more() {
    let tried = in_parallel(|kept, part, parts| {
        let mut tried = 0;
        for (path, good) in kept.files.clone() {
            for length in (part..good.len()).step_by(parts) {
                kept.assert_costs(&[(&path, &good[..length])], &format!("length {length}"));
                tried += 1;
            }
            for byte in (part..256).step_by(parts) {
                let longer = [&good[..], &[u8::try_from(byte).unwrap()]].concat();
                kept.assert_costs(&[(&path, &longer)], &format!("an appended byte {byte}"));
                tried += 1;
            }
        }
        tried
    });
    assert!(tried > 2_000, "{tried}");
}

#[test]
fn zeroed_repeated_and_exchanged_files_cost_what_they_must_and_no_more() {
    let mut kept = Kept::by(World::new());
    let files = kept.files.clone();
    for (path, good) in &files {
        kept.assert_costs(&[(path, &vec![0; good.len()])], "zeros in place");
        kept.assert_costs(&[(path, &[&good[..], good].concat())], "twice the bytes");
        for begin in (0..good.len()).step_by(512) {
            let mut bad = good.clone();
            let end = good.len().min(begin + 512);
            bad[begin..end].fill(0);
            kept.assert_costs(&[(path, &bad)], &format!("a zeroed block at {begin}"));
        }
        for (other, others) in files.iter().filter(|(_, others)| *others != good) {
            kept.assert_never_wrong(&[(path, others), (other, good)]);
            kept.assert_never_wrong(&[(path, others)]);
        }
    }
}

#[test]
fn an_older_update_that_a_full_one_superseded_costs_nothing_however_it_is_damaged() {
    let mut kept = Kept::by(World::new());
    let older = kept.world.cached();
    let mut intake = kept.world.start();
    intake.take_update(&kept.world.publisher.full(3, greeting("three"))).unwrap();
    for (path, damage) in older.iter().flat_map(|path| (0..64).map(move |damage| (path, damage))) {
        // As if the stop had come before it was removed.
        let mut bytes = kept.files[path].clone();
        let place = damage * bytes.len() / 64;
        bytes[place] ^= 1;
        overwrite(path, &bytes);
        kept.world.start();
        assert_eq!(kept.world.greeting().unwrap(), "three", "{} at {place}", path.display());
        assert!(!path.exists());
    }
}

#[test]
fn a_write_of_the_floor_torn_at_any_byte_loses_neither_the_floor_nor_the_update_it_was_for() {
    let mut kept = Kept::by(World::new());
    let floors = kept.world.state.floors();
    let before = floors.each_ref().map(|copy| fs::read(copy).unwrap());
    let mut intake = kept.world.start();
    intake.take_update(&kept.world.publisher.full(3, greeting("three"))).unwrap();
    let three = kept.world.image();
    kept.world.start();
    let after = floors.each_ref().map(|copy| fs::read(copy).unwrap());
    assert_eq!(before[0].len(), after[0].len());
    for (torn, other) in [(0, 1), (1, 0)] {
        for (whole, cut) in
            [&before, &after].into_iter().flat_map(|whole| (0..=after[0].len()).map(move |cut| (whole, cut)))
        {
            three.iter().for_each(|(path, bytes)| overwrite(path, bytes));
            overwrite(&floors[other], &whole[other]);
            overwrite(&floors[torn], &[&after[torn][..cut], &before[torn][cut..]].concat());
            let mut intake = kept.world.start();
            assert_eq!(kept.world.greeting().unwrap(), "three", "copy {torn} torn at {cut}");
            assert!(kept.world.set_aside().is_empty(), "copy {torn} torn at {cut}");
            let older = kept.world.publisher.full(2, greeting("x"));
            assert_eq!(name(intake.take_update(&older)), "stale_version", "copy {torn} torn at {cut}");
            assert_eq!(Floors::new(floors.clone()).read().mark.unwrap().floor.version, 3);
        }
    }
}

/// On as many threads as there are processors, each with a host of its own: how much was tried.
fn in_parallel(trial: impl Fn(&mut Kept, usize, usize) -> usize + Sync) -> usize {
    let parts = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let started: Vec<_> = (0..parts)
            .map(|part| {
                let trial = &trial;
                scope.spawn(move || trial(&mut Kept::by(World::new()), part, parts))
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
