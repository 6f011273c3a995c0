//! Trust: which keys may speak, who says so, and how that changes.
//!
//! A versioned document, signed by a threshold of root keys, lists the roots of its successor and
//! the signers of updates. The first one is pinned by its digest; each later one must be signed by
//! a threshold of its predecessor's roots and of its own (the root rule of TUF, §5.3 of its
//! specification). Expiry is not looked at here: a newer document must be reachable from an expired
//! one. [`open`](crate::open()) refuses new updates under an expired one.

mod document;
mod proposal;

pub use document::{DocumentError, MAX_ROOTS, MAX_SIGNERS, OutOfScope, Signer, TrustDocument};
pub use proposal::Proposal;

use crate::{
    MAX_SIGNATURES, TRUST_PAYLOAD_TYPE,
    digest::Digest,
    envelope::{Envelope, EnvelopeError, Shape, Signature, pae},
    signing::{KeyId, SigningKey, VerifyingKey},
};

/// A trust document that is trusted: pinned, or reached from a pinned one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    document: TrustDocument,
    digest: Digest,
}

/// Why bytes are not accepted, or not made, as a trust document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// T1: not the document that was pinned.
    #[error("the trust document is not the pinned one")]
    PinMismatch,
    /// E1 to E6: no envelope of this type.
    #[error("cannot take the envelope of a trust document apart")]
    Envelope(#[source] EnvelopeError),
    /// T2: fewer roots of the held document than its threshold have signed.
    #[error("the trust document is signed by {valid} roots of version {version}, not by {threshold}")]
    NotSignedByHeldRoots {
        /// The version that is held.
        version: u64,
        /// Its roots that signed.
        valid: u32,
        /// How many it takes.
        threshold: u32,
    },
    /// T3: what was signed is no trust document.
    #[error("cannot read the trust document")]
    Document(#[source] DocumentError),
    /// T4: fewer of its own roots than its own threshold have signed.
    #[error("the trust document is signed by {valid} of its own roots, not by {threshold}")]
    NotSignedByOwnRoots {
        /// Its roots that signed.
        valid: u32,
        /// How many it takes.
        threshold: u32,
    },
    /// T5: an earlier version than the held one.
    #[error("the trust document of version {offered} is older than the held version {held}")]
    StaleVersion {
        /// The version offered.
        offered: u64,
        /// The version held.
        held: u64,
    },
    /// T6: the held version with other bytes.
    #[error("another trust document of version {version} is held")]
    Equivocation {
        /// The version of both.
        version: u64,
        /// Whether it says something else, which only roots can make. The same in another envelope, with
        /// other signatures or in another order, can be made by anybody who has seen it.
        contradicts: bool,
    },
    /// T7: not the very next version.
    #[error("the trust document of version {offered} does not follow the held version {held}")]
    SkippedVersion {
        /// The version offered.
        offered: u64,
        /// The version held.
        held: u64,
    },
    /// T8: a lower epoch than the held one.
    #[error("the trust document lowers the epoch from {held} to {offered}")]
    EpochLowered {
        /// The epoch offered.
        offered: u64,
        /// The epoch held.
        held: u64,
    },
}

/// The largest trust envelope that is made or read, in bytes: 256 KiB.
pub const MAX_TRUST_BYTES: usize = 256 * 1024;

impl Trust {
    /// Takes the first document of a chain, which a host knows by its digest.
    pub fn pin(bytes: &[u8], digest: &Digest) -> Result<Self, TrustError> {
        check_pin(bytes, digest)?;
        let envelope = Envelope::read(bytes, &SHAPE).map_err(TrustError::Envelope)?;
        let document = TrustDocument::read(&envelope.payload).map_err(TrustError::Document)?;
        check_own_roots(&document, &envelope, &pae(TRUST_PAYLOAD_TYPE, &envelope.payload))?;
        Ok(Self { document, digest: *digest })
    }

    /// Takes the successor of this document. The very bytes already held are no error and change nothing.
    pub fn advance(&self, bytes: &[u8]) -> Result<Self, TrustError> {
        if Digest::of(bytes) == self.digest {
            return Ok(self.clone());
        }
        let envelope = Envelope::read(bytes, &SHAPE).map_err(TrustError::Envelope)?;
        let message = pae(TRUST_PAYLOAD_TYPE, &envelope.payload);
        self.check_held_roots(&envelope, &message)?;
        let document = TrustDocument::read(&envelope.payload).map_err(TrustError::Document)?;
        check_own_roots(&document, &envelope, &message)?;
        self.check_version(&document)?;
        self.check_epoch(&document)?;
        Ok(Self { document, digest: Digest::of(bytes) })
    }

    /// The version of the document.
    pub fn version(&self) -> u64 {
        self.document.version
    }

    /// The highest epoch that updates may have.
    pub fn epoch(&self) -> u64 {
        self.document.epoch
    }

    /// The digest of the exact bytes of its envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Past this no new update is accepted under it, in Unix milliseconds.
    pub fn expires_at(&self) -> u64 {
        self.document.expires_at
    }

    /// The signer of this key id, if it is listed.
    pub fn signer(&self, key_id: KeyId) -> Option<&Signer> {
        self.document.signers.iter().find(|signer| signer.key.key_id() == key_id)
    }

    /// What it says.
    pub fn document(&self) -> &TrustDocument {
        &self.document
    }

    // T2. A threshold of the held document's roots has signed the exact bytes received.
    fn check_held_roots(&self, envelope: &Envelope, message: &[u8]) -> Result<(), TrustError> {
        let TrustDocument { version, threshold, .. } = self.document;
        let valid = count_signed(&self.document.roots, envelope, message);
        if valid < threshold {
            return Err(TrustError::NotSignedByHeldRoots { version, valid, threshold });
        }
        Ok(())
    }

    // T5. The version is not lower than the held one;
    // T6. nor the same, since the bytes are not;
    // T7. nor higher by more than one, since each version decides who signs the next.
    fn check_version(&self, document: &TrustDocument) -> Result<(), TrustError> {
        let (offered, held) = (document.version, self.document.version);
        if offered < held {
            return Err(TrustError::StaleVersion { offered, held });
        }
        if offered == held {
            let contradicts = *document != self.document;
            return Err(TrustError::Equivocation { version: held, contradicts });
        }
        if held.checked_add(1) != Some(offered) {
            return Err(TrustError::SkippedVersion { offered, held });
        }
        Ok(())
    }

    // T8. The epoch is not lower than the held one.
    fn check_epoch(&self, document: &TrustDocument) -> Result<(), TrustError> {
        let (offered, held) = (document.epoch, self.document.epoch);
        if offered < held {
            return Err(TrustError::EpochLowered { offered, held });
        }
        Ok(())
    }
}

impl TrustDocument {
    /// The envelope of this document, signed by `roots`. For a successor these are a threshold of
    /// the held document's roots and of its own; who holds only some of them calls
    /// [`TrustDocument::countersign`] for the rest.
    pub fn sign(&self, roots: &[&SigningKey]) -> Result<Vec<u8>, TrustError> {
        let payload = self.write().map_err(TrustError::Document)?;
        let mut envelope = Envelope { payload, signatures: Vec::new() };
        for root in roots {
            add_signature(&mut envelope, root);
        }
        finish(&envelope)
    }

    /// The same envelope with one more signature, or with that signature in place of a former one
    /// of the same key. Nothing is verified: look at what you sign.
    pub fn countersign(bytes: &[u8], root: &SigningKey) -> Result<Vec<u8>, TrustError> {
        let mut envelope = Envelope::read(bytes, &SHAPE).map_err(TrustError::Envelope)?;
        add_signature(&mut envelope, root);
        finish(&envelope)
    }
}

impl TrustError {
    /// The number of the check in `docs/snapshot-format.md`.
    pub fn check(&self) -> &'static str {
        match self {
            Self::PinMismatch => "T1",
            Self::Envelope(error) => error.check(),
            Self::NotSignedByHeldRoots { .. } => "T2",
            Self::Document(_) => "T3",
            Self::NotSignedByOwnRoots { .. } => "T4",
            Self::StaleVersion { .. } => "T5",
            Self::Equivocation { .. } => "T6",
            Self::SkippedVersion { .. } => "T7",
            Self::EpochLowered { .. } => "T8",
        }
    }

    /// The stable name of this refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PinMismatch => "pin_mismatch",
            Self::Envelope(error) => error.name(),
            Self::NotSignedByHeldRoots { .. } => "not_signed_by_held_roots",
            Self::Document(_) => "malformed_trust",
            Self::NotSignedByOwnRoots { .. } => "not_signed_by_own_roots",
            Self::StaleVersion { .. } => "stale_trust",
            Self::Equivocation { .. } => "trust_equivocation",
            Self::SkippedVersion { .. } => "trust_version_skipped",
            Self::EpochLowered { .. } => "epoch_lowered",
        }
    }
}

