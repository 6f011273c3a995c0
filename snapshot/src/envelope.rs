//! The outermost layer: a DSSE version 1 envelope in its one accepted spelling.
//!
//! This file turns bytes into a payload and signatures that nobody has looked at yet; it verifies
//! nothing. An envelope is exactly this text, with no white space and no escapes:
//!
//! ```text
//! {"payload":"<base64>","payloadType":"<type>","signatures":[{"keyid":"<hex>","sig":"<base64>"}]}
//! ```
//!
//! One spelling means that who cannot sign cannot make other bytes that say the same, so the digest
//! of an envelope names its content. It also leaves no room for what JSON parsers disagree on:
//! duplicate members, unknown members, escapes, bytes before and after.

use data_encoding::BASE64;

use crate::signing::{KeyId, VerifyingKey};

/// Why bytes are no envelope of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// E1: more bytes than are ever taken.
    #[error("an envelope of {size} bytes is over the limit of {limit}")]
    Oversize {
        /// The bytes given.
        size: usize,
        /// The bytes allowed.
        limit: usize,
    },
    /// E2: not the exact text of an envelope.
    #[error("not the exact text of an envelope at byte {at}")]
    Malformed {
        /// How many bytes were as they should be.
        at: usize,
    },
    /// E3: another kind of content, or another cipher suite.
    #[error("the envelope has not the payload type {expected}")]
    PayloadType {
        /// The only type taken here.
        expected: &'static str,
    },
    /// E4: none, or more than this type of envelope may carry.
    #[error("the envelope has not between 1 and {limit} signatures")]
    SignatureCount {
        /// The most signatures allowed.
        limit: usize,
    },
    /// E5: a payload or signature that is not canonical base64, a signature that is not of 64
    /// bytes, or a key id that is not of 64 lower-case hexadecimal digits.
    #[error("the {part} of the envelope is not in its one canonical encoding")]
    Encoding {
        /// `payload`, `keyid` or `sig`.
        part: &'static str,
    },
    /// E6: two signatures with one key id.
    #[error("the envelope has two signatures of one key")]
    DuplicateSignature,
}

impl EnvelopeError {
    /// The stable name of this refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Oversize { .. } => "oversize",
            Self::Malformed { .. } => "malformed_envelope",
            Self::PayloadType { .. } => "wrong_payload_type",
            Self::SignatureCount { .. } => "wrong_signature_count",
            Self::Encoding { .. } => "bad_encoding",
            Self::DuplicateSignature => "duplicate_signature",
        }
    }
}

/// What one type of envelope may be.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) payload_type: &'static str,
    pub(crate) max_bytes: usize,
    pub(crate) max_signatures: usize,
}

/// An envelope taken apart, and not verified.
pub(crate) struct Envelope {
    pub(crate) payload: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

#[derive(Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) key_id: KeyId,
    pub(crate) bytes: [u8; 64],
}

impl Envelope {
    pub(crate) fn read(bytes: &[u8], shape: &Shape) -> Result<Self, EnvelopeError> {
        check_size(bytes, shape)?;
        let text = Text::read(bytes, shape)?;
        check_payload_type(&text, shape)?;
        let envelope = text.decode()?;
        check_distinct(&envelope.signatures)?;
        Ok(envelope)
    }

    pub(crate) fn write(&self, payload_type: &str) -> Vec<u8> {
        let mut text = String::with_capacity(self.written_len(payload_type));
        text.push_str(BEFORE_PAYLOAD);
        BASE64.encode_append(&self.payload, &mut text);
        text.push_str(BEFORE_TYPE);
        text.push_str(payload_type);
        text.push_str(BEFORE_SIGNATURES);
        for (index, signature) in self.signatures.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(BEFORE_KEY_ID);
            text.push_str(&signature.key_id.to_string());
            text.push_str(BEFORE_SIGNATURE);
            BASE64.encode_append(&signature.bytes, &mut text);
            text.push_str(AFTER_SIGNATURE);
        }
        text.push_str(AFTER_SIGNATURES);
        text.into_bytes()
    }

    /// Whether `key` has signed `message`. The key id only picks the signature to try.
    pub(crate) fn is_signed_by(&self, key: &VerifyingKey, message: &[u8]) -> bool {
        let key_id = key.key_id();
        self.signatures
            .iter()
            .any(|signature| signature.key_id == key_id && key.verifies(message, &signature.bytes))
    }

    /// Room for everything but the names and marks, which are a few hundred bytes at most.
    fn written_len(&self, payload_type: &str) -> usize {
        let signatures = self.signatures.len().saturating_mul(200);
        BASE64
            .encode_len(self.payload.len())
            .saturating_add(payload_type.len())
            .saturating_add(signatures)
            .saturating_add(100)
    }
}

/// The pre-authentication encoding of DSSE version 1: the bytes that are signed.
pub(crate) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The parts of the text as they stand there, still encoded.
struct Text<'a> {
    payload: &'a [u8],
    payload_type: &'a [u8],
    signatures: Vec<(&'a [u8], &'a [u8])>,
}

