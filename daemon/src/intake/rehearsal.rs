//! Trying an update or a trust document without taking it: what would be said of it now, on top of
//! what is held. Reads what `serve` keeps, whether it runs or not, and changes nothing.

use std::sync::Arc;

use miosa_injector::State;
use miosa_snapshot::{
    Admission, HostIdentity, OpenedKeys, Proposal, Trust, TrustDocument, Verdict, Verified,
};

use super::restore::Chain;
use super::{
    Accepted, Claim, Increments, Intake, KnownFloor, Refused, RestoreError, Shared, Sockets, Weighed, word,
};
use crate::access::AccessLog;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::disk::DiskError;
use crate::evidence::Evidence;
use crate::floor::Floors;
use crate::generation::{Current, Generation, Source};
use crate::host::HostFile;
use crate::layout::StateDir;
use crate::ledger::Ledger;
use crate::trust_store::TrustStore;

/// An intake that takes nothing.
pub(crate) struct Rehearsal(Intake);

/// What some bytes say of themselves.
pub(crate) enum Claimed {
    /// An update that is properly signed and sealed, whatever its age and its place in the order.
    Update(Box<Verified>),
    /// A trust document, signed by anybody.
    Trust(TrustDocument),
}

impl Rehearsal {
    /// The state of this host as a start would find it now.
    pub(crate) fn of(
        state: &StateDir,
        file: &HostFile,
        host: HostIdentity,
        clock: Clock,
    ) -> Result<Self, RestoreError> {
        let shared = Shared {
            current: Arc::new(Current::default()),
            ledger: Arc::new(Ledger::default()),
            clock,
            access: AccessLog::default(),
        };
        let mut intake = Intake {
            host,
            trust: TrustStore::empty(state.trust(), file.trust),
            keys: OpenedKeys::new(),
            cache: Cache::at(state.cache(), state.quarantine()),
            floors: Floors::new(state.floors()),
            floor: KnownFloor::Lost,
            held: None,
            increments: Increments::default(),
            evidence: Evidence::new(state.evidence()),
            sockets: Box::new(NoSockets),
            shared,
            trouble: None,
            is_littered: false,
        };
        let mut tries_left = TRIES;
        loop {
            match intake.hold_what_is_kept(state, file) {
                // A full update was accepted meanwhile, and what was listed is gone.
                Err(error) if error.is_missing() && tries_left > 0 => {
                    tries_left = tries_left.saturating_sub(1);
                }
                held => {
                    held?;
                    return Ok(Self(intake));
                }
            }
        }
    }

    /// What the bytes say of themselves, if anything can be believed of it.
    pub(crate) fn claimed(&mut self, claim: Claim, bytes: &[u8]) -> Option<Claimed> {
        match claim {
            Claim::Update => {
                let update = self.0.open(bytes, Admission::Cached).ok()?;
                Some(Claimed::Update(Box::new(update)))
            }
            Claim::Trust => Some(Claimed::Trust(Proposal::read(bytes).ok()?.document().clone())),
        }
    }

    /// What would be said of an update now.
    pub(crate) fn try_update(&mut self, bytes: &[u8]) -> Result<Accepted, Refused> {
        let now = self.0.shared.clock.now();
        let Weighed { verdict, content, .. } = self.0.weigh(bytes, now)?;
        Ok(Accepted { verdict: content.map_or(word(Verdict::Unchanged), |_| word(verdict)) })
    }

    /// What would be said of a trust document now.
    pub(crate) fn try_trust(&self, bytes: &[u8]) -> Result<Accepted, Refused> {
        let taken = self.0.trust.would_take(bytes)?;
        Ok(Accepted { verdict: if taken.is_some() { "follow" } else { "unchanged" } })
    }

    /// The version of the trust document that is held.
    pub(crate) fn trust_version(&self) -> Option<u64> {
        self.0.trust().map(Trust::version)
    }

    /// The epoch and version that are held.
    pub(crate) fn held(&self) -> Option<(u64, u64)> {
        self.0.standing_held().map(|held| (held.epoch, held.version))
    }

    /// What an operator can do about a refusal is part of it.
    pub(crate) fn explained(&self, refused: &Refused) -> String {
        self.0.shared.explained(refused)
    }
}

impl Intake {
    /// The floor comes first: read after the cache, it could be of a later update.
    fn hold_what_is_kept(&mut self, state: &StateDir, file: &HostFile) -> Result<(), DiskError> {
        self.floor = self.floors.read().mark.map_or(KnownFloor::Lost, KnownFloor::At);
        if let Some((trust, _broken)) = unless_missing(TrustStore::look(state.trust(), file.trust))? {
            self.trust = trust;
        }
        let Some(contents) = unless_missing(self.cache.look())? else { return Ok(()) };
        let now = self.shared.clock.now();
        let mut chain = Chain::default();
        for path in contents.updates.iter().chain(&contents.heartbeat) {
            match self.extend(&mut chain, path, now) {
                Err(Refused::Disk(error)) if error.is_missing() => return Err(error),
                // As at a start: what does not fit is not part of the state.
                Ok(()) | Err(_) => {}
            }
        }
        if self.is_below_floor(&chain) {
            return Ok(());
        }
        let (Some(held), Some((update, content))) = (chain.held, chain.tip) else { return Ok(()) };
        self.held = Some(held);
        self.increments = chain.increments;
        self.swap(&update, content, Source::Cache, now);
        Ok(())
    }
}

fn unless_missing<T>(read: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match read {
        Err(error) if error.is_missing() => Ok(None),
        read => read.map(Some),
    }
}

struct NoSockets;

impl Sockets for NoSockets {
    fn retire(&mut self, _next: &State) {}
    fn open(&mut self, _state: &State) {}
    fn sweep(&mut self, _state: &State) {}
    fn tell(&mut self, _before: &Generation, _now: &Generation) {}
}

const TRIES: u32 = 5;