// T1. The digest of the bytes is the pinned one.
fn check_pin(bytes: &[u8], digest: &Digest) -> Result<(), TrustError> {
    if Digest::of(bytes) != *digest {
        return Err(TrustError::PinMismatch);
    }
    Ok(())
}

// T4. A threshold of the document's own roots has signed the exact bytes received.
fn check_own_roots(document: &TrustDocument, envelope: &Envelope, message: &[u8]) -> Result<(), TrustError> {
    let threshold = document.threshold;
    let valid = count_signed(&document.roots, envelope, message);
    if valid < threshold {
        return Err(TrustError::NotSignedByOwnRoots { valid, threshold });
    }
    Ok(())
}

/// How many of `roots` have signed. Roots are distinct, so no key counts twice.
fn count_signed(roots: &[VerifyingKey], envelope: &Envelope, message: &[u8]) -> u32 {
    roots
        .iter()
        .filter(|root| envelope.is_signed_by(root, message))
        .fold(0, |count: u32, _| count.saturating_add(1))
}

fn add_signature(envelope: &mut Envelope, root: &SigningKey) {
    let key_id = root.key_id();
    let bytes = root.sign(&pae(TRUST_PAYLOAD_TYPE, &envelope.payload));
    envelope.signatures.retain(|signature| signature.key_id != key_id);
    envelope.signatures.push(Signature { key_id, bytes });
}

/// Writes an envelope, and reads it again so that none is made that no host would take apart.
fn finish(envelope: &Envelope) -> Result<Vec<u8>, TrustError> {
    let bytes = envelope.write(TRUST_PAYLOAD_TYPE);
    Envelope::read(&bytes, &SHAPE).map_err(TrustError::Envelope)?;
    Ok(bytes)
}

const SHAPE: Shape =
    Shape { payload_type: TRUST_PAYLOAD_TYPE, max_bytes: MAX_TRUST_BYTES, max_signatures: MAX_SIGNATURES };

#[cfg(test)]
mod tests;