// E1. The envelope is at most `max_bytes` long.
fn check_size(bytes: &[u8], shape: &Shape) -> Result<(), EnvelopeError> {
    if bytes.len() > shape.max_bytes {
        return Err(EnvelopeError::Oversize { size: bytes.len(), limit: shape.max_bytes });
    }
    Ok(())
}

impl<'a> Text<'a> {
    // E2. The envelope is exactly the text above.
    // E4. It has between 1 and `max_signatures` signatures; the first one too many ends the reading.
    fn read(bytes: &'a [u8], shape: &Shape) -> Result<Self, EnvelopeError> {
        let mut cursor = Cursor { all: bytes, rest: bytes };
        cursor.literal(BEFORE_PAYLOAD)?;
        let payload = cursor.until_quote()?;
        cursor.literal(BEFORE_TYPE)?;
        let payload_type = cursor.until_quote()?;
        cursor.literal(BEFORE_SIGNATURES)?;
        let mut signatures = Vec::new();
        while !cursor.rest.starts_with(AFTER_SIGNATURES.as_bytes()) {
            if signatures.len() == shape.max_signatures {
                return Err(EnvelopeError::SignatureCount { limit: shape.max_signatures });
            }
            if !signatures.is_empty() {
                cursor.literal(",")?;
            }
            cursor.literal(BEFORE_KEY_ID)?;
            let key_id = cursor.until_quote()?;
            cursor.literal(BEFORE_SIGNATURE)?;
            let signature = cursor.until_quote()?;
            cursor.literal(AFTER_SIGNATURE)?;
            signatures.push((key_id, signature));
        }
        cursor.literal(AFTER_SIGNATURES)?;
        if !cursor.rest.is_empty() {
            return Err(cursor.malformed());
        }
        if signatures.is_empty() {
            return Err(EnvelopeError::SignatureCount { limit: shape.max_signatures });
        }
        Ok(Self { payload, payload_type, signatures })
    }

    // E5. Payload and signatures are strict base64 (standard alphabet, padded, no stray bits), each
    //     signature is of 64 bytes, and each key id of 64 lower-case hexadecimal digits.
    fn decode(&self) -> Result<Envelope, EnvelopeError> {
        let mut signatures = Vec::with_capacity(self.signatures.len());
        for (key_id, signature) in &self.signatures {
            signatures
                .push(Signature { key_id: decode_key_id(key_id)?, bytes: decode_signature(signature)? });
        }
        let payload = BASE64.decode(self.payload).ok().ok_or(EnvelopeError::Encoding { part: "payload" })?;
        Ok(Envelope { payload, signatures })
    }
}

// E3. The payload type is the expected one.
fn check_payload_type(text: &Text<'_>, shape: &Shape) -> Result<(), EnvelopeError> {
    if text.payload_type != shape.payload_type.as_bytes() {
        return Err(EnvelopeError::PayloadType { expected: shape.payload_type });
    }
    Ok(())
}

fn decode_key_id(text: &[u8]) -> Result<KeyId, EnvelopeError> {
    let id = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.ok_or(EnvelopeError::Encoding { part: "keyid" })
}

fn decode_signature(text: &[u8]) -> Result<[u8; 64], EnvelopeError> {
    // The length comes first, so that nothing is allocated for a long text.
    let bytes = if text.len() == SIGNATURE_TEXT_BYTES { BASE64.decode(text).ok() } else { None };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(EnvelopeError::Encoding { part: "sig" })
}

// E6. No two signatures name one key.
fn check_distinct(signatures: &[Signature]) -> Result<(), EnvelopeError> {
    let mut key_ids: Vec<_> = signatures.iter().map(|signature| signature.key_id).collect();
    key_ids.sort_unstable();
    key_ids.dedup();
    if key_ids.len() != signatures.len() {
        return Err(EnvelopeError::DuplicateSignature);
    }
    Ok(())
}

struct Cursor<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn literal(&mut self, text: &str) -> Result<(), EnvelopeError> {
        self.rest = self.rest.strip_prefix(text.as_bytes()).ok_or_else(|| self.malformed())?;
        Ok(())
    }

    /// What stands before the next quotation mark, which is not taken.
    fn until_quote(&mut self) -> Result<&'a [u8], EnvelopeError> {
        let end = self.rest.iter().position(|&byte| byte == b'"').ok_or_else(|| self.malformed())?;
        let (text, rest) = self.rest.split_at_checked(end).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(text)
    }

    fn malformed(&self) -> EnvelopeError {
        EnvelopeError::Malformed { at: self.all.len().saturating_sub(self.rest.len()) }
    }
}

const BEFORE_PAYLOAD: &str = r#"{"payload":""#;
const BEFORE_TYPE: &str = r#"","payloadType":""#;
const BEFORE_SIGNATURES: &str = r#"","signatures":["#;
const BEFORE_KEY_ID: &str = r#"{"keyid":""#;
const BEFORE_SIGNATURE: &str = r#"","sig":""#;
const AFTER_SIGNATURE: &str = r#""}"#;
const AFTER_SIGNATURES: &str = "]}";

/// 64 bytes in padded base64.
const SIGNATURE_TEXT_BYTES: usize = 88;
