//! The one way into what is served: an update is opened, judged, decoded, made durable and swapped
//! in, in this order, one at a time. Nothing is served before it is durable, and nothing is durable
//! before it is verified. At start, the cache goes the same way (`restore`).

mod door;
mod increments;
mod offered;
mod queue;
mod record;
mod refused;
mod rehearsal;
mod restore;

use std::sync::Arc;

use miosa_injector::{Change, PayloadError, State};
use miosa_snapshot::{
    Admission, Floor, FloorCheck, Held, HostIdentity, Kind, OpenedKeys, Refusal, Statement, Trust, Verdict,
    Verified, judge, open,
};

pub(crate) use door::{Position, answer};
pub(crate) use increments::Increments;
pub(crate) use offered::{Claim, Offer, Origin, Tell, claimed};
pub(crate) use queue::Queue;
pub(crate) use record::numbered;
pub(crate) use refused::Refused;
pub(crate) use rehearsal::{Claimed, Rehearsal};
pub(crate) use restore::RestoreError;

use crate::access::AccessLog;
use crate::age::Freshness;
use crate::cache::Cache;
use crate::clock::{Clock, Now};
use crate::evidence::Evidence;
use crate::failure::in_one_line;
use crate::floor::{Floors, Mark};
use crate::generation::{Content, Current, Generation, Source, Standing, Word, check_scope};
use crate::ledger::Ledger;
use crate::trust_store::TrustStore;

/// Whoever opens and closes the sockets that a state has.
pub(crate) trait Sockets: Send {
    /// Called before `next` is served.
    fn retire(&mut self, next: &State);
    /// Called after `state` is served.
    fn open(&mut self, state: &State);
    /// Called once, when what an earlier run left behind can be told from what lives.
    fn sweep(&mut self, state: &State);
    /// Called after `now` is served in the place of `before`.
    fn tell(&mut self, before: &Generation, now: &Generation);
}

/// What the intake shares with those who read.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) current: Arc<Current>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Clock,
    pub(crate) access: AccessLog,
}

/// Everything it takes to accept an update. There is one, and it is on one thread.
pub(crate) struct Intake {
    host: HostIdentity,
    trust: TrustStore,
    keys: OpenedKeys,
    cache: Cache,
    floors: Floors,
    floor: KnownFloor,
    held: Option<Held>,
    increments: Increments,
    evidence: Evidence,
    sockets: Box<dyn Sockets>,
    shared: Shared,
    /// Why nothing can be kept, so that it is an alarm once.
    trouble: Option<&'static str>,
    /// An update that was not accepted may stand in the cache, since it could not be made durable.
    is_littered: bool,
}

/// An update or trust document that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The word for what was done with it.
    pub(crate) verdict: &'static str,
}

/// An update that could be accepted now.
struct Weighed {
    update: Verified,
    verdict: Verdict,
    /// What would be served then; none: nothing would change.
    content: Option<Arc<Content>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KnownFloor {
    At(Mark),
    Lost,
}

impl Intake {
    /// Takes an update or a trust document from outside. A refused one disturbs nothing.
    pub(crate) fn take(&mut self, offer: &Offer, origin: &Origin, tell: Tell) -> Result<Accepted, Refused> {
        let (what, bytes, taken) = match offer {
            Offer::Update(bytes) => ("update", bytes, self.try_update(bytes)),
            Offer::Trust(bytes) => ("trust", bytes, self.try_trust(bytes)),
        };
        self.tell_of_trouble(&taken);
        if let Err(refused) = &taken {
            if tell == Tell::UnlessItMayFitLater && refused.may_fit_later() {
                return taken;
            }
            // Whoever caught it once can offer it again for ever: it is told once.
            if refused.is_equivocation() && !self.evidence.has(what, bytes) {
                let alarm = refused.name();
                self.shared.alarm(alarm, "two different contents were signed under one version");
                self.keep_evidence(what, bytes);
            }
        }
        self.shared.record(what, origin, self.held.map(|held| (held.epoch, held.version)), &taken);
        taken
    }

    fn try_update(&mut self, bytes: &[u8]) -> Result<Accepted, Refused> {
        let now = self.shared.clock.now();
        let Weighed { update, verdict, content } = self.weigh(bytes, now)?;
        let Some(content) = content else {
            return Ok(Accepted { verdict: "unchanged" });
        };
        let held = Held::after(self.standing_held().as_ref(), &update);
        self.make_durable(&update, bytes, &held)?;
        self.note_increments(update.statement().kind, bytes.len());
        self.swap(&update, content, Source::Update, now);
        self.remove_superseded(update.statement());
        Ok(Accepted { verdict: word(verdict) })
    }

