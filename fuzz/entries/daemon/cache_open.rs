//! A start over a disk on which anything may stand in the place of anything.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use arbitrary::Unstructured;
use miosa_injector::{Change, State};

use super::host::{Greetings, Host, records, take_trust, take_update};

/// The daemon starts, serves nothing but what was signed for it and is not below a floor that it can read,
/// and takes the next good full update.
pub fn run(data: &[u8]) {
    let u = &mut Unstructured::new(data);
    let disk = Disk::new();
    for _ in 0..MAX_CHANGES {
        if u.is_empty() {
            break;
        }
        disk.change(u);
    }
    disk.check();
}

struct Disk {
    host: Host,
    trusts: [Vec<u8>; 2],
    /// Bytes that are good somewhere.
    pool: Vec<Vec<u8>>,
    signed: BTreeMap<(u64, u64), Greetings>,
}

impl Disk {
    /// A host that holds a full update, two increments on top of it and a heartbeat, after the signer changed.
    fn new() -> Self {
        let mut host = Host::new();
        let mut intake = host.start();
        let of_revoked = greeting("of a revoked signer");
        let revoked = host.publisher.full(REVOKED.1, records(&of_revoked));
        let first = host.publisher.trust(1);
        host.publisher.change_signer();
        let second = host.publisher.trust(2);
        take_trust(&mut intake, &second).expect("the next document");

        let publisher = &host.publisher;
        let states = [1, 2, 3, 5].map(|version| ((1, version), greeting(&format!("hello {version}"))));
        let mut signed = BTreeMap::from(states);
        signed.insert(REVOKED, of_revoked);
        let change = |version| Change::full(records(&signed[&(1, version)]));
        let full = publisher.full(1, records(&signed[&(1, 1)]));
        let two = publisher.incremental(2, 1, &full, &change(2));
        let three = publisher.incremental(3, 2, &two, &change(3));
        let heartbeat = publisher.heartbeat(3, &three);
        let three_again = publisher.full(3, records(&signed[&(1, 3)]));
        let five = publisher.full(5, records(&signed[&(1, 5)]));
        let old_floor = fs::read(&host.state.floors()[0]).expect("a floor");
        for bytes in [&full, &two, &three, &heartbeat] {
            take_update(&mut intake, bytes).expect("good updates");
        }
        let floor = fs::read(&host.state.floors()[0]).expect("a floor");
        let trusts = [first.clone(), second.clone()];
        let pool =
            vec![full, two, three, heartbeat, three_again, five, revoked, first, second, old_floor, floor];
        Self { host, trusts, pool, signed }
    }

    fn change(&self, u: &mut Unstructured<'_>) {
        let path = self.place(u);
        let _nothing_there = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        let bytes =
            |u: &mut Unstructured<'_>| self.pool[u.choose_index(self.pool.len()).unwrap_or(0)].clone();
        let written = match u.int_in_range(0..=9).unwrap_or(0) {
            0 => return,
            1 => fs::create_dir_all(path.join("deep")),
            2 => symlink(self.place(u), &path),
            3 => symlink("/dev/zero", &path),
            4 => write(&path, u.bytes(u.len().min(64)).unwrap_or_default()),
            5 => {
                let mut bytes = bytes(u);
                bytes.truncate(u.choose_index(bytes.len()).unwrap_or(0));
                write(&path, &bytes)
            }
            6 => {
                let mut bytes = bytes(u);
                let at = u.choose_index(bytes.len()).unwrap_or(0);
                bytes[at] ^= u.arbitrary::<u8>().unwrap_or(0).max(1);
                write(&path, &bytes)
            }
            _ => write(&path, &bytes(u)),
        };
        // What the place does not allow has not happened.
        drop(written);
    }

    fn place(&self, u: &mut Unstructured<'_>) -> PathBuf {
        let state = &self.host.state;
        let update = |version: u64| state.cache().join(format!("update-{:016}-{version:016}.json", 1));
        let [floor, other_floor] = state.floors();
        let places = [
            update(1),
            update(2),
            update(3),
            update(5),
            update(9),
            state.cache().join("heartbeat.json"),
            state.cache().join(".new-heartbeat.json"),
            state.cache().join("update-1-1.json"),
            state.cache().join("else"),
            state.quarantine(),
            floor,
            other_floor,
            state.trust().join("1.json"),
            state.trust().join("2.json"),
            state.trust().join("3.json"),
            state.trust().join("02.json"),
            state.evidence(),
            state.cache(),
            state.trust(),
        ];
        // The folders themselves are less often in question than what is in them.
        let count = if u.ratio(1, 8).unwrap_or(false) { places.len() } else { places.len() - 2 };
        places[u.choose_index(count).unwrap_or(0)].clone()
    }

    fn check(mut self) {
        let mark = self.host.mark();
        let folders = [self.host.state.cache(), self.host.state.trust()];
        if folders.iter().any(|folder| fs::symlink_metadata(folder).is_ok_and(|there| !there.is_dir())) {
            // Not a state directory; that the daemon says so and ends is tested elsewhere.
            return;
        }
        let mut intake = self.host.start();
        if let Some(served) = self.host.served() {
            if let Some(mark) = mark {
                assert!(served.position >= (mark.floor.epoch, mark.floor.version), "below the floor");
                // With every floor and the second document gone, nothing is left that knows of the revocation.
                assert_ne!(served.position, REVOKED, "a revoked signer was believed");
            }
            let signed = self.signed.get(&served.position).expect("what is served was signed by who may");
            assert_eq!(served.state, State::new(records(signed)).expect("a state"));
        }
        for trust in &self.trusts {
            take_trust(&mut intake, trust).expect("the documents of the chain");
        }
        let next = greeting("the next");
        let full = self.host.publisher.full(20, records(&next));
        take_update(&mut intake, &full).expect("the next good full update");
        drop(intake);
        let _intake = self.host.start();
        let served = self.host.served().expect("what was accepted is served");
        assert_eq!(served.state, State::new(records(&next)).expect("a state"));
    }
}

fn greeting(text: &str) -> Greetings {
    Greetings::from([("sbx-1", text.to_owned())])
}

#[expect(clippy::disallowed_methods, reason = "what stands on this disk is to be wrong")]
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::write(path, bytes)
}

/// What the revoked signer made.
const REVOKED: (u64, u64) = (1, 9);
const MAX_CHANGES: usize = 8;
