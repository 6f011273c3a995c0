//! Telling what became of an offer: one log line, the counts, and what an operator can do about a
//! refusal. It decides nothing.

use miosa_injector::PayloadError;
use miosa_snapshot::{EnvelopeError, OpenError, Refusal, TrustError};

use super::{Accepted, Origin, Refused, Shared};
use crate::disk::DiskError;
use crate::failure::in_one_line;
use crate::ledger::{DoorEvent, LastRefusal};
use crate::moment::{apart, rfc3339};

impl Shared {
    /// Tells what became of an offer. `held`: the epoch and version held after it.
    pub(crate) fn record(
        &self,
        what: &'static str,
        origin: &Origin,
        held: Option<(u64, u64)>,
        taken: &Result<Accepted, Refused>,
    ) {
        let (door, file, at) = (origin.door(), origin.file(), self.clock.now().unix_ms);
        match taken {
            Ok(Accepted { verdict }) => {
                let (epoch, version) = held.unwrap_or_default();
                tracing::info!(event = "accepted", door, file, what, verdict, epoch, version, "accepted");
                self.ledger.count_accepted(verdict);
                self.ledger.count_at(door, true, DoorEvent::new(file, verdict, at));
            }
            Err(refused) => {
                let (code, check) = (refused.name(), refused.check());
                let problem = self.explained(refused);
                tracing::warn!(event = "refused", door, file, what, code, check, problem, "refused");
                self.ledger.count_at(door, false, DoorEvent::new(file, code, at));
                let check = check.map(str::to_owned);
                self.ledger
                    .count_refused(code, LastRefusal { code: code.to_owned(), check, message: problem, at });
            }
        }
    }

    /// A refusal with its reasons and what to do about it.
    pub(crate) fn explained(&self, refused: &Refused) -> String {
        let reason = in_one_line(refused);
        match refused.advice(self.clock.now().unix_ms) {
            Some(advice) => format!("{reason}; {advice}"),
            None => reason,
        }
    }
}

impl Refused {
    /// What to do about it, where that is not plain from the reason. `now_ms` is this host's wall clock.
    fn advice(&self, now_ms: u64) -> Option<String> {
        let fixed = match self {
            Self::Open(error) => return advice_on_opening(error, now_ms),
            Self::Judged(refusal) => advice_on_order(*refusal),
            Self::Trust(error) => advice_on_trust(error)?,
            Self::Disk(error) => return Some(served_meanwhile(error)),
            Self::TooManyIncrements { .. } => "send a full update",
            Self::Payload(PayloadError::Malformed(_)) => {
                "it is of a publisher that does not keep to the format, or of a newer one than this host"
            }
            Self::Payload(_) | Self::Scope(_) | Self::NoTrust | Self::Stopping => return None,
        };
        Some(fixed.to_owned())
    }
}

/// What to do about a disk; nobody waits for that.
pub(super) fn served_meanwhile(error: &DiskError) -> String {
    let meanwhile = "nothing new is accepted until then, and what is held is served meanwhile";
    match error.advice() {
        Some(advice) => format!("{advice}; {meanwhile}"),
        None => meanwhile.to_owned(),
    }
}

fn advice_on_opening(error: &OpenError, now_ms: u64) -> Option<String> {
    let clock = |time_ms: u64| {
        let apart = apart(time_ms, now_ms);
        format!("that is {} ({apart}), and this host's clock says {}", rfc3339(time_ms), rfc3339(now_ms))
    };
    Some(match error {
        OpenError::Expired { expires_at } => {
            format!(
                "{}; if the clock is wrong, set it, else have the update published anew",
                clock(*expires_at)
            )
        }
        OpenError::FromTheFuture { issued_at } => {
            format!("{}; if the clock is wrong, set it, else look at the publisher's", clock(*issued_at))
        }
        OpenError::TrustExpired { expires_at } => format!(
            "{}; if the clock is wrong, set it, else hand this host a newer trust document",
            clock(*expires_at)
        ),
        OpenError::SignerExpired { expires_at } => format!(
            "{}; if the clock is wrong, set it, else the trust document must give the signer more time",
            clock(*expires_at)
        ),
        OpenError::UnknownSigner => {
            "hand this host the newest trust document first, if there is one".to_owned()
        }
        OpenError::EpochAboveTrust { .. } => {
            "hand this host the trust document that raises the epoch first".to_owned()
        }
        OpenError::Undecryptable => {
            "it was sealed to another key than this host's, or damaged after it was signed".to_owned()
        }
        OpenError::Envelope(EnvelopeError::Malformed { .. }) => {
            "hand over the exact bytes that were published, with nothing around them and no line end after"
                .to_owned()
        }
        OpenError::WrongHost { .. } => {
            "hand it to that one, and this host what is for it; `miosad status` tells its id".to_owned()
        }
        OpenError::Envelope(_)
        | OpenError::Body
        | OpenError::BadSignature
        | OpenError::Statement(_)
        | OpenError::HostMismatch
        | OpenError::SignerMismatch => return None,
    })
}

fn advice_on_order(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::StaleVersion | Refusal::BelowFloor => {
            "it is an old one, or of a publisher that was put back to an earlier copy, which needs a new epoch"
        }
        Refusal::FloorLost => "have a full update published now",
        Refusal::WrongBase => "hand this host what comes before it, or a full update",
        Refusal::Equivocation => {
            "keep what is in the evidence directory, and find out who else holds the signer's key"
        }
        Refusal::IssuedBackwards => "it is an old one, or the publisher's clock was set back",
    }
}

fn advice_on_trust(error: &TrustError) -> Option<&'static str> {
    match error {
        TrustError::PinMismatch => Some("this host begins with the one that it was enrolled with"),
        TrustError::SkippedVersion { .. } => {
            Some("hand this host every trust document after the held one, in their order")
        }
        TrustError::NotSignedByHeldRoots { .. } => {
            Some("if others come before it, hand them over first; else it is of another publisher, or forged")
        }
        TrustError::Equivocation { contradicts: true, .. } => {
            Some("keep both, and find out who else holds the root keys")
        }
        TrustError::Equivocation { contradicts: false, .. } => {
            Some("it says the same with other signatures, which anybody can make of the held one")
        }
        TrustError::Envelope(_)
        | TrustError::Document(_)
        | TrustError::NotSignedByOwnRoots { .. }
        | TrustError::StaleVersion { .. }
        | TrustError::EpochLowered { .. } => None,
    }
}

/// The number and the name of a refusal and its reasons in one line.
pub(crate) fn numbered(refused: &Refused, message: &str) -> String {
    match refused.check() {
        Some(check) => format!("{check} {}: {message}", refused.name()),
        None => format!("{}: {message}", refused.name()),
    }
}
