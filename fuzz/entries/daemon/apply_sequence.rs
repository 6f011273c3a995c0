//! The whole way in, over a history: a publisher publishes, whoever carries its updates delivers, drops,
//! repeats, reorders and damages them, time passes, signers and epochs change, and the daemon restarts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arbitrary::Unstructured;
use miosa_injector::{Change, State};
use miosa_snapshot::Digest;

use super::host::{Greetings, Host, Served, records, take_trust, take_update};
use crate::intake::Intake;

/// What is served is always one whole published state, never an older one than before, and the same after
/// a restart; a refusal changes nothing; and who only carries updates can't keep a new full one out.
pub fn run(data: &[u8]) {
    let u = &mut Unstructured::new(data);
    let mut history = History::new();
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=15).unwrap_or(0) {
            0..=5 => history.publish(u),
            6..=8 => history.replay(u),
            9 => history.damage(u),
            10..=11 => history.pass(u),
            12..=13 => history.restart(),
            14 => history.change_signer(),
            _ => history.raise_epoch(),
        }
        history.check();
    }
}

struct History {
    host: Host,
    intake: Intake,
    /// Everything that was ever made.
    sent: Vec<Sent>,
    trusts: Vec<Vec<u8>>,
    /// Every state that was published.
    published: BTreeMap<(u64, u64), Greetings>,
    /// The highest version of the epoch.
    version: u64,
    floor: (u64, u64),
    issued_at: u64,
    /// How many of `sent` are of a signer that was revoked since.
    revoked: usize,
}

struct Sent {
    bytes: Vec<u8>,
    position: (u64, u64),
    carries_state: bool,
}

impl History {
    fn new() -> Self {
        let mut host = Host::new();
        let intake = host.start();
        let trusts = vec![host.publisher.trust(1)];
        let (sent, published) = (Vec::new(), BTreeMap::new());
        Self { host, intake, sent, trusts, published, version: 0, floor: (0, 0), issued_at: 0, revoked: 0 }
    }

    fn publish(&mut self, u: &mut Unstructured<'_>) {
        let epoch = self.host.publisher.epoch;
        let is_new = u.ratio(3, 4).unwrap_or(true) || self.version == 0;
        if is_new {
            self.version += u.int_in_range(1..=3).unwrap_or(1);
            self.published.insert((epoch, self.version), greetings(u));
        }
        let (version, publisher) = (self.version, &self.host.publisher);
        let state = self.published.get(&(epoch, version)).expect("it was published");
        let of_epoch = |sent: &&Sent| sent.carries_state && sent.position.0 == epoch;
        let bases: Vec<&Sent> = self.sent.iter().filter(of_epoch).collect();
        // Mostly the newest one, as a publisher that hears from its host would.
        let back = if u.ratio(3, 4).unwrap_or(true) { 0 } else { u.choose_index(bases.len()).unwrap_or(0) };
        let base = bases.iter().rev().nth(back).copied();
        let (bytes, carries_state, is_full) = match (u.int_in_range(0..=3).unwrap_or(0), base) {
            (1 | 2, Some(base)) if base.position.1 < version => {
                let change = change(&self.published[&base.position], state);
                (publisher.incremental(version, base.position.1, &base.bytes, &change), true, false)
            }
            (3, Some(base)) => (publisher.heartbeat(base.position.1, &base.bytes), false, false),
            _ => (publisher.full(version, records(state)), true, true),
        };
        let version = if carries_state { version } else { base.map_or(version, |base| base.position.1) };
        self.sent.push(Sent { bytes, position: (epoch, version), carries_state });
        if u.ratio(3, 4).unwrap_or(true) {
            let accepted = self.deliver(self.sent.len() - 1);
            assert!(accepted || !is_full, "a new full update was kept out");
        }
    }

    fn replay(&mut self, u: &mut Unstructured<'_>) {
        let trust = &self.trusts[u.choose_index(self.trusts.len()).unwrap_or(0)];
        if u.ratio(1, 8).unwrap_or(false) {
            let again = take_trust(&mut self.intake, trust).expect("a document of the chain");
            assert_eq!(again.verdict, "unchanged");
        } else if !self.sent.is_empty() {
            let index = u.choose_index(self.sent.len()).unwrap_or(0);
            let accepted = self.deliver(index);
            assert!(!accepted || index >= self.revoked, "a revoked signer was believed");
        }
    }

