//! U6: one JSON object with exactly its members, each of its type.

use super::offered;
use crate::vectors::build::{Accept, Fail, Story, Verdict};
use crate::vectors::keys::{SIGNER_1, sha256};
use crate::vectors::records::{self, Change};
use crate::vectors::update::{NEVER, T0, Update, first};

const KIND: &str = "statement";
const JSON: Verdict = Fail("U6", "StatementError::Json");

pub(super) fn cases() -> Vec<Story> {
    [whole(), texts(), members(), numbers(), kinds(), contents()].into_iter().flatten().collect()
}

fn whole() -> Vec<Story> {
    let good = first().text();
    let moved = good.replacen(r#""format":1,"#, "", 1);
    let moved = moved.replacen(r#","payload":"#, ",\r\n\t \"format\" : 1 , \"payload\" : ", 1);
    let escaped = good.replacen("host_1", "host\\u005f1", 1).replacen("\"full\"", "\"f\\u0075ll\"", 1);
    let named = good.replacen("\"version\"", "\"v\\u0065rsion\"", 1);
    vec![
        offered(
            KIND,
            "members_in_another_order_and_white_space",
            "Inside the seal both are free.",
            first().saying(moved),
            Accept("replace"),
        ),
        offered(
            KIND,
            "escapes_in_texts",
            "Inside the seal an escape means what JSON says.",
            first().saying(escaped),
            Accept("replace"),
        ),
        offered(
            KIND,
            "escapes_in_names",
            "Inside the seal an escape means what JSON says.",
            first().saying(named),
            Accept("replace"),
        ),
        offered(
            KIND,
            "white_space_around_it",
            "Inside the seal it is free.",
            first().saying(format!(" \n{good}\t\r\n")),
            Accept("replace"),
        ),
        offered(
            KIND,
            "largest_version",
            "2^53 - 1 is a number like any other.",
            first().version(NEVER),
            Accept("replace"),
        ),
        offered(KIND, "version_0", "0 is a number like any other.", first().version(0), Accept("replace")),
        offered(
            KIND,
            "times_that_are_equal",
            "Not earlier is enough.",
            first().expires(NEVER).issued(T0).served_until(NEVER),
            Accept("replace"),
        ),
    ]
}

fn texts() -> Vec<Story> {
    let good = first().text();
    let values = good.replace("{\"format\":1,", "[1,").replace("}}", "}]");
    let mut not_utf8 = good.clone().into_bytes();
    let place = good.find("\"one\"").expect("the value") + 1;
    not_utf8[place] = 0xff;
    let table: Vec<(&str, &str, Vec<u8>)> = vec![
        ("null_fail", "It is an object.", b"null".to_vec()),
        ("array_of_it_fail", "It is an object.", format!("[{good}]").into_bytes()),
        ("array_of_its_values_fail", "It is an object, not its values in order.", values.into_bytes()),
        ("byte_order_mark_fail", "JSON has none.", format!("\u{feff}{good}").into_bytes()),
        ("text_after_it_fail", "Nothing stands after it.", format!("{good}x").into_bytes()),
        ("two_of_it_fail", "One object.", format!("{good}{good}").into_bytes()),
        ("cut_short_fail", "It must be all there.", good.as_bytes()[..good.len() - 1].to_vec()),
        (
            "comma_at_the_end_fail",
            "JSON has none there.",
            format!("{},}}", &good[..good.len() - 1]).into_bytes(),
        ),
        ("comment_fail", "JSON has none.", good.replacen('{', "{/**/", 1).into_bytes()),
        (
            "names_without_quotes_fail",
            "JSON has quotes.",
            good.replacen("\"format\"", "format", 1).into_bytes(),
        ),
        ("not_utf8_fail", "It is UTF-8.", not_utf8),
    ];
    table
        .into_iter()
        .map(|(name, about, text)| offered(KIND, name, about, first().saying(text), JSON))
        .collect()
}

fn members() -> Vec<Story> {
    let replaced = |name: &str, about: &str, from: &str, to: &str, verdict: Verdict| {
        offered(KIND, name, about, first().but(from, to), verdict)
    };
    let signer = SIGNER_1.id();
    vec![
        replaced(
            "unknown_member_fail",
            "Exactly these members.",
            "{\"format\"",
            "{\"extra\":null,\"format\"",
            JSON,
        ),
        replaced(
            "version_twice_fail",
            "Readers of JSON differ on which of two counts.",
            "\"version\":1",
            "\"version\":1,\"version\":1",
            JSON,
        ),
        replaced(
            "payload_twice_fail",
            "Readers of JSON differ on which of two counts.",
            "\"payload\":",
            "\"payload\":{},\"payload\":",
            JSON,
        ),
        replaced(
            "null_twice_fail",
            "Not even nothing stands twice.",
            "\"prev\":null",
            "\"prev\":null,\"prev\":null",
            JSON,
        ),
        replaced(
            "name_escaped_twice_fail",
            "An escaped name is the same name.",
            "\"version\":1",
            "\"version\":1,\"v\\u0065rsion\":1",
            JSON,
        ),
        replaced("without_format_fail", "Every member must be there.", "\"format\":1,", "", JSON),
        replaced(
            "without_signer_fail",
            "Every member must be there.",
            &format!("\"signer\":\"{signer}\","),
            "",
            JSON,
        ),
        replaced("without_from_fail", "A null must be written.", "\"from\":null,", "", JSON),
        replaced("without_prev_fail", "A null must be written.", "\"prev\":null,", "", JSON),
        replaced(
            "without_serve_until_fail",
            "Every member must be there.",
            &format!(",\"serve_until\":{NEVER}"),
            "",
            JSON,
        ),
        offered(
            KIND,
            "without_payload_fail",
            "Every member must be there.",
            {
                let text = first().text();
                let end = text.find(",\"payload\"").expect("a payload");
                first().saying(format!("{}}}", &text[..end]))
            },
            JSON,
        ),
        replaced("host_that_is_no_id_fail", "An id is of one form.", "\"host_1\"", "\"host.1\"", JSON),
        replaced("host_as_number_fail", "An id is a text.", "\"host_1\"", "1", JSON),
        replaced(
            "signer_in_upper_case_fail",
            "Hexadecimal is lower-case.",
            &signer,
            &signer.to_uppercase(),
            JSON,
        ),
        replaced("signer_that_is_short_fail", "A key id has 64 digits.", &signer, &signer[..62], JSON),
        replaced("signer_as_null_fail", "A key id is a text.", &format!("\"{signer}\""), "null", JSON),
        replaced("kind_in_other_case_fail", "Kinds are of one spelling.", "\"full\"", "\"Full\"", JSON),
        replaced("kind_that_is_unknown_fail", "There are three.", "\"full\"", "\"snapshot\"", JSON),
        replaced("kind_as_object_fail", "A kind is a text.", "\"full\"", "{\"full\":null}", JSON),
        replaced(
            "format_2_fail",
            "The version of a format is known or not.",
            "\"format\":1",
            "\"format\":2",
            Fail("U6", "StatementError::Format"),
        ),
        replaced(
            "format_0_fail",
            "The version of a format is known or not.",
            "\"format\":1",
            "\"format\":0",
            Fail("U6", "StatementError::Format"),
        ),
        replaced(
            "format_with_a_fraction_fail",
            "A number is an integer.",
            "\"format\":1",
            "\"format\":1.0",
            JSON,
        ),
        replaced("format_as_truth_fail", "True is no 1.", "\"format\":1", "\"format\":true", JSON),
        replaced(
            "host_of_65_characters_fail",
            "An id has 64.",
            "\"host_1\"",
            &format!("\"{}\"", "h".repeat(65)),
            JSON,
        ),
        replaced("host_that_is_empty_fail", "An id has a character at least.", "\"host_1\"", "\"\"", JSON),
        replaced(
            "expires_at_as_text_fail",
            "A time is a number.",
            &format!("\"expires_at\":{NEVER}"),
            &format!("\"expires_at\":\"{NEVER}\""),
            JSON,
        ),
        replaced(
            "issued_at_with_a_fraction_fail",
            "A time is an integer.",
            &format!("\"issued_at\":{T0}"),
            &format!("\"issued_at\":{T0}.5"),
            JSON,
        ),
        replaced("epoch_as_truth_fail", "True is no 1.", "\"epoch\":1", "\"epoch\":true", JSON),
        replaced("format_as_text_fail", "A number is a number.", "\"format\":1", "\"format\":\"1\"", JSON),
    ]
}

fn numbers() -> Vec<Story> {
    let about = "Numbers are integers from 0 to 2^53 - 1, without sign, fraction or exponent.";
    let too_large = Fail("U6", "StatementError::Number");
    let version = |name: &str, number: &str, verdict: Verdict| {
        offered(KIND, name, about, first().but("\"version\":1", &format!("\"version\":{number}")), verdict)
    };
    let member = |name: &str, member: &str, value: u64| {
        let update = first().but(&format!("\"{member}\":{value}"), &format!("\"{member}\":9007199254740992"));
        offered(KIND, name, about, update, too_large)
    };
    vec![
        version("number_of_two_to_the_53_fail", "9007199254740992", too_large),
        version("number_of_two_to_the_64_less_one_fail", "18446744073709551615", too_large),
        version("number_of_two_to_the_64_fail", "18446744073709551616", JSON),
        version("number_with_a_fraction_fail", "1.0", JSON),
        version("number_with_an_exponent_fail", "1e3", JSON),
        version("number_beyond_every_double_fail", "1e400", JSON),
        version("number_below_zero_fail", "-1", JSON),
        version("number_of_minus_zero_fail", "-0", JSON),
        version("number_with_a_zero_before_it_fail", "01", JSON),
        version("number_with_a_plus_fail", "+1", JSON),
        version("number_in_hexadecimal_fail", "0x1", JSON),
        version("number_as_text_fail", "\"1\"", JSON),
        version("number_as_null_fail", "null", JSON),
        version("number_as_truth_fail", "true", JSON),
        version("number_in_an_array_fail", "[1]", JSON),
        version("number_that_is_none_fail", "NaN", JSON),
        member("serve_until_of_two_to_the_53_fail", "serve_until", NEVER),
        member("epoch_of_two_to_the_53_fail", "epoch", 1),
        {
            let text = first().text();
            let text = text
                .replace(&T0.to_string(), "9007199254740992")
                .replace(&NEVER.to_string(), "9007199254740992");
            offered(KIND, "times_of_two_to_the_53_fail", about, first().saying(text), too_large)
        },
    ]
}

fn kinds() -> Vec<Story> {
    let kind = Fail("U6", "StatementError::Kind");
    let digest = sha256(b"another envelope");
    let change = Change::nothing();
    // Each is offered to a host that holds version 1.
    let story = |name: &str, about: &str, update: crate::vectors::update::Offer, verdict: Verdict| {
        super::offered(KIND, name, about, first(), Accept("replace")).takes(update, verdict)
    };
    let next = first().then(2, &change);
    let beat = first().beat();
    vec![
        story(
            "full_with_from_fail",
            "A full update is on top of nothing.",
            first().but("\"from\":null", "\"from\":0"),
            kind,
        ),
        story(
            "full_with_prev_fail",
            "A full update is on top of nothing.",
            first().but("\"prev\":null", &format!("\"prev\":\"{digest}\"")),
            kind,
        ),
        story(
            "full_with_a_base_fail",
            "A full update is on top of nothing.",
            Update::full(2, &records::one()).on(&first()).offer(),
            kind,
        ),
        story(
            "incremental_without_base_fail",
            "An incremental one is on top of something.",
            first().but("\"full\"", "\"incremental\""),
            kind,
        ),
        story(
            "incremental_without_from_fail",
            "It says which version.",
            next.but("\"from\":1", "\"from\":null"),
            kind,
        ),
        story(
            "incremental_without_prev_fail",
            "It says which envelope.",
            next.but(&format!("\"{}\"", first().digest()), "null"),
            kind,
        ),
        story(
            "incremental_to_its_own_version_fail",
            "It leads to a higher version.",
            first().then(1, &change).offer(),
            kind,
        ),
        story(
            "incremental_to_a_lower_version_fail",
            "It leads to a higher version.",
            first().then(0, &change).offer(),
            kind,
        ),
        story(
            "heartbeat_to_another_version_fail",
            "It leads nowhere.",
            beat.but("\"version\":1", "\"version\":2"),
            kind,
        ),
        story(
            "heartbeat_without_base_fail",
            "It is of some state.",
            first().carrying("{}").but("\"full\"", "\"heartbeat\""),
            kind,
        ),
        story(
            "from_of_two_to_the_53_fail",
            "Beyond what a number may be, and above the version.",
            next.but("\"from\":1", "\"from\":9007199254740992"),
            kind,
        ),
        story(
            "from_with_a_fraction_fail",
            "A number is an integer.",
            next.but("\"from\":1", "\"from\":1.0"),
            JSON,
        ),
        story("from_as_truth_fail", "True is no 1.", next.but("\"from\":1", "\"from\":true"), JSON),
        story("from_below_zero_fail", "A number has no sign.", next.but("\"from\":1", "\"from\":-1"), JSON),
        story(
            "prev_as_number_fail",
            "A digest is a text.",
            next.but(&format!("\"{}\"", first().digest()), "1"),
            JSON,
        ),
        story(
            "prev_in_upper_case_fail",
            "Hexadecimal is lower-case.",
            next.but(&first().digest(), &first().digest().to_uppercase()),
            JSON,
        ),
        story(
            "prev_that_is_short_fail",
            "A digest has 64 digits.",
            next.but(&first().digest(), &first().digest()[1..]),
            JSON,
        ),
        story("prev_that_is_empty_fail", "A digest has 64 digits.", next.but(&first().digest(), ""), JSON),
    ]
}

fn contents() -> Vec<Story> {
    let times = Fail("U6", "StatementError::Times");
    let payload = Fail("U6", "StatementError::Payload");
    let held = |name: &str, about: &str, update: crate::vectors::update::Offer, verdict: Verdict| {
        offered(KIND, name, about, first(), Accept("replace")).takes(update, verdict)
    };
    vec![
        offered(KIND, "issued_after_it_expires_fail", "Times are in order.", first().expires(T0 - 1), times),
        offered(
            KIND,
            "served_no_longer_than_accepted_fail",
            "Times are in order.",
            first().expires(T0 + 2).served_until(T0 + 1),
            times,
        ),
        offered(KIND, "payload_as_array_fail", "A payload is an object.", first().carrying("[]"), payload),
        offered(KIND, "payload_as_null_fail", "A payload is an object.", first().carrying("null"), payload),
        offered(
            KIND,
            "payload_as_text_fail",
            "A payload is an object, not its text.",
            first().carrying("\"{}\""),
            payload,
        ),
        offered(KIND, "payload_that_is_no_json_fail", "A payload is JSON.", first().carrying("{put}"), JSON),
        offered(
            KIND,
            "payload_with_infinity_fail",
            "JSON has no such number.",
            first().carrying("{\"put\":Infinity}"),
            JSON,
        ),
        offered(
            KIND,
            "payload_with_nan_fail",
            "JSON has no such number.",
            first().carrying("{\"put\":[-NaN]}"),
            JSON,
        ),
        held(
            "heartbeat_with_a_payload_fail",
            "It carries times only.",
            first().beat().carrying(&records::one().text()).offer(),
            payload,
        ),
        held(
            "heartbeat_with_a_space_fail",
            "Its payload is {} without a space.",
            first().beat().carrying("{ }").offer(),
            payload,
        ),
        held(
            "heartbeat_with_a_null_fail",
            "Its payload is {}.",
            first().beat().carrying("null").offer(),
            payload,
        ),
    ]
}
