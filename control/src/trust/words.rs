//! Trust documents in words, for people who decide whether to sign or publish them.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use miosa_snapshot::{KeyId, Proposal, Signer, TrustDocument, VerifyingKey};

use crate::clock::Millis;

/// Keys whose private halves are in the database.
#[derive(Debug, Default)]
pub(crate) struct Online {
    pub(crate) roots: BTreeSet<KeyId>,
    pub(crate) signers: BTreeSet<KeyId>,
}

/// What a document says, a line each.
pub(crate) fn describe(document: &TrustDocument, online: Option<&Online>) -> Vec<String> {
    let mut lines = vec![
        format!(
            "trust document {}, epoch {}, valid until {}",
            document.version,
            document.epoch,
            time(document.expires_at)
        ),
        format!("root keys, {} of {} must sign:", document.threshold, document.roots.len()),
    ];
    lines.extend(document.roots.iter().map(|root| {
        let is_here = online.is_some_and(|online| online.roots.contains(&root.key_id()));
        format!("  {}{}", key(root), if is_here { ", online here" } else { "" })
    }));
    if online.is_some_and(|online| online.roots.is_empty()) {
        lines.push("  no root key is online here".to_owned());
    }
    lines.push("signers:".to_owned());
    lines.extend(document.signers.iter().map(|signer| {
        let is_here = online.is_some_and(|online| online.signers.contains(&signer.key.key_id()));
        format!("  {}{}", signer_words(signer), if is_here { ", online here" } else { "" })
    }));
    if document.signers.is_empty() {
        lines.push("  none: hosts accept no update under this document".to_owned());
    }
    lines
}

/// What one document changes of another, a line each.
pub(crate) fn changes(from: &TrustDocument, to: &TrustDocument) -> Vec<String> {
    let mut lines = Vec::new();
    let mut moved = |what: &str, from: String, to: String| {
        if from != to {
            lines.push(format!("  {what}: {from} -> {to}"));
        }
    };
    moved("version", from.version.to_string(), to.version.to_string());
    moved("epoch", from.epoch.to_string(), to.epoch.to_string());
    moved("valid until", time(from.expires_at), time(to.expires_at));
    moved("root keys that must sign", from.threshold.to_string(), to.threshold.to_string());
    for root in to.roots.iter().filter(|root| !from.roots.contains(root)) {
        lines.push(format!("+ root key {}", key(root)));
    }
    for root in from.roots.iter().filter(|root| !to.roots.contains(root)) {
        lines.push(format!("- root key {}", key(root)));
    }
    for signer in &to.signers {
        match from.signers.iter().find(|known| known.key == signer.key) {
            None => lines.push(format!("+ signer {}", signer_words(signer))),
            Some(known) if known != signer => {
                lines.push(format!("  signer {} -> {}", signer_words(known), span(signer)));
            }
            Some(_) => {}
        }
    }
    for signer in &from.signers {
        if !to.signers.iter().any(|kept| kept.key == signer.key) {
            lines.push(format!("- signer {}: nothing that it signed counts any more", signer.key.key_id()));
        }
    }
    lines
}

/// How many signatures a proposal lacks: of the roots it replaces, where they are known, and of its own.
pub(crate) fn missing(proposal: &Proposal, from: Option<&TrustDocument>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut lack = |document: &TrustDocument, whose: &str| {
        let signed = proposal.count_signed(&document.roots);
        let lacking = document.threshold.saturating_sub(signed);
        if lacking > 0 {
            lines.push(format!(
                "{lacking} more of {whose} must sign (signed: {signed} of {} needed)",
                document.threshold
            ));
            let open = document.roots.iter().filter(|root| !proposal.is_signed_by(root));
            lines.extend(open.map(|root| format!("  not yet: {}", root.key_id())));
        }
    };
    if let Some(from) = from {
        lack(from, &format!("the root keys of document {}", from.version));
    }
    if from.is_none_or(|from| {
        (&from.roots, from.threshold) != (&proposal.document().roots, proposal.document().threshold)
    }) {
        lack(proposal.document(), "its own root keys");
    }
    lines
}

