//! Why an update or a trust document was not accepted, under one stable name each.

use hyper::StatusCode;
use miosa_injector::PayloadError;
use miosa_snapshot::{OpenError, OutOfScope, Refusal, TrustError};

use crate::disk::DiskError;
use crate::trust_store::NotTaken;

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It does not verify.
    #[error("cannot verify the update")]
    Open(#[from] OpenError),
    /// It does not fit what is held.
    #[error("cannot apply the update")]
    Judged(#[from] Refusal),
    /// It verifies and says nothing this version understands.
    #[error("cannot decode the update")]
    Payload(#[from] PayloadError),
    /// It verifies and fits, and its signer may not say this.
    #[error("cannot take this from the signer of the update")]
    Scope(#[from] OutOfScope),
    /// The trust document does not follow the held one.
    #[error("cannot follow the trust document")]
    Trust(#[from] TrustError),
    /// There is nothing to verify it under.
    #[error("this host holds no trust document; hand it the one that was pinned when it was enrolled")]
    NoTrust,
    /// It could not be made durable, so it is as if it had not come.
    #[error("cannot keep what was received")]
    Disk(#[from] DiskError),
    /// There is no room for more increments on top of the last full update.
    #[error("cannot keep more than the {count} increments on top of the last full update")]
    TooManyIncrements {
        /// How many are kept.
        count: u64,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Refused {
    /// The stable name, by which refusals are counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Open(error) => error.name(),
            Self::Judged(refusal) => refusal.name(),
            Self::Payload(error) => error.name(),
            Self::Scope(error) => error.name(),
            Self::Trust(error) => error.name(),
            Self::NoTrust => "no_trust",
            Self::Disk(_) => "not_durable",
            Self::TooManyIncrements { .. } => "too_many_increments",
            Self::Stopping => "stopping",
        }
    }

    /// The number of the check in `docs/snapshot-format.md`; what depends on this host alone has none.
    pub(crate) fn check(&self) -> Option<&'static str> {
        match self {
            Self::Open(error) => Some(error.check()),
            Self::Judged(refusal) => Some(refusal.check()),
            Self::Payload(error) => Some(error.check()),
            Self::Scope(error) => Some(error.check()),
            Self::Trust(error) => Some(error.check()),
            Self::NoTrust | Self::Disk(_) | Self::TooManyIncrements { .. } | Self::Stopping => None,
        }
    }

    /// Whether the bytes were not judged, so that they should come again.
    pub(crate) fn is_no_verdict(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::Stopping)
    }

    /// Whether another update or trust document could make the same bytes acceptable.
    pub(crate) fn may_fit_later(&self) -> bool {
        match self {
            Self::NoTrust | Self::TooManyIncrements { .. } => true,
            Self::Judged(refusal) => refusal.needs_full(),
            Self::Open(error) => {
                matches!(error, OpenError::UnknownSigner | OpenError::EpochAboveTrust { .. })
            }
            Self::Trust(error) => matches!(
                error,
                TrustError::PinMismatch
                    | TrustError::NotSignedByHeldRoots { .. }
                    | TrustError::SkippedVersion { .. }
            ),
            Self::Payload(_) | Self::Scope(_) | Self::Disk(_) | Self::Stopping => false,
        }
    }

    /// Whether it proves that two contents were signed under one version. Another envelope around the
    /// held trust document proves nothing: its signatures are not signed.
    pub(crate) fn is_equivocation(&self) -> bool {
        matches!(
            self,
            Self::Judged(Refusal::Equivocation)
                | Self::Trust(TrustError::Equivocation { contradicts: true, .. })
        )
    }

    /// The answer on the intake socket: 409 where a full update would help.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Judged(refusal) if refusal.needs_full() => (StatusCode::CONFLICT, "need_full"),
            Self::TooManyIncrements { .. } => (StatusCode::CONFLICT, "need_full"),
            Self::Disk(_) | Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, self.name()),
            Self::Open(_)
            | Self::Judged(_)
            | Self::Payload(_)
            | Self::Scope(_)
            | Self::Trust(_)
            | Self::NoTrust => (StatusCode::UNPROCESSABLE_ENTITY, self.name()),
        }
    }
}

impl From<NotTaken> for Refused {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Trust(error) => Self::Trust(error),
            NotTaken::Disk(error) => Self::Disk(error),
        }
    }
}
