//! Encryption of what is stored: AES-256-GCM under a data key per tenant, data keys under the
//! master key. Pure: where keys and ciphertexts are kept is the store's matter.
//!
//! The additional data names the row a ciphertext belongs to, so that one moved to another row,
//! another tenant or another key generation does not open.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::token::{NoRandomness, fill_random};

/// What can go wrong with stored ciphertexts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AtRestError {
    /// The ciphertext was changed, moved from another row, or made with another key.
    #[error("a stored value does not open with its key and row")]
    DoesNotOpen,
    /// A key that is not 32 bytes.
    #[error("a stored key is not 32 bytes long")]
    KeyLength,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The key above all others; never in the database.
pub(crate) struct MasterKey {
    wrapping: LessSafeKey,
    hash: hmac::Key,
    fingerprint: [u8; 32],
}

/// A tenant's key. Cheap to use; kept in memory unwrapped.
pub(crate) struct DataKey {
    generation: i64,
    key: LessSafeKey,
}

/// A ciphertext and the generation of the data key that opens it.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    /// Which of the tenant's data keys.
    pub(crate) generation: i64,
    /// Nonce, ciphertext, tag.
    pub(crate) bytes: Vec<u8>,
}

/// The identity of a row: its kind, its tenant, and whatever else names it for good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowId<'a> {
    /// The kind of record, such as `variable`.
    pub(crate) kind: &'a str,
    /// Its tenant.
    pub(crate) tenant: &'a str,
    /// What identifies it within the tenant.
    pub(crate) parts: &'a [&'a str],
}

