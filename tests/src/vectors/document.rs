//! Trust documents, and the envelopes around them.

use super::dsse::{Envelope, TRUST};
use super::keys::{Key, ROOT_1, SIGNER_1, SIGNER_2};
use super::update::NEVER;

/// A trust document that is still to be signed.
#[derive(Clone)]
pub(super) struct Document {
    version: u64,
    epoch: u64,
    threshold: u64,
    roots: Vec<String>,
    signers: Vec<String>,
    expires_at: u64,
}

impl Document {
    /// The first one: root 1 alone, signers 1 and 2 for every tenant, nothing ever expires.
    pub(super) fn first() -> Self {
        Self {
            version: 1,
            epoch: 1,
            threshold: 1,
            roots: vec![ROOT_1.base64()],
            signers: vec![signer(SIGNER_1), signer(SIGNER_2)],
            expires_at: NEVER,
        }
    }

    /// The same with the next version.
    pub(super) fn next(&self) -> Self {
        self.clone().version(self.version + 1)
    }

    pub(super) fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    pub(super) fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    pub(super) fn expires(mut self, at: u64) -> Self {
        self.expires_at = at;
        self
    }

    /// It takes so many of these roots.
    pub(super) fn roots(mut self, threshold: u64, roots: &[Key]) -> Self {
        self.threshold = threshold;
        self.roots = roots.iter().map(|root| root.base64()).collect();
        self
    }

    /// With root keys of any text.
    pub(super) fn root_texts(mut self, roots: impl IntoIterator<Item = String>) -> Self {
        self.roots = roots.into_iter().collect();
        self
    }

    /// With these signers; see [`signer`].
    pub(super) fn signers(mut self, signers: impl IntoIterator<Item = String>) -> Self {
        self.signers = signers.into_iter().collect();
        self
    }

    pub(super) fn text(&self) -> String {
        let roots: Vec<_> = self.roots.iter().map(|root| format!("\"{root}\"")).collect();
        format!(
            r#"{{"format":1,"version":{},"epoch":{},"threshold":{},"roots":[{}],"signers":[{}],"expires_at":{}}}"#,
            self.version,
            self.epoch,
            self.threshold,
            roots.join(","),
            self.signers.join(","),
            self.expires_at
        )
    }

    pub(super) fn signed(&self, roots: &[Key]) -> Vec<u8> {
        self.envelope(roots).bytes()
    }

    pub(super) fn envelope(&self, roots: &[Key]) -> Envelope {
        Envelope::signed(TRUST, self.text().as_bytes(), roots)
    }

    /// Signed by root 1, with one replacement in the text.
    pub(super) fn but(&self, from: &str, to: &str) -> Vec<u8> {
        let text = self.text();
        assert!(text.contains(from), "{from} is not in {text}");
        Envelope::signed(TRUST, text.replacen(from, to, 1).as_bytes(), &[ROOT_1]).bytes()
    }
}

/// A signer for every tenant that never expires.
pub(super) fn signer(key: Key) -> String {
    signer_text(&key.base64(), NEVER, "null")
}

pub(super) fn signer_until(key: Key, expires_at: u64) -> String {
    signer_text(&key.base64(), expires_at, "null")
}

pub(super) fn signer_for(key: Key, tenants: &[&str]) -> String {
    let tenants: Vec<_> = tenants.iter().map(|tenant| format!("\"{tenant}\"")).collect();
    signer_text(&key.base64(), NEVER, &format!("[{}]", tenants.join(",")))
}

pub(super) fn signer_text(key: &str, expires_at: u64, tenants: &str) -> String {
    format!(r#"{{"key":"{key}","expires_at":{expires_at},"tenants":{tenants}}}"#)
}

/// The first document, signed.
pub(super) fn trust() -> Vec<u8> {
    Document::first().signed(&[ROOT_1])
}
