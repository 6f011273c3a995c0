//! T1 to T8: the first document, and what may follow it.

use crate::vectors::build::{Accept, Fail, Story, Verdict};
use crate::vectors::document::{Document, signer, signer_for, signer_text, trust};
use crate::vectors::dsse::{Envelope, TRUST, pae};
use crate::vectors::forge;
use crate::vectors::keys::{Key, ROOT_1, ROOT_2, ROOT_3, ROOT_4, SIGNER_1, SIGNER_2, SIGNER_3, STRANGER};
use crate::vectors::update::{NEVER, T0, first};

const KIND: &str = "trust";
const PIN: Verdict = Fail("T1", "TrustError::PinMismatch");
const HELD: Verdict = Fail("T2", "TrustError::NotSignedByHeldRoots");
const OWN: Verdict = Fail("T4", "TrustError::NotSignedByOwnRoots");
const STALE: Verdict = Fail("T5", "TrustError::StaleVersion");
const EQUIVOCATION: Verdict = Fail("T6", "TrustError::Equivocation");
const SKIPPED: Verdict = Fail("T7", "TrustError::SkippedVersion");
const LOWERED: Verdict = Fail("T8", "TrustError::EpochLowered");
const JSON: Verdict = Fail("T3", "DocumentError::Json");
const FOLLOW: Verdict = Accept("follow");

pub(super) fn cases() -> Vec<Story> {
    [firsts(), thresholds(), rotations(), versions(), expiries(), forms(), keys()]
        .into_iter()
        .flatten()
        .collect()
}

fn story(name: &str, about: &str) -> Story {
    Story::new(KIND, name, about)
}

/// A host under two of three roots is offered a second version.
fn two_of_three() -> Document {
    Document::first().roots(2, &[ROOT_1, ROOT_2, ROOT_3])
}

fn from_two_of_three(name: &str, about: &str, next: &[u8], verdict: Verdict) -> Story {
    story(name, about).pins(&two_of_three().signed(&[ROOT_1, ROOT_2])).trusts(next, verdict)
}

fn firsts() -> Vec<Story> {
    let other = Document::first().expires(T0).signed(&[ROOT_1]);
    vec![
        story("the_pinned_one", "It is known by its digest.").pins(&trust()),
        story("not_the_pinned_one_fail", "Another good one is not this one.")
            .knows(&trust())
            .trusts(&other, PIN),
        story("pinned_one_with_a_line_end_fail", "The digest is of the exact bytes.")
            .knows(&trust())
            .trusts(&[trust().as_slice(), b"\n"].concat(), PIN),
        story("pin_is_looked_at_before_the_envelope_fail", "What is not the pinned one is not read.")
            .knows(&trust())
            .trusts(b"", PIN),
        story("pinned_one_of_version_7", "A host may begin anywhere.")
            .pins(&Document::first().version(7).signed(&[ROOT_1])),
        story("pinned_one_that_is_no_envelope_fail", "A pin makes nothing good.")
            .knows(b"{}")
            .trusts(b"{}", Fail("E2", "EnvelopeError::Malformed")),
        story("pinned_one_by_too_few_of_its_roots_fail", "A pin makes nothing good.")
            .knows(&two_of_three().signed(&[ROOT_1]))
            .trusts(&two_of_three().signed(&[ROOT_1]), OWN),
        story("pinned_one_by_a_stranger_fail", "A pin makes nothing good.")
            .knows(&Document::first().signed(&[STRANGER]))
            .trusts(&Document::first().signed(&[STRANGER]), OWN),
        story("update_before_any_document_fail", "There is nothing to verify it under.")
            .knows(&trust())
            .takes(first(), Fail("no_trust", "Refused::NoTrust")),
        story("update_under_the_pinned_one", "Its signers count.")
            .pins(&trust())
            .takes(first(), Accept("replace")),
    ]
}