impl MasterKey {
    /// Takes the 32 bytes of a master key.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, AtRestError> {
        Ok(Self {
            wrapping: aead_key(derive(bytes, b"wrap data keys")?.as_slice())?,
            hash: hmac::Key::new(hmac::HMAC_SHA256, derive(bytes, b"hash contents")?.as_slice()),
            fingerprint: *derive(bytes, b"fingerprint")?,
        })
    }

    /// A value that tells this key from others and gives nothing of it away.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Makes a new data key: the key, and its wrapped form for the store.
    pub(crate) fn new_data_key(
        &self,
        tenant: &str,
        generation: i64,
    ) -> Result<(DataKey, Vec<u8>), AtRestError> {
        let mut plain = Zeroizing::new([0_u8; KEY_LEN]);
        fill_random(plain.as_mut_slice())?;
        let wrapped = seal(&self.wrapping, &data_key_row(tenant, &generation.to_string()), plain.as_slice())?;
        Ok((DataKey { generation, key: aead_key(plain.as_slice())? }, wrapped))
    }

    /// Unwraps a stored data key.
    pub(crate) fn unwrap_data_key(
        &self,
        tenant: &str,
        generation: i64,
        wrapped: &[u8],
    ) -> Result<DataKey, AtRestError> {
        let plain = open(&self.wrapping, &data_key_row(tenant, &generation.to_string()), wrapped)?;
        Ok(DataKey { generation, key: aead_key(&plain)? })
    }

    /// Seals something that belongs to no tenant, such as a signing key.
    pub(crate) fn seal(&self, kind: &str, id: &str, plain: &[u8]) -> Result<Vec<u8>, AtRestError> {
        seal(&self.wrapping, &RowId { kind, tenant: "", parts: &[id] }.bytes(0), plain)
    }

    /// Opens what [`MasterKey::seal`] sealed.
    pub(crate) fn open(
        &self,
        kind: &str,
        id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AtRestError> {
        open(&self.wrapping, &RowId { kind, tenant: "", parts: &[id] }.bytes(0), sealed)
    }

    /// A hash by which equal contents are known without being kept: a request's, a host's state. Keyed,
    /// because they may hold a secret short enough to be guessed.
    pub(crate) fn keyed_hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.hash);
        for part in parts {
            context.update(&length_prefix(part));
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

impl DataKey {
    /// Seals a value for one row.
    pub(crate) fn seal(&self, row: RowId<'_>, plain: &[u8]) -> Result<Sealed, AtRestError> {
        let bytes = seal(&self.key, &row.bytes(self.generation), plain)?;
        Ok(Sealed { generation: self.generation, bytes })
    }

    /// Opens a value of one row.
    pub(crate) fn open(&self, row: RowId<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AtRestError> {
        open(&self.key, &row.bytes(self.generation), sealed)
    }
}

impl RowId<'_> {
    /// Every part behind its length, so that no two identities have the same bytes.
    fn bytes(&self, generation: i64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(DOMAIN);
        bytes.extend_from_slice(&generation.to_be_bytes());
        for part in [self.kind, self.tenant].iter().chain(self.parts) {
            bytes.extend_from_slice(&length_prefix(part.as_bytes()));
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.generation)
    }
}

fn data_key_row(tenant: &str, generation: &str) -> Vec<u8> {
    RowId { kind: "data_key", tenant, parts: &[generation] }.bytes(0)
}

fn seal(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, AtRestError> {
    let mut nonce = [0_u8; NONCE_LEN];
    fill_random(&mut nonce)?;
    let mut sealed = Vec::with_capacity(plain.len().saturating_add(NONCE_LEN).saturating_add(TAG_LEN));
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let (_, body) = sealed.split_at_mut(NONCE_LEN);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
        .map_err(|ring::error::Unspecified| AtRestError::DoesNotOpen)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AtRestError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(AtRestError::DoesNotOpen)?;
    let mut buffer = Zeroizing::new(body.to_vec());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
        .map_err(|ring::error::Unspecified| AtRestError::DoesNotOpen)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn aead_key(bytes: &[u8]) -> Result<LessSafeKey, AtRestError> {
    let unbound =
        UnboundKey::new(&AES_256_GCM, bytes).map_err(|ring::error::Unspecified| AtRestError::KeyLength)?;
    Ok(LessSafeKey::new(unbound))
}

/// One key for one purpose: HKDF-SHA256 of the master key.
fn derive(master: &[u8], purpose: &'static [u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, AtRestError> {
    if master.len() != KEY_LEN {
        return Err(AtRestError::KeyLength);
    }
    let mut key = Zeroizing::new([0_u8; KEY_LEN]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, DOMAIN)
        .extract(master)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|ring::error::Unspecified| AtRestError::KeyLength)?;
    Ok(key)
}

fn length_prefix(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes()
}

const DOMAIN: &[u8] = b"miosa-control/at-rest/v1";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: RowId<'static> = RowId { kind: "variable", tenant: "t", parts: &["tenant", "", "all", "KEY"] };

    #[test]
    fn a_value_opens_in_its_own_row_only() {
        let master = MasterKey::new(&[7; 32]).unwrap();
        let (key, _) = master.new_data_key("t", 1).unwrap();
        let sealed = key.seal(ROW, b"value").unwrap();
        assert_eq!(key.open(ROW, &sealed.bytes).unwrap().as_slice(), b"value");
        for other in [
            RowId { tenant: "u", ..ROW },
            RowId { kind: "profile", ..ROW },
            RowId { parts: &["tenant", "", "al", "lKEY"], ..ROW },
        ] {
            assert!(key.open(other, &sealed.bytes).is_err(), "{other:?}");
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let master = MasterKey::new(&[7; 32]).unwrap();
        let (key, _) = master.new_data_key("t", 1).unwrap();
        let sealed = key.seal(ROW, b"value").unwrap().bytes;
        for at in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(key.open(ROW, &flipped).is_err(), "bit {at}");
        }
        assert!(key.open(ROW, &sealed[..5]).is_err());
    }

    #[test]
    fn a_data_key_opens_for_its_tenant_and_generation_under_its_master_key_only() {
        let master = MasterKey::new(&[7; 32]).unwrap();
        let (key, wrapped) = master.new_data_key("t", 1).unwrap();
        let sealed = key.seal(ROW, b"value").unwrap();
        let again = master.unwrap_data_key("t", 1, &wrapped).unwrap();
        assert_eq!(again.open(ROW, &sealed.bytes).unwrap().as_slice(), b"value");
        assert!(master.unwrap_data_key("u", 1, &wrapped).is_err());
        assert!(master.unwrap_data_key("t", 2, &wrapped).is_err());
        assert!(MasterKey::new(&[8; 32]).unwrap().unwrap_data_key("t", 1, &wrapped).is_err());
    }

    #[test]
    fn a_master_key_has_32_bytes() {
        assert!(MasterKey::new(&[7; 31]).is_err());
    }

    #[test]
    fn hashes_tell_apart_where_parts_end() {
        let master = MasterKey::new(&[7; 32]).unwrap();
        assert_ne!(master.keyed_hash(&[b"ab", b"c"]), master.keyed_hash(&[b"a", b"bc"]));
    }
}
