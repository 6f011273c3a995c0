//! One host with its disk in memory, the daemon's intake on it, and a publisher that never contradicts
//! itself. What happens to them is the targets' choice.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use miosa_injector::{Records, State};
use miosa_snapshot::{Digest, HostIdentity, HostPrivateKey};

use crate::clock::stepped::Hands;
use crate::floor::{Floors, GROUND, Mark};
use crate::generation::{Generation, Standing};
use crate::host::HostFile;
use crate::intake::{Accepted, Intake, Offer, Origin, Refused, Shared, Sockets, Tell};
use crate::layout::StateDir;
use crate::publisher::{Publisher, resources};
use crate::trust_store::TrustStore;

/// What a state holds: resources and what each is greeted with.
pub(super) type Greetings = BTreeMap<&'static str, String>;

pub(super) struct Host {
    _directory: tempfile::TempDir,
    pub(super) state: StateDir,
    key: HostPrivateKey,
    file: HostFile,
    pub(super) publisher: Publisher,
    pub(super) hands: Arc<Hands>,
    pub(super) shared: Shared,
}

/// What is served, if it may rest on the word of its signers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Served {
    pub(super) position: (u64, u64),
    pub(super) state: State,
}

struct NoSockets;

impl Sockets for NoSockets {
    fn retire(&mut self, _next: &State) {}
    fn open(&mut self, _state: &State) {}
    fn sweep(&mut self, _state: &State) {}
    fn tell(&mut self, _before: &Generation, _now: &Generation) {}
}

impl Host {
    /// A host that was enrolled just now.
    pub(super) fn new() -> Self {
        let directory = in_memory().expect("a directory");
        let state = StateDir::new(directory.path().to_owned());
        let key = HostPrivateKey::from_bytes(&[5; 32]).expect("a key");
        let publisher = Publisher::new("host_1", NOW).seal_to(&key.public());
        let trust = publisher.trust(1);
        let pinned = Digest::of(&trust);
        TrustStore::load(state.trust(), pinned)
            .expect("a store")
            .0
            .take(&trust)
            .expect("the pinned document");
        Floors::new(state.floors()).write(&GROUND).expect("a floor");
        let file = HostFile {
            host_id: "host_1".parse().expect("an id"),
            name: "one".to_owned(),
            trust: pinned,
            key: key.public(),
        };
        let (clock, hands) = Hands::at(NOW);
        let shared =
            Shared { current: Arc::default(), ledger: Arc::default(), clock, access: Default::default() };
        Self { _directory: directory, state, key, file, publisher, hands, shared }
    }

    /// A start of the daemon over what is on disk.
    pub(super) fn start(&mut self) -> Intake {
        let clock = self.shared.clock.clone();
        self.shared =
            Shared { current: Arc::default(), ledger: Arc::default(), clock, access: Default::default() };
        let key = HostPrivateKey::from_bytes(self.key.to_bytes().as_slice()).expect("a key");
        let identity = HostIdentity { id: self.file.host_id.clone(), key };
        Intake::restore(&self.state, &self.file, identity, Box::new(NoSockets), self.shared.clone())
            .expect("whatever is on the disk, the daemon starts")
    }

    pub(super) fn served(&self) -> Option<Served> {
        let generation = self.shared.current.generation()?;
        let content = &generation.content;
        (generation.standing == Standing::Good)
            .then(|| Served { position: (content.epoch, content.version), state: content.state.clone() })
    }

    /// What this host has come to, as its disk says.
    pub(super) fn mark(&self) -> Option<Mark> {
        Floors::new(self.state.floors()).read().mark
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.hands.pass(milliseconds);
        self.publisher.now_ms += milliseconds;
    }
}

pub(super) fn take_update(intake: &mut Intake, bytes: &[u8]) -> Result<Accepted, Refused> {
    intake.take(&Offer::Update(bytes.to_vec()), &Origin::Socket, Tell::Always)
}

pub(super) fn take_trust(intake: &mut Intake, bytes: &[u8]) -> Result<Accepted, Refused> {
    intake.take(&Offer::Trust(bytes.to_vec()), &Origin::Socket, Tell::Always)
}

/// A directory in memory where there is one: fsync is what costs on a disk, and says nothing here.
pub(super) fn in_memory() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("miosa-fuzz-").tempdir_in(parent)
}

/// The records of a state.
pub(super) fn records(greetings: &Greetings) -> Records {
    let of: Vec<_> = greetings.iter().map(|(id, value)| (*id, "t1", value.as_str())).collect();
    resources(&of)
}

const NOW: u64 = 1_800_000_000_000;
