//! From the stored documents to the one in force, by the rule that hosts follow it with.

use miosa_snapshot::{Digest, Trust, TrustError};

use crate::store::trust::StoredTrust;

/// Why the stored documents are no chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    /// One that does not follow from the one before.
    #[error("the stored trust document {version} does not verify")]
    Broken { version: i64, source: TrustError },
    /// None at all.
    #[error("the database holds no trust document")]
    Empty,
}

/// Follows the documents, oldest first, to the newest.
pub(crate) fn follow(stored: &[StoredTrust]) -> Result<Trust, ChainError> {
    let mut trust: Option<Trust> = None;
    for stored in stored {
        let next = match trust {
            None => Trust::pin(&stored.envelope, &Digest::of(&stored.envelope)),
            Some(trust) => trust.advance(&stored.envelope),
        };
        trust = Some(next.map_err(|source| ChainError::Broken { version: stored.version, source })?);
    }
    trust.ok_or(ChainError::Empty)
}
