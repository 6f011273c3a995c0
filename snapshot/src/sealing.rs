//! The seal: what only the addressed host can open. It owns the two layers of encryption and the
//! bytes they bind to, and knows nothing of signatures or statements.
//!
//! A 32-byte content key is sealed to the host's public key with HPKE; each update is encrypted
//! under a key derived from it with a fresh salt. So an update opens on its own, and one key
//! agreement serves as many updates to one host as a publisher makes in a day.

use hpke::{
    Deserializable, HpkeError, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    UPDATE_PAYLOAD_TYPE,
    host::{HostId, HostIdentity, HostPublicKey, MAX_ID_BYTES},
    randomness::fresh32,
    seal::SealError,
    stack::without_traces,
};

/// A key for the updates of one host, together with the same key sealed to that host.
///
/// Use it for up to a day, and never across a change of the host's key. Wiped on drop.
pub struct ContentKey {
    host_id: HostId,
    sealed: [u8; SEALED_KEY_BYTES],
    key: Zeroizing<[u8; 32]>,
}

/// Remembers the content key that was opened last, so that the updates of a day cost one key
/// agreement. Wiped on drop.
#[derive(Default)]
pub struct OpenedKeys(Option<OpenedKey>);

struct OpenedKey {
    host_key: HostPublicKey,
    sealed: [u8; SEALED_KEY_BYTES],
    key: Zeroizing<[u8; 32]>,
}

/// The body could not be opened. Which of the two layers failed is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecryptable;

/// The signed bytes of an update, taken apart: host id, a zero byte, sealed key (80 bytes),
/// salt (32 bytes), ciphertext with its tag (16 bytes or more).
pub(crate) struct Body<'a> {
    pub(crate) host_id: HostId,
    sealed: &'a [u8; SEALED_KEY_BYTES],
    salt: &'a [u8; SALT_BYTES],
    ciphertext: &'a [u8],
}

impl ContentKey {
    /// Makes a key and seals it to a host.
    ///
    /// # Panics
    /// If the operating system has no random bytes.
    pub fn for_host(id: &HostId, public: &HostPublicKey) -> Result<Self, SealError> {
        let key = fresh32().map_err(SealError::Randomness)?;
        let sealed = seal_key(&key, id, public).map_err(|_hpke_error| SealError::Encryption)?;
        Ok(Self { host_id: id.clone(), sealed, key })
    }

    /// The host whose updates this key is for.
    pub fn host_id(&self) -> &HostId {
        &self.host_id
    }

    /// The body of an update that says `text`.
    pub(crate) fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let salt = fresh32().map_err(SealError::Randomness)?;
        // Never grown, since growing would leave an unwiped copy of the text behind.
        let mut body = Vec::with_capacity(text.len().saturating_add(MAX_FRAME_BYTES));
        body.extend_from_slice(self.host_id.as_str().as_bytes());
        body.push(0);
        body.extend_from_slice(&self.sealed);
        body.extend_from_slice(salt.as_slice());
        let head = body.len();
        body.extend_from_slice(text);
        let key = update_key(&self.key, &salt, &self.host_id);
        let aad = Aad::from(additional_data(&self.host_id, &self.sealed));
        let tail = body.get_mut(head..).unwrap_or_default();
        let tag = key.and_then(|key| key.seal_in_place_separate_tag(zero_nonce(), aad, tail));
        match tag {
            Ok(tag) => body.extend_from_slice(tag.as_ref()),
            Err(ring::error::Unspecified) => {
                body.zeroize();
                return Err(SealError::Encryption);
            }
        }
        Ok(body)
    }
}

