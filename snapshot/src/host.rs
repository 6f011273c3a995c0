//! Who an update is for: a host's id and its X25519 key pair.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;
use hpke::{Deserializable, Kem as _, Serializable, kem::X25519HkdfSha256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    randomness::{NoRandomness, fresh32},
    signing::below_p,
};

/// The id of a host: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

/// The text is no host id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host id has 1 to 64 letters, digits, '_' and '-', and starts with a letter or digit")]
pub struct HostIdError;

/// What a host opens updates with.
pub struct HostIdentity {
    /// The id that updates must be addressed to.
    pub id: HostId,
    /// The key that they are sealed to.
    pub key: HostPrivateKey,
}

/// A host's X25519 private key, wiped on drop, not printable.
pub struct HostPrivateKey(Zeroizing<[u8; 32]>);

/// A host's X25519 public key: canonical, and not of low order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPublicKey([u8; 32]);

/// Why bytes are no usable X25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// There were no random bytes to make a key from.
    #[error("cannot make a host key")]
    Randomness(#[source] NoRandomness),
    /// Not 32 bytes.
    #[error("an X25519 key is 32 bytes")]
    Length,
    /// A public key that is not in the one canonical encoding of its point.
    #[error("this X25519 public key is not in its canonical encoding")]
    NotCanonical,
    /// A public key under which every exchange gives the same, public, secret.
    #[error("this X25519 public key is of low order")]
    LowOrder,
}

impl HostId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostPrivateKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, HostKeyError> {
        fresh32().map(Self).map_err(HostKeyError::Randomness)
    }

    /// Takes the 32 raw bytes of a private key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostKeyError> {
        let bytes = bytes.try_into().ok().ok_or(HostKeyError::Length)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The 32 raw bytes, to be stored.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half.
    pub fn public(&self) -> HostPublicKey {
        let public = X25519HkdfSha256::sk_to_pk(&self.for_hpke());
        HostPublicKey(public.to_bytes().into())
    }

    /// The key as the HPKE crate holds it, which wipes its copy too.
    #[expect(clippy::expect_used, reason = "the only error of this conversion is a wrong length")]
    pub(crate) fn for_hpke(&self) -> <X25519HkdfSha256 as hpke::Kem>::PrivateKey {
        Deserializable::from_bytes(self.0.as_slice()).expect("a private key is 32 bytes")
    }
}

impl HostPublicKey {
    /// Takes the 32 raw bytes of a public key (RFC 7748 §5).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostKeyError> {
        let key: [u8; 32] = bytes.try_into().ok().ok_or(HostKeyError::Length)?;
        if !below_p(&key) {
            return Err(HostKeyError::NotCanonical);
        }
        if LOW_ORDER.contains(&key) {
            return Err(HostKeyError::LowOrder);
        }
        Ok(Self(key))
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostId {
    type Err = HostIdError;

    fn from_str(text: &str) -> Result<Self, HostIdError> {
        if !is_id(text) {
            return Err(HostIdError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for HostId {
    type Error = HostIdError;

    fn try_from(text: String) -> Result<Self, HostIdError> {
        text.parse()
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.0
    }
}

impl fmt::Debug for HostPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

/// The rule of every id that travels: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
pub(crate) fn is_id(text: &str) -> bool {
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let consists_well = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    starts_well && consists_well && text.len() <= MAX_ID_BYTES
}

pub(crate) const MAX_ID_BYTES: usize = 64;

/// The reduced u coordinates of low order on Curve25519 and its twist.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];
