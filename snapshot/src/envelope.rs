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

use crate::{
    base64,
    signing::{KeyId, VerifyingKey},
};

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
    /// The number of the check in `docs/snapshot-format.md`.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Oversize { .. } => "E1",
            Self::Malformed { .. } => "E2",
            Self::PayloadType { .. } => "E3",
            Self::SignatureCount { .. } => "E4",
            Self::Encoding { .. } => "E5",
            Self::DuplicateSignature => "E6",
        }
    }

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
        check_signature_count(&text, shape)?;
        let envelope = text.decode()?;
        check_distinct(&envelope.signatures)?;
        Ok(envelope)
    }

    pub(crate) fn write(&self, payload_type: &str) -> Vec<u8> {
        let mut text = String::with_capacity(self.written_len(payload_type));
        text.push_str(BEFORE_PAYLOAD);
        base64::encode_append(&self.payload, &mut text);
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
            base64::encode_append(&signature.bytes, &mut text);
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

    /// Room for the text, so that a large one is not copied while it grows. Around payload and type
    /// stand fewer than 200 bytes, and fewer than 200 more for each signature.
    fn written_len(&self, payload_type: &str) -> usize {
        let around = self.signatures.len().saturating_add(1).saturating_mul(200);
        base64::encoded_len(self.payload.len()).saturating_add(payload_type.len()).saturating_add(around)
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
    /// As many as there may be; the others are counted only.
    signatures: Vec<(&'a [u8], &'a [u8])>,
    signature_count: usize,
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
    fn read(bytes: &'a [u8], shape: &Shape) -> Result<Self, EnvelopeError> {
        let mut cursor = Cursor { all: bytes, rest: bytes };
        cursor.literal(BEFORE_PAYLOAD)?;
        let payload = cursor.until_quote()?;
        cursor.literal(BEFORE_TYPE)?;
        let payload_type = cursor.until_quote()?;
        cursor.literal(BEFORE_SIGNATURES)?;
        let (mut signatures, mut signature_count) = (Vec::new(), 0_usize);
        while !cursor.rest.starts_with(AFTER_SIGNATURES.as_bytes()) {
            if signature_count > 0 {
                cursor.literal(",")?;
            }
            cursor.literal(BEFORE_KEY_ID)?;
            let key_id = cursor.until_quote()?;
            cursor.literal(BEFORE_SIGNATURE)?;
            let signature = cursor.until_quote()?;
            cursor.literal(AFTER_SIGNATURE)?;
            if signature_count < shape.max_signatures {
                signatures.push((key_id, signature));
            }
            signature_count = signature_count.saturating_add(1);
        }
        cursor.literal(AFTER_SIGNATURES)?;
        if !cursor.rest.is_empty() {
            return Err(cursor.malformed());
        }
        Ok(Self { payload, payload_type, signatures, signature_count })
    }

    // E5. Payload and signatures are strict base64 (standard alphabet, padded, no stray bits), each
    //     signature is of 64 bytes, and each key id of 64 lower-case hexadecimal digits.
    fn decode(&self) -> Result<Envelope, EnvelopeError> {
        let mut signatures = Vec::with_capacity(self.signatures.len());
        for (key_id, signature) in &self.signatures {
            signatures
                .push(Signature { key_id: decode_key_id(key_id)?, bytes: decode_signature(signature)? });
        }
        let payload = base64::decode(self.payload).ok_or(EnvelopeError::Encoding { part: "payload" })?;
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

// E4. It has at least one signature, and at most `max_signatures`.
fn check_signature_count(text: &Text<'_>, shape: &Shape) -> Result<(), EnvelopeError> {
    if text.signature_count == 0 || text.signature_count > shape.max_signatures {
        return Err(EnvelopeError::SignatureCount { limit: shape.max_signatures });
    }
    Ok(())
}

fn decode_key_id(text: &[u8]) -> Result<KeyId, EnvelopeError> {
    let id = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.ok_or(EnvelopeError::Encoding { part: "keyid" })
}

fn decode_signature(text: &[u8]) -> Result<[u8; 64], EnvelopeError> {
    // The length comes first, so that nothing is allocated for a long text.
    let bytes = if text.len() == SIGNATURE_TEXT_BYTES { base64::decode(text) } else { None };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::world::signing_key;

    use super::*;

    const TYPE: &str = "application/example";
    const SHAPE: Shape = Shape { payload_type: TYPE, max_bytes: 1_000, max_signatures: 2 };

    #[test]
    fn the_signed_bytes_are_those_of_the_dsse_specification() {
        let signed = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn the_text_is_exactly_this() {
        let key_id = "0".repeat(64).parse().unwrap();
        let signature = Signature { key_id, bytes: [0; 64] };
        let envelope = Envelope { payload: b"hi?".to_vec(), signatures: vec![signature] };
        let expected = [
            r#"{"payload":"aGk/","payloadType":"application/example","signatures":["#,
            &format!(r#"{{"keyid":"{}","sig":"{}A=="}}]}}"#, "0".repeat(64), "A".repeat(85)),
        ]
        .concat();
        assert_eq!(String::from_utf8(envelope.write(TYPE)).unwrap(), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let keys = [signing_key(), signing_key()];
        for count in 1..=2 {
            let bytes = written(b"payload", &keys[..count]);
            let envelope = Envelope::read(&bytes, &SHAPE).unwrap();
            assert_eq!(envelope.payload, b"payload");
            let message = pae(TYPE, b"payload");
            assert!(envelope.is_signed_by(&keys[0].public(), &message));
            assert_eq!(envelope.is_signed_by(&keys[1].public(), &message), count == 2);
            assert_eq!(envelope.write(TYPE), bytes);
        }
    }

    #[test]
    fn the_limits_are_met_exactly() {
        let keys = [signing_key(), signing_key(), signing_key()];
        let fitting = (0..1_000).map(|length| written(&vec![0; length], &keys[..1]));
        let fitting: Vec<_> = fitting.filter(|bytes| (997..=1_003).contains(&bytes.len())).collect();
        assert!(fitting.iter().any(|bytes| bytes.len() > 1_000));
        for bytes in fitting {
            let refused = EnvelopeError::Oversize { size: bytes.len(), limit: 1_000 };
            let expected = if bytes.len() <= 1_000 { None } else { Some(refused) };
            assert_eq!(Envelope::read(&bytes, &SHAPE).err(), expected);
        }
        let count = Some(EnvelopeError::SignatureCount { limit: 2 });
        assert_eq!(Envelope::read(&written(b"", &keys), &SHAPE).err(), count);
        assert_eq!(Envelope::read(&written(b"", &[]), &SHAPE).err(), count);
    }

    #[test]
    fn the_checks_are_made_in_the_order_of_their_numbers() {
        let keys = [signing_key(), signing_key(), signing_key()];
        let text = |signers: &[crate::SigningKey]| String::from_utf8(written(b"hi?", signers)).unwrap();
        let [one, none, three] = [&keys[..1], &[], &keys].map(text);
        let typed = |text: &str| text.replace(TYPE, "application/other");
        let encoded = |text: &str| text.replace("aGk/", "aGk_");
        let table = [
            ("malformed_envelope", format!("{} ", encoded(&typed(&one)))),
            ("malformed_envelope", format!("{} ", encoded(&typed(&none)))),
            ("malformed_envelope", format!("{} ", encoded(&typed(&three)))),
            ("wrong_payload_type", encoded(&typed(&one))),
            ("wrong_payload_type", encoded(&typed(&none))),
            ("wrong_payload_type", encoded(&typed(&three))),
            ("wrong_signature_count", encoded(&none)),
            ("wrong_signature_count", encoded(&three)),
            ("bad_encoding", encoded(&one)),
        ];
        for (name, text) in table {
            let shape = Shape { max_bytes: text.len(), ..SHAPE };
            let refused = Envelope::read(text.as_bytes(), &shape).err().map(|error| error.name());
            assert_eq!(refused, Some(name), "{text}");
            let shape = Shape { max_bytes: text.len() - 1, ..SHAPE };
            let refused = Envelope::read(text.as_bytes(), &shape).err().map(|error| error.name());
            assert_eq!(refused, Some("oversize"), "{text}");
        }
    }

    #[test]
    fn no_more_signatures_are_kept_than_allowed() {
        let keys: Vec<_> = (0..20).map(|_| signing_key()).collect();
        let bytes = written(b"", &keys);
        let text = Text::read(&bytes, &SHAPE).ok().unwrap();
        assert_eq!((text.signatures.len(), text.signature_count), (2, 20));
    }

    #[test]
    fn one_key_signs_once() {
        let key = signing_key();
        let mut envelope = Envelope::read(&written(b"", &[key]), &SHAPE).unwrap();
        let again = Signature { bytes: [7; 64], ..envelope.signatures[0] };
        envelope.signatures.insert(0, again);
        let refused = Envelope::read(&envelope.write(TYPE), &SHAPE);
        assert_eq!(refused.err(), Some(EnvelopeError::DuplicateSignature));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let text = String::from_utf8(written(&[0xfb, 0xef, 0xbe, 0xff], &[signing_key()])).unwrap();
        let (key_id, signature) =
            (&text[text.find("keyid").unwrap() + 8..][..64], text.find("sig\"").unwrap() + 6);
        let signature = &text[signature..][..88];
        assert!(Envelope::read(text.as_bytes(), &SHAPE).is_ok());
        let replaced = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        let table = [
            ("malformed_envelope", String::new()),
            ("malformed_envelope", "{}".to_owned()),
            ("malformed_envelope", "null".to_owned()),
            ("malformed_envelope", format!("\u{feff}{text}")),
            ("malformed_envelope", format!("{text}\n")),
            ("malformed_envelope", format!("{text}{text}")),
            ("malformed_envelope", format!("[{text}]")),
            ("malformed_envelope", replaced(",", ", ")),
            ("malformed_envelope", replaced(":", ": ")),
            ("malformed_envelope", replaced("payload", "Payload")),
            ("malformed_envelope", replaced("payload", "p\\u0061yload")),
            ("malformed_envelope", replaced("]}", r#"],"extra":1}"#)),
            ("malformed_envelope", replaced("{", r#"{"payload":"","#)),
            ("malformed_envelope", replaced("\"}", r#"","extra":1}"#)),
            ("malformed_envelope", replaced("]}", ",]}")),
            ("malformed_envelope", replaced("[", "[,")),
            ("malformed_envelope", replaced("[", "[null,")),
            ("malformed_envelope", replaced("keyid", "keyId")),
            ("wrong_payload_type", replaced("application", "Application")),
            ("wrong_payload_type", replaced("application/", r"application\/")),
            ("wrong_payload_type", replaced("example", "example ")),
            ("wrong_payload_type", replaced("example", "")),
            ("bad_encoding", replaced("++++/w==", "----_w==")),
            ("bad_encoding", replaced("++++/w==", "++++/w=")),
            ("bad_encoding", replaced("++++/w==", "++++/w")),
            ("bad_encoding", replaced("++++/w==", "++++/x==")),
            ("bad_encoding", replaced("++++/w==", "++++ /w==")),
            ("bad_encoding", replaced("++++/w==", "++++\n/w==")),
            ("bad_encoding", replaced("++++/w==", "/w==++++")),
            ("bad_encoding", replaced("++++/w==", r"++++\/w==")),
            ("bad_encoding", replaced("++++/w==", "++++/w==\0")),
            ("bad_encoding", replaced(key_id, &key_id.to_uppercase())),
            ("bad_encoding", replaced(key_id, "")),
            ("bad_encoding", replaced(key_id, &key_id[1..])),
            ("bad_encoding", replaced(key_id, &format!("é{}", &key_id[2..]))),
            ("bad_encoding", replaced(signature, "")),
            ("bad_encoding", replaced(signature, &"A".repeat(88))),
            ("bad_encoding", replaced(signature, &format!("{}AA==", "A".repeat(80)))),
            ("bad_encoding", replaced(signature, &format!("{}B==", "A".repeat(85)))),
        ];
        for (name, bad) in table {
            let error =
                Envelope::read(bad.as_bytes(), &SHAPE).err().unwrap_or_else(|| panic!("accepted {bad}"));
            assert_eq!(error.name(), name, "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_where_the_text_goes_wrong() {
        let text = String::from_utf8(written(b"", &[signing_key()])).unwrap();
        let refused =
            Envelope::read(text.replace("\",\"payloadType", "\", \"payloadType").as_bytes(), &SHAPE);
        assert_eq!(refused.err(), Some(EnvelopeError::Malformed { at: 12 }));
    }

    #[test]
    fn every_refusal_has_a_text_of_its_own() {
        let table = [
            (EnvelopeError::Oversize { size: 3, limit: 2 }, "an envelope of 3 bytes is over the limit of 2"),
            (EnvelopeError::Malformed { at: 7 }, "not the exact text of an envelope at byte 7"),
            (EnvelopeError::PayloadType { expected: "a/b" }, "the envelope has not the payload type a/b"),
            (EnvelopeError::SignatureCount { limit: 2 }, "the envelope has not between 1 and 2 signatures"),
            (
                EnvelopeError::Encoding { part: "sig" },
                "the sig of the envelope is not in its one canonical encoding",
            ),
            (EnvelopeError::DuplicateSignature, "the envelope has two signatures of one key"),
        ];
        for (error, text) in table {
            assert_eq!(error.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_text_that_is_read_is_the_one_that_would_be_written(
            start in 0..400_usize,
            length in 0..8_usize,
            with in "[-A-Za-z0-9+/=\"\\\\{}\\[\\],: ]{0,8}",
        ) {
            let mut text = written(b"payload", &[signing_key(), signing_key()]);
            let start = start.min(text.len());
            let end = start.saturating_add(length).min(text.len());
            text.splice(start..end, with.bytes());
            if let Ok(envelope) = Envelope::read(&text, &SHAPE) {
                prop_assert_eq!(envelope.write(TYPE), text);
            }
        }
    }

    fn written(payload: &[u8], keys: &[crate::SigningKey]) -> Vec<u8> {
        let message = pae(TYPE, payload);
        let sign = |key: &crate::SigningKey| Signature { key_id: key.key_id(), bytes: key.sign(&message) };
        Envelope { payload: payload.to_vec(), signatures: keys.iter().map(sign).collect() }.write(TYPE)
    }
}