    /// What an answer need not wait for.
    pub(crate) fn settle(&mut self) {
        if let Err(error) = self.floors.settle() {
            // The other copy holds; this one is tried again with the next update.
            let error = in_one_line(&error);
            tracing::warn!(event = "floor_not_doubled", error, "one copy of the floor could not be written");
        }
    }

    /// Everything that can be said of an update before anything is changed.
    fn weigh(&mut self, bytes: &[u8], now: Now) -> Result<Weighed, Refused> {
        let update = self.open(bytes, Admission::New { now_ms: now.unix_ms })?;
        let held = self.standing_held();
        let verdict = judge(&update, held.as_ref(), self.floor.check(now))?;
        let base = self.standing_content();
        let content = Self::decode(base.as_ref(), &update, verdict)?;
        if verdict == Verdict::Extend {
            self.increments.check_room(bytes.len())?;
        }
        Ok(Weighed { update, verdict, content })
    }

    fn try_trust(&mut self, bytes: &[u8]) -> Result<Accepted, Refused> {
        if !self.trust.take(bytes)? {
            return Ok(Accepted { verdict: "unchanged" });
        }
        self.raise_trust_mark();
        let trust = self.trust();
        self.shared.ledger.set_trust(trust);
        let Some(trust) = trust else {
            // One more of those that are missing.
            return Ok(Accepted { verdict: "follow" });
        };
        let Some(before) = self.shared.current.generation() else {
            self.restore_under_new_trust();
            return Ok(Accepted { verdict: "follow" });
        };
        let generation = Arc::new(before.under(trust));
        if generation.standing == Standing::SignerRevoked {
            self.shared
                .alarm("signer_revoked", "a signer of the held state was revoked; a full update is needed");
        }
        self.shared.current.swap(Arc::clone(&generation));
        self.sockets.tell(&before, &generation);
        Ok(Accepted { verdict: "follow" })
    }

    fn open(&mut self, bytes: &[u8], admission: Admission) -> Result<Verified, Refused> {
        let trust = usable(&self.trust, self.floor).ok_or(Refused::NoTrust)?;
        Ok(open(bytes, &self.host, trust, admission, &mut self.keys)?)
    }

    fn trust(&self) -> Option<&Trust> {
        usable(&self.trust, self.floor)
    }

    /// Notes the trust document that was followed. If it can't be noted now, it is with the next update.
    fn raise_trust_mark(&mut self) {
        let KnownFloor::At(mark) = self.floor else { return };
        let raised = mark.higher(Mark { trust: self.trust.version(), ..mark });
        if raised == mark {
            return;
        }
        match self.floors.write(&raised) {
            Ok(()) => self.floor = KnownFloor::At(raised),
            Err(error) => self.shared.alarm("floor_not_raised", &in_one_line(&error)),
        }
    }

    /// What the next update must fit. A state whose signer was revoked is no base for anything, and
    /// contradicts nothing: the next full one takes its place.
    fn standing_held(&self) -> Option<Held> {
        self.standing_content().and(self.held)
    }

    fn standing_content(&self) -> Option<Arc<Content>> {
        let generation = self.shared.current.generation()?;
        (generation.standing == Standing::Good).then(|| Arc::clone(&generation.content))
    }

    /// What is to be served after the update, on top of `base`; `None` when it changes nothing.
    fn decode(
        base: Option<&Arc<Content>>,
        update: &Verified,
        verdict: Verdict,
    ) -> Result<Option<Arc<Content>>, Refused> {
        let content = match (verdict, base) {
            (Verdict::Unchanged, _) => return Ok(None),
            (Verdict::Refresh, Some(base)) => Arc::clone(base),
            (Verdict::Extend, Some(base)) => {
                let state =
                    base.state.apply(Change::decode(update.payload())?).map_err(PayloadError::from)?;
                Arc::new(Content::new(state, update, Some(base)))
            }
            (Verdict::Replace, _) => {
                let state = State::from_full(Change::decode(update.payload())?)?;
                Arc::new(Content::new(state, update, None))
            }
            (Verdict::ReplaceIfStateEqual(unsettled), Some(base)) => {
                let state = State::from_full(Change::decode(update.payload())?)?;
                unsettled.settle(&base.state, &state)?;
                Arc::new(Content::new(state, update, None))
            }
            // The apply rule gives these only for what is held.
            (Verdict::Refresh | Verdict::Extend | Verdict::ReplaceIfStateEqual(_), None) => {
                return Err(Refusal::WrongBase.into());
            }
        };
        let before = base.map(|base| &base.state);
        check_scope(update.signer(), before.into_iter().chain([&content.state]))?;
        Ok(Some(content))
    }

