//! The trust document in force as the publisher needs it: every document so far as lines for the
//! streams of hosts, and the key that signs under the newest.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use miosa_snapshot::{SigningKey, Trust};
use tokio::time::Instant;

use super::sealer::{Signer, SignerError};
use crate::clock::Millis;
use crate::store::trust::KeyRole;
use crate::store::{Store, StoreError};
use crate::trust::chain;
use crate::trust::words::time;

/// What is in force.
pub(super) struct InForce {
    trust: Trust,
    /// The line of each document by its version, oldest first.
    lines: Vec<(u64, Bytes)>,
    signer: Result<Arc<Signer>, NoSigner>,
    /// When it was read.
    pub(super) read_at: Instant,
}

/// Why nothing is signed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSigner {
    /// The database is an old one.
    #[error(
        "this database was restored from a backup: nothing is published before the trust document is of epoch {0}; run `miosa-control trust rotate`, or sign and publish the draft that `restore` left"
    )]
    EpochToReach(u64),
    /// Hosts accept nothing under it.
    #[error("trust document {version} expired at {at}; run `miosa-control trust rotate`")]
    TrustExpired { version: u64, at: String },
    /// There is one, but too old.
    #[error(
        "every signer that is online here has expired, the last one at {at}; run `miosa-control trust rotate --new-signer`"
    )]
    SignersExpired { at: String },
    /// There is none.
    #[error(
        "no signer that trust document {version} lists is online here; run `miosa-control trust rotate --new-signer`"
    )]
    NotListed { version: u64 },
}

impl InForce {
    /// Reads it from the store.
    pub(super) async fn read(store: &Store) -> Result<Self, SignerError> {
        let stored = store.trust_documents().await?;
        let trust = chain::follow(&stored)?;
        let lines = stored.iter().map(|stored| (stored.version.unsigned_abs(), line(&stored.envelope)));
        let lines = lines.collect();
        let signer = choose(store, &trust, Millis::now().unsigned()).await?;
        Ok(Self { trust, lines, signer: signer.map(Arc::new), read_at: Instant::now() })
    }

    /// The version of the document.
    pub(super) fn version(&self) -> u64 {
        self.trust.version()
    }

    /// The key that signs under it.
    pub(super) fn signer(&self) -> Result<Arc<Signer>, NoSigner> {
        self.signer.clone()
    }

    /// The lines of all documents after a version; `None` when there are none.
    pub(super) fn lines_after(&self, version: u64) -> Option<Bytes> {
        let after = self.lines.iter().filter(|(each, _)| *each > version);
        let mut lines = BytesMut::new();
        after.for_each(|(_, line)| lines.extend_from_slice(line));
        (!lines.is_empty()).then(|| lines.freeze())
    }
}

/// The newest key of those that are listed and online, before one that may not speak for all tenants.
async fn choose(store: &Store, trust: &Trust, now: u64) -> Result<Result<Signer, NoSigner>, StoreError> {
    let least = store.least_epoch().await?.filter(|epoch| *epoch > trust.epoch());
    if let Some(epoch) = least {
        return Ok(Err(NoSigner::EpochToReach(epoch)));
    }
    let (version, at) = (trust.version(), trust.expires_at());
    if at <= now {
        return Ok(Err(NoSigner::TrustExpired { version, at: time(at) }));
    }
    let mut chosen: Option<Signer> = None;
    let mut last_expiry = None;
    for stored in store.signing_keys(KeyRole::Signer).await? {
        // One that can't be read is as good as none, as long as there is another.
        let Ok(key) = SigningKey::from_pkcs8(&stored.pkcs8) else { continue };
        let Some(listed) = trust.signer(key.key_id()) else { continue };
        last_expiry = last_expiry.max(Some(listed.expires_at));
        let is_narrower = listed.tenants.is_some() && chosen.as_ref().is_some_and(Signer::speaks_for_all);
        if now < listed.expires_at && !is_narrower {
            chosen = Some(Signer::new(key, listed.clone(), trust));
        }
    }
    Ok(chosen.ok_or_else(|| match last_expiry {
        Some(at) => NoSigner::SignersExpired { at: time(at) },
        None => NoSigner::NotListed { version },
    }))
}

/// Envelopes hold no line ends.
fn line(envelope: &[u8]) -> Bytes {
    Bytes::from([br#"{"trust":"#, envelope, b"}\n"].concat())
}