/// Who has signed, and how often.
fn thresholds() -> Vec<Story> {
    let next = two_of_three().next();
    let pae = pae(TRUST, next.text().as_bytes());
    let one = next.envelope(&[ROOT_1]);
    let named = |claimed: Key, signs: Key| one.clone().with(&claimed.id(), &signs.sign(&pae)).bytes();
    let stranger_first = Envelope::of(TRUST, next.text().as_bytes())
        .with(&STRANGER.id(), &STRANGER.sign(&pae))
        .with(&ROOT_2.id(), &ROOT_2.sign(&pae))
        .with(&ROOT_1.id(), &ROOT_1.sign(&pae));
    let one_of_two = Document::first().roots(1, &[ROOT_1, ROOT_2]);
    vec![
        from_two_of_three("threshold_met", "Two of three.", &next.signed(&[ROOT_1, ROOT_3]), FOLLOW),
        from_two_of_three(
            "more_than_the_threshold",
            "All of three.",
            &next.signed(&[ROOT_1, ROOT_2, ROOT_3]),
            FOLLOW,
        ),
        from_two_of_three(
            "threshold_missed_by_one_fail",
            "One of three, where it takes two.",
            &next.signed(&[ROOT_1]),
            HELD,
        ),
        from_two_of_three(
            "threshold_made_up_by_a_stranger_fail",
            "Who is not listed does not count.",
            &next.signed(&[ROOT_1, STRANGER]),
            HELD,
        ),
        from_two_of_three(
            "threshold_made_up_by_a_signer_fail",
            "Signers are no roots.",
            &next.signed(&[ROOT_1, SIGNER_1]),
            HELD,
        ),
        from_two_of_three(
            "signature_of_a_stranger_beside_enough",
            "It is passed over.",
            &stranger_first.bytes(),
            FOLLOW,
        ),
        from_two_of_three(
            "bad_signature_of_a_root_beside_enough",
            "It does not count, and does no harm.",
            &next.envelope(&[ROOT_1, ROOT_2]).with(&ROOT_3.id(), &[7; 64]).bytes(),
            FOLLOW,
        ),
        from_two_of_three(
            "bad_signature_makes_up_no_threshold_fail",
            "A key id proves nothing.",
            &one.clone().with(&ROOT_2.id(), &[7; 64]).bytes(),
            HELD,
        ),
        from_two_of_three(
            "one_key_under_two_key_ids_fail",
            "Root 1 signs in the name of root 2 as well.",
            &named(ROOT_2, ROOT_1),
            HELD,
        ),
        from_two_of_three(
            "key_ids_swapped_fail",
            "The signatures are those of two roots, each under the other's key id.",
            &{
                Envelope::of(TRUST, next.text().as_bytes())
                    .with(&ROOT_2.id(), &ROOT_1.sign(&pae))
                    .with(&ROOT_1.id(), &ROOT_2.sign(&pae))
                    .bytes()
            },
            HELD,
        ),
        from_two_of_three(
            "signature_that_is_not_reduced_makes_up_no_threshold_fail",
            "Signatures are verified as strictly as an update's.",
            &one.clone().with(&ROOT_2.id(), &forge::not_reduced(&ROOT_2.sign(&pae))).bytes(),
            HELD,
        ),
        from_two_of_three(
            "signed_as_another_type_fail",
            "The type is signed as well.",
            &{
                let message = crate::vectors::dsse::pae(crate::vectors::dsse::UPDATE, next.text().as_bytes());
                one.clone().with(&ROOT_2.id(), &ROOT_2.sign(&message)).bytes()
            },
            HELD,
        ),
        story("one_of_two_roots_is_enough", "A threshold of one.")
            .pins(&one_of_two.signed(&[ROOT_1]))
            .trusts(&one_of_two.next().signed(&[ROOT_2]), FOLLOW),
        from_two_of_three(
            "signatures_are_counted_before_the_document_is_read_fail",
            "No document, by one of three.",
            &Envelope::signed(TRUST, b"{}", &[ROOT_1]).bytes(),
            HELD,
        ),
        from_two_of_three(
            "no_document_by_enough_roots_fail",
            "No document, by two of three.",
            &Envelope::signed(TRUST, b"{}", &[ROOT_1, ROOT_2]).bytes(),
            JSON,
        ),
    ]
}

