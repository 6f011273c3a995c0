//! The outermost layer: any bytes, read as an update's and as a trust document's envelope.

use crate::{
    MAX_ENVELOPE_BYTES, MAX_SIGNATURES, MAX_TRUST_BYTES, TRUST_PAYLOAD_TYPE, UPDATE_PAYLOAD_TYPE, base64,
    envelope::{Envelope, Shape},
};

/// What is read is written again byte for byte, and a foreign JSON parser sees the same in it.
pub fn run(data: &[u8]) {
    let update =
        Shape { payload_type: UPDATE_PAYLOAD_TYPE, max_bytes: MAX_ENVELOPE_BYTES, max_signatures: 1 };
    let trust = Shape {
        payload_type: TRUST_PAYLOAD_TYPE,
        max_bytes: MAX_TRUST_BYTES,
        max_signatures: MAX_SIGNATURES,
    };
    for shape in [update, trust] {
        let Ok(envelope) = Envelope::read(data, &shape) else { continue };
        assert!(data.len() <= shape.max_bytes);
        assert!((1..=shape.max_signatures).contains(&envelope.signatures.len()));
        assert_eq!(envelope.write(shape.payload_type), data, "another spelling of the same envelope");
        assert_eq!(as_others_read(data), (shape.payload_type.to_owned(), envelope.payload));
    }
}

fn as_others_read(data: &[u8]) -> (String, Vec<u8>) {
    let json: serde_json::Value = serde_json::from_slice(data).expect("an envelope is JSON");
    let text = |name: &str| json.get(name).and_then(|member| member.as_str()).expect("a text").to_owned();
    (text("payloadType"), base64::decode(text("payload").as_bytes()).expect("base64"))
}