    /// First the update, then the floor that speaks of it: a stop in between leaves an update that is
    /// above the floor, which is what a start takes.
    fn make_durable(&mut self, update: &Verified, bytes: &[u8], held: &Held) -> Result<(), Refused> {
        let by = update.statement();
        self.cache.store(by, bytes).inspect_err(|_| self.is_littered = true)?;
        if let Some(before) = self.held.filter(|_| self.is_littered) {
            self.cache.remove_between((before.epoch, before.version), by)?;
        }
        let mark = self.floor.raised_to(held.floor(), self.trust.version());
        self.floors.raise(&mark).inspect_err(|_| self.is_littered = true)?;
        self.is_littered &= by.kind != Kind::Full;
        self.floor = KnownFloor::At(mark);
        self.held = Some(*held);
        Ok(())
    }

    fn swap(&mut self, update: &Verified, content: Arc<Content>, source: Source, now: Now) {
        let generation = Arc::new(Generation {
            freshness: Freshness::new(update.statement().times, now, self.floor.issued_at()),
            confirmed_by: Word::of(update, [&content.state]),
            standing: Standing::Good,
            source,
            content: Arc::clone(&content),
        });
        let changed = !matches!(update.statement().kind, Kind::Heartbeat { .. });
        if changed {
            self.sockets.retire(&content.state);
        }
        let before = self.shared.current.generation();
        self.shared.current.swap(Arc::clone(&generation));
        match before {
            Some(before) => self.sockets.tell(&before, &generation),
            None => self.sockets.sweep(&content.state),
        }
        self.sockets.open(&content.state);
    }

    fn remove_superseded(&self, by: &Statement) {
        if let Err(error) = self.cache.remove_superseded(by) {
            tracing::warn!(
                event = "cache_not_tidied",
                error = in_one_line(&error),
                "older updates were not removed"
            );
        }
    }

    fn note_increments(&mut self, kind: Kind, size: usize) {
        self.increments = self.increments.after(kind, size);
        self.shared.ledger.set_increments(self.increments);
    }

    /// An alarm when a disk that could be written can't be any more; none for each try after that.
    fn tell_of_trouble(&mut self, taken: &Result<Accepted, Refused>) {
        match taken {
            Err(Refused::Disk(error)) => {
                if self.trouble.replace(error.alarm()) != Some(error.alarm()) {
                    let message = format!("{}; {}", in_one_line(error), record::served_meanwhile(error));
                    self.shared.alarm(error.alarm(), &message);
                }
            }
            Ok(Accepted { verdict }) if *verdict != "unchanged" => self.trouble = None,
            Ok(_) | Err(_) => {}
        }
    }

    /// Keeps what contradicts the held state or trust document, and that too.
    fn keep_evidence(&self, what: &'static str, refused: &[u8]) {
        let held = match what {
            "trust" => self.trust.newest_file(),
            _ => self.held.map(|held| self.cache.place_of(held.epoch, held.version)),
        };
        if let Err(error) = self.evidence.keep(what, refused, held.as_deref()) {
            self.shared.alarm("evidence_not_kept", &in_one_line(&error));
        }
        self.shared.ledger.set_evidence(self.evidence.files());
    }
}

impl Shared {
    /// Tells of something that needs an operator.
    pub(crate) fn alarm(&self, alarm: &'static str, message: &str) {
        self.ledger.count_alarm(alarm, message, self.clock.now().unix_ms);
        tracing::error!(event = "alarm", alarm, "{message}");
    }
}

impl KnownFloor {
    fn check(self, now: Now) -> FloorCheck {
        match self {
            Self::At(mark) => FloorCheck::AtLeast(mark.floor),
            Self::Lost => FloorCheck::Lost { now_ms: now.unix_ms },
        }
    }

    fn raised_to(self, floor: Floor, trust: u64) -> Mark {
        let reached = Mark { floor, trust };
        match self {
            Self::At(known) => known.higher(reached),
            Self::Lost => reached,
        }
    }

    fn issued_at(self) -> u64 {
        match self {
            Self::At(mark) => mark.floor.issued_at,
            Self::Lost => 0,
        }
    }

    /// The version of the newest trust document that is known to have been followed.
    fn trust(self) -> u64 {
        match self {
            Self::At(mark) => mark.trust,
            Self::Lost => 0,
        }
    }
}

/// The trust document to verify under: none while the chain of those kept ends before what this host
/// has followed. Under an earlier one, a signer that was revoked since would count.
fn usable(store: &TrustStore, floor: KnownFloor) -> Option<&Trust> {
    store.trust().filter(|trust| trust.version() >= floor.trust())
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Replace | Verdict::ReplaceIfStateEqual(_) => "replace",
        Verdict::Extend => "extend",
        Verdict::Refresh => "refresh",
        Verdict::Unchanged => "unchanged",
    }
}

#[cfg(test)]
mod tests;
