//! Who an update is for: a host's id and its X25519 key pair.

use std::{fmt, str::FromStr};

use hpke::{Deserializable, Kem as _, Serializable, kem::X25519HkdfSha256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    base64,
    randomness::{NoRandomness, fresh32},
    signing::below_p,
    stack::without_traces,
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
pub struct HostPrivateKey {
    /// On the heap, where moving the key leaves no copy behind.
    secret: Box<Zeroizing<[u8; 32]>>,
    public: HostPublicKey,
}

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
        let secret = fresh32().map_err(HostKeyError::Randomness)?;
        Self::from_bytes(secret.as_slice())
    }

    /// Takes the 32 raw bytes of a private key (RFC 7748 §5); any 32 bytes are one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostKeyError> {
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        if bytes.len() != secret.len() {
            return Err(HostKeyError::Length);
        }
        secret.copy_from_slice(bytes);
        let public = without_traces(|| X25519HkdfSha256::sk_to_pk(&for_hpke(&secret)).to_bytes());
        Ok(Self { secret, public: HostPublicKey(public.into()) })
    }

    /// The 32 raw bytes, to be stored.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(**self.secret)
    }

    /// The public half.
    pub fn public(&self) -> HostPublicKey {
        self.public
    }

    pub(crate) fn for_hpke(&self) -> <X25519HkdfSha256 as hpke::Kem>::PrivateKey {
        for_hpke(&self.secret)
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
        f.write_str(&base64::encode(&self.0))
    }
}

/// The key as the HPKE crate holds it, which wipes its copy too.
#[expect(clippy::expect_used, reason = "the only error of this conversion is a wrong length")]
fn for_hpke(secret: &[u8; 32]) -> <X25519HkdfSha256 as hpke::Kem>::PrivateKey {
    Deserializable::from_bytes(secret).expect("a private key is 32 bytes")
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

#[cfg(test)]
mod tests {
    use hpke::{OpModeS, aead::AesGcm256, kdf::HkdfSha256};

    use super::*;

    #[test]
    fn a_key_pair_is_that_of_rfc_7748() {
        let private = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
            0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let key = HostPrivateKey::from_bytes(&private).unwrap();
        assert_eq!(base64::encode(key.public().as_bytes()), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
        assert_eq!(*key.to_bytes(), private);
    }

    #[test]
    fn made_keys_differ_and_are_read_back() {
        let [one, two] = [(); 2].map(|()| HostPrivateKey::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert_eq!(HostPrivateKey::from_bytes(one.to_bytes().as_slice()).unwrap().public(), one.public());
        assert_eq!(HostPublicKey::from_bytes(one.public().as_bytes()), Ok(one.public()));
    }

    #[test]
    fn low_order_public_keys_are_refused() {
        for key in LOW_ORDER {
            assert_eq!(HostPublicKey::from_bytes(&key), Err(HostKeyError::LowOrder));
            let raw = Deserializable::from_bytes(&key).unwrap();
            let sealed = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &raw,
                b"",
                b"",
                b"",
            );
            assert!(sealed.is_err(), "what is listed here gives an all-zero secret");
        }
    }

    #[test]
    fn public_keys_have_one_encoding_and_one_length() {
        for low in 0xed..=0xff_u8 {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, 0x7f);
            assert_eq!(HostPublicKey::from_bytes(&key), Err(HostKeyError::NotCanonical), "{low:x}");
        }
        let mut key = *HostPrivateKey::generate().unwrap().public().as_bytes();
        key[31] |= 0x80;
        assert_eq!(HostPublicKey::from_bytes(&key), Err(HostKeyError::NotCanonical));
        for length in [0, 31, 33] {
            assert_eq!(HostPublicKey::from_bytes(&vec![9; length]), Err(HostKeyError::Length));
            assert_eq!(HostPrivateKey::from_bytes(&vec![9; length]).err(), Some(HostKeyError::Length));
        }
    }

    #[test]
    fn ids_are_of_one_form() {
        for good in ["h", "0", "host_a-B9", &"h".repeat(64)] {
            assert_eq!(good.parse::<HostId>().unwrap().as_str(), good);
            assert!(serde_json::from_str::<HostId>(&format!("\"{good}\"")).is_ok());
        }
        for bad in ["", "_h", "-h", "h.", "h/", "h h", "h\0", "hé", &"h".repeat(65)] {
            assert_eq!(bad.parse::<HostId>(), Err(HostIdError), "{bad}");
            assert_eq!(HostId::try_from(bad.to_owned()), Err(HostIdError), "{bad}");
        }
    }
}
