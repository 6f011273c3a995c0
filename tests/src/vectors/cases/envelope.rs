//! E1 to E6: one text, and everything that is nearly that text.

use data_encoding::BASE64;

use super::offered;
use crate::vectors::build::{Accept, Fail, Story};
use crate::vectors::document::{Document, trust};
use crate::vectors::dsse::{Envelope, UPDATE};
use crate::vectors::keys::{ROOT_1, ROOT_2, SIGNER_1, SIGNER_2};
use crate::vectors::update::{first, valued_to_pad};

const KIND: &str = "envelope";
const MALFORMED: crate::vectors::build::Verdict = Fail("E2", "EnvelopeError::Malformed");
const PAYLOAD: crate::vectors::build::Verdict = Fail("E5", "EnvelopeError::Encoding(payload)");
const SIGNATURE: crate::vectors::build::Verdict = Fail("E5", "EnvelopeError::Encoding(sig)");
const KEY_ID: crate::vectors::build::Verdict = Fail("E5", "EnvelopeError::Encoding(keyid)");

pub(super) fn cases() -> Vec<Story> {
    [sizes(), texts(), types(), counts(), encodings(), doubles()].into_iter().flatten().collect()
}

fn sizes() -> Vec<Story> {
    let oversize = Fail("E1", "EnvelopeError::Oversize");
    let update = |name, about, size, verdict| {
        Story::new(KIND, name, about).pins(&trust()).takes_padded(first(), Some(size), verdict)
    };
    let document = |name, about, size, verdict| {
        let next = Document::first().next().signed(&[ROOT_1]);
        Story::new(KIND, name, about).pins(&trust()).trusts_padded(&next, Some(size), verdict)
    };
    vec![
        update(
            "update_of_one_byte_too_many_fail",
            "Size is looked at before anything else.",
            16_777_217,
            oversize,
        ),
        update(
            "update_of_all_the_bytes_there_may_be_fail",
            "16 MiB are not too many; the spaces are refused for what they are.",
            16_777_216,
            MALFORMED,
        ),
        document(
            "trust_of_one_byte_too_many_fail",
            "A trust document has a limit of its own.",
            262_145,
            oversize,
        ),
        document(
            "trust_of_all_the_bytes_there_may_be_fail",
            "256 KiB are not too many; the spaces are refused for what they are.",
            262_144,
            MALFORMED,
        ),
    ]
}

