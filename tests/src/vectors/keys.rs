//! The keys of the vectors. Each is 32 times one byte, so that all of it can be followed by hand.

use std::collections::BTreeMap;

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::{BASE64, HEXLOWER};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

/// `keys.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Roots and signers.
    pub ed25519: BTreeMap<String, SignatureKey>,
    /// Hosts.
    pub x25519: BTreeMap<String, AgreementKey>,
}

/// A root's or signer's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureKey {
    /// The private half in hexadecimal.
    pub seed: String,
    /// The public half in base64.
    pub public: String,
    /// The name of the public half.
    pub key_id: String,
}

/// A host's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementKey {
    /// The private half in hexadecimal.
    pub private: String,
    /// The public half in base64.
    pub public: String,
}

/// An Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u8);

/// An X25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HostKey(u8);

pub(super) const ROOT_1: Key = Key(0x01);
pub(super) const ROOT_2: Key = Key(0x11);
pub(super) const ROOT_3: Key = Key(0x12);
pub(super) const ROOT_4: Key = Key(0x13);
pub(super) const SIGNER_1: Key = Key(0x02);
pub(super) const SIGNER_2: Key = Key(0x21);
pub(super) const SIGNER_3: Key = Key(0x22);
pub(super) const STRANGER: Key = Key(0x31);
pub(super) const HOST_1: HostKey = HostKey(0x03);
pub(super) const HOST_2: HostKey = HostKey(0x04);

impl Key {
    pub(super) fn seed(self) -> [u8; 32] {
        [self.0; 32]
    }

    pub(super) fn public(self) -> [u8; 32] {
        self.pair().public_key().as_ref().try_into().expect("32 bytes")
    }

    pub(super) fn base64(self) -> String {
        BASE64.encode(&self.public())
    }

    pub(super) fn id(self) -> String {
        sha256(&self.public())
    }

    pub(super) fn sign(self, message: &[u8]) -> Vec<u8> {
        self.pair().sign(message).as_ref().to_vec()
    }

    fn pair(self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed()).expect("a seed of 32 bytes")
    }
}

impl HostKey {
    pub(super) fn private(self) -> [u8; 32] {
        [self.0; 32]
    }

    pub(super) fn public(self) -> [u8; 32] {
        MontgomeryPoint::mul_base_clamped(self.private()).to_bytes()
    }
}

impl Keys {
    pub(super) fn all() -> Self {
        let ed25519 = [
            ("root_1", ROOT_1),
            ("root_2", ROOT_2),
            ("root_3", ROOT_3),
            ("root_4", ROOT_4),
            ("signer_1", SIGNER_1),
            ("signer_2", SIGNER_2),
            ("signer_3", SIGNER_3),
            ("stranger", STRANGER),
        ];
        let x25519 = [("host_1", HOST_1), ("host_2", HOST_2)];
        Self {
            ed25519: ed25519.map(|(name, key)| (name.to_owned(), key.described())).into(),
            x25519: x25519.map(|(name, key)| (name.to_owned(), key.described())).into(),
        }
    }
}

impl Key {
    fn described(self) -> SignatureKey {
        SignatureKey { seed: HEXLOWER.encode(&self.seed()), public: self.base64(), key_id: self.id() }
    }
}

impl HostKey {
    fn described(self) -> AgreementKey {
        AgreementKey { private: HEXLOWER.encode(&self.private()), public: BASE64.encode(&self.public()) }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

pub(super) fn sha256_raw(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}
