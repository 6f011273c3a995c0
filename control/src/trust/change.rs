//! What an operator asks of the next trust document, applied to the one in force. Pure.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64;
use miosa_snapshot::{KeyId, Signer, TrustDocument, VerifyingKey};

use crate::clock::Millis;

/// What is asked for. Nothing asked for is a new document with the old keys, valid from now.
#[derive(Debug)]
pub(crate) struct Change {
    /// A key that was just made, to sign from here on.
    pub(crate) new_signer: Option<VerifyingKey>,
    /// Signers that are kept elsewhere.
    pub(crate) add_signers: Vec<VerifyingKey>,
    pub(crate) revoke_signers: Vec<Named>,
    /// How long the new and added signers may sign.
    pub(crate) signers_for: Duration,
    /// The tenants that the new and added signers may speak for.
    pub(crate) tenants: Option<Vec<String>>,
    pub(crate) add_roots: Vec<VerifyingKey>,
    pub(crate) remove_roots: Vec<Named>,
    pub(crate) threshold: Option<u32>,
    pub(crate) raise_epoch: bool,
    /// An epoch that must be reached, as after a restore.
    pub(crate) least_epoch: u64,
    /// How long the document is valid.
    pub(crate) valid_for: Duration,
}

/// How a command names a key that a document lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// Each of them.
    All,
    /// The one whose id begins so.
    Id(String),
}

/// Text that names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a key id of 64 hexadecimal digits, at least the first 8 of them, or `all`")]
pub(crate) struct NameSyntax;

/// Why there is no such document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// A key that the document in force does not list, or lists twice by that beginning.
    #[error("{count} {what}s of the trust document have an id that begins with {name}")]
    NotOne { what: &'static str, name: String, count: usize },
    /// A key that is there already.
    #[error("the trust document lists the {what} {id} already")]
    Listed { what: &'static str, id: KeyId },
    /// `all` roots.
    #[error("a trust document without root keys could never be followed by another; name the ones to remove")]
    NoRoots,
    /// A threshold that can't be met.
    #[error(
        "{threshold} root keys would have to sign, and there would be {roots}; set --threshold along with the roots"
    )]
    Threshold { threshold: u32, roots: usize },
    /// Numbers have an end.
    #[error("the trust document's version and epoch can't be raised any further")]
    Exhausted,
}

/// The document that follows `held`.
pub(crate) fn next(held: &TrustDocument, change: &Change, now: Millis) -> Result<TrustDocument, ChangeError> {
    let revoked = named(&change.revoke_signers, "signer", held.signers.iter().map(|signer| signer.key))?;
    let mut signers: Vec<_> = still_signing(held, &revoked, now).cloned().collect();
    for key in change.new_signer.iter().chain(&change.add_signers) {
        if held.signers.iter().any(|signer| signer.key == *key) {
            return Err(ChangeError::Listed { what: "signer", id: key.key_id() });
        }
        signers.push(Signer {
            key: *key,
            expires_at: after(now, change.signers_for),
            tenants: change.tenants.clone(),
        });
    }
    let roots = next_roots(held, change)?;
    let threshold = change.threshold.unwrap_or(held.threshold);
    if usize::try_from(threshold).is_ok_and(|threshold| threshold > roots.len()) || threshold == 0 {
        return Err(ChangeError::Threshold { threshold, roots: roots.len() });
    }
    // What a stolen signer has signed may stand above everything that its successor would sign in
    // the same epoch: versions, and times up to an hour ahead.
    let raised = change.raise_epoch || !revoked.is_empty();
    let epoch = if raised { held.epoch.checked_add(1) } else { Some(held.epoch) };
    Ok(TrustDocument {
        version: held.version.checked_add(1).ok_or(ChangeError::Exhausted)?,
        epoch: epoch.ok_or(ChangeError::Exhausted)?.max(change.least_epoch),
        threshold,
        roots,
        signers,
        expires_at: after(now, change.valid_for),
    })
}

/// Whether a signer must be made for control to sign with: of those in `online`, none would be left.
pub(crate) fn needs_signer(
    held: &TrustDocument,
    revoke: &[Named],
    online: &BTreeSet<KeyId>,
    now: Millis,
) -> Result<bool, ChangeError> {
    let revoked = named(revoke, "signer", held.signers.iter().map(|signer| signer.key))?;
    Ok(!still_signing(held, &revoked, now).any(|signer| online.contains(&signer.key.key_id())))
}

/// The signers that are neither revoked nor expired; an expired one is of no use to anybody.
fn still_signing<'a>(
    held: &'a TrustDocument,
    revoked: &'a BTreeSet<VerifyingKey>,
    now: Millis,
) -> impl Iterator<Item = &'a Signer> {
    held.signers
        .iter()
        .filter(move |signer| signer.expires_at > now.unsigned() && !revoked.contains(&signer.key))
}

fn next_roots(held: &TrustDocument, change: &Change) -> Result<Vec<VerifyingKey>, ChangeError> {
    if change.remove_roots.contains(&Named::All) {
        return Err(ChangeError::NoRoots);
    }
    let removed = named(&change.remove_roots, "root key", held.roots.iter().copied())?;
    let mut roots: Vec<_> = held.roots.iter().filter(|root| !removed.contains(root)).copied().collect();
    for root in &change.add_roots {
        if roots.contains(root) {
            return Err(ChangeError::Listed { what: "root key", id: root.key_id() });
        }
        roots.push(*root);
    }
    Ok(roots)
}

