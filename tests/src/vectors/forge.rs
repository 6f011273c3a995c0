//! Ed25519 beyond what honest signers do: signatures and keys that verifiers disagree on.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use ring::digest::{SHA512, digest};

use super::keys::Key;

/// The order of the base point, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The identity, in the encoding that is one above the canonical one: y = p + 1.
const IDENTITY_NOT_REDUCED: [u8; 32] = {
    let mut y = [0xff; 32];
    y[0] = 0xee;
    y[31] = 0x7f;
    y
};

/// A good signature with the group order added to S.
pub(super) fn not_reduced(signature: &[u8]) -> Vec<u8> {
    let mut forged = signature.to_vec();
    let mut carry = 0;
    for (digit, addend) in forged[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*digit) + u16::from(addend) + carry;
        *digit = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    forged
}

/// A signature by the key's owner whose R is the identity, canonically encoded.
pub(super) fn with_identity(key: Key, message: &[u8]) -> Vec<u8> {
    with_r(key, EIGHT_TORSION[0].compress().to_bytes(), message)
}

/// The same with R in an encoding that is not reduced.
pub(super) fn with_identity_not_reduced(key: Key, message: &[u8]) -> Vec<u8> {
    with_r(key, IDENTITY_NOT_REDUCED, message)
}

/// A signature that verifies only with the cofactor: R has a part of order 8.
pub(super) fn with_torsion(key: Key, message: &[u8]) -> Vec<u8> {
    let nonce = Scalar::from(7_u64);
    let r = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[1]).compress().to_bytes();
    let s = nonce + challenge(&r, &key.public(), message) * secret(key);
    [r, s.to_bytes()].concat()
}

/// A public key with a part of order 8, and what signs under it: the first verifies without the
/// cofactor, the second with it only.
pub(super) struct MixedKey {
    pub(super) public: [u8; 32],
    owner: Key,
}

impl MixedKey {
    pub(super) fn of(owner: Key) -> Self {
        let point = EdwardsPoint::mul_base(&secret(owner)) + EIGHT_TORSION[1];
        Self { public: point.compress().to_bytes(), owner }
    }

    /// `R` is chosen such that the part of order 8 drops out, or such that it does not.
    pub(super) fn sign(&self, message: &[u8], drops_out: bool) -> Vec<u8> {
        let signatures = (1_u64..).map(|nonce| {
            let nonce = Scalar::from(nonce);
            let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
            let challenge = challenge(&r, &self.public, message);
            let s = nonce + challenge * secret(self.owner);
            (challenge.to_bytes()[0].is_multiple_of(8), [r, s.to_bytes()].concat())
        });
        let mut fitting = signatures.filter(|(multiple, _)| *multiple == drops_out);
        fitting.next().expect("one in eight").1
    }
}

/// Under a key of small order, this is a signature of every message: R = A, S = 0, where A is the
/// identity.
pub(super) fn under_identity() -> Vec<u8> {
    [EIGHT_TORSION[0].compress().to_bytes(), [0; 32]].concat()
}

/// R = identity, and S such that S·B = k·A.
fn with_r(key: Key, r: [u8; 32], message: &[u8]) -> Vec<u8> {
    let s = challenge(&r, &key.public(), message) * secret(key);
    [r, s.to_bytes()].concat()
}

fn challenge(r: &[u8; 32], public: &[u8; 32], message: &[u8]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&sha512(&[r.as_slice(), public, message].concat()))
}

fn secret(key: Key) -> Scalar {
    let half: [u8; 32] = sha512(&key.seed())[..32].try_into().expect("32 bytes");
    Scalar::from_bytes_mod_order(clamp_integer(half))
}

fn sha512(bytes: &[u8]) -> [u8; 64] {
    digest(&SHA512, bytes).as_ref().try_into().expect("64 bytes")
}
