//! The seal, with nothing random in it: HPKE (RFC 9180) from its parts, so that what is otherwise
//! fresh can be chosen, and so that what must not open can be made.

use curve25519_dalek::montgomery::MontgomeryPoint;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{HMAC_SHA256, Key as HmacKey, sign};

use super::dsse::UPDATE;
use super::keys::{HostKey, sha256_raw};

/// All that goes into a seal.
#[derive(Clone)]
pub(super) struct Seal {
    pub(super) host_id: String,
    pub(super) host_key: [u8; 32],
    pub(super) suite: String,
    pub(super) content_key: [u8; 32],
    pub(super) ephemeral: [u8; 32],
    pub(super) salt: [u8; 32],
    pub(super) content_label: String,
    pub(super) update_label: String,
    pub(super) hpke_aad: Vec<u8>,
    pub(super) nonce: [u8; 12],
}

/// The body of an update in its parts.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) host_id: Vec<u8>,
    pub(super) enc: Vec<u8>,
    pub(super) ct: Vec<u8>,
    pub(super) salt: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

impl Seal {
    /// As the document has it; `salt` follows from what is sealed.
    pub(super) fn to(host_id: &str, host: HostKey, text: &[u8]) -> Self {
        Self {
            host_id: host_id.to_owned(),
            host_key: host.public(),
            suite: UPDATE.to_owned(),
            content_key: sha256_raw(b"content key"),
            ephemeral: sha256_raw(b"ephemeral"),
            salt: sha256_raw(&[b"salt of ".as_slice(), text].concat()),
            content_label: "miosa content key".to_owned(),
            update_label: "miosa update key".to_owned(),
            hpke_aad: Vec::new(),
            nonce: [0; 12],
        }
    }

    pub(super) fn seal(&self, text: &[u8]) -> Body {
        let enc = MontgomeryPoint::mul_base_clamped(self.ephemeral).to_bytes();
        let shared = MontgomeryPoint(self.host_key).mul_clamped(self.ephemeral).to_bytes();
        self.seal_with(&enc, &shared, text)
    }

    /// With an `enc` that nobody has the private half of: whoever has the host's can say what it
    /// leads to.
    pub(super) fn seal_with_enc(&self, enc: [u8; 32], host: HostKey, text: &[u8]) -> Body {
        let shared = MontgomeryPoint(enc).mul_clamped(host.private()).to_bytes();
        self.seal_with(&enc, &shared, text)
    }

    fn seal_with(&self, enc: &[u8; 32], shared: &[u8; 32], text: &[u8]) -> Body {
        let secret = kem_secret(shared, enc, &self.host_key);
        let (key, nonce) = key_schedule(&secret, &self.label(&self.content_label));
        let ct = encrypt(&key, nonce, &self.hpke_aad, &self.content_key);
        let sealed_key = [enc.as_slice(), &ct].concat();
        let update_key = hkdf(&self.salt, &self.content_key, &self.label(&self.update_label));
        let aad =
            [self.suite.as_bytes(), b"\0", self.host_id.as_bytes(), b"\0", sealed_key.as_slice()].concat();
        Body {
            host_id: self.host_id.clone().into_bytes(),
            enc: enc.to_vec(),
            ct,
            salt: self.salt.to_vec(),
            ciphertext: encrypt(&update_key, self.nonce, &aad, text),
        }
    }

    fn label(&self, purpose: &str) -> Vec<u8> {
        [purpose, &self.suite, &self.host_id].join("\0").into_bytes()
    }
}

impl Body {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { host_id, enc, ct, salt, ciphertext } = self;
        [host_id.as_slice(), b"\0", enc, ct, salt, ciphertext].concat()
    }
}

/// `ExtractAndExpand` of DHKEM(X25519, HKDF-SHA256).
fn kem_secret(shared: &[u8; 32], enc: &[u8; 32], public: &[u8; 32]) -> [u8; 32] {
    let kem = b"KEM\x00\x20";
    let extracted = labeled_extract(kem, b"", "eae_prk", shared);
    labeled_expand(kem, &extracted, "shared_secret", &[enc.as_slice(), public].concat())
}

/// `KeySchedule` of base mode with HKDF-SHA256 and AES-256-GCM.
fn key_schedule(secret: &[u8; 32], info: &[u8]) -> ([u8; 32], [u8; 12]) {
    let suite = b"HPKE\x00\x20\x00\x01\x00\x02";
    let id_hash = labeled_extract(suite, b"", "psk_id_hash", b"");
    let info_hash = labeled_extract(suite, b"", "info_hash", info);
    let context = [b"\0".as_slice(), &id_hash, &info_hash].concat();
    let secret = labeled_extract(suite, secret, "secret", b"");
    (labeled_expand(suite, &secret, "key", &context), labeled_expand(suite, &secret, "base_nonce", &context))
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &str, input: &[u8]) -> [u8; 32] {
    hmac(salt, &[b"HPKE-v1", suite, label.as_bytes(), input].concat())
}

fn labeled_expand<const N: usize>(suite: &[u8], key: &[u8; 32], label: &str, info: &[u8]) -> [u8; N] {
    let length = u16::try_from(N).expect("a short key").to_be_bytes();
    let info = [length.as_slice(), b"HPKE-v1", suite, label.as_bytes(), info].concat();
    expand(key, &info)[..N].try_into().expect("at most one block")
}

fn hkdf(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; 32] {
    expand(&hmac(salt, input), info)
}

/// One block of HKDF-Expand, which is all that 32 bytes take.
fn expand(key: &[u8; 32], info: &[u8]) -> [u8; 32] {
    hmac(key, &[info, &[1]].concat())
}

fn hmac(key: &[u8], input: &[u8]) -> [u8; 32] {
    sign(&HmacKey::new(HMAC_SHA256, key), input).as_ref().try_into().expect("32 bytes")
}

fn encrypt(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
    let mut sealed = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).expect("a short text");
    sealed
}