fn named(
    names: &[Named],
    what: &'static str,
    keys: impl Iterator<Item = VerifyingKey> + Clone,
) -> Result<BTreeSet<VerifyingKey>, ChangeError> {
    let mut found = BTreeSet::new();
    for name in names {
        let Named::Id(beginning) = name else {
            found.extend(keys.clone());
            continue;
        };
        let meant: Vec<_> =
            keys.clone().filter(|key| key.key_id().to_string().starts_with(beginning.as_str())).collect();
        let [key] = meant.as_slice() else {
            return Err(ChangeError::NotOne { what, name: beginning.clone(), count: meant.len() });
        };
        found.insert(*key);
    }
    Ok(found)
}

fn after(now: Millis, duration: Duration) -> u64 {
    now.plus(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)).unsigned()
}

impl FromStr for Named {
    type Err = NameSyntax;

    fn from_str(text: &str) -> Result<Self, NameSyntax> {
        if text == "all" {
            return Ok(Self::All);
        }
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (8..=64).contains(&text.len()) { Ok(Self::Id(text.to_owned())) } else { Err(NameSyntax) }
    }
}

/// Reads a public key as commands print it: base64 of its 32 bytes.
pub(crate) fn parse_public_key(text: &str) -> Result<VerifyingKey, String> {
    let bytes = BASE64.decode(text.as_bytes());
    let bytes = bytes.map_err(
        |_malformed| "must be an Ed25519 public key in base64, as `trust root-key generate` prints it",
    )?;
    VerifyingKey::from_bytes(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use miosa_snapshot::SigningKey;

    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn key() -> VerifyingKey {
        SigningKey::generate().unwrap().0.public()
    }

    fn held(roots: usize, signers: &[u64]) -> TrustDocument {
        let signer = |expires_at: &u64| Signer { key: key(), expires_at: *expires_at, tenants: None };
        TrustDocument {
            version: 4,
            epoch: 2,
            threshold: 1,
            roots: (0..roots).map(|_| key()).collect(),
            signers: signers.iter().map(signer).collect(),
            expires_at: 9,
        }
    }

    fn nothing() -> Change {
        Change {
            new_signer: None,
            add_signers: Vec::new(),
            revoke_signers: Vec::new(),
            signers_for: Duration::from_secs(60),
            tenants: None,
            add_roots: Vec::new(),
            remove_roots: Vec::new(),
            threshold: None,
            raise_epoch: false,
            least_epoch: 0,
            valid_for: Duration::from_secs(1),
        }
    }

    fn id(key: &VerifyingKey) -> Named {
        key.key_id().to_string().parse().unwrap()
    }

    #[test]
    fn a_document_is_renewed_without_the_signers_that_have_expired() {
        let held = held(1, &[2_000_000, 1_000_000]);
        let next = next(&held, &nothing(), NOW).unwrap();
        assert_eq!((next.version, next.epoch, next.expires_at), (5, 2, 1_001_000));
        assert_eq!(next.signers, held.signers[..1]);
        assert_eq!(next.roots, held.roots);
    }

    #[test]
    fn revoking_a_signer_raises_the_epoch() {
        let held = held(1, &[2_000_000, 2_000_000]);
        let made = key();
        let change = Change {
            new_signer: Some(made),
            revoke_signers: vec![id(&held.signers[0].key)],
            tenants: Some(vec!["acme".to_owned()]),
            ..nothing()
        };
        let next = next(&held, &change, NOW).unwrap();
        assert_eq!((next.epoch, next.signers.len()), (3, 2));
        assert_eq!(next.signers[0], held.signers[1]);
        let made = Signer { key: made, expires_at: 1_060_000, tenants: Some(vec!["acme".to_owned()]) };
        assert_eq!(next.signers[1], made);
    }

    #[test]
    fn a_signer_is_needed_where_none_that_can_sign_would_be_left() {
        let held = held(1, &[2_000_000, 2_000_000, 1]);
        let ids: Vec<_> = held.signers.iter().map(|signer| signer.key.key_id()).collect();
        let needs = |revoke: &[Named], online: &[usize]| {
            let online = online.iter().map(|index| ids[*index]).collect();
            needs_signer(&held, revoke, &online, NOW).unwrap()
        };
        assert!(!needs(&[], &[0]) && !needs(&[id(&held.signers[0].key)], &[0, 1]));
        assert!(needs(&[Named::All], &[0, 1]) && needs(&[], &[2]) && needs(&[], &[]));
        assert!(needs(&[id(&held.signers[0].key)], &[0]));
    }

    #[test]
    fn roots_and_threshold_change_together() {
        let held = held(1, &[]);
        let (one, two) = (key(), key());
        let change = Change {
            add_roots: vec![one, two],
            remove_roots: vec![id(&held.roots[0])],
            threshold: Some(2),
            least_epoch: 7,
            ..nothing()
        };
        let next_document = next(&held, &change, NOW).unwrap();
        assert_eq!(
            (next_document.roots, next_document.threshold, next_document.epoch),
            (vec![one, two], 2, 7)
        );
        for bad in [
            Change { threshold: Some(2), ..nothing() },
            Change { threshold: Some(0), ..nothing() },
            Change { remove_roots: vec![Named::All], ..nothing() },
            Change { remove_roots: vec![id(&held.roots[0])], ..nothing() },
            Change { remove_roots: vec![id(&one)], ..nothing() },
            Change { add_roots: vec![held.roots[0]], ..nothing() },
        ] {
            assert!(next(&held, &bad, NOW).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_named_by_enough_of_their_id() {
        assert_eq!("all".parse(), Ok(Named::All));
        assert_eq!("0123abcd".parse(), Ok(Named::Id("0123abcd".to_owned())));
        for bad in ["", "0123abc", "0123ABCD", "every", &"0".repeat(65)] {
            assert_eq!(bad.parse::<Named>(), Err(NameSyntax), "{bad}");
        }
        assert!(parse_public_key("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=").is_ok());
        assert!(parse_public_key("Gb9E").is_err() && parse_public_key("!").is_err());
    }
}