    fn damage(&mut self, u: &mut Unstructured<'_>) {
        if self.sent.is_empty() {
            return;
        }
        let mut bytes = self.sent[u.choose_index(self.sent.len()).unwrap_or(0)].bytes.clone();
        let at = u.choose_index(bytes.len()).unwrap_or(0);
        match u.arbitrary::<u8>().unwrap_or(0) {
            0 => bytes.truncate(at),
            by => bytes[at] ^= by,
        }
        let before = self.image();
        take_update(&mut self.intake, &bytes).expect_err("damaged bytes were accepted");
        assert_eq!(self.image(), before);
    }

    fn pass(&mut self, u: &mut Unstructured<'_>) {
        self.host.pass(u.choose(&[0, 1, 60_000, 16 * 60_000, 73 * 60 * 60_000]).copied().unwrap_or(1));
    }

    fn restart(&mut self) {
        let before = self.host.served();
        self.intake = self.host.start();
        assert_eq!(self.host.served(), before, "a restart changed what is served");
    }

    fn change_signer(&mut self) {
        self.host.publisher.change_signer();
        self.revoked = self.sent.len();
        self.next_trust();
        assert_eq!(self.host.served(), None, "what a revoked signer said is still served");
    }

    fn raise_epoch(&mut self) {
        self.host.publisher.epoch += 1;
        self.version = 0;
        let before = self.host.served();
        self.next_trust();
        assert_eq!(self.host.served(), before);
    }

    fn next_trust(&mut self) {
        let version = u64::try_from(self.trusts.len() + 1).expect("a few");
        self.trusts.push(self.host.publisher.trust(version));
        let document = self.trusts.last().expect("just pushed");
        let followed = take_trust(&mut self.intake, document).expect("the next document");
        assert_eq!(followed.verdict, "follow");
    }

    /// True: accepted, or known already.
    fn deliver(&mut self, index: usize) -> bool {
        let before = self.image();
        match take_update(&mut self.intake, &self.sent[index].bytes) {
            Ok(accepted) => {
                assert!(accepted.verdict != "unchanged" || self.image() == before);
                true
            }
            Err(refused) => {
                assert_ne!(refused.name(), "equivocation", "an honest publisher was blamed");
                assert_eq!(self.image(), before, "a refusal changed something: {}", refused.name());
                false
            }
        }
    }

    fn check(&mut self) {
        let mark = self.host.mark().expect("the floor can be read");
        let floor = (mark.floor.epoch, mark.floor.version);
        assert!(floor >= self.floor, "the floor went down");
        assert!(floor.0 > self.floor.0 || mark.floor.issued_at >= self.issued_at, "time ran backwards");
        (self.floor, self.issued_at) = (floor, mark.floor.issued_at);
        let Some(Served { position, state }) = self.host.served() else { return };
        assert_eq!(position, floor, "what is served is not the newest that was accepted");
        let published = self.published.get(&position).expect("what is served was published");
        assert_eq!(state, State::new(records(published)).expect("a state"));
    }

    /// All that a refusal must not change.
    fn image(&self) -> (Option<Served>, Vec<(PathBuf, Digest)>) {
        let folders = [self.host.state.cache(), self.host.state.trust(), self.host.state.path().to_owned()];
        let mut files: Vec<_> = folders
            .iter()
            .flat_map(|folder| {
                folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path())
            })
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), Digest::of(&crate::disk::read(&path, usize::MAX).expect("a file"))))
            .collect();
        files.sort();
        (self.host.served(), files)
    }
}

fn greetings(u: &mut Unstructured<'_>) -> Greetings {
    let mut greetings = Greetings::new();
    for id in ["sbx-1", "sbx-2", "sbx-3"] {
        if u.arbitrary().unwrap_or(false) {
            greetings.insert(id, format!("hello {}", u.int_in_range(0..=9).unwrap_or(0)));
        }
    }
    greetings
}

fn change(from: &Greetings, to: &Greetings) -> Change {
    let news = to.iter().filter(|(id, value)| from.get(*id) != Some(*value));
    let mut change = Change::full(records(&news.map(|(id, value)| (*id, value.clone())).collect()));
    let gone = from.keys().filter(|id| !to.contains_key(*id));
    change.delete.resources = gone.map(|id| id.parse().expect("an id")).collect();
    change
}

const MAX_STEPS: usize = 24;