impl OpenedKeys {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The statement's text inside `body`.
    pub(crate) fn decrypt(
        &mut self,
        body: &Body<'_>,
        host: &HostIdentity,
    ) -> Result<Zeroizing<Vec<u8>>, Undecryptable> {
        let content_key = self.content_key(body, host)?;
        let aad = Aad::from(additional_data(&body.host_id, body.sealed));
        let mut text = Zeroizing::new(body.ciphertext.to_vec());
        let length = update_key(content_key, body.salt, &body.host_id)
            .and_then(|key| key.open_in_place(zero_nonce(), aad, &mut text).map(|text| text.len()))
            .map_err(|ring::error::Unspecified| Undecryptable)?;
        text.truncate(length);
        Ok(text)
    }

    fn content_key(&mut self, body: &Body<'_>, host: &HostIdentity) -> Result<&[u8; 32], Undecryptable> {
        let host_key = host.key.public();
        // The host id needs no look here: it goes into the key of each update.
        let is_known =
            self.0.as_ref().is_some_and(|known| known.host_key == host_key && known.sealed == *body.sealed);
        if !is_known {
            let key = without_traces(|| open_key(body, host)).map_err(|_hpke_error| Undecryptable)?;
            self.0 = Some(OpenedKey { host_key, sealed: *body.sealed, key });
        }
        self.0.as_ref().map(|known| &*known.key).ok_or(Undecryptable)
    }
}

impl<'a> Body<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().take(MAX_ID_BYTES.saturating_add(1)).position(|&byte| byte == 0)?;
        let (host_id, rest) = bytes.split_at_checked(end)?;
        let (_zero, rest) = rest.split_first()?;
        let (sealed, rest) = rest.split_first_chunk()?;
        let (salt, ciphertext) = rest.split_first_chunk()?;
        if ciphertext.len() < TAG_BYTES {
            return None;
        }
        Some(Self { host_id: str::from_utf8(host_id).ok()?.parse().ok()?, sealed, salt, ciphertext })
    }
}

fn seal_key(
    key: &[u8; 32],
    id: &HostId,
    public: &HostPublicKey,
) -> Result<[u8; SEALED_KEY_BYTES], HpkeError> {
    let public = Deserializable::from_bytes(public.as_bytes())?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        &labelled(HPKE_LABEL, id),
        key,
        b"",
    )?;
    let sealed = [&*encapsulated.to_bytes(), &ciphertext].concat();
    sealed.try_into().ok().ok_or(HpkeError::SealError)
}

fn open_key(body: &Body<'_>, host: &HostIdentity) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
    let (encapsulated, ciphertext) = body.sealed.split_at(ENCAPSULATED_BYTES);
    let key = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &host.key.for_hpke(),
        &Deserializable::from_bytes(encapsulated)?,
        &labelled(HPKE_LABEL, &body.host_id),
        ciphertext,
        b"",
    )
    .map(Zeroizing::new)?;
    key.as_slice().try_into().map(Zeroizing::new).ok().ok_or(HpkeError::OpenError)
}

