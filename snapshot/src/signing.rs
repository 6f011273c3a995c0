//! Ed25519 keys: those that sign, those that verify, and the names of both.

use std::{fmt, str::FromStr};

use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zeroize::Zeroizing;

use crate::{
    base64,
    digest::{Digest, DigestError},
    randomness::NoRandomness,
};

/// An Ed25519 private key that signs updates (a signer) or trust documents (a root).
///
/// Neither printable nor clonable. ring keeps the parsed key and offers no way to wipe it, so a
/// process should hold one for its whole life rather than make many.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

/// An Ed25519 public key: 32 bytes whose y is reduced and not that of a point of small order.
///
/// The restriction makes verification strict: whoever chose a small-order key could show one
/// signature for many messages, and whoever re-encoded a key could give it a second name. Whether
/// the bytes are those of a point at all is not looked at here: if not, nothing verifies under them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

/// The name of a key: the SHA-256 digest of its 32 raw bytes, in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Digest);

/// Why bytes are no usable Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There were no random bytes to make a key from.
    #[error("cannot make a signing key")]
    Randomness(#[source] NoRandomness),
    /// Not an Ed25519 private key in PKCS#8 (version 1 or 2), or its two halves do not belong together.
    #[error("cannot read an Ed25519 private key from PKCS#8")]
    PrivateKey,
    /// Not 32 bytes, or a y of p or above, which is a second spelling of a smaller one.
    #[error("an Ed25519 public key is 32 bytes in their canonical encoding")]
    PublicKey,
    /// One of the eight points of small order, under which signatures prove nothing.
    #[error("this Ed25519 public key is of small order")]
    SmallOrder,
}

impl SigningKey {
    /// Makes a key; the second part is the same key in PKCS#8 version 2, to be stored.
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|ring::error::Unspecified| KeyError::Randomness(NoRandomness))?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    /// Reads a key from PKCS#8, version 2 (as ours) or 1 (as `openssl genpkey` writes it).
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        // "maybe unchecked" only means that version 1 holds no public key to compare with.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok().ok_or(KeyError::PrivateKey)?;
        let public = VerifyingKey::from_bytes(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        self.public
    }

    /// The name of the public half.
    pub fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl VerifyingKey {
    /// Takes the 32 raw bytes of a public key (RFC 8032 §5.1.2).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key: [u8; 32] = bytes.try_into().ok().ok_or(KeyError::PublicKey)?;
        let y = without_sign(key);
        if SMALL_ORDER.contains(&y) {
            return Err(KeyError::SmallOrder);
        }
        if !below_p(&y) {
            return Err(KeyError::PublicKey);
        }
        Ok(Self(key))
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name of this key.
    pub fn key_id(&self) -> KeyId {
        KeyId(Digest::of(&self.0))
    }

    /// Whether `signature` is this key's over `message` (RFC 8032 §5.1.7, cofactorless, `S` below
    /// the group order, `R` compared as bytes).
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(&self.0))
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64::decode(text.as_bytes()).ok_or_else(|| D::Error::custom("not strict base64"))?;
        Self::from_bytes(&bytes).map_err(D::Error::custom)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for KeyId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

/// The y coordinate alone: the top bit of an encoded point is the sign of x.
fn without_sign(mut key: [u8; 32]) -> [u8; 32] {
    if let Some(top) = key.last_mut() {
        *top &= 0x7f;
    }
    key
}

/// Whether a little-endian field element is reduced.
pub(crate) fn below_p(value: &[u8; 32]) -> bool {
    value.iter().rev().lt(P.iter().rev())
}

