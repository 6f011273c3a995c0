//! The apply rule: what a verified update may do to what a host holds. A pure decision; making it
//! durable and swapping the state is the daemon's.

use crate::{
    digest::Digest,
    open::Verified,
    statement::{Kind, Statement, Times},
};

/// What a host holds: the position that the next update must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lineage of versions.
    pub epoch: u64,
    /// The version of the state.
    pub version: u64,
    /// The envelope that made this state: the last accepted one that was full or incremental. It is
    /// what incremental updates and heartbeats name in `prev`.
    pub state: Digest,
    /// The envelope accepted last, of any kind.
    pub last: Digest,
    /// The times of that envelope.
    pub times: Times,
}

/// The position below which a host never goes again, kept apart from the cache so that a cache put
/// back to an earlier copy is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The highest (`epoch`, `version`) accepted, compared in this order.
    pub epoch: u64,
    /// See `epoch`.
    pub version: u64,
    /// The newest `issued_at` accepted in that epoch, in Unix milliseconds.
    pub issued_at: u64,
}

/// What is known of the floor when an update is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorCheck {
    /// None was ever written (first contact), or the cache is being read again from its beginning,
    /// and what it comes to will be compared with the floor.
    None,
    /// The floor as read.
    AtLeast(Floor),
    /// There was one and it can't be read: only a full update issued at most 15 minutes ago will do.
    Lost {
        /// The wall clock now, in Unix milliseconds.
        now_ms: u64,
    },
}

/// What to do with an update that may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Full: its payload takes the place of the held state, if any.
    Replace,
    /// Full, of the version that is held: as `Replace`, if [`Unsettled::settle`] does not refuse it.
    ReplaceIfStateEqual(Unsettled),
    /// Incremental: its payload is applied to the held state.
    Extend,
    /// Heartbeat: only the times are newer.
    Refresh,
    /// The bytes of an envelope already accepted: nothing to do.
    Unchanged,
}

/// A full update of the version that is held, before anybody has compared the two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// What there is to refuse if they are equal.
    if_equal: Result<(), Refusal>,
}

/// Why a verified update is not applied. It never disturbs what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// J2: below the held version, or incremental and not above it.
    #[error("the update is older than the state that is held")]
    StaleVersion,
    /// J3: below the floor.
    #[error("the update is older than what this host has accepted before")]
    BelowFloor,
    /// J4: the floor is lost, and this is not a full update issued at most 15 minutes ago.
    #[error("the floor of this host is lost and only a recent full update can set another")]
    FloorLost,
    /// J5: not on top of exactly the held state, or there is none. A full update is needed.
    #[error("the update does not apply on top of the state that is held")]
    WrongBase,
    /// J6: another state of the version that is held: two states were signed under one version.
    #[error("the update contradicts the state that is held under the same version")]
    Equivocation,
    /// J7: issued before something of its epoch that was accepted already.
    #[error("the update was issued before one that this host has accepted")]
    IssuedBackwards,
}

/// Judges an update against what is held (`None` before the first) and the floor.
pub fn judge(update: &Verified, held: Option<&Held>, floor: FloorCheck) -> Result<Verdict, Refusal> {
    if is_known(update, held) {
        return Ok(Verdict::Unchanged);
    }
    check_not_stale(update, held)?;
    check_floor(update, floor)?;
    check_lost_floor(update, floor)?;
    check_base(update, held)?;
    let issued = check_issued(update, held, floor);
    let is_held_version = held.is_some_and(|held| held.position() == position(update));
    match update.statement().kind {
        Kind::Full if is_held_version => Ok(Verdict::ReplaceIfStateEqual(Unsettled { if_equal: issued })),
        Kind::Full => issued.map(|()| Verdict::Replace),
        Kind::Incremental { .. } => issued.map(|()| Verdict::Extend),
        Kind::Heartbeat { .. } => issued.map(|()| Verdict::Refresh),
    }
}

impl Unsettled {
    /// The end of [`judge`]: compares the `held` state with the one that the update carries, which
    /// only who knows the payload can do.
    pub fn settle<S: PartialEq>(self, held: &S, offered: &S) -> Result<(), Refusal> {
        check_same_state(held, offered)?;
        self.if_equal
    }
}

impl Held {
    /// What is held after `update` was applied to `before`.
    pub fn after(before: Option<&Self>, update: &Verified) -> Self {
        let statement = update.statement();
        let state = match (statement.kind, before) {
            (Kind::Heartbeat { .. }, Some(before)) => before.state,
            (Kind::Heartbeat { .. }, None) | (Kind::Full | Kind::Incremental { .. }, _) => update.digest(),
        };
        Self {
            epoch: statement.epoch,
            version: statement.version,
            state,
            last: update.digest(),
            times: statement.times,
        }
    }

    /// The floor that this position sets.
    pub fn floor(&self) -> Floor {
        Floor { epoch: self.epoch, version: self.version, issued_at: self.times.issued_at }
    }

    fn position(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }
}

