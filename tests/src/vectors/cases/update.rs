//! U1 to U13 without U6: the body, the signature, the seal and the times of an update.

use super::offered;
use crate::vectors::build::{Accept, Fail, Story, Verdict};
use crate::vectors::document::{Document, signer, signer_text, signer_until, trust};
use crate::vectors::dsse::{Envelope, UPDATE, pae};
use crate::vectors::forge::{self, MixedKey};
use crate::vectors::keys::{HOST_1, HOST_2, ROOT_1, SIGNER_1, SIGNER_2, STRANGER};
use crate::vectors::records::valued;
use crate::vectors::seal::{Body, Seal};
use crate::vectors::update::{HOUR, MINUTE, NEVER, Offer, T0, Update, first};

const KIND: &str = "update";
const BODY: Verdict = Fail("U1", "OpenError::Body");
const HOST: Verdict = Fail("U2", "OpenError::WrongHost");
const SIGNER: Verdict = Fail("U3", "OpenError::UnknownSigner");
const SIGNATURE: Verdict = Fail("U4", "OpenError::BadSignature");
const SEAL: Verdict = Fail("U5", "OpenError::Undecryptable");

pub(super) fn cases() -> Vec<Story> {
    [
        bodies(),
        addressees(),
        signers(),
        signatures(),
        points(),
        seals(),
        spliced(),
        insides(),
        epochs(),
        times(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bodies() -> Vec<Story> {
    let with = |change: &dyn Fn(&mut Body)| {
        let mut body = first().body();
        change(&mut body);
        first().around(&body.bytes())
    };
    let host = |id: &str| with(&|body| body.host_id = id.as_bytes().to_vec());
    let cut = |length: usize| first().around(&first().body().bytes()[..length]);
    let head = "host_1".len() + 1;
    let longest: &'static str = "h234567890123456789012345678901234567890123456789012345678901234";
    vec![
        offered(KIND, "body_that_is_empty_fail", "An empty text is base64, and no body.", cut(0), BODY),
        offered(KIND, "body_of_the_host_alone_fail", "There is no zero byte.", cut(head - 1), BODY),
        offered(
            KIND,
            "body_without_a_zero_byte_fail",
            "Where the host's id ends is not said.",
            first().around(&[b'h'; 300]),
            BODY,
        ),
        offered(KIND, "body_that_ends_in_the_sealed_key_fail", "80 bytes, not 79.", cut(head + 79), BODY),
        offered(KIND, "body_that_ends_in_the_salt_fail", "32 bytes, not 31.", cut(head + 80 + 31), BODY),
        offered(
            KIND,
            "body_with_less_than_a_tag_fail",
            "A tag has 16 bytes.",
            cut(head + 80 + 32 + 15),
            BODY,
        ),
        offered(KIND, "host_outside_that_is_empty_fail", "An id has a character at least.", host(""), BODY),
        offered(KIND, "host_outside_of_65_characters_fail", "An id has 64.", host(&"h".repeat(65)), BODY),
        offered(KIND, "host_outside_with_a_dot_fail", "An id has no dot.", host("host.1"), BODY),
        offered(
            KIND,
            "host_outside_with_a_hyphen_first_fail",
            "An id starts with a letter or digit.",
            host("-host"),
            BODY,
        ),
        offered(KIND, "host_outside_that_is_not_ascii_fail", "An id is ASCII.", host("höst"), BODY),
        Story::new(KIND, "host_of_64_characters", "An id may have 64.")
            .called(longest)
            .pins(&trust())
            .takes(first().to(longest), Accept("replace")),
    ]
}

fn addressees() -> Vec<Story> {
    let other = first().to("host_2").sealed_to(HOST_2);
    vec![
        offered(KIND, "for_another_host_fail", "Whole and good, and for another.", &other, HOST),
        offered(KIND, "for_another_host_with_our_key_fail", "The id decides.", first().to("host_2"), HOST),
        offered(
            KIND,
            "host_in_other_case_fail",
            "Ids are compared byte for byte.",
            first().to("Host_1"),
            HOST,
        ),
        offered(
            KIND,
            "host_is_looked_at_before_the_signer_fail",
            "For another host, by a stranger.",
            other.by(STRANGER),
            HOST,
        ),
    ]
}

fn signers() -> Vec<Story> {
    let good = first().envelope();
    let named = |key_id: String| Envelope {
        signatures: vec![(key_id, good.signatures[0].1.clone())],
        ..good.clone()
    };
    vec![
        offered(KIND, "by_a_stranger_fail", "Only listed signers count.", first().by(STRANGER), SIGNER),
        offered(
            KIND,
            "by_a_root_fail",
            "Roots sign trust documents, not updates.",
            first().by(ROOT_1),
            SIGNER,
        ),
        offered(
            KIND,
            "key_id_of_a_stranger_fail",
            "The signature is a signer's; the key id names somebody else.",
            named(STRANGER.id()),
            SIGNER,
        ),
        offered(
            KIND,
            "key_id_of_another_signer_fail",
            "The key id picks the key, and under that one the signature does not verify.",
            named(SIGNER_2.id()),
            SIGNATURE,
        ),
        offered(
            KIND,
            "key_id_of_a_signer_over_a_strangers_signature_fail",
            "A key id proves nothing.",
            {
                let body = first().body().bytes();
                Envelope::of(UPDATE, &body).with(&SIGNER_1.id(), &STRANGER.sign(&pae(UPDATE, &body)))
            },
            SIGNATURE,
        ),
        Story::new(KIND, "document_without_signers_fail", "Then nobody may sign updates.")
            .pins(&Document::first().signers([]).signed(&[ROOT_1]))
            .takes(first(), SIGNER),
    ]
}

fn signatures() -> Vec<Story> {
    let body = first().body().bytes();
    let signed_over =
        |message: &[u8]| Envelope::of(UPDATE, &body).with(&SIGNER_1.id(), &SIGNER_1.sign(message));
    let other = Update::full(2, &valued("other")).body().bytes();
    let mut flipped = first().envelope();
    flipped.payload = Envelope::of(UPDATE, &{
        let mut body = body.clone();
        *body.last_mut().expect("a byte") ^= 1;
        body
    })
    .payload;
    let two_spaces = [b"DSSEv1  ".as_slice(), &pae(UPDATE, &body)[7..]].concat();
    let encoded = Envelope::of(UPDATE, &body).payload;
    vec![
        offered(
            KIND,
            "signature_over_the_payload_alone_fail",
            "DSSE's encoding is signed.",
            signed_over(&body),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_over_the_base64_fail",
            "The payload is signed, not its base64.",
            signed_over(&pae(UPDATE, encoded.as_bytes())),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_over_another_type_fail",
            "The type is signed as well.",
            signed_over(&pae(crate::vectors::dsse::TRUST, &body)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_over_two_spaces_fail",
            "DSSE's encoding is exact.",
            signed_over(&two_spaces),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_of_another_update_fail",
            "A signature is of one payload.",
            signed_over(&pae(UPDATE, &other)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "one_bit_of_the_payload_fail",
            "The last bit of the tag is another.",
            flipped,
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_of_zeros_fail",
            "64 zero bytes are no signature.",
            Envelope::of(UPDATE, &body).with(&SIGNER_1.id(), &[0; 64]),
            SIGNATURE,
        ),
    ]
}

/// Where verifiers of Ed25519 are known to differ.
fn points() -> Vec<Story> {
    let body = first().body().bytes();
    let message = pae(UPDATE, &body);
    let good = SIGNER_1.sign(&message);
    let with = |signature: &[u8]| {
        let envelope = Envelope::of(UPDATE, &body).with(&SIGNER_1.id(), signature);
        Offer { bytes: envelope.bytes(), statement: Some(first().text()) }
    };
    let mut cases = vec![
        offered(
            KIND,
            "s_not_reduced_fail",
            "S is below the group order: the order added to it is another text for the same signature.",
            with(&forge::not_reduced(&good)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "r_not_reduced_fail",
            "R is compared as bytes: this is another text for the same point, and the equation holds.",
            with(&forge::with_identity_not_reduced(SIGNER_1, &message)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "r_of_small_order",
            "Only the signer can make this, and the equation holds. Some strict verifiers refuse it; this format does not.",
            with(&forge::with_identity(SIGNER_1, &message)),
            Accept("replace"),
        ),
        offered(
            KIND,
            "r_with_a_part_of_small_order_fail",
            "It would verify with the cofactor only.",
            with(&forge::with_torsion(SIGNER_1, &message)),
            SIGNATURE,
        ),
    ];
    cases.extend(mixed_keys());
    cases
}

/// A signer whose key has a part of order 8: canonical, and not of small order.
fn mixed_keys() -> Vec<Story> {
    let mixed = MixedKey::of(SIGNER_3_OWNER);
    let key = data_encoding::BASE64.encode(&mixed.public);
    let key_id = crate::vectors::keys::sha256(&mixed.public);
    let document = Document::first().signers([signer_text(&key, NEVER, "null")]).signed(&[ROOT_1]);
    let text = first().text().replace(&SIGNER_1.id(), &key_id);
    let body = first().sealing(text.as_bytes()).seal(text.as_bytes()).bytes();
    let message = pae(UPDATE, &body);
    let signed = |drops_out: bool| {
        let envelope = Envelope::of(UPDATE, &body).with(&key_id, &mixed.sign(&message, drops_out));
        Offer { bytes: envelope.bytes(), statement: Some(text.clone()) }
    };
    let no_point = {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        bytes
    };
    let no_point_id = crate::vectors::keys::sha256(&no_point);
    let no_point_text = data_encoding::BASE64.encode(&no_point);
    vec![
        Story::new(
            KIND,
            "key_with_a_part_of_small_order",
            "The key is listed, and the equation holds without the cofactor.",
        )
        .pins(&document)
        .takes(signed(true), Accept("replace")),
        Story::new(
            KIND,
            "key_with_a_part_of_small_order_and_the_cofactor_fail",
            "The key is listed, and the equation holds with the cofactor only.",
        )
        .pins(&document)
        .takes(signed(false), SIGNATURE),
        Story::new(
            KIND,
            "key_that_is_no_point_fail",
            "A document may list such a key, and nothing verifies under it.",
        )
        .pins(&Document::first().signers([signer_text(&no_point_text, NEVER, "null")]).signed(&[ROOT_1]))
        .takes(Envelope::of(UPDATE, &body).with(&no_point_id, &forge::under_identity()), SIGNATURE),
    ]
}

const SIGNER_3_OWNER: crate::vectors::keys::Key = crate::vectors::keys::SIGNER_3;

fn seals() -> Vec<Story> {
    let text = first().text();
    let sealed = |change: &dyn Fn(&mut Seal)| {
        let mut seal = first().sealing(text.as_bytes());
        change(&mut seal);
        let body = Body { host_id: b"host_1".to_vec(), ..seal.seal(text.as_bytes()) };
        Offer { bytes: first().around(&body.bytes()).bytes(), statement: Some(text.clone()) }
    };
    let suite = "application/vnd.miosa.update.v1+other";
    let with_enc = |enc: [u8; 32]| {
        let body = first().sealing(text.as_bytes()).seal_with_enc(enc, HOST_1, text.as_bytes());
        Offer { bytes: first().around(&body.bytes()).bytes(), statement: Some(text.clone()) }
    };
    let low = |first: u8| {
        let mut enc = [0; 32];
        enc[0] = first;
        enc
    };
    let enc: [u8; 32] = first().body().enc.try_into().expect("32 bytes");
    let top_bit = |mut enc: [u8; 32]| {
        enc[31] |= 0x80;
        enc
    };
    // p + 9: the base point, not reduced.
    let mut not_reduced = [0xff; 32];
    (not_reduced[0], not_reduced[31]) = (0xf6, 0x7f);
    vec![
        offered(
            KIND,
            "sealed_to_another_key_fail",
            "Our id, another's key.",
            sealed(&|seal| seal.host_key = HOST_2.public()),
            SEAL,
        ),
        offered(
            KIND,
            "content_key_for_another_label_fail",
            "The label is of the content key.",
            sealed(&|seal| seal.content_label = "miosa update key".to_owned()),
            SEAL,
        ),
        offered(
            KIND,
            "update_key_for_another_label_fail",
            "The label is of the update key.",
            sealed(&|seal| seal.update_label = "miosa content key".to_owned()),
            SEAL,
        ),
        offered(
            KIND,
            "sealed_for_another_suite_fail",
            "The suite is in every key.",
            sealed(&|seal| suite.clone_into(&mut seal.suite)),
            SEAL,
        ),
        offered(
            KIND,
            "sealed_for_another_host_id_fail",
            "The host's id is in every key.",
            sealed(&|seal| "host_2".clone_into(&mut seal.host_id)),
            SEAL,
        ),
        offered(
            KIND,
            "sealed_key_with_additional_data_fail",
            "It has none.",
            sealed(&|seal| seal.hpke_aad = b"host_1".to_vec()),
            SEAL,
        ),
        offered(
            KIND,
            "nonce_that_is_not_zero_fail",
            "It is twelve zero bytes.",
            sealed(&|seal| seal.nonce = [1; 12]),
            SEAL,
        ),
        offered(
            KIND,
            "enc_of_zeros_fail",
            "A point of low order gives a secret that everybody knows.",
            with_enc(low(0)),
            SEAL,
        ),
        offered(
            KIND,
            "enc_of_one_fail",
            "A point of low order gives a secret that everybody knows.",
            with_enc(low(1)),
            SEAL,
        ),
        offered(
            KIND,
            "enc_of_zeros_with_its_top_bit_set_fail",
            "Still a point of low order.",
            with_enc(top_bit(low(0))),
            SEAL,
        ),
        offered(
            KIND,
            "enc_with_its_top_bit_set",
            "X25519 passes over the top bit of what it is given (RFC 7748); the bytes count as they stand.",
            with_enc(top_bit(enc)),
            Accept("replace"),
        ),
        offered(
            KIND,
            "enc_that_is_not_reduced",
            "X25519 takes p + 9 for 9 (RFC 7748); the bytes count as they stand.",
            with_enc(not_reduced),
            Accept("replace"),
        ),
    ]
}

/// Signed properly, and made of the parts of two updates to the same host.
fn spliced() -> Vec<Story> {
    let other = Update::full(2, &valued("other"));
    let other_text = other.text();
    let mut seal = other.sealing(other_text.as_bytes());
    (seal.content_key, seal.ephemeral) = ([5; 32], [6; 32]);
    let other = seal.seal(other_text.as_bytes());
    let with = |change: &dyn Fn(&mut Body)| {
        let mut body = first().body();
        change(&mut body);
        first().around(&body.bytes())
    };
    let about = "All of a body belongs together.";
    vec![
        offered(
            KIND,
            "enc_of_another_update_fail",
            about,
            with(&|body| body.enc.clone_from(&other.enc)),
            SEAL,
        ),
        offered(
            KIND,
            "content_key_of_another_update_fail",
            about,
            with(&|body| body.ct.clone_from(&other.ct)),
            SEAL,
        ),
        offered(
            KIND,
            "sealed_key_of_another_update_fail",
            about,
            with(&|body| {
                body.enc.clone_from(&other.enc);
                body.ct.clone_from(&other.ct);
            }),
            SEAL,
        ),
        offered(
            KIND,
            "salt_of_another_update_fail",
            about,
            with(&|body| body.salt.clone_from(&other.salt)),
            SEAL,
        ),
        offered(
            KIND,
            "ciphertext_of_another_update_fail",
            about,
            with(&|body| body.ciphertext.clone_from(&other.ciphertext)),
            SEAL,
        ),
        offered(
            KIND,
            "sealed_key_of_the_same_content_key_fail",
            "The sealed key is part of the additional data, even if the same content key comes out of it.",
            with(&|body| {
                let mut seal = first().sealing(first().text().as_bytes());
                seal.ephemeral = [6; 32];
                let again = seal.seal(first().text().as_bytes());
                body.enc = again.enc;
                body.ct = again.ct;
            }),
            SEAL,
        ),
        offered(
            KIND,
            "ciphertext_without_its_last_byte_fail",
            "Nothing of it may be missing.",
            with(&|body| body.ciphertext.truncate(body.ciphertext.len() - 1)),
            SEAL,
        ),
        offered(
            KIND,
            "ciphertext_with_a_byte_more_fail",
            "Nothing may be added.",
            with(&|body| body.ciphertext.push(0)),
            SEAL,
        ),
        offered(
            KIND,
            "ciphertext_of_nothing_but_a_tag_fail",
            "It opens, and what it says is no statement.",
            first().saying(""),
            Fail("U6", "StatementError::Json"),
        ),
    ]
}

fn insides() -> Vec<Story> {
    let other_inside = first().but(r#""host_id":"host_1""#, r#""host_id":"host_2""#);
    let sealed_by_2 = first().by(SIGNER_2);
    let resealed = first().around(&sealed_by_2.body().bytes());
    let stranger_inside = first().but(&SIGNER_1.id(), &STRANGER.id());
    vec![
        offered(
            KIND,
            "another_host_inside_fail",
            "The host inside the seal is the one outside.",
            other_inside,
            Fail("U7", "OpenError::HostMismatch"),
        ),
        offered(
            KIND,
            "signed_again_by_another_signer_fail",
            "What signer 2 has sealed, taken as it is and signed by signer 1.",
            resealed,
            Fail("U8", "OpenError::SignerMismatch"),
        ),
        offered(
            KIND,
            "another_signer_inside_fail",
            "The signer inside the seal is the one that signed.",
            stranger_inside,
            Fail("U8", "OpenError::SignerMismatch"),
        ),
    ]
}

fn epochs() -> Vec<Story> {
    let above = Fail("U9", "OpenError::EpochAboveTrust");
    let granted = Document::first().epoch(5).signed(&[ROOT_1]);
    vec![
        offered(KIND, "epoch_above_that_of_trust_fail", "Only roots grant epochs.", first().epoch(2), above),
        offered(KIND, "highest_epoch_fail", "Only roots grant epochs.", first().epoch(NEVER), above),
        Story::new(KIND, "epoch_of_trust", "The highest that was granted is granted.")
            .pins(&granted)
            .takes(first().epoch(5), Accept("replace")),
        Story::new(KIND, "epoch_below_that_of_trust", "So are those below.")
            .pins(&granted)
            .takes(first().epoch(0), Accept("replace")),
    ]
}

fn times() -> Vec<Story> {
    let trust_expired = Fail("U10", "OpenError::TrustExpired");
    let signer_expired = Fail("U11", "OpenError::SignerExpired");
    let expired = Fail("U12", "OpenError::Expired");
    let ahead = Fail("U13", "OpenError::FromTheFuture");
    let trust_until = |at: u64| Document::first().expires(at).signed(&[ROOT_1]);
    let signer_1_until =
        |at: u64| Document::first().signers([signer_until(SIGNER_1, at), signer(SIGNER_2)]).signed(&[ROOT_1]);
    let story = |name: &str, about: &str, document: &[u8], now: u64, update: Update, verdict: Verdict| {
        Story::new(KIND, name, about).pins(document).at(now).takes(update, verdict)
    };
    let short = first().expires(T0 + 15 * MINUTE).served_until(T0 + HOUR);
    let strict = "Past is strict: at the very millisecond nothing has expired.";
    vec![
        story("trust_expires_now", strict, &trust_until(T0), T0, first(), Accept("replace")),
        story("trust_expired_fail", "A millisecond later.", &trust_until(T0), T0 + 1, first(), trust_expired),
        story("signer_expires_now", strict, &signer_1_until(T0), T0, first(), Accept("replace")),
        story(
            "signer_expired_fail",
            "It was issued in time, or says so: an expired key could date back.",
            &signer_1_until(T0),
            T0 + 1,
            first(),
            signer_expired,
        ),
        story(
            "issued_after_its_signer_expires_fail",
            "The signer has not expired by the clock.",
            &signer_1_until(T0),
            T0,
            first().issued(T0 + 1),
            signer_expired,
        ),
        story(
            "another_signer_expired",
            "Only who signed it counts.",
            &signer_1_until(T0 - 1),
            T0,
            first().by(SIGNER_2),
            Accept("replace"),
        ),
        story("expires_now", strict, &trust(), T0 + 15 * MINUTE, short.clone(), Accept("replace")),
        story("expired_fail", "A millisecond later.", &trust(), T0 + 15 * MINUTE + 1, short.clone(), expired),
        story(
            "expired_at_the_end_of_time_fail",
            "The clock is wrong, or it is late.",
            &trust(),
            NEVER,
            short,
            expired,
        ),
        story(
            "issued_an_hour_ahead",
            "Clocks may differ by an hour.",
            &trust(),
            T0 - HOUR,
            first(),
            Accept("replace"),
        ),
        story("issued_more_than_an_hour_ahead_fail", "And no more.", &trust(), T0 - HOUR - 1, first(), ahead),
        story(
            "issued_ahead_of_a_clock_at_its_beginning_fail",
            "The clock was lost.",
            &trust(),
            0,
            first(),
            ahead,
        ),
        story(
            "issued_at_the_beginning",
            "It never expires, and is accepted long after.",
            &trust(),
            T0,
            first().issued(0),
            Accept("replace"),
        ),
        story(
            "everything_has_expired_fail",
            "The trust document is looked at first.",
            &Document::first().expires(T0).signers([signer_until(SIGNER_1, T0)]).signed(&[ROOT_1]),
            T0 + 1,
            first().expires(T0),
            trust_expired,
        ),
        story(
            "signer_and_update_have_expired_fail",
            "The signer is looked at before the update.",
            &signer_1_until(T0),
            T0 + 1,
            first().expires(T0),
            signer_expired,
        ),
        story(
            "expired_and_of_a_higher_epoch_fail",
            "The epoch is looked at before any time.",
            &trust_until(T0),
            T0 + 1,
            first().epoch(2).expires(T0),
            Fail("U9", "OpenError::EpochAboveTrust"),
        ),
    ]
}