/// 2^255 − 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y coordinates of the points of order 1, 2, 4 and 8 (two of the last), which have no other
/// reduced encoding. Masking the sign also refuses `x = 0` with its sign set, which is not canonical.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod known_answers;

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use crate::world::signing_key;

    use super::*;

    #[test]
    fn the_first_test_of_rfc_8032_is_met() {
        // PKCS#8 version 1 is a fixed head and the seed; `openssl genpkey` writes the same.
        let head = "302e020100300506032b657004220420";
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = SigningKey::from_pkcs8(&hex(&format!("{head}{seed}"))).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().as_bytes().as_slice(), hex(public));
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(key.sign(b"").as_slice(), hex(signature));
        assert!(key.public().verifies(b"", &key.sign(b"")));
        assert_eq!(
            key.key_id().to_string(),
            "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"
        );
    }

    #[test]
    fn a_made_key_is_read_back() {
        let (key, pkcs8) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(again.key_id(), key.key_id());
        assert!(key.public().verifies(b"message", &again.sign(b"message")));
    }

    #[test]
    fn damaged_private_keys_are_refused() {
        let (_, pkcs8) = SigningKey::generate().unwrap();
        for length in 0..pkcs8.len() {
            assert_eq!(
                SigningKey::from_pkcs8(&pkcs8[..length]).err(),
                Some(KeyError::PrivateKey),
                "{length}"
            );
        }
        let mut halves_apart = pkcs8.to_vec();
        *halves_apart.last_mut().unwrap() ^= 1;
        assert_eq!(SigningKey::from_pkcs8(&halves_apart).err(), Some(KeyError::PrivateKey));
    }

    #[test]
    fn only_the_right_signature_verifies() {
        let (key, other) = (signing_key(), signing_key());
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"messagf", &signature));
        assert!(!other.public().verifies(b"message", &signature));
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().verifies(b"message", &flipped), "{bit}");
        }
    }

    #[test]
    fn a_signature_has_no_second_form() {
        // S and S + L stand for the same scalar; the second is refused (RFC 8032 §5.1.7).
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let key = signing_key();
        let mut signature = key.sign(b"message");
        let mut carry = 0;
        for (digit, addend) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*digit) + u16::from(addend) + carry;
            [*digit, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert!(!key.public().verifies(b"message", &signature));
    }

    #[test]
    fn small_order_keys_are_refused_since_their_signatures_prove_nothing() {
        let identity = SMALL_ORDER[0];
        let forged: [u8; 64] = [identity, [0; 32]].concat().try_into().unwrap();
        assert!(VerifyingKey(identity).verifies(b"any", &forged), "the reason for the rule");
        assert!(VerifyingKey(identity).verifies(b"message", &forged), "the reason for the rule");
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut key = y;
                key[31] |= sign;
                assert_eq!(VerifyingKey::from_bytes(&key), Err(KeyError::SmallOrder));
            }
        }
    }

    #[test]
    fn keys_have_one_encoding_and_one_length() {
        // The nineteen numbers from p up to 2^255, each with either sign of x.
        for low in 0xed..=0xff_u8 {
            for sign in [0x7f, 0xff] {
                let mut key = [0xff; 32];
                (key[0], key[31]) = (low, sign);
                assert_eq!(VerifyingKey::from_bytes(&key), Err(KeyError::PublicKey), "{low:x}");
            }
        }
        let key = signing_key().public();
        assert_eq!(VerifyingKey::from_bytes(key.as_bytes()), Ok(key));
        assert_eq!(VerifyingKey::from_bytes(&key.as_bytes()[1..]), Err(KeyError::PublicKey));
        assert_eq!(VerifyingKey::from_bytes(&[]), Err(KeyError::PublicKey));
    }

    #[test]
    fn nothing_verifies_under_a_key_that_is_no_point() {
        let mut bytes = [0; 32];
        bytes[0] = 2; // (y² − 1) / (dy² + 1) has no square root.
        let key = VerifyingKey::from_bytes(&bytes).unwrap();
        assert!(!key.verifies(b"message", &signing_key().sign(b"message")));
        let identity_and_zero: [u8; 64] = [SMALL_ORDER[0], [0; 32]].concat().try_into().unwrap();
        assert!(!key.verifies(b"message", &identity_and_zero));
    }

    #[test]
    fn keys_travel_in_strict_base64() {
        let key = signing_key().public();
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text.len(), 46);
        assert_eq!(serde_json::from_str::<VerifyingKey>(&text).unwrap(), key);
        for bad in
            [text.replace('=', ""), text.replace("=\"", "=\\n\""), "\"\"".to_owned(), "null".to_owned()]
        {
            assert!(serde_json::from_str::<VerifyingKey>(&bad).is_err(), "{bad}");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }
}