/// HKDF-SHA256 with the content key as its input and a salt that is never used twice, so that the
/// key is used once and its nonce may be zero.
fn update_key(
    content_key: &[u8; 32],
    salt: &[u8; SALT_BYTES],
    id: &HostId,
) -> Result<LessSafeKey, ring::error::Unspecified> {
    let info = labelled(HKDF_LABEL, id);
    let info = [info.as_slice()];
    let extracted = Salt::new(HKDF_SHA256, salt).extract(content_key);
    let expanded = extracted.expand(&info, &AES_256_GCM)?;
    Ok(LessSafeKey::new(UnboundKey::from(expanded)))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Suite, host id, sealed key. Neither of the first two can hold a zero byte.
fn additional_data(id: &HostId, sealed: &[u8; SEALED_KEY_BYTES]) -> Vec<u8> {
    [UPDATE_PAYLOAD_TYPE.as_bytes(), &[0], id.as_str().as_bytes(), &[0], sealed].concat()
}

/// What a key is for: label, suite, host id, with zero bytes between them.
fn labelled(label: &str, id: &HostId) -> Vec<u8> {
    [label, UPDATE_PAYLOAD_TYPE, id.as_str()].join("\0").into_bytes()
}

const HPKE_LABEL: &str = "miosa content key";
const HKDF_LABEL: &str = "miosa update key";

/// `enc` of DHKEM(X25519).
const ENCAPSULATED_BYTES: usize = 32;
/// `enc`, and 32 bytes with their tag.
const SEALED_KEY_BYTES: usize = 80;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// The most that a body has around its text.
const MAX_FRAME_BYTES: usize = MAX_ID_BYTES + 1 + SEALED_KEY_BYTES + SALT_BYTES + TAG_BYTES;

#[cfg(test)]
mod known_answers;

#[cfg(test)]
mod tests {
    use crate::world::{World, host};

    use super::*;

    #[test]
    fn each_sealing_is_under_another_key() {
        let world = World::new();
        let [one, two] = [(); 2].map(|()| world.key.encrypt(b"the same text").unwrap());
        let (one, two) = (Body::read(&one).unwrap(), Body::read(&two).unwrap());
        assert_eq!(one.sealed, two.sealed);
        assert_ne!(one.salt, two.salt);
        assert_ne!(one.ciphertext, two.ciphertext);
    }

    #[test]
    fn each_content_key_is_another_one() {
        let host = host("host_1");
        let [one, two] = [(); 2].map(|()| ContentKey::for_host(&host.id, &host.key.public()).unwrap());
        assert_ne!(one.sealed, two.sealed);
        assert_ne!(one.key, two.key);
    }

    #[test]
    fn what_keys_are_bound_to_is_exactly_this() {
        let id = "host_1".parse().unwrap();
        let suite = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm";
        let info = format!("miosa content key\0{suite}\0host_1");
        assert_eq!(labelled(HPKE_LABEL, &id), info.as_bytes());
        let info = format!("miosa update key\0{suite}\0host_1");
        assert_eq!(labelled(HKDF_LABEL, &id), info.as_bytes());
        let expected = [suite.as_bytes(), b"\0host_1\0", &[7; 80]].concat();
        assert_eq!(additional_data(&id, &[7; 80]), expected);
    }

    #[test]
    fn a_body_is_exactly_its_parts() {
        let world = World::new();
        let body = world.key.encrypt(b"text").unwrap();
        assert_eq!(body.len(), "host_1".len() + 1 + 80 + 32 + "text".len() + 16);
        assert_eq!(body[..7], *b"host_1\0");
        assert_eq!(body[7..87], world.key.sealed);
        let parts = Body::read(&body).unwrap();
        assert_eq!(parts.salt, &body[87..119]);
        assert_eq!(parts.ciphertext, &body[119..]);
    }

    #[test]
    fn one_key_agreement_serves_until_another_sealed_key_comes() {
        let world = World::new();
        let again = ContentKey::for_host(&world.host.id, &world.host.key.public()).unwrap();
        let mut opened = OpenedKeys::new();
        for key in [&world.key, &again] {
            let body = key.encrypt(b"text").unwrap();
            let body = Body::read(&body).unwrap();
            assert_eq!(*opened.decrypt(&body, &world.host).unwrap(), b"text");
            let known = opened.0.as_ref().unwrap();
            assert_eq!((&known.sealed, &known.key), (&key.sealed, &key.key));
        }
    }

    #[test]
    fn a_failed_opening_remembers_nothing_new() {
        let world = World::new();
        let mut opened = OpenedKeys::new();
        let mut body = world.key.encrypt(b"text").unwrap();
        body[7] ^= 1;
        assert!(opened.decrypt(&Body::read(&body).unwrap(), &world.host).is_err());
        assert!(opened.0.is_none());
    }

    #[test]
    fn a_low_order_encapsulation_does_not_open() {
        let world = World::new();
        let mut body = world.key.encrypt(b"text").unwrap();
        for first in [0, 1] {
            body[7..39].fill(0);
            body[7] = first;
            let refused = OpenedKeys::new().decrypt(&Body::read(&body).unwrap(), &world.host);
            assert_eq!(refused.err(), Some(Undecryptable));
        }
    }
}