/// The tables of TUF: who may hand over to whom.
fn rotations() -> Vec<Story> {
    let from_one = |name: &str, about: &str, next: &[u8], verdict: Verdict| {
        story(name, about).pins(&trust()).trusts(next, verdict)
    };
    let other = Document::first().next().roots(1, &[ROOT_2]);
    let both = Document::first().next().roots(1, &[ROOT_1, ROOT_2]);
    let raised = Document::first().next().roots(2, &[ROOT_1, ROOT_2]);
    let lowered = two_of_three().next().roots(1, &[ROOT_1, ROOT_2, ROOT_3]);
    let fewer = two_of_three().next().roots(2, &[ROOT_1, ROOT_2]);
    let all_new = two_of_three().next().roots(2, &[ROOT_3, ROOT_4]);
    vec![
        from_one(
            "root_replaced",
            "The old one and the new one have signed.",
            &other.signed(&[ROOT_1, ROOT_2]),
            FOLLOW,
        ),
        from_one(
            "root_replaced_without_the_old_one_fail",
            "Nobody takes over unasked.",
            &other.signed(&[ROOT_2]),
            HELD,
        ),
        from_one(
            "root_replaced_without_the_new_one_fail",
            "Nobody is made root who has not shown the key.",
            &other.signed(&[ROOT_1]),
            OWN,
        ),
        from_one(
            "root_added",
            "Its signature is not needed at a threshold of one.",
            &both.signed(&[ROOT_1]),
            FOLLOW,
        ),
        from_one("root_added_by_itself_fail", "The old one must agree.", &both.signed(&[ROOT_2]), HELD),
        from_one(
            "threshold_raised",
            "By as many as it takes from then on.",
            &raised.signed(&[ROOT_1, ROOT_2]),
            FOLLOW,
        ),
        from_one(
            "threshold_raised_by_too_few_fail",
            "It must meet its own threshold.",
            &raised.signed(&[ROOT_1]),
            OWN,
        ),
        story("threshold_raised_counts_at_the_next_fail", "What was enough before is not enough any more.")
            .pins(&trust())
            .trusts(&raised.signed(&[ROOT_1, ROOT_2]), FOLLOW)
            .trusts(&raised.next().signed(&[ROOT_1]), HELD),
        from_two_of_three(
            "threshold_lowered",
            "By as many as it takes until then.",
            &lowered.signed(&[ROOT_1, ROOT_2]),
            FOLLOW,
        ),
        from_two_of_three(
            "threshold_lowered_by_too_few_fail",
            "Its own threshold does not count alone.",
            &lowered.signed(&[ROOT_1]),
            HELD,
        ),
        from_two_of_three("root_removed", "By the two that stay.", &fewer.signed(&[ROOT_1, ROOT_2]), FOLLOW),
        from_two_of_three(
            "root_removed_and_one_that_stays_fail",
            "Enough of the old, and not enough of its own.",
            &fewer.signed(&[ROOT_1, ROOT_3]),
            OWN,
        ),
        from_two_of_three(
            "new_and_old_in_one",
            "Root 3 counts for both.",
            &all_new.signed(&[ROOT_1, ROOT_3, ROOT_4]),
            FOLLOW,
        ),
        from_two_of_three(
            "new_threshold_missed_by_one_fail",
            "Two of the old, one of the new.",
            &all_new.signed(&[ROOT_1, ROOT_2, ROOT_4]),
            OWN,
        ),
        from_two_of_three(
            "old_threshold_missed_by_one_fail",
            "Two of the new, one of the old.",
            &all_new.signed(&[ROOT_3, ROOT_4]),
            HELD,
        ),
        story("removed_root_signs_the_next_fail", "It counts no more.")
            .pins(&trust())
            .trusts(&other.signed(&[ROOT_1, ROOT_2]), FOLLOW)
            .trusts(&other.next().signed(&[ROOT_1]), HELD),
        story("removed_root_comes_back", "By who took its place.")
            .pins(&trust())
            .trusts(&other.signed(&[ROOT_1, ROOT_2]), FOLLOW)
            .trusts(&Document::first().version(3).signed(&[ROOT_1, ROOT_2]), FOLLOW),
        story("three_in_a_row", "Each by the one before and itself.")
            .pins(&trust())
            .trusts(&other.signed(&[ROOT_1, ROOT_2]), FOLLOW)
            .trusts(&other.next().roots(1, &[ROOT_3]).signed(&[ROOT_2, ROOT_3]), FOLLOW)
            .takes(first(), Accept("replace")),
        from_one(
            "signers_changed",
            "By the roots alone.",
            &Document::first().next().signers([signer(SIGNER_3)]).signed(&[ROOT_1]),
            FOLLOW,
        ),
        story("signer_added_counts_at_once", "The document that is held counts.")
            .pins(&Document::first().signers([signer(SIGNER_2)]).signed(&[ROOT_1]))
            .trusts(&Document::first().next().signed(&[ROOT_1]), FOLLOW)
            .takes(first(), Accept("replace")),
        story("signer_removed_counts_no_more_fail", "The document that is held counts.")
            .pins(&trust())
            .trusts(&Document::first().next().signers([signer(SIGNER_2)]).signed(&[ROOT_1]), FOLLOW)
            .takes(first(), Fail("U3", "OpenError::UnknownSigner")),
        from_one(
            "root_that_is_a_signer_too",
            "One key may do both, if somebody must.",
            &Document::first().next().signers([signer(ROOT_1)]).signed(&[ROOT_1]),
            FOLLOW,
        ),
    ]
}

