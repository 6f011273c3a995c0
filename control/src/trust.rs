//! Which keys hosts trust. The first document is made here, once, when a database is new: both its
//! keys are online until an operator takes the root away. How the next ones come about is in `change`.

pub(crate) mod chain;
pub(crate) mod change;
pub(crate) mod expiry;
pub(crate) mod root_key;
pub(crate) mod words;

use miosa_snapshot::{Digest, KeyError, Signer, SigningKey, TrustDocument, TrustError};
use zeroize::Zeroizing;

use crate::clock::Millis;
use crate::store::trust::{StoredKey, StoredTrust};
use crate::store::{Origin, Store, StoreError};

/// Why the first trust document can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundTrustError {
    /// The store.
    #[error("cannot read or store trust documents")]
    Store(#[from] StoreError),
    /// A key.
    #[error("cannot make a signing key")]
    Key(#[from] KeyError),
    /// The document.
    #[error("cannot sign the trust document")]
    Sign(#[from] TrustError),
}

/// Makes root key, signer and trust document version 1, unless the database has one.
pub(crate) async fn found(store: &Store) -> Result<(), FoundTrustError> {
    if !store.trust_documents().await?.is_empty() {
        return Ok(());
    }
    let now = Millis::now();
    let (root, root_pkcs8) = SigningKey::generate()?;
    let (signer, signer_pkcs8) = SigningKey::generate()?;
    let document = TrustDocument {
        version: 1,
        epoch: 1,
        threshold: 1,
        roots: vec![root.public()],
        signers: vec![Signer {
            key: signer.public(),
            expires_at: now.plus(SIGNER_LIFETIME).unsigned(),
            tenants: None,
        }],
        expires_at: now.plus(DOCUMENT_LIFETIME).unsigned(),
    };
    let envelope = document.sign(&[&root])?;
    let trust = StoredTrust { version: 1, digest: Digest::of(&envelope).as_bytes().to_vec(), envelope };
    let origin = Origin { actor: "setup".to_owned(), request_id: String::new() };
    let write = store.begin(&origin).await?;
    // Another process may have been first; then its document stands, and these keys are dropped.
    if write.found_trust(&stored(&root, root_pkcs8), &stored(&signer, signer_pkcs8), &trust).await? {
        tracing::info!(digest = %Digest::of(&trust.envelope), "made a root key, a signer and trust document 1");
    }
    Ok(())
}

fn stored(key: &SigningKey, pkcs8: Zeroizing<Vec<u8>>) -> StoredKey {
    StoredKey { id: key.key_id().to_string(), pkcs8 }
}

/// Ten years: the root key lies beside the signer at first, so that an expiry would protect nobody
/// and would stop every host on that day. Who takes the root away sets shorter ones.
const DOCUMENT_LIFETIME: i64 = 10 * YEAR;
const SIGNER_LIFETIME: i64 = 10 * YEAR;
const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;
