//! What the tests of this crate start from: one root, two signers, their trust, and one host.

use crate::{
    Admission, ContentKey, Digest, Draft, HostIdentity, HostPrivateKey, Kind, OpenError, OpenedKeys, Signer,
    SigningKey, Times, Trust, TrustDocument, UPDATE_PAYLOAD_TYPE, Verified,
    envelope::{Envelope, Signature, pae},
    open, seal,
};

/// The time at which everything in these tests is issued, and opened.
pub(crate) const NOW: u64 = 1_750_000_000_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const NEW: Admission = Admission::New { now_ms: NOW };
pub(crate) const TIMES: Times =
    Times { issued_at: NOW, expires_at: NOW + 15 * MINUTE, serve_until: NOW + 72 * 60 * MINUTE };

pub(crate) struct World {
    pub(crate) root: SigningKey,
    pub(crate) signer: SigningKey,
    pub(crate) other_signer: SigningKey,
    pub(crate) trust: Trust,
    pub(crate) host: HostIdentity,
    pub(crate) key: ContentKey,
}

impl World {
    pub(crate) fn new() -> Self {
        let (root, signer, other_signer) = (signing_key(), signing_key(), signing_key());
        let document = TrustDocument {
            version: 1,
            epoch: 3,
            threshold: 1,
            roots: vec![root.public()],
            signers: vec![unlimited(&signer), unlimited(&other_signer)],
            expires_at: NOW + 1_000 * MINUTE,
        };
        let trust = pinned(&document, &root);
        let host = host("host_1");
        let key = ContentKey::for_host(&host.id, &host.key.public()).unwrap();
        Self { root, signer, other_signer, trust, host, key }
    }

    /// The same world after `change` was made to its trust document.
    pub(crate) fn trusting(mut self, change: impl FnOnce(&mut TrustDocument)) -> Self {
        let mut document = self.trust.document().clone();
        change(&mut document);
        self.trust = pinned(&document, &self.root);
        self
    }

    pub(crate) fn seal(&self, draft: &Draft, payload: &[u8]) -> Vec<u8> {
        seal(draft, payload, &self.key, &self.signer).unwrap()
    }

    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Verified, OpenError> {
        self.open_as(bytes, NEW)
    }

    pub(crate) fn open_as(&self, bytes: &[u8], admission: Admission) -> Result<Verified, OpenError> {
        open(bytes, &self.host, &self.trust, admission, &mut OpenedKeys::new())
    }

    /// The name of the refusal of `bytes`, or of none.
    pub(crate) fn refusal(&self, bytes: &[u8]) -> &'static str {
        self.open(bytes).map_or_else(|error| error.name(), |_verified| "none")
    }

    /// A properly sealed and signed update that says `text`, whatever that is.
    pub(crate) fn state(&self, text: &str) -> Vec<u8> {
        envelope(self.key.encrypt(text.as_bytes()).unwrap(), &self.signer)
    }
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::generate().unwrap().0
}

pub(crate) fn host(id: &str) -> HostIdentity {
    HostIdentity { id: id.parse().unwrap(), key: HostPrivateKey::generate().unwrap() }
}

pub(crate) fn unlimited(key: &SigningKey) -> Signer {
    Signer { key: key.public(), expires_at: NOW + 500 * MINUTE, tenants: None }
}

pub(crate) fn full(version: u64) -> Draft {
    Draft { epoch: 3, version, kind: Kind::Full, times: TIMES }
}

/// An update around `body`, properly signed by `signer`.
pub(crate) fn envelope(body: Vec<u8>, signer: &SigningKey) -> Vec<u8> {
    let bytes = signer.sign(&pae(UPDATE_PAYLOAD_TYPE, &body));
    Envelope { payload: body, signatures: vec![Signature { key_id: signer.key_id(), bytes }] }
        .write(UPDATE_PAYLOAD_TYPE)
}

fn pinned(document: &TrustDocument, root: &SigningKey) -> Trust {
    let bytes = document.sign(&[root]).unwrap();
    Trust::pin(&bytes, &Digest::of(&bytes)).unwrap()
}
