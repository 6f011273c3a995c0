//! Every numbered check refuses what it is there for, and nothing changed by as little as one bit
//! is opened.

use crate::{
    ContentKey, Draft, Kind, MAX_ENVELOPE_BYTES, MAX_NUMBER, Times,
    envelope::{Envelope, Signature},
    seal,
    world::{MINUTE, NEW, NOW, TIMES, World, envelope, full, host, signing_key, unlimited},
};

use super::*;

impl Verified {
    /// An update that was never sealed, for the tests of what happens after opening.
    pub(crate) fn stated(statement: Statement, digest: Digest) -> Self {
        let signer = unlimited(&signing_key());
        Self { statement, signer, text: Zeroizing::new(Vec::new()), payload: 0..0, digest }
    }
}

#[test]
fn what_was_sealed_comes_out() {
    let world = World::new();
    let prev = Digest::of(b"before");
    let kinds = [
        (7, Kind::Full, r#"{"put": {"a": "ä\u0000"}}"#),
        (8, Kind::Incremental { from: 7, prev }, r#"{"delete":{}}"#),
        (MAX_NUMBER, Kind::Incremental { from: 0, prev }, "{}"),
        (0, Kind::Heartbeat { from: 0, prev }, "{}"),
    ];
    for (version, kind, payload) in kinds {
        let draft = Draft { kind, ..full(version) };
        let bytes = world.seal(&draft, payload.as_bytes());
        let update = world.open(&bytes).unwrap();
        let expected = Statement {
            host_id: world.host.id.clone(),
            signer: world.signer.key_id(),
            epoch: draft.epoch,
            version,
            kind,
            times: TIMES,
        };
        assert_eq!(*update.statement(), expected);
        assert_eq!(update.payload(), payload.as_bytes());
        assert_eq!(update.digest(), Digest::of(&bytes));
        assert!(!bytes.contains(&b'\n'));
    }
}

#[test]
fn e1_an_envelope_over_the_limit_is_refused_unread() {
    let world = World::new();
    assert_eq!(world.refusal(&vec![b'{'; MAX_ENVELOPE_BYTES + 1]), "oversize");
    assert_eq!(world.refusal(&vec![b'{'; MAX_ENVELOPE_BYTES]), "malformed_envelope");
}

#[test]
fn e1_no_envelope_over_the_limit_is_made() {
    let world = World::new();
    let payload = |length| format!(r#"{{"a":"{}"}}"#, "x".repeat(length)).into_bytes();
    let fits = MAX_ENVELOPE_BYTES / 4 * 3 - 2_000;
    let bytes = world.seal(&full(1), &payload(fits));
    assert_eq!(world.open(&bytes).unwrap().payload().len(), fits + 8);
    let error = seal(&full(1), &payload(fits + 2_000), &world.key, &world.signer).unwrap_err();
    assert!(matches!(error, crate::SealError::Oversize { .. }), "{error:?}");
}

#[test]
fn e3_a_trust_document_is_no_update_however_many_roots_signed_it() {
    let world = World::new();
    let mut document = world.trust.document().clone();
    let second = signing_key();
    document.roots.push(second.public());
    for roots in [vec![&world.root], vec![&world.root, &second]] {
        assert_eq!(world.refusal(&document.sign(&roots).unwrap()), "wrong_payload_type");
    }
}

#[test]
fn e4_an_update_has_exactly_one_signature() {
    let world = World::new();
    let body = world.key.encrypt(b"{}").unwrap();
    let mut read = Envelope::read(&envelope(body, &world.signer), &SHAPE).unwrap();
    read.signatures.push(Signature { key_id: world.other_signer.key_id(), bytes: [0; 64] });
    assert_eq!(world.refusal(&read.write(UPDATE_PAYLOAD_TYPE)), "wrong_signature_count");
    read.signatures.clear();
    assert_eq!(world.refusal(&read.write(UPDATE_PAYLOAD_TYPE)), "wrong_signature_count");
}

#[test]
fn u1_a_body_without_its_parts_is_refused() {
    let world = World::new();
    let body = world.key.encrypt(b"").unwrap();
    for length in 0..body.len() {
        assert_eq!(
            world.refusal(&envelope(body[..length].to_vec(), &world.signer)),
            "malformed_body",
            "{length}"
        );
    }
    // Whole, but what is in it is no statement.
    assert_eq!(world.refusal(&envelope(body.clone(), &world.signer)), "malformed_statement");
    for id in ["", "host 1", "../host", "-host", &"h".repeat(65), "hôst"] {
        let renamed = [id.as_bytes(), &body["host_1".len()..]].concat();
        assert_eq!(world.refusal(&envelope(renamed, &world.signer)), "malformed_body", "{id}");
    }
}

#[test]
fn u2_an_update_for_another_host_is_refused_before_its_signature_is_looked_at() {
    let world = World::new();
    let other = host("host_2");
    let key = ContentKey::for_host(&other.id, &other.key.public()).unwrap();
    let bytes = seal(&full(1), b"{}", &key, &world.signer).unwrap();
    assert_eq!(world.open(&bytes).unwrap_err(), OpenError::WrongHost { for_host: other.id });
    let forged = seal(&full(1), b"{}", &key, &signing_key()).unwrap();
    assert_eq!(world.refusal(&forged), "wrong_host");
}

#[test]
fn u3_a_signer_that_is_not_listed_or_no_longer_is_refused_from_the_cache_too() {
    let world = World::new();
    let forged = seal(&full(1), b"{}", &world.key, &signing_key()).unwrap();
    assert_eq!(world.refusal(&forged), "unknown_signer");
    let bytes = world.seal(&full(1), b"{}");
    let world = world.trusting(|document| drop(document.signers.remove(0)));
    for admission in [NEW, Admission::Cached] {
        assert_eq!(world.open_as(&bytes, admission).unwrap_err(), OpenError::UnknownSigner);
    }
}

#[test]
fn u3_a_root_is_no_signer() {
    let world = World::new();
    let bytes = seal(&full(1), b"{}", &world.key, &world.root).unwrap();
    assert_eq!(world.refusal(&bytes), "unknown_signer");
}

#[test]
fn u4_a_key_id_proves_nothing() {
    let world = World::new();
    let body = world.key.encrypt(b"{}").unwrap();
    let mut forged = Envelope::read(&envelope(body, &signing_key()), &SHAPE).unwrap();
    forged.signatures[0].key_id = world.signer.key_id();
    assert_eq!(world.refusal(&forged.write(UPDATE_PAYLOAD_TYPE)), "bad_signature");
}

#[test]
fn u4_a_signature_over_another_payload_type_does_not_verify() {
    let world = World::new();
    let body = world.key.encrypt(b"{}").unwrap();
    let bytes = world.signer.sign(&pae(crate::TRUST_PAYLOAD_TYPE, &body));
    let signatures = vec![Signature { key_id: world.signer.key_id(), bytes }];
    let bytes = Envelope { payload: body, signatures }.write(UPDATE_PAYLOAD_TYPE);
    assert_eq!(world.refusal(&bytes), "bad_signature");
}

#[test]
fn u5_what_was_sealed_to_another_key_or_under_another_id_does_not_open() {
    let world = World::new();
    let to_another_key = ContentKey::for_host(&world.host.id, &host("host_1").key.public()).unwrap();
    let bytes = seal(&full(1), b"{}", &to_another_key, &world.signer).unwrap();
    assert_eq!(world.refusal(&bytes), "undecryptable");

    let under_another_id =
        ContentKey::for_host(&"host_2".parse().unwrap(), &world.host.key.public()).unwrap();
    let body = under_another_id.encrypt(b"{}").unwrap();
    let renamed = [b"host_1", &body["host_2".len()..]].concat();
    assert_eq!(world.refusal(&envelope(renamed, &world.signer)), "undecryptable");
}

#[test]
fn u5_every_single_bit_of_the_body_matters_even_to_who_can_sign() {
    let world = World::new();
    let bytes = world.seal(&full(1), b"{}");
    let body = Envelope::read(&bytes, &SHAPE).unwrap().payload;
    for bit in 0..body.len() * 8 {
        let resigned = envelope(flipped(&body, bit), &world.signer);
        let expected: &[&str] = match bit / 8 {
            0..7 => &["wrong_host", "malformed_body"],
            _ => &["undecryptable"],
        };
        assert!(expected.contains(&world.refusal(&resigned)), "bit {bit}: {}", world.refusal(&resigned));
    }
}

#[test]
fn u5_every_truncation_of_the_body_is_refused_even_from_who_can_sign() {
    let world = World::new();
    let body = Envelope::read(&world.seal(&full(1), b"{}"), &SHAPE).unwrap().payload;
    for length in 0..body.len() {
        let name = world.refusal(&envelope(body[..length].to_vec(), &world.signer));
        assert!(["malformed_body", "undecryptable"].contains(&name), "{length}: {name}");
    }
}

#[test]
fn u5_parts_of_two_updates_do_not_mix() {
    let world = World::new();
    let again = ContentKey::for_host(&world.host.id, &world.host.key.public()).unwrap();
    let [one, two] = [&world.key, &again].map(|key| key.encrypt(b"{}").unwrap());
    for (start, end) in [(7, 87), (87, 119), (119, one.len())] {
        let mut mixed = one.clone();
        mixed[start..end].copy_from_slice(&two[start..end]);
        assert_eq!(world.refusal(&envelope(mixed, &world.signer)), "undecryptable", "{start}..{end}");
    }
}

#[test]
fn u6_what_is_no_statement_is_refused_without_quoting_it() {
    let world = World::new();
    let error = world.open(&world.state(r#"{"SECRET":"SECRET"}"#)).unwrap_err();
    assert_eq!(error.name(), "malformed_statement");
    assert!(!format!("{error} {error:?} {:?}", std::error::Error::source(&error)).contains("SECRET"));
}

#[test]
fn u7_the_host_inside_must_be_the_one_outside() {
    let world = World::new();
    let statement = Statement { host_id: "host_2".parse().unwrap(), ..statement(&world) };
    assert_eq!(world.refusal(&stating(&world, &statement)), "host_mismatch");
}

#[test]
fn u8_a_signer_cannot_pass_off_what_another_one_sealed() {
    let world = World::new();
    let body = Envelope::read(&world.seal(&full(1), b"{}"), &SHAPE).unwrap().payload;
    assert_eq!(world.refusal(&envelope(body, &world.other_signer)), "signer_mismatch");
}

#[test]
fn u9_an_epoch_that_the_roots_have_not_granted_is_refused() {
    let world = World::new();
    for (epoch, name) in
        [(0, "none"), (3, "none"), (4, "epoch_above_trust"), (MAX_NUMBER, "epoch_above_trust")]
    {
        let bytes = world.seal(&Draft { epoch, ..full(1) }, b"{}");
        assert_eq!(world.refusal(&bytes), name, "{epoch}");
        assert_eq!(world.open_as(&bytes, Admission::Cached).is_ok(), name == "none", "{epoch}");
    }
}

#[test]
fn age_refuses_new_updates_only() {
    type Change = fn(&mut crate::TrustDocument);
    let unchanged: Change = |_document| {};
    let issued = |issued_at| Times { issued_at, ..TIMES };
    let expiring = |expires_at| Times { issued_at: expires_at - 1, expires_at, ..TIMES };
    // What the trust document is, when the update was made, refusal when new, refusal when cached.
    let table: [(Change, Times, &str, &str); 11] = [
        (|document| document.expires_at = NOW, TIMES, "none", "none"),
        (|document| document.expires_at = NOW - 1, TIMES, "trust_expired", "none"),
        (|document| document.signers[0].expires_at = NOW, TIMES, "none", "none"),
        (|document| document.signers[0].expires_at = NOW - 1, issued(NOW - 1), "signer_expired", "none"),
        (|document| document.signers[0].expires_at = NOW - 1, TIMES, "signer_expired", "signer_expired"),
        (
            |document| document.signers[0].expires_at = NOW,
            issued(NOW + 1),
            "signer_expired",
            "signer_expired",
        ),
        (unchanged, expiring(NOW), "none", "none"),
        (unchanged, expiring(NOW - 1), "expired", "none"),
        (unchanged, Times { issued_at: 0, expires_at: 0, serve_until: 0 }, "expired", "none"),
        (unchanged, ahead(MAX_CLOCK_LEAD_MS), "none", "none"),
        (unchanged, ahead(MAX_CLOCK_LEAD_MS + 1), "from_the_future", "none"),
    ];
    for (row, (change, times, new, cached)) in table.into_iter().enumerate() {
        let world = World::new().trusting(change);
        let bytes = world.seal(&Draft { times, ..full(1) }, b"{}");
        assert_eq!(world.refusal(&bytes), new, "row {row}");
        let reopened = world.open_as(&bytes, Admission::Cached);
        assert_eq!(
            reopened.map_or_else(|error| error.name(), |_verified| "none"),
            cached,
            "row {row}, cached"
        );
    }
}

#[test]
fn every_single_bit_flip_of_an_envelope_is_refused_by_a_host_with_a_warm_key_too() {
    let world = World::new();
    let bytes = world.seal(&full(1), b"{}");
    let mut opened = OpenedKeys::new();
    for bit in 0..bytes.len() * 8 {
        for admission in [NEW, Admission::Cached] {
            let refused = open(&flipped(&bytes, bit), &world.host, &world.trust, admission, &mut opened);
            assert!(refused.is_err(), "bit {bit}");
        }
        if bit % 512 == 0 {
            open(&bytes, &world.host, &world.trust, NEW, &mut opened).unwrap();
        }
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_refused() {
    let world = World::new();
    let bytes = world.seal(&full(1), b"{}");
    for length in 0..bytes.len() {
        assert_eq!(world.refusal(&bytes[..length]), "malformed_envelope", "{length}");
    }
    for byte in 0..=u8::MAX {
        assert_eq!(world.refusal(&[bytes.as_slice(), &[byte]].concat()), "malformed_envelope", "{byte}");
        assert_eq!(world.refusal(&[&[byte], bytes.as_slice()].concat()), "malformed_envelope", "{byte}");
    }
}

#[test]
fn an_update_opens_in_any_order_of_content_keys() {
    let world = World::new();
    let again = ContentKey::for_host(&world.host.id, &world.host.key.public()).unwrap();
    let mut opened = OpenedKeys::new();
    for key in [&world.key, &world.key, &again, &world.key, &again] {
        let bytes = seal(&full(1), br#"{"a":1}"#, key, &world.signer).unwrap();
        let update = open(&bytes, &world.host, &world.trust, NEW, &mut opened).unwrap();
        assert_eq!(update.payload(), br#"{"a":1}"#);
    }
}

#[test]
fn a_remembered_content_key_opens_nothing_for_another_host_key() {
    let mut world = World::new();
    let bytes = world.seal(&full(1), b"{}");
    let mut opened = OpenedKeys::new();
    open(&bytes, &world.host, &world.trust, NEW, &mut opened).unwrap();
    world.host.key = host("host_1").key;
    let refused = open(&bytes, &world.host, &world.trust, NEW, &mut opened);
    assert_eq!(refused.unwrap_err(), OpenError::Undecryptable);
}

#[test]
fn a_remembered_content_key_opens_nothing_under_another_host_id() {
    let mut world = World::new();
    let body = world.key.encrypt(b"{}").unwrap();
    let mut opened = OpenedKeys::new();
    opened.decrypt(&Body::read(&body).unwrap(), &world.host).unwrap();
    world.host.id = "host_2".parse().unwrap();
    let renamed = [b"host_2", &body["host_1".len()..]].concat();
    let refused = open(&envelope(renamed, &world.signer), &world.host, &world.trust, NEW, &mut opened);
    assert_eq!(refused.unwrap_err(), OpenError::Undecryptable);
}

#[test]
fn the_payload_is_not_printed() {
    let world = World::new();
    let update = world.open(&world.seal(&full(1), br#"{"a":"SECRET"}"#)).unwrap();
    assert!(!format!("{update:?}").contains("SECRET"));
}

#[test]
fn every_refusal_has_a_name_and_a_text_of_its_own() {
    let host_id: HostId = "host_2".parse().unwrap();
    let table = [
        (
            OpenError::Envelope(EnvelopeError::Malformed { at: 7 }),
            "malformed_envelope",
            "cannot take the envelope of an update apart",
        ),
        (OpenError::Body, "malformed_body", "the body of the update has not the documented parts"),
        (OpenError::WrongHost { for_host: host_id }, "wrong_host", "the update is for host host_2"),
        (
            OpenError::UnknownSigner,
            "unknown_signer",
            "the update is not signed by a signer of the current trust document",
        ),
        (OpenError::BadSignature, "bad_signature", "the signature of the update does not verify"),
        (
            OpenError::Undecryptable,
            "undecryptable",
            "the update cannot be decrypted with the key of this host",
        ),
        (
            OpenError::Statement(StatementError::Format),
            "malformed_statement",
            "cannot read what the update says",
        ),
        (
            OpenError::HostMismatch,
            "host_mismatch",
            "the update names another host inside its seal than outside",
        ),
        (
            OpenError::SignerMismatch,
            "signer_mismatch",
            "the update names another signer inside its seal than the one that signed it",
        ),
        (
            OpenError::EpochAboveTrust { epoch: 5, granted: 3 },
            "epoch_above_trust",
            "the update is of epoch 5, above 3 of the trust document",
        ),
        (OpenError::TrustExpired { expires_at: 9 }, "trust_expired", "the trust document expired at 9"),
        (
            OpenError::SignerExpired { expires_at: 9 },
            "signer_expired",
            "the signer of the update expired at 9",
        ),
        (OpenError::Expired { expires_at: 9 }, "expired", "the update expired at 9"),
        (
            OpenError::FromTheFuture { issued_at: 9 },
            "from_the_future",
            "the update was issued at 9, more than an hour ahead of the clock",
        ),
    ];
    for (error, name, text) in table {
        assert_eq!((error.name(), error.to_string().as_str()), (name, text));
    }
}

#[test]
fn a_second_signer_is_as_good_as_the_first() {
    let world = World::new();
    let bytes = seal(&full(1), b"{}", &world.key, &world.other_signer).unwrap();
    assert_eq!(world.open(&bytes).unwrap().statement().signer, world.other_signer.key_id());
    let third = signing_key();
    let bytes = seal(&full(1), b"{}", &world.key, &third).unwrap();
    assert_eq!(world.refusal(&bytes), "unknown_signer");
    let world = world.trusting(|document| document.signers.push(unlimited(&third)));
    assert_eq!(world.refusal(&bytes), "none");
}

fn statement(world: &World) -> Statement {
    world.open(&world.seal(&full(1), b"{}")).unwrap().statement
}

fn stating(world: &World, statement: &Statement) -> Vec<u8> {
    world.state(str::from_utf8(&statement.write(b"{}").unwrap()).unwrap())
}

fn ahead(lead: u64) -> Times {
    Times { issued_at: NOW + lead, expires_at: NOW + lead + 15 * MINUTE, ..TIMES }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}