impl Floor {
    /// The floor that forbids all that either of two forbids.
    pub fn higher(self, other: Self) -> Self {
        let (low, high) = if self.position() <= other.position() { (self, other) } else { (other, self) };
        let issued_at =
            if low.epoch == high.epoch { low.issued_at.max(high.issued_at) } else { high.issued_at };
        Self { issued_at, ..high }
    }

    fn position(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }
}

impl Refusal {
    /// The number of the check in `docs/snapshot-format.md`.
    pub fn check(&self) -> &'static str {
        match self {
            Self::StaleVersion => "J2",
            Self::BelowFloor => "J3",
            Self::FloorLost => "J4",
            Self::WrongBase => "J5",
            Self::Equivocation => "J6",
            Self::IssuedBackwards => "J7",
        }
    }

    /// The stable name of this refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StaleVersion => "stale_version",
            Self::BelowFloor => "below_floor",
            Self::FloorLost => "floor_lost",
            Self::WrongBase => "wrong_base",
            Self::Equivocation => "equivocation",
            Self::IssuedBackwards => "issued_backwards",
        }
    }

    /// Whether a full update would help.
    pub fn needs_full(&self) -> bool {
        match self {
            Self::WrongBase | Self::FloorLost => true,
            Self::BelowFloor | Self::StaleVersion | Self::Equivocation | Self::IssuedBackwards => false,
        }
    }
}

// J1. The very bytes accepted last, or of the held state, are no news.
fn is_known(update: &Verified, held: Option<&Held>) -> bool {
    held.is_some_and(|held| update.digest() == held.last || update.digest() == held.state)
}

// J2. (epoch, version) is not below the held one, and that of an incremental update is above it.
//     Another incremental update of the held version is no proof of another state: what it was based
//     on is gone, and an honest publisher may have sent that version in more than one way. So nobody
//     can raise an alarm by carrying it here again.
fn check_not_stale(update: &Verified, held: Option<&Held>) -> Result<(), Refusal> {
    let Some(held) = held else { return Ok(()) };
    let is_stale = match update.statement().kind {
        Kind::Incremental { .. } => position(update) <= held.position(),
        Kind::Full | Kind::Heartbeat { .. } => position(update) < held.position(),
    };
    if is_stale { Err(Refusal::StaleVersion) } else { Ok(()) }
}

// J3. (epoch, version) is not below the floor.
fn check_floor(update: &Verified, floor: FloorCheck) -> Result<(), Refusal> {
    match floor {
        FloorCheck::AtLeast(floor) if position(update) < floor.position() => Err(Refusal::BelowFloor),
        FloorCheck::AtLeast(_) | FloorCheck::None | FloorCheck::Lost { .. } => Ok(()),
    }
}

// J4. Where the floor is lost, the update is a full one issued at most 15 minutes ago (or ahead of
//     the clock, as far as U13 lets it).
fn check_lost_floor(update: &Verified, floor: FloorCheck) -> Result<(), Refusal> {
    let FloorCheck::Lost { now_ms } = floor else { return Ok(()) };
    let Statement { kind, times, .. } = update.statement();
    let is_recent = now_ms.saturating_sub(times.issued_at) <= LOST_FLOOR_MAX_AGE_MS;
    if *kind != Kind::Full || !is_recent {
        return Err(Refusal::FloorLost);
    }
    Ok(())
}

// J5. An incremental update or heartbeat is on top of exactly the held epoch, version and envelope.
fn check_base(update: &Verified, held: Option<&Held>) -> Result<(), Refusal> {
    let Statement { kind, epoch, .. } = update.statement();
    let (from, prev) = match *kind {
        Kind::Full => return Ok(()),
        Kind::Incremental { from, prev } | Kind::Heartbeat { from, prev } => (from, prev),
    };
    match held {
        Some(held) if (*epoch, from, prev) == (held.epoch, held.version, held.state) => Ok(()),
        Some(_) | None => Err(Refusal::WrongBase),
    }
}

// J6. A full update of the held version has the held state. This comes before J7, or an earlier
//     `issued_at` would hide a second state behind a refusal without alarm.
fn check_same_state<S: PartialEq>(held: &S, offered: &S) -> Result<(), Refusal> {
    if held != offered {
        return Err(Refusal::Equivocation);
    }
    Ok(())
}

// J7. It was not issued before anything of its epoch that was accepted. A higher epoch starts time
//     anew, as the roots have granted it: recovery does not wait for a clock that ran ahead.
fn check_issued(update: &Verified, held: Option<&Held>, floor: FloorCheck) -> Result<(), Refusal> {
    let Statement { epoch, times, .. } = update.statement();
    let floor = match floor {
        FloorCheck::AtLeast(floor) => Some(floor),
        FloorCheck::None | FloorCheck::Lost { .. } => None,
    };
    let accepted = [held.map(Held::floor), floor];
    let is_backwards = |accepted: Floor| accepted.epoch == *epoch && times.issued_at < accepted.issued_at;
    if accepted.into_iter().flatten().any(is_backwards) {
        return Err(Refusal::IssuedBackwards);
    }
    Ok(())
}

fn position(update: &Verified) -> (u64, u64) {
    (update.statement().epoch, update.statement().version)
}

const LOST_FLOOR_MAX_AGE_MS: u64 = 15 * 60 * 1000;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]
mod tests;
