//! Envelopes as text: well formed by default, and open to be made otherwise.

use data_encoding::BASE64;

use super::keys::Key;

pub(super) const UPDATE: &str = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm";
pub(super) const TRUST: &str = "application/vnd.miosa.trust.v1+json";

/// An envelope in its parts.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) payload: String,
    pub(super) payload_type: String,
    /// Key ids and signatures in base64.
    pub(super) signatures: Vec<(String, String)>,
}

impl Envelope {
    /// One without signatures.
    pub(super) fn of(payload_type: &str, payload: &[u8]) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: Vec::new(),
        }
    }

    /// One that is signed properly.
    pub(super) fn signed(payload_type: &str, payload: &[u8], keys: &[Key]) -> Self {
        let message = pae(payload_type, payload);
        let envelope = Self::of(payload_type, payload);
        keys.iter().fold(envelope, |envelope, key| envelope.with(&key.id(), &key.sign(&message)))
    }

    /// The same with one signature more.
    pub(super) fn with(mut self, key_id: &str, signature: &[u8]) -> Self {
        self.signatures.push((key_id.to_owned(), BASE64.encode(signature)));
        self
    }

    pub(super) fn text(&self) -> String {
        let signatures = self.signatures.iter();
        let signatures: Vec<_> =
            signatures.map(|(id, sig)| format!(r#"{{"keyid":"{id}","sig":"{sig}"}}"#)).collect();
        format!(
            r#"{{"payload":"{}","payloadType":"{}","signatures":[{}]}}"#,
            self.payload,
            self.payload_type,
            signatures.join(",")
        )
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.text().into_bytes()
    }
}

/// DSSE's pre-authentication encoding.
pub(super) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