fn versions() -> Vec<Story> {
    let (one, two) = (Document::first(), Document::first().next());
    let at_two =
        |name: &str, about: &str| story(name, about).pins(&trust()).trusts(&two.signed(&[ROOT_1]), FOLLOW);
    let changed = |document: &Document| document.clone().expires(T0).signed(&[ROOT_1]);
    let last = Document::first().version(NEVER);
    vec![
        at_two("held_one_again", "Its bytes change nothing.")
            .trusts(&two.signed(&[ROOT_1]), Accept("unchanged")),
        at_two("one_that_led_here_again", "Its bytes change nothing, and are no rollback.")
            .trusts(&trust(), Accept("unchanged")),
        at_two("another_of_an_earlier_version_fail", "No way back.").trusts(&changed(&one), STALE),
        at_two("another_of_the_held_version_fail", "Two documents were signed under one version.")
            .trusts(&changed(&two), EQUIVOCATION),
        at_two("held_one_with_another_signature_fail", "The bytes are others, whatever they say.")
            .trusts(&two.signed(&[ROOT_1, STRANGER]), EQUIVOCATION),
        at_two("version_skipped_fail", "Each version decides who signs the next.")
            .trusts(&two.next().next().signed(&[ROOT_1]), SKIPPED),
        at_two("highest_version_fail", "Each version decides who signs the next.")
            .trusts(&last.signed(&[ROOT_1]), SKIPPED),
        at_two("skipped_and_then_in_order_fail", "A refusal changes nothing.")
            .trusts(&two.next().next().signed(&[ROOT_1]), SKIPPED)
            .trusts(&two.next().signed(&[ROOT_1]), FOLLOW)
            .trusts(&two.next().next().signed(&[ROOT_1]), FOLLOW),
        story("after_the_highest_version_fail", "Nothing is above it.")
            .pins(&last.signed(&[ROOT_1]))
            .trusts(&last.next().signed(&[ROOT_1]), Fail("T3", "DocumentError::Number")),
        story("epoch_raised", "By any amount.")
            .pins(&trust())
            .trusts(&two.clone().epoch(NEVER).signed(&[ROOT_1]), FOLLOW),
        story("epoch_lowered_fail", "What was granted is granted.")
            .pins(&trust())
            .trusts(&two.clone().epoch(0).signed(&[ROOT_1]), LOWERED),
        story("version_is_looked_at_before_the_epoch_fail", "Skipped and lowered.")
            .pins(&trust())
            .trusts(&two.next().epoch(0).signed(&[ROOT_1]), SKIPPED),
        at_two("earlier_version_with_a_lower_epoch_fail", "The version is looked at first.")
            .trusts(&one.clone().epoch(0).signed(&[ROOT_1]), STALE),
    ]
}

