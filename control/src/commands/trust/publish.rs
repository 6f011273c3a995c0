//! `trust publish`: takes a finished document in, by the very rule that hosts follow it with.

use std::collections::BTreeSet;
use std::path::Path;

use miosa_snapshot::{Digest, Proposal, Trust, TrustError};

use super::rotate::{digest_of, lacks_signatures};
use super::{Held, TrustCommandError, read_document, tell, tell_all};
use crate::clock::Millis;
use crate::commands::{origin, print_line};
use crate::store::Store;
use crate::store::trust::{Published, StoredKey, StoredTrust};
use crate::trust::{expiry, words};

/// Publishes the document in a file.
pub(super) async fn publish(store: &Store, file: &Path) -> Result<(), TrustCommandError> {
    let bytes = read_document(file)?;
    let held = Held::read(store).await?;
    let proposal = Proposal::read(&bytes)?;
    if held.trust.digest() == Digest::of(&bytes) {
        tell(&format!("trust document {} is in force already", held.trust.version()));
        return Ok(print_line(&held.trust.version().to_string())?);
    }
    let trust = match held.trust.advance(&bytes) {
        Ok(trust) => trust,
        // It was read as a proposal, so this one is a document that nobody has signed.
        Err(TrustError::Envelope(_)) => {
            return Err(TrustCommandError::Refused(format!(
                "{} is a draft without a signature; `miosa-control trust sign` adds them",
                file.display()
            )));
        }
        Err(error) => {
            let missing = words::missing(&proposal, Some(held.trust.document()));
            if lacks_signatures(&error) || !missing.is_empty() {
                tell_all(&missing);
            }
            return Err(error.into());
        }
    };
    tell_all(&words::changes(held.trust.document(), trust.document()));
    put_in_force(store, &trust, &bytes, None).await?;
    tell_published(&trust);
    tell_all(&expiry::warnings(&trust, &held.online.signers, Millis::now()));
    Ok(print_line(&trust.version().to_string())?)
}

/// Takes in a document that was published already, by a control plane that is gone; the one in force is no
/// news, and neither is one before it that the chain went through.
pub(crate) async fn follow(store: &Store, file: &Path) -> Result<(), TrustCommandError> {
    let bytes = read_document(file)?;
    if store.trust_documents().await?.iter().any(|known| known.envelope == bytes) {
        return Ok(());
    }
    let held = Held::read(store).await?;
    let trust = held.trust.advance(&bytes).map_err(|source| TrustCommandError::NotFollowed {
        path: file.to_owned(),
        version: held.trust.version(),
        source,
    })?;
    put_in_force(store, &trust, &bytes, None).await?;
    tell(&format!("followed to trust document {}, {}", trust.version(), file.display()));
    Ok(())
}

/// Stores a verified document in one transaction with the signer that was made for it.
pub(super) async fn put_in_force(
    store: &Store,
    trust: &Trust,
    bytes: &[u8],
    made: Option<&StoredKey>,
) -> Result<(), TrustCommandError> {
    let document = trust.document();
    let signers = document.signers.iter().map(|signer| signer.key);
    let listed: BTreeSet<_> =
        document.roots.iter().copied().chain(signers).map(|key| key.key_id().to_string()).collect();
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let stored =
        StoredTrust { version: number(trust.version()), digest: digest_of(bytes), envelope: bytes.to_vec() };
    let write = store.begin(&origin()).await?;
    match write.publish_trust(&stored, made, &listed, number(trust.epoch())).await? {
        Published::Yes => Ok(()),
        Published::TooLate => Err(TrustCommandError::Refused(format!(
            "another trust document {} was published meanwhile; look at it with `trust show`, and rotate again",
            trust.version()
        ))),
    }
}

pub(super) fn tell_published(trust: &Trust) {
    tell(&format!("published trust document {}, digest {}", trust.version(), trust.digest()));
    tell(
        "running control planes send it, and a full update under it, to every connected host within a second",
    );
    tell("a backup made before it does not know it: make a new one");
}
