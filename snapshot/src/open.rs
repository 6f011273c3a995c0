//! Opening an update: the numbered checks, in the order in which they are made.
//!
//! Nothing is decrypted before its signature is verified, and no JSON is read before it was
//! decrypted. [`open`] is the only maker of [`Verified`], so an update in hand has passed them all.

use std::{fmt, ops::Range};

use zeroize::Zeroizing;

use crate::{
    MAX_ENVELOPE_BYTES, UPDATE_PAYLOAD_TYPE,
    digest::Digest,
    envelope::{Envelope, EnvelopeError, Shape, pae},
    host::{HostId, HostIdentity},
    sealing::{Body, OpenedKeys},
    statement::{Statement, StatementError},
    trust::{Signer, Trust},
};

/// An update that has passed every check. Its payload is wiped on drop and never printed.
pub struct Verified {
    statement: Statement,
    signer: Signer,
    text: Zeroizing<Vec<u8>>,
    payload: Range<usize>,
    digest: Digest,
}

/// How an update comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// For the first time, from anywhere.
    New {
        /// The wall clock now, in Unix milliseconds: the clock itself, never one that was pushed
        /// forward by an update, or a stolen key could push it without end.
        now_ms: u64,
    },
    /// Again, from the host's own cache, under the current trust. Its age is no reason to refuse
    /// it: see [`Times::age_at`](crate::Times::age_at) for what age means then.
    Cached,
}

/// Why an update is refused. One variant for each check of `docs/snapshot-format.md`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// E1 to E6: no envelope of this type.
    #[error("cannot take the envelope of an update apart")]
    Envelope(#[source] EnvelopeError),
    /// U1: the signed bytes do not have the parts of an update.
    #[error("the body of the update has not the documented parts")]
    Body,
    /// U2: addressed to another host.
    #[error("the update is for host {for_host}")]
    WrongHost {
        /// The host that it names.
        for_host: HostId,
    },
    /// U3: signed by no signer of the trust document: never listed, or revoked.
    #[error("the update is not signed by a signer of the current trust document")]
    UnknownSigner,
    /// U4: the signature is not that signer's over these bytes.
    #[error("the signature of the update does not verify")]
    BadSignature,
    /// U5: not sealed to this host's key, or not as it was sealed.
    #[error("the update cannot be decrypted with the key of this host")]
    Undecryptable,
    /// U6: what was sealed is no statement.
    #[error("cannot read what the update says")]
    Statement(#[source] StatementError),
    /// U7: the host inside the seal is not the one outside.
    #[error("the update names another host inside its seal than outside")]
    HostMismatch,
    /// U8: the signer inside the seal is not the one that signed.
    #[error("the update names another signer inside its seal than the one that signed it")]
    SignerMismatch,
    /// U9: an epoch that the roots have not granted.
    #[error("the update is of epoch {epoch}, above {granted} of the trust document")]
    EpochAboveTrust {
        /// The epoch of the update.
        epoch: u64,
        /// The epoch of the trust document.
        granted: u64,
    },
    /// U10: the trust document itself has expired (new updates only).
    #[error("the trust document expired at {expires_at}")]
    TrustExpired {
        /// When, in Unix milliseconds.
        expires_at: u64,
    },
    /// U11: issued after the signer's expiry, or (new updates only) opened after it.
    #[error("the signer of the update expired at {expires_at}")]
    SignerExpired {
        /// When, in Unix milliseconds.
        expires_at: u64,
    },
    /// U12: past its `expires_at` (new updates only).
    #[error("the update expired at {expires_at}")]
    Expired {
        /// When, in Unix milliseconds.
        expires_at: u64,
    },
    /// U13: issued more than [`MAX_CLOCK_LEAD_MS`] ahead of the clock (new updates only).
    #[error("the update was issued at {issued_at}, more than an hour ahead of the clock")]
    FromTheFuture {
        /// When, in Unix milliseconds.
        issued_at: u64,
    },
}

/// How far `issued_at` of a new update may be ahead of the clock, in milliseconds: one hour.
pub const MAX_CLOCK_LEAD_MS: u64 = 60 * 60 * 1000;

/// Verifies an update for `host` under `trust`; `opened` saves the key agreement when the update
/// carries the same sealed key as the one before.
pub fn open(
    bytes: &[u8],
    host: &HostIdentity,
    trust: &Trust,
    admission: Admission,
    opened: &mut OpenedKeys,
) -> Result<Verified, OpenError> {
    let envelope = Envelope::read(bytes, &SHAPE).map_err(OpenError::Envelope)?;
    let body = check_body(&envelope)?;
    check_addressee(&body, host)?;
    let signer = check_signer(&envelope, trust)?;
    check_signature(&envelope, signer)?;
    let text = opened.decrypt(&body, host).map_err(|_undecryptable| OpenError::Undecryptable)?;
    let (statement, payload) = Statement::read(&text).map_err(OpenError::Statement)?;
    check_host_inside(&statement, &body)?;
    check_signer_inside(&statement, signer)?;
    check_epoch(&statement, trust)?;
    check_trust_expiry(trust, admission)?;
    check_signer_expiry(&statement, signer, admission)?;
    check_expiry(&statement, admission)?;
    check_clock_lead(&statement, admission)?;
    Ok(Verified { statement, signer: signer.clone(), text, payload, digest: Digest::of(bytes) })
}

impl Verified {
    /// What the signer says about the payload.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The payload: one JSON object, which nobody has looked into yet. Secret.
    pub fn payload(&self) -> &[u8] {
        self.text.get(self.payload.clone()).unwrap_or_default()
    }

    /// Who signed it, as the trust document has it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The digest of the exact bytes of the envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("statement", &self.statement)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl OpenError {
    /// The number of the check in `docs/snapshot-format.md`.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.check(),
            Self::Body => "U1",
            Self::WrongHost { .. } => "U2",
            Self::UnknownSigner => "U3",
            Self::BadSignature => "U4",
            Self::Undecryptable => "U5",
            Self::Statement(_) => "U6",
            Self::HostMismatch => "U7",
            Self::SignerMismatch => "U8",
            Self::EpochAboveTrust { .. } => "U9",
            Self::TrustExpired { .. } => "U10",
            Self::SignerExpired { .. } => "U11",
            Self::Expired { .. } => "U12",
            Self::FromTheFuture { .. } => "U13",
        }
    }

    /// The stable name of this refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.name(),
            Self::Body => "malformed_body",
            Self::WrongHost { .. } => "wrong_host",
            Self::UnknownSigner => "unknown_signer",
            Self::BadSignature => "bad_signature",
            Self::Undecryptable => "undecryptable",
            Self::Statement(_) => "malformed_statement",
            Self::HostMismatch => "host_mismatch",
            Self::SignerMismatch => "signer_mismatch",
            Self::EpochAboveTrust { .. } => "epoch_above_trust",
            Self::TrustExpired { .. } => "trust_expired",
            Self::SignerExpired { .. } => "signer_expired",
            Self::Expired { .. } => "expired",
            Self::FromTheFuture { .. } => "from_the_future",
        }
    }
}

