//! What is served: one verified state behind one atomic pointer, with the answers built from it. A
//! reader sees a whole generation or the next whole one. How a generation comes to be is `intake`'s
//! business.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use miosa_injector::model::TenantId;
use miosa_injector::{Moving, ResolveError, State};
use miosa_snapshot::{Age, Digest, KeyId, OutOfScope, Signer, Statement, Trust, Verified};
use tokio::sync::Semaphore;

pub(crate) use answers::{Asks, Built};

use crate::age::{Aged, Freshness};
use crate::generation::answers::{Answers, Turn};
use crate::moment::span;

/// The generation that is served now, if any.
#[derive(Default)]
pub(crate) struct Current(ArcSwapOption<Generation>);

/// One accepted state and how it stands.
pub(crate) struct Generation {
    /// What is resolved from; a heartbeat makes a new generation with the same content.
    pub(crate) content: Arc<Content>,
    /// How old it is.
    pub(crate) freshness: Freshness,
    /// Who signed the update that came last, of whatever kind.
    pub(crate) confirmed_by: Word,
    /// Whether everybody on whose word it rests may still speak.
    pub(crate) standing: Standing,
    /// How it came here.
    pub(crate) source: Source,
}

/// A state with its place in the order of states, and the answers built from it so far.
pub(crate) struct Content {
    /// The records.
    pub(crate) state: State,
    /// The lineage of versions.
    pub(crate) epoch: u64,
    /// Its version.
    pub(crate) version: u64,
    /// The digest of the envelope that made it.
    pub(crate) digest: Digest,
    /// On whose word it rests: each signer of the updates it was made of.
    pub(crate) words: BTreeMap<KeyId, Word>,
    answers: Answers,
}

/// That a signer has spoken, when, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Who.
    pub(crate) signer: KeyId,
    /// `issued_at` of what it signed last, in Unix milliseconds.
    pub(crate) issued_at: u64,
    /// Those of the states before and after whatever it signed: some may be gone from the state since.
    pub(crate) tenants: BTreeSet<TenantId>,
}

/// Whether the signers of a generation may still speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All of them, by the trust document.
    Good,
    /// One may not any more: served again after a full update by one that may.
    SignerRevoked,
}

/// How a generation came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Read from the cache at start.
    Cache,
    /// Accepted since.
    Update,
}

/// Why nothing is resolved now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unservable {
    #[error("this host holds no verified snapshot yet; it waits for a full update")]
    NotReady,
    #[error("the snapshot was not confirmed for {}, longer than it may be served", span(*seconds))]
    SnapshotExpired { seconds: u64 },
    #[error("the signer of the snapshot was revoked; this host waits for a full update by another one")]
    SignerRevoked,
}

impl Current {
    /// The generation, to look at and let go: costs less than to keep it.
    pub(crate) fn load(&self) -> Guard<Option<Arc<Generation>>> {
        self.0.load()
    }

    /// The generation, to keep.
    pub(crate) fn generation(&self) -> Option<Arc<Generation>> {
        self.0.load_full()
    }

    /// Serves another generation from here on.
    pub(crate) fn swap(&self, next: Arc<Generation>) {
        self.0.store(Some(next));
    }
}

impl Generation {
    /// The generation and its age, if there is one and it may be served when the boot-time clock shows
    /// `boot_ms`.
    pub(crate) fn servable(current: Option<&Arc<Self>>, boot_ms: u64) -> Result<(&Self, Aged), Unservable> {
        let generation = current.ok_or(Unservable::NotReady)?;
        let aged = generation.freshness.at(boot_ms);
        match (generation.standing, aged.age) {
            (Standing::SignerRevoked, _) => Err(Unservable::SignerRevoked),
            (Standing::Good, Age::Expired) => Err(Unservable::SnapshotExpired { seconds: aged.seconds }),
            (Standing::Good, Age::Fresh | Age::Stale) => Ok((generation, aged)),
        }
    }

    /// The same generation as it stands under another trust document. A start under that document comes
    /// to the same, since it makes U3, U11 and P6 again for each update; but a heartbeat costs it no more
    /// than its times, and the former ones are not known here.
    pub(crate) fn under(&self, trust: &Trust) -> Self {
        let mut words = self.content.words.values().chain([&self.confirmed_by]);
        let stands = words.all(|word| word.may_stand(trust));
        let standing = if stands { Standing::Good } else { Standing::SignerRevoked };
        Self {
            content: Arc::clone(&self.content),
            freshness: self.freshness,
            confirmed_by: self.confirmed_by.clone(),
            standing,
            source: self.source,
        }
    }