fn expiries() -> Vec<Story> {
    let expired = Document::first().expires(0);
    let late = Fail("U10", "OpenError::TrustExpired");
    vec![
        story("expired_one_is_pinned_fail", "It is followed, and no update is accepted under it.")
            .pins(&expired.signed(&[ROOT_1]))
            .takes(first(), late),
        story("through_an_expired_one", "A newer document must be reachable from an expired one.")
            .pins(&expired.signed(&[ROOT_1]))
            .trusts(&expired.next().signed(&[ROOT_1]), FOLLOW)
            .trusts(&expired.next().next().expires(NEVER).signed(&[ROOT_1]), FOLLOW)
            .takes(first(), Accept("replace")),
        story("to_an_expired_one_fail", "It is followed all the same, and no update is accepted under it.")
            .pins(&trust())
            .trusts(&expired.next().signed(&[ROOT_1]), FOLLOW)
            .takes(first(), late),
    ]
}

fn forms() -> Vec<Story> {
    let next = Document::first().next();
    let but = |name: &str, about: &str, from: &str, to: &str, verdict: Verdict| {
        story(name, about).pins(&trust()).trusts(&next.but(from, to), verdict)
    };
    let saying = |name: &str, about: &str, text: &[u8], verdict: Verdict| {
        story(name, about).pins(&trust()).trusts(&Envelope::signed(TRUST, text, &[ROOT_1]).bytes(), verdict)
    };
    let text = next.text();
    let moved = text.replacen("{\"format\":1,", "{ ", 1);
    let moved = format!("{},\n\"format\": 1}}", &moved[..moved.len() - 1]);
    let number = Fail("T3", "DocumentError::Number");
    let format = Fail("T3", "DocumentError::Format");
    let threshold = Fail("T3", "DocumentError::Threshold");
    let about = "Numbers are integers from 0 to 2^53 - 1, without sign, fraction or exponent.";
    let never = NEVER.to_string();
    let listed = signer(SIGNER_1);
    vec![
        saying(
            "white_space_and_another_order",
            "Both are free here: the text is signed as it stands.",
            moved.as_bytes(),
            FOLLOW,
        ),
        saying("array_of_its_values_fail", "It is an object.", b"[1,2,1,1,[],[],0]", JSON),
        saying("empty_payload_fail", "It is an object.", b"", JSON),
        saying("text_after_it_fail", "Nothing stands after it.", format!("{text}x").as_bytes(), JSON),
        but("unknown_member_fail", "Exactly these members.", "{\"format\"", "{\"spec\":1,\"format\"", JSON),
        but(
            "version_twice_fail",
            "Nothing stands twice.",
            "\"version\":2",
            "\"version\":2,\"version\":2",
            JSON,
        ),
        but("without_epoch_fail", "Every member must be there.", "\"epoch\":1,", "", JSON),
        but(
            "format_2_fail",
            "The version of a format is known or not.",
            "\"format\":1",
            "\"format\":2",
            format,
        ),
        but("format_with_a_fraction_fail", about, "\"format\":1", "\"format\":1.0", JSON),
        but("format_as_truth_fail", "True is no 1.", "\"format\":1", "\"format\":true", JSON),
        but("threshold_as_truth_fail", "True is no 1.", "\"threshold\":1", "\"threshold\":true", JSON),
        but("epoch_of_two_to_the_53_fail", about, "\"epoch\":1", "\"epoch\":9007199254740992", number),
        but(
            "expires_at_as_null_fail",
            "A time is a number.",
            &format!("}}],\"expires_at\":{never}"),
            "}],\"expires_at\":null",
            JSON,
        ),
        but(
            "signer_expires_at_as_text_fail",
            "A time is a number.",
            &format!("\"expires_at\":{never}"),
            &format!("\"expires_at\":\"{never}\""),
            JSON,
        ),
        but(
            "name_escaped_twice_fail",
            "An escaped name is the same name.",
            "\"epoch\":1",
            "\"epoch\":1,\"\\u0065poch\":1",
            JSON,
        ),
        but(
            "signer_tenants_twice_fail",
            "Nothing stands twice.",
            "\"tenants\":null",
            "\"tenants\":null,\"tenants\":null",
            JSON,
        ),
        but("signer_as_null_fail", "A signer is an object.", &listed, "null", JSON),
        but(
            "signer_as_array_fail",
            "A signer is an object, not its values in order.",
            &listed,
            &format!("[\"{}\",{never},null]", SIGNER_1.base64()),
            JSON,
        ),
        saying("byte_order_mark_fail", "JSON has none.", format!("\u{feff}{text}").as_bytes(), JSON),
        saying("not_utf8_fail", "It is UTF-8.", &[text.as_bytes(), b"\xff"].concat(), JSON),
        but("format_as_text_fail", "A number is a number.", "\"format\":1", "\"format\":\"1\"", JSON),
        but("version_0_fail", "Versions start at 1.", "\"version\":2", "\"version\":0", number),
        but("version_of_two_to_the_53_fail", about, "\"version\":2", "\"version\":9007199254740992", number),
        but("version_with_a_fraction_fail", about, "\"version\":2", "\"version\":2.0", JSON),
        but("version_with_an_exponent_fail", about, "\"version\":2", "\"version\":2e0", JSON),
        but("version_as_text_fail", about, "\"version\":2", "\"version\":\"2\"", JSON),
        but("epoch_of_minus_zero_fail", about, "\"epoch\":1", "\"epoch\":-0", JSON),
        but("signer_expires_at_two_to_the_53_fail", about, &never, "9007199254740992", number),
        but("threshold_0_fail", "Somebody must sign.", "\"threshold\":1", "\"threshold\":0", threshold),
        but(
            "threshold_above_the_number_of_roots_fail",
            "There must be enough.",
            "\"threshold\":1",
            "\"threshold\":2",
            threshold,
        ),
        but("threshold_as_text_fail", about, "\"threshold\":1", "\"threshold\":\"1\"", JSON),
        but(
            "threshold_of_two_to_the_32_and_one_fail",
            "It is not one.",
            "\"threshold\":1",
            "\"threshold\":4294967297",
            JSON,
        ),
        but(
            "roots_as_text_fail",
            "A list is a list.",
            &format!("[\"{}\"]", ROOT_1.base64()),
            &format!("\"{}\"", ROOT_1.base64()),
            JSON,
        ),
        but(
            "signer_as_key_alone_fail",
            "A signer is an object.",
            &listed,
            &format!("\"{}\"", SIGNER_1.base64()),
            JSON,
        ),
        but(
            "signer_with_an_unknown_member_fail",
            "Exactly these members.",
            "{\"key\"",
            "{\"name\":\"x\",\"key\"",
            JSON,
        ),
        but(
            "signer_without_tenants_fail",
            "A null must be written, or it would be for all.",
            ",\"tenants\":null",
            "",
            JSON,
        ),
        but(
            "signer_for_one_tenant_as_text_fail",
            "A list is a list.",
            "\"tenants\":null",
            "\"tenants\":\"acme\"",
            JSON,
        ),
        but("signer_for_a_null_fail", "Tenants are texts.", "\"tenants\":null", "\"tenants\":[null]", JSON),
        but(
            "signer_for_a_tenant_that_is_no_id_fail",
            "Ids are of one form.",
            "\"tenants\":null",
            "\"tenants\":[\"a/b\"]",
            Fail("T3", "DocumentError::Tenant"),
        ),
        but(
            "signer_for_a_star_fail",
            "All is null; a star is no id.",
            "\"tenants\":null",
            "\"tenants\":[\"*\"]",
            Fail("T3", "DocumentError::Tenant"),
        ),
        but(
            "signer_for_one_tenant_twice",
            "A list, not a set.",
            &listed,
            &signer_for(SIGNER_1, &["acme", "acme"]),
            FOLLOW,
        ),
    ]
}