/// A public key by the id that everything names it with, and as it is given to a command.
fn key(key: &VerifyingKey) -> String {
    format!("{} ({})", key.key_id(), BASE64.encode(key.as_bytes()))
}

fn signer_words(signer: &Signer) -> String {
    format!("{} {}", signer.key.key_id(), span(signer))
}

fn span(signer: &Signer) -> String {
    let tenants = match &signer.tenants {
        None => "all tenants".to_owned(),
        Some(tenants) if tenants.is_empty() => "no tenant".to_owned(),
        Some(tenants) => format!("tenants {}", tenants.join(", ")),
    };
    format!("until {} for {tenants}", time(signer.expires_at))
}

/// A time that no calendar has is told as what it means.
pub(crate) fn time(milliseconds: u64) -> String {
    if milliseconds > END_OF_9999 {
        return "the end of time".to_owned();
    }
    Millis::from_unsigned(milliseconds).rfc3339()
}

const END_OF_9999: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use miosa_snapshot::{MAX_NUMBER, SigningKey};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate().unwrap().0
    }

    fn signer(key: &SigningKey, tenants: Option<&[&str]>) -> Signer {
        let tenants = tenants.map(|tenants| tenants.iter().copied().map(str::to_owned).collect());
        Signer { key: key.public(), expires_at: 1_800_000_000_000, tenants }
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let keys: Vec<_> = (0..4).map(|_| key()).collect();
        let from = TrustDocument {
            version: 1,
            epoch: 1,
            threshold: 1,
            roots: vec![keys[0].public()],
            signers: vec![signer(&keys[1], None), signer(&keys[2], None)],
            expires_at: 1_800_000_000_000,
        };
        assert!(changes(&from, &from).is_empty());
        let to = TrustDocument {
            version: 2,
            epoch: 2,
            threshold: 2,
            roots: vec![keys[1].public(), keys[3].public()],
            signers: vec![signer(&keys[2], Some(&["acme"])), signer(&keys[3], Some(&[]))],
            expires_at: MAX_NUMBER,
        };
        let told = changes(&from, &to).join("\n");
        let id = |index: usize| keys[index].key_id();
        for expected in [
            "  version: 1 -> 2".to_owned(),
            "  epoch: 1 -> 2".to_owned(),
            "  valid until: 2027-01-15T08:00:00Z -> the end of time".to_owned(),
            "  root keys that must sign: 1 -> 2".to_owned(),
            format!("+ root key {} (", id(1)),
            format!("- root key {} (", id(0)),
            format!("+ signer {} until 2027-01-15T08:00:00Z for no tenant", id(3)),
            format!("- signer {}: nothing that it signed counts any more", id(1)),
            "for all tenants -> until 2027-01-15T08:00:00Z for tenants acme".to_owned(),
        ] {
            assert!(told.contains(&expected), "{expected} in {told}");
        }
    }

    #[test]
    fn what_is_missing_is_told_for_both_sets_of_roots() {
        let (one, two, three) = (key(), key(), key());
        let from = TrustDocument {
            version: 1,
            epoch: 1,
            threshold: 1,
            roots: vec![one.public()],
            signers: Vec::new(),
            expires_at: 9,
        };
        let to = TrustDocument {
            version: 2,
            threshold: 2,
            roots: vec![two.public(), three.public()],
            ..from.clone()
        };
        let mut proposal = Proposal::new(to).unwrap();
        assert_eq!(missing(&proposal, Some(&from)).len(), 5);
        proposal.sign(&one).unwrap();
        proposal.sign(&two).unwrap();
        let told = missing(&proposal, Some(&from));
        assert_eq!(told[0], "1 more of its own root keys must sign (signed: 1 of 2 needed)");
        assert_eq!(told[1], format!("  not yet: {}", three.key_id()));
        proposal.sign(&three).unwrap();
        assert!(missing(&proposal, Some(&from)).is_empty() && missing(&proposal, None).is_empty());
    }
}