fn texts() -> Vec<Story> {
    let good = first().envelope().text();
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let signature = first().envelope().signatures[0].clone();
    let (key_id, sig) = signature;
    let payload = first().envelope().payload;
    let reordered = format!(
        r#"{{"payloadType":"{UPDATE}","payload":"{payload}","signatures":[{{"keyid":"{key_id}","sig":"{sig}"}}]}}"#
    );
    let table = [
        ("empty_fail", "There must be something.", String::new()),
        ("empty_object_fail", "Every member must be there.", "{}".to_owned()),
        ("byte_order_mark_before_it_fail", "Nothing may stand before it.", format!("\u{feff}{good}")),
        ("line_end_after_it_fail", "Nothing may stand after it, no line end either.", format!("{good}\n")),
        ("zero_byte_after_it_fail", "Nothing may stand after it.", format!("{good}\0")),
        ("two_in_one_fail", "One envelope, not two in a row.", format!("{good}{good}")),
        ("in_an_array_fail", "An envelope is no list of one.", format!("[{good}]")),
        ("without_its_last_byte_fail", "It must be all there.", good[..good.len() - 1].to_owned()),
        ("space_after_a_comma_fail", "There is no white space.", replaced("\",\"", "\", \"")),
        ("space_after_a_colon_fail", "There is no white space.", replaced("\":\"", "\": \"")),
        (
            "escape_in_the_name_of_a_member_fail",
            "There are no escapes, even where they mean the same.",
            replaced("payload", "p\\u0061yload"),
        ),
        ("name_in_other_case_fail", "Names are of one spelling.", replaced("payloadType", "payloadtype")),
        ("members_in_another_order_fail", "Members have one order.", reordered),
        (
            "signature_before_its_key_id_fail",
            "The members of a signature have one order too.",
            replaced(
                &format!(r#""keyid":"{key_id}","sig":"{sig}""#),
                &format!(r#""sig":"{sig}","keyid":"{key_id}""#),
            ),
        ),
        (
            "payload_twice_fail",
            "Readers of JSON differ on which of two members counts.",
            replaced("{\"payload\"", &format!("{{\"payload\":\"{payload}\",\"payload\"")),
        ),
        ("unknown_member_fail", "There are no members but those.", replaced("]}", "],\"extra\":1}")),
        (
            "unknown_member_of_a_signature_fail",
            "There are no members but those.",
            replaced("\"}]", "\",\"cert\":\"\"}]"),
        ),
        (
            "without_payload_type_fail",
            "Every member must be there.",
            replaced(&format!("\"payloadType\":\"{UPDATE}\","), ""),
        ),
        ("signatures_as_null_fail", "A list is a list.", {
            let from = good.find("[{").expect("signatures");
            format!("{}null}}", &good[..from])
        }),
        ("comma_after_the_last_signature_fail", "Commas stand between.", replaced("]}", ",]}")),
        ("no_comma_between_signatures_fail", "Commas stand between.", {
            let two = first().envelope().with(&SIGNER_2.id(), &[7; 64]).text();
            two.replacen("},{", "}{", 1)
        }),
    ];
    let mut cases: Vec<_> =
        table.into_iter().map(|(name, about, text)| offered(KIND, name, about, text, MALFORMED)).collect();
    let mut latin = good.clone().into_bytes();
    latin.insert(0, 0xff);
    cases.push(offered(KIND, "byte_that_is_no_text_fail", "Nothing may stand before it.", latin, MALFORMED));
    cases.push(offered(
        KIND,
        "exactly_this_text",
        "One spelling, and it is accepted.",
        first(),
        Accept("replace"),
    ));
    cases
}

fn types() -> Vec<Story> {
    let wrong = Fail("E3", "EnvelopeError::PayloadType");
    let of_type =
        |payload_type: &str| Envelope::signed(payload_type, &first().body().bytes(), &[SIGNER_1]).bytes();
    let escaped = first().envelope().text().replacen("application/", "application\\/", 1);
    let trust_type = Document::first().next().signed(&[ROOT_1]);
    let unsigned = Envelope::of("application/json", b"{}").bytes();
    vec![
        offered(
            KIND,
            "trust_document_as_update_fail",
            "One type is never taken for another.",
            trust_type,
            wrong,
        ),
        Story::new(KIND, "update_as_trust_document_fail", "One type is never taken for another.")
            .pins(&trust())
            .trusts(&first().envelope().bytes(), wrong),
        offered(
            KIND,
            "suite_that_the_host_does_not_know_fail",
            "Another suite is another type: properly signed, and refused until the host knows it.",
            of_type("application/vnd.miosa.update.v1+hpke-mlkem768-aes256gcm"),
            wrong,
        ),
        offered(
            KIND,
            "version_of_the_format_that_the_host_does_not_know_fail",
            "A later version is another type.",
            of_type(&UPDATE.replace("v1", "v2")),
            wrong,
        ),
        offered(
            KIND,
            "type_in_other_case_fail",
            "Types are compared byte for byte.",
            of_type(&UPDATE.replace("application", "Application")),
            wrong,
        ),
        offered(KIND, "type_that_is_empty_fail", "An empty type is another type.", of_type(""), wrong),
        offered(
            KIND,
            "escape_in_the_type_fail",
            "What stands between quotation marks is taken as it stands, so an escape is another type.",
            escaped,
            wrong,
        ),
        offered(
            KIND,
            "type_is_looked_at_before_the_signatures_fail",
            "Wrong type and no signature: the type is refused.",
            unsigned,
            wrong,
        ),
    ]
}

fn counts() -> Vec<Story> {
    let wrong = Fail("E4", "EnvelopeError::SignatureCount");
    let body = first().body().bytes();
    let next = |count: u8| {
        let envelope = Document::first().next().envelope(&[ROOT_1]);
        (1..count).fold(envelope, |envelope, number| envelope.with(&format!("{number:064x}"), &[number; 64]))
    };
    let mut unreadable = Envelope::of(UPDATE, b"");
    unreadable.payload = "?".to_owned();
    vec![
        offered(KIND, "update_without_signature_fail", "It takes one.", Envelope::of(UPDATE, &body), wrong),
        offered(
            KIND,
            "update_with_two_signatures_fail",
            "It takes one, and both of these are good.",
            Envelope::signed(UPDATE, &body, &[SIGNER_1, SIGNER_2]),
            wrong,
        ),
        offered(
            KIND,
            "count_is_looked_at_before_the_encoding_fail",
            "No signature, and no base64: the count is refused.",
            unreadable,
            wrong,
        ),
        Story::new(KIND, "trust_without_signature_fail", "It takes at least one.")
            .pins(&trust())
            .trusts(&Envelope { signatures: vec![], ..next(1) }.bytes(), wrong),
        Story::new(KIND, "trust_with_33_signatures_fail", "It may have 32.")
            .pins(&trust())
            .trusts(&next(33).bytes(), wrong),
        Story::new(KIND, "trust_with_32_signatures", "31 of them are of nobody, and are passed over.")
            .pins(&trust())
            .trusts(&next(32).bytes(), Accept("follow")),
    ]
}

fn encodings() -> Vec<Story> {
    let envelope = valued_to_pad().envelope();
    let payload = |change: &dyn Fn(&str) -> String| {
        let changed = change(&envelope.payload);
        assert_ne!(changed, envelope.payload);
        Envelope { payload: changed, ..envelope.clone() }
    };
    let signature = |change: &dyn Fn(&str) -> String| {
        let (id, sig) = &envelope.signatures[0];
        let changed = change(sig);
        assert_ne!(&changed, sig);
        Envelope { signatures: vec![(id.clone(), changed)], ..envelope.clone() }
    };
    let key_id = |change: &dyn Fn(&str) -> String| {
        let (id, sig) = &envelope.signatures[0];
        Envelope { signatures: vec![(change(id), sig.clone())], ..envelope.clone() }
    };
    let url_safe = |text: &str| text.replace('+', "-").replace('/', "_");
    let of_bytes = |length: usize| BASE64.encode(&vec![7; length]);
    let one = "There is one way to write bytes in base64.";
    vec![
        offered(KIND, "payload_in_url_safe_base64_fail", one, payload(&url_safe), PAYLOAD),
        offered(
            KIND,
            "payload_without_padding_fail",
            one,
            payload(&|text| text.trim_end_matches('=').to_owned()),
            PAYLOAD,
        ),
        offered(
            KIND,
            "payload_with_too_much_padding_fail",
            one,
            payload(&|text| format!("{text}====")),
            PAYLOAD,
        ),
        offered(
            KIND,
            "payload_with_bits_set_in_its_padding_fail",
            "The last character of padded base64 has bits that belong to no byte; they must be zero.",
            payload(&bits_set),
            PAYLOAD,
        ),
        offered(
            KIND,
            "payload_with_padding_inside_fail",
            "Padding stands at the very end only, not where two texts were put one after the other.",
            payload(&|text| {
                let bytes = BASE64.decode(text.as_bytes()).expect("base64");
                format!("{}{}", BASE64.encode(&bytes[..1]), BASE64.encode(&bytes[1..]))
            }),
            PAYLOAD,
        ),
        offered(
            KIND,
            "payload_with_a_line_break_fail",
            "Some decoders pass over white space.",
            payload(&|text| format!("{}\n{}", &text[..76], &text[76..])),
            PAYLOAD,
        ),
        offered(
            KIND,
            "payload_with_an_escape_fail",
            "A JSON reader would undo the escape of a slash.",
            payload(&|text| text.replacen('/', "\\/", 1)),
            PAYLOAD,
        ),
        offered(KIND, "signature_in_url_safe_base64_fail", one, signature(&url_safe), SIGNATURE),
        offered(
            KIND,
            "signature_without_padding_fail",
            one,
            signature(&|text| text.trim_end_matches('=').to_owned()),
            SIGNATURE,
        ),
        offered(KIND, "signature_with_bits_set_in_its_padding_fail", one, signature(&bits_set), SIGNATURE),
        offered(
            KIND,
            "signature_of_63_bytes_fail",
            "An Ed25519 signature has 64.",
            signature(&|_| of_bytes(63)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_of_65_bytes_fail",
            "An Ed25519 signature has 64.",
            signature(&|_| of_bytes(65)),
            SIGNATURE,
        ),
        offered(
            KIND,
            "signature_that_is_empty_fail",
            "An Ed25519 signature has 64 bytes.",
            signature(&|_| String::new()),
            SIGNATURE,
        ),
        offered(
            KIND,
            "key_id_in_upper_case_fail",
            "Hexadecimal is lower-case.",
            key_id(&str::to_uppercase),
            KEY_ID,
        ),
        offered(
            KIND,
            "key_id_that_is_short_fail",
            "A key id has 64 digits.",
            key_id(&|id| id[..62].to_owned()),
            KEY_ID,
        ),
        offered(
            KIND,
            "key_id_that_is_empty_fail",
            "DSSE lets a key id be left out; here it must be there.",
            key_id(&|_| String::new()),
            KEY_ID,
        ),
    ]
}

fn doubles() -> Vec<Story> {
    let double = Fail("E6", "EnvelopeError::DuplicateSignature");
    let next = Document::first().next().roots(2, &[ROOT_1, ROOT_2]);
    let signed = next.envelope(&[ROOT_1]);
    let again =
        signed.clone().with(&ROOT_1.id(), &BASE64.decode(signed.signatures[0].1.as_bytes()).expect("base64"));
    let junk = signed.clone().with(&ROOT_1.id(), &[7; 64]);
    vec![
        Story::new(KIND, "one_signature_twice_fail", "Who signs twice does not make a threshold of two.")
            .pins(&trust())
            .trusts(&again.bytes(), double),
        Story::new(KIND, "two_signatures_of_one_key_fail", "Not even if one of them is junk.")
            .pins(&trust())
            .trusts(&junk.bytes(), double),
    ]
}

/// Another last character before the padding, of the same bytes to a careless decoder.
fn bits_set(text: &str) -> String {
    let (data, padding) = text.split_at(text.trim_end_matches('=').len());
    assert!(!padding.is_empty(), "{text}");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let last = data.chars().last().expect("a character");
    let place = alphabet.find(last).expect("of the alphabet");
    format!("{}{}{padding}", &data[..data.len() - 1], &alphabet[place + 1..place + 2])
}
