//! What about a trust document needs an operator soon. Pure.

use std::collections::BTreeSet;

use miosa_snapshot::{KeyId, Trust};

use super::words::time;
use crate::clock::Millis;

/// A line for each thing that is wrong, or will be within a month.
pub(crate) fn warnings(trust: &Trust, online: &BTreeSet<KeyId>, now: Millis) -> Vec<String> {
    let (now, soon) = (now.unsigned(), now.plus(SOON).unsigned());
    let document = trust.document();
    let mut lines = Vec::new();
    let mut told = |what: &str, expires_at: u64| {
        let expires = if expires_at <= now { "expired" } else { "expires" };
        if expires_at <= soon {
            lines.push(format!(
                "{what} {expires} at {}: run `miosa-control trust rotate --new-signer`",
                time(expires_at)
            ));
        }
    };
    told(&format!("trust document {}", document.version), document.expires_at);
    let ours = document.signers.iter().filter(|signer| online.contains(&signer.key.key_id()));
    // An old one may expire beside one that takes over.
    match ours.max_by_key(|signer| signer.expires_at) {
        Some(signer) => told(&format!("signer {}", signer.key.key_id()), signer.expires_at),
        None => lines.push(
            "no signer of the trust document is online here: run `miosa-control trust rotate --new-signer`"
                .to_owned(),
        ),
    }
    lines
}

/// 30 days: time to fetch root keys from wherever they are.
const SOON: i64 = 30 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use miosa_snapshot::{Digest, Signer, SigningKey, TrustDocument};

    use super::*;

    #[test]
    fn what_expires_within_a_month_is_told_once_for_the_signer_that_lasts_longest() {
        let (root, short, long) = (key(), key(), key());
        let signer = |key: &SigningKey, expires_at| Signer { key: key.public(), expires_at, tenants: None };
        let document = TrustDocument {
            version: 1,
            epoch: 1,
            threshold: 1,
            roots: vec![root.public()],
            signers: vec![signer(&short, 100), signer(&long, 1_000 + SOON.unsigned_abs())],
            expires_at: 2_000 + SOON.unsigned_abs(),
        };
        let envelope = document.sign(&[&root]).unwrap();
        let trust = Trust::pin(&envelope, &Digest::of(&envelope)).unwrap();
        let both = BTreeSet::from([short.key_id(), long.key_id()]);
        let told = |now| warnings(&trust, &both, Millis(now));
        assert!(told(999).is_empty());
        assert!(told(1_000)[0].starts_with(&format!("signer {} expires at ", long.key_id())));
        assert_eq!(told(2_000).len(), 2);
        assert!(told(3_000 + SOON)[0].starts_with("trust document 1 expired at "));
        assert_eq!(warnings(&trust, &BTreeSet::new(), Millis(0)).len(), 1);
    }

    fn key() -> SigningKey {
        SigningKey::generate().unwrap().0
    }
}
