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
            Self::Stopping => "stopping",
        }
    }

    /// The answer on the intake socket: 409 where a full update would help.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Judged(refusal) if refusal.needs_full() => (StatusCode::CONFLICT, "need_full"),
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
