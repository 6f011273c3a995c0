//! The document of the format is held to the code: its example opens, its limits and names are ours.

use miosa_snapshot::{
    Admission, Digest, DocumentError, EnvelopeError, HostId, HostIdentity, HostPrivateKey, MAX_CLOCK_LEAD_MS,
    MAX_ENVELOPE_BYTES, MAX_NUMBER, MAX_ROOTS, MAX_SIGNATURES, MAX_SIGNERS, MAX_TRUST_BYTES, OpenError,
    OpenedKeys, OutOfScope, Refusal, SigningKey, StatementError, TRUST_PAYLOAD_TYPE, Trust, TrustError,
    UPDATE_PAYLOAD_TYPE, open,
};

const DOCUMENT: &str = include_str!("../../docs/snapshot-format.md");

#[test]
fn the_example_of_the_document_opens() {
    let [statement, trust, update] = json_blocks().try_into().unwrap();
    let trust = Trust::pin(trust.as_bytes(), &value("trust digest").parse().unwrap()).unwrap();
    let key = HostPrivateKey::from_bytes(&[3; 32]).unwrap();
    assert_eq!(hex(key.public().as_bytes()), value("host key"));
    let host = HostIdentity { id: "host_1".parse().unwrap(), key };
    let now = Admission::New { now_ms: 1_767_225_600_000 };
    let opened = open(update.as_bytes(), &host, &trust, now, &mut OpenedKeys::new()).unwrap();
    assert_eq!(opened.digest().to_string(), value("update digest"));
    let payload = statement.split_once(r#""payload":"#).unwrap().1.strip_suffix('}').unwrap();
    assert_eq!(str::from_utf8(opened.payload()).unwrap(), payload);
    assert_eq!(opened.statement().signer.to_string(), value("signer key id"));
}

#[test]
fn the_keys_of_the_example_are_those_of_its_seeds() {
    for (seed, name) in [(1, "root"), (2, "signer")] {
        // PKCS#8 version 1: a fixed head and the seed.
        let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let key = SigningKey::from_pkcs8(&[head.as_slice(), &[seed; 32]].concat()).unwrap();
        assert_eq!(hex(key.public().as_bytes()), value(&format!("{name} key")));
        assert_eq!(key.key_id().to_string(), value(&format!("{name} key id")));
    }
}

#[test]
fn every_check_stands_in_the_document_with_its_refusal() {
    let envelope = [
        EnvelopeError::Oversize { size: 0, limit: 0 },
        EnvelopeError::Malformed { at: 0 },
        EnvelopeError::PayloadType { expected: "" },
        EnvelopeError::SignatureCount { limit: 0 },
        EnvelopeError::Encoding { part: "" },
        EnvelopeError::DuplicateSignature,
    ];
    let for_host: HostId = "host_1".parse().unwrap();
    let update = [
        OpenError::Body,
        OpenError::WrongHost { for_host },
        OpenError::UnknownSigner,
        OpenError::BadSignature,
        OpenError::Undecryptable,
        OpenError::Statement(StatementError::Format),
        OpenError::HostMismatch,
        OpenError::SignerMismatch,
        OpenError::EpochAboveTrust { epoch: 0, granted: 0 },
        OpenError::TrustExpired { expires_at: 0 },
        OpenError::SignerExpired { expires_at: 0 },
        OpenError::Expired { expires_at: 0 },
        OpenError::FromTheFuture { issued_at: 0 },
    ];
    let trust = [
        TrustError::PinMismatch,
        TrustError::NotSignedByHeldRoots { version: 0, valid: 0, threshold: 0 },
        TrustError::Document(DocumentError::Format),
        TrustError::NotSignedByOwnRoots { valid: 0, threshold: 0 },
        TrustError::StaleVersion { offered: 0, held: 0 },
        TrustError::Equivocation { version: 0, contradicts: true },
        TrustError::SkippedVersion { offered: 0, held: 0 },
        TrustError::EpochLowered { offered: 0, held: 0 },
    ];
    // J1 refuses nothing; P1 to P5 are of the payload, which this crate does not know.
    let rule = [
        Refusal::StaleVersion,
        Refusal::BelowFloor,
        Refusal::FloorLost,
        Refusal::WrongBase,
        Refusal::Equivocation,
        Refusal::IssuedBackwards,
    ];
    let scope = OutOfScope { tenant: String::new() };
    let numbered = envelope.iter().map(|error| (error.check(), error.name()));
    let numbered = numbered.chain(update.iter().map(|error| (error.check(), error.name())));
    let numbered = numbered.chain(trust.iter().map(|error| (error.check(), error.name())));
    let numbered = numbered.chain(rule.iter().map(|error| (error.check(), error.name())));
    let numbered = numbered.chain([(scope.check(), scope.name())]);
    for (check, name) in numbered {
        let start = format!("| {check} | ");
        let row = DOCUMENT.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{check} is not in the document"));
        assert!(row.ends_with(&format!("| `{name}` |")), "{check} is {name}: {row}");
    }
}

#[test]
fn the_numbers_of_the_document_are_ours() {
    assert_eq!(MAX_ENVELOPE_BYTES, 16_777_216);
    assert_eq!(MAX_TRUST_BYTES, 262_144);
    assert_eq!(MAX_NUMBER, 9_007_199_254_740_991);
    assert_eq!(MAX_CLOCK_LEAD_MS, 3_600_000);
    let phrases = [
        "16 MiB (16,777,216 bytes)",
        "256 KiB (262,144 bytes)",
        "from 0 to 9007199254740991 (2^53 − 1)",
        "one hour (3,600,000 ms) ahead",
        &format!("| signatures of a trust document | 1 to {MAX_SIGNATURES} |"),
        &format!("| root keys of a trust document | 1 to {MAX_ROOTS} |"),
        &format!("| signers of a trust document | 0 to {MAX_SIGNERS} |"),
        &format!("| update | `{UPDATE_PAYLOAD_TYPE}` |"),
        &format!("| trust document | `{TRUST_PAYLOAD_TYPE}` |"),
    ];
    for phrase in phrases {
        assert!(DOCUMENT.contains(phrase), "{phrase}");
    }
}

#[test]
fn digests_are_what_sha256sum_prints() {
    let trust = json_blocks().remove(1);
    assert_eq!(Digest::of(trust.as_bytes()).to_string(), value("trust digest"));
}

/// What stands behind `name` in the list of the example.
fn value(name: &str) -> &'static str {
    let found = DOCUMENT.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
    found.unwrap_or_else(|| panic!("the document has no {name}")).trim()
}

fn json_blocks() -> Vec<&'static str> {
    DOCUMENT
        .split("```json\n")
        .skip(1)
        .filter_map(|block| block.split_once("\n```"))
        .map(|(text, _)| text)
        .take(3)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