fn keys() -> Vec<Story> {
    let next = Document::first().next();
    let root = |name: &str, about: &str, key: &str, verdict: Verdict| {
        let text = next.clone().root_texts([ROOT_1.base64(), key.to_owned()]).signed(&[ROOT_1]);
        story(name, about).pins(&trust()).trusts(&text, verdict)
    };
    let signed_by = |name: &str, about: &str, signers: Vec<String>, verdict: Verdict| {
        story(name, about).pins(&trust()).trusts(&next.clone().signers(signers).signed(&[ROOT_1]), verdict)
    };
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let small = "Under a key of small order a signature proves nothing.";
    let mut identity = [0; 32];
    identity[0] = 1;
    let with_sign = |mut key: [u8; 32]| {
        key[31] |= 0x80;
        key
    };
    let below_p = |low: u8| {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (low, 0x7f);
        key
    };
    let order_8 = curve25519_dalek::constants::EIGHT_TORSION[1].compress().to_bytes();
    let many = |count: u8| {
        (1..=count).map(|number| {
            let mut key = [number; 32];
            key[31] = 0x10;
            base64(&key)
        })
    };
    let identity_document = {
        let document = next.clone().root_texts([base64(&identity)]);
        let id = crate::vectors::keys::sha256(&identity);
        document.envelope(&[ROOT_1]).with(&id, &forge::under_identity()).bytes()
    };
    vec![
        root("root_of_31_bytes_fail", "A key has 32.", &base64(&[9; 31]), JSON),
        root("root_of_33_bytes_fail", "A key has 32.", &base64(&[9; 33]), JSON),
        root("root_in_hexadecimal_fail", "A key is base64.", &ROOT_2.id(), JSON),
        root(
            "root_without_padding_fail",
            "There is one way to write bytes in base64.",
            ROOT_2.base64().trim_end_matches('='),
            JSON,
        ),
        root("root_of_zero_fail", small, &base64(&[0; 32]), JSON),
        root("root_of_order_1_fail", small, &base64(&identity), JSON),
        root("root_of_order_1_and_other_sign_fail", small, &base64(&with_sign(identity)), JSON),
        root("root_of_order_2_fail", small, &base64(&below_p(0xec)), JSON),
        root("root_of_order_8_fail", small, &base64(&order_8), JSON),
        root("root_that_is_not_reduced_fail", "p + 2 is a second text for 2.", &base64(&below_p(0xef)), JSON),
        root(
            "root_of_order_1_that_is_not_reduced_fail",
            "p + 1 is a second text for 1.",
            &base64(&below_p(0xee)),
            JSON,
        ),
        story("root_whose_signature_needs_no_key_fail", small)
            .pins(&trust())
            .trusts(&identity_document, JSON),
        root("root_twice_fail", "One key counts once.", &ROOT_1.base64(), Fail("T3", "DocumentError::Roots")),
        signed_by(
            "signer_of_order_1_fail",
            small,
            vec![signer_text(&base64(&identity), NEVER, "null")],
            JSON,
        ),
        signed_by(
            "signer_twice_fail",
            "One key has one scope.",
            vec![signer(SIGNER_1), signer_for(SIGNER_1, &["acme"])],
            Fail("T3", "DocumentError::Signers"),
        ),
        signed_by(
            "sixty_four_signers",
            "So many there may be.",
            many(64).map(|key| signer_text(&key, NEVER, "null")).collect(),
            FOLLOW,
        ),
        signed_by(
            "sixty_five_signers_fail",
            "And no more.",
            many(65).map(|key| signer_text(&key, NEVER, "null")).collect(),
            JSON,
        ),
        story("sixteen_roots", "So many there may be.").pins(&trust()).trusts(
            &next.clone().root_texts(std::iter::once(ROOT_1.base64()).chain(many(15))).signed(&[ROOT_1]),
            FOLLOW,
        ),
        story("seventeen_roots_fail", "And no more.").pins(&trust()).trusts(
            &next.clone().root_texts(std::iter::once(ROOT_1.base64()).chain(many(16))).signed(&[ROOT_1]),
            JSON,
        ),
        story("no_roots_fail", "Somebody must be able to sign the next one.")
            .pins(&trust())
            .trusts(&next.clone().root_texts([]).signed(&[ROOT_1]), Fail("T3", "DocumentError::Threshold")),
    ]
}