// U1. The signed bytes are host id, zero byte, sealed key, salt and ciphertext.
fn check_body(envelope: &Envelope) -> Result<Body<'_>, OpenError> {
    Body::read(&envelope.payload).ok_or(OpenError::Body)
}

// U2. The host id outside the seal is this host's.
fn check_addressee(body: &Body<'_>, host: &HostIdentity) -> Result<(), OpenError> {
    if body.host_id != host.id {
        return Err(OpenError::WrongHost { for_host: body.host_id.clone() });
    }
    Ok(())
}

// U3. The signature names a signer of the trust document.
fn check_signer<'a>(envelope: &Envelope, trust: &'a Trust) -> Result<&'a Signer, OpenError> {
    let mut named = envelope.signatures.iter().filter_map(|signature| trust.signer(signature.key_id));
    named.next().ok_or(OpenError::UnknownSigner)
}

// U4. The signature is that signer's over the exact payload bytes received.
fn check_signature(envelope: &Envelope, signer: &Signer) -> Result<(), OpenError> {
    let message = pae(UPDATE_PAYLOAD_TYPE, &envelope.payload);
    if !envelope.is_signed_by(&signer.key, &message) {
        return Err(OpenError::BadSignature);
    }
    Ok(())
}

// U5 (the seal opens) and U6 (what was sealed is a statement) are `OpenedKeys::decrypt` and
// `Statement::read`.

// U7. The host inside the seal is the one outside.
fn check_host_inside(statement: &Statement, body: &Body<'_>) -> Result<(), OpenError> {
    if statement.host_id != body.host_id {
        return Err(OpenError::HostMismatch);
    }
    Ok(())
}

// U8. The signer inside the seal is the one that signed: nobody passes off another's ciphertext.
fn check_signer_inside(statement: &Statement, signer: &Signer) -> Result<(), OpenError> {
    if statement.signer != signer.key.key_id() {
        return Err(OpenError::SignerMismatch);
    }
    Ok(())
}

// U9. The epoch is not above the one that the roots have granted.
fn check_epoch(statement: &Statement, trust: &Trust) -> Result<(), OpenError> {
    let (epoch, granted) = (statement.epoch, trust.document().epoch);
    if epoch > granted {
        return Err(OpenError::EpochAboveTrust { epoch, granted });
    }
    Ok(())
}

// U10. New: the trust document has not expired.
fn check_trust_expiry(trust: &Trust, admission: Admission) -> Result<(), OpenError> {
    let expires_at = trust.document().expires_at;
    if admission.is_past(expires_at) {
        return Err(OpenError::TrustExpired { expires_at });
    }
    Ok(())
}

// U11. The update was issued before its signer expired. New: the signer has not expired by now, or
//      an expired key could still sign with an earlier date.
fn check_signer_expiry(
    statement: &Statement,
    signer: &Signer,
    admission: Admission,
) -> Result<(), OpenError> {
    let expires_at = signer.expires_at;
    if statement.times.issued_at > expires_at || admission.is_past(expires_at) {
        return Err(OpenError::SignerExpired { expires_at });
    }
    Ok(())
}

// U12. New: the update has not expired.
fn check_expiry(statement: &Statement, admission: Admission) -> Result<(), OpenError> {
    let expires_at = statement.times.expires_at;
    if admission.is_past(expires_at) {
        return Err(OpenError::Expired { expires_at });
    }
    Ok(())
}

// U13. New: the update was not issued more than an hour ahead of the clock.
fn check_clock_lead(statement: &Statement, admission: Admission) -> Result<(), OpenError> {
    let issued_at = statement.times.issued_at;
    match admission {
        Admission::New { now_ms } if issued_at > now_ms.saturating_add(MAX_CLOCK_LEAD_MS) => {
            Err(OpenError::FromTheFuture { issued_at })
        }
        Admission::New { .. } | Admission::Cached => Ok(()),
    }
}

impl Admission {
    fn is_past(self, time_ms: u64) -> bool {
        match self {
            Self::New { now_ms } => now_ms > time_ms,
            Self::Cached => false,
        }
    }
}

const SHAPE: Shape =
    Shape { payload_type: UPDATE_PAYLOAD_TYPE, max_bytes: MAX_ENVELOPE_BYTES, max_signatures: 1 };

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]
mod tests;