    /// The fields of an answer that move without its content changing.
    pub(crate) fn moving(&self, aged: Aged) -> Moving {
        Moving {
            snapshot_version: self.content.version,
            stale: aged.age != Age::Fresh,
            age_seconds: aged.seconds,
        }
    }
}

impl Content {
    /// The state that `update` made, on top of `base`; a full one stands on nothing.
    pub(crate) fn new(state: State, update: &Verified, base: Option<&Self>) -> Self {
        let Statement { epoch, version, .. } = *update.statement();
        let answers = Answers::of_state(&state, epoch, version);
        let mut words = base.map(|base| base.words.clone()).unwrap_or_default();
        let mut word = Word::of(update, base.map(|base| &base.state).into_iter().chain([&state]));
        if let Some(earlier) = words.remove(&word.signer) {
            word.tenants.extend(earlier.tenants);
        }
        words.insert(word.signer, word);
        Self { state, epoch, version, digest: update.digest(), words, answers }
    }

    /// What a resource, or a run on it, starts with: built at the first call, the same bytes later.
    /// `None`: it may take long, and is to be had [in turn](Self::answer_in_turn).
    pub(crate) fn answer(&self, asks: Asks<'_>) -> Result<Option<Arc<Built>>, ResolveError> {
        self.answers.at_once(&self.state, asks)
    }

    /// Why it starts with that: JSON without a value. `None` as above.
    pub(crate) fn explanation(&self, asks: Asks<'_>) -> Result<Option<Bytes>, ResolveError> {
        self.answers.explained_at_once(&self.state, asks)
    }

    /// The answer of a resource with a large environment, built away from the thread that serves all.
    pub(crate) async fn answer_in_turn(
        self: &Arc<Self>,
        asks: Asks<'_>,
        workshop: &Workshop,
    ) -> Result<Arc<Built>, ResolveError> {
        workshop.make(self, asks, Answers::in_turn).await
    }

    /// Its explanation.
    pub(crate) async fn explanation_in_turn(
        self: &Arc<Self>,
        asks: Asks<'_>,
        workshop: &Workshop,
    ) -> Result<Bytes, ResolveError> {
        workshop.make(self, asks, Answers::explained_in_turn).await
    }
}

/// Where answers are built that take long: one at a time, and none of one resource before one of
/// another that waits longer.
#[derive(Clone)]
pub(crate) struct Workshop(Arc<Semaphore>);

impl Default for Workshop {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Workshop {
    async fn make<T: Send + 'static>(
        &self,
        content: &Arc<Content>,
        asks: Asks<'_>,
        build: fn(&Answers, &State, Asks<'_>, Turn) -> Result<T, ResolveError>,
    ) -> Result<T, ResolveError> {
        let gone = || ResolveError::ResourceNotFound(asks.resource.clone());
        let turn = content.answers.turn(asks).await.ok_or_else(gone)?;
        let bench = Arc::clone(&self.0).acquire_owned().await.map_err(|_never_closed| gone())?;
        let content = Arc::clone(content);
        let (tenant, resource, run) = (asks.tenant.clone(), asks.resource.clone(), asks.run.cloned());
        let built = tokio::task::spawn_blocking(move || {
            let _until_it_is_done = bench;
            let asks = Asks { tenant: &tenant, resource: &resource, run: run.as_ref() };
            build(&content.answers, &content.state, asks, turn)
        });
        // Only the end of the runtime ends it early, and then nobody waits for the answer.
        built.await.unwrap_or_else(|_ended| Err(gone()))
    }
}

impl Word {
    /// What `update` says of these states.
    pub(crate) fn of<'a>(update: &Verified, states: impl IntoIterator<Item = &'a State>) -> Self {
        let Statement { signer, times, .. } = update.statement();
        let tenants = states.into_iter().flat_map(State::tenants).cloned().collect();
        Self { signer: *signer, issued_at: times.issued_at, tenants }
    }

    fn may_stand(&self, trust: &Trust) -> bool {
        trust.signer(self.signer).is_some_and(|signer| {
            let tenants = self.tenants.iter().map(TenantId::as_str);
            self.issued_at <= signer.expires_at && signer.check_tenants(tenants).is_ok()
        })
    }
}

/// Refuses a signer that may not speak for the tenants of `states`.
pub(crate) fn check_scope<'a>(
    signer: &Signer,
    states: impl IntoIterator<Item = &'a State>,
) -> Result<(), OutOfScope> {
    signer.check_tenants(states.into_iter().flat_map(State::tenants).map(TenantId::as_str))
}

impl Unservable {
    /// The stable word for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::SnapshotExpired { .. } => "snapshot_expired",
            Self::SignerRevoked => "signer_revoked",
        }
    }
}

impl Source {
    /// The stable word for programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Update => "update",
        }
    }
}
