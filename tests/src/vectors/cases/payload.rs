//! P1 to P6: what the statement carries.

use super::offered;
use crate::vectors::build::{Accept, Fail, Story, Verdict};
use crate::vectors::document::{Document, signer, signer_for, trust};
use crate::vectors::keys::{ROOT_1, SIGNER_1, SIGNER_2};
use crate::vectors::records::{Change, of_each, one, valued};
use crate::vectors::update::{Update, first};

const KIND: &str = "payload";
const MALFORMED: Verdict = Fail("P1", "PayloadError::Malformed");
const TWICE: Verdict = Fail("P3", "PayloadError::Twice");
const NO_RESOURCE: Verdict = Fail("P5", "PayloadError::State(RunWithoutResource)");
const SCOPE: Verdict = Fail("P6", "OutOfScope");

pub(super) fn cases() -> Vec<Story> {
    [forms(), members(), values(), deliveries(), sizes(), states(), scopes()].into_iter().flatten().collect()
}

fn full(payload: &str) -> Update {
    first().carrying(payload)
}

/// One record of each kind, with one replacement.
fn but(name: &str, about: &str, from: &str, to: &str) -> Story {
    changed(name, about, from, to, MALFORMED)
}

fn changed(name: &str, about: &str, from: &str, to: &str, verdict: Verdict) -> Story {
    let text = of_each().text();
    assert!(text.contains(from), "{from} is not in {text}");
    offered(KIND, name, about, full(&text.replacen(from, to, 1)), verdict)
}

fn forms() -> Vec<Story> {
    let good = of_each().text();
    let refused = |name, about, text: &str| offered(KIND, name, about, full(text), MALFORMED);
    let array = |kind: &str| format!("\"{kind}\":[");
    vec![
        offered(KIND, "one_record_of_each_kind", "The whole of a payload.", full(&good), Accept("replace")),
        offered(
            KIND,
            "white_space",
            "It is free here too.",
            full(&good.replace(',', " ,\n").replace(':', "\t: ")),
            Accept("replace"),
        ),
        refused("that_is_empty_fail", "Members must be there.", "{}"),
        refused(
            "without_delete_fail",
            "Members must be there.",
            &format!("{}}}", &good[..good.find(",\"delete\"").expect("delete")]),
        ),
        but("without_runs_fail", "Members must be there.", ",\"runs\":[{", ",\"walks\":[{"),
        but("unknown_member_fail", "No others.", "{\"put\"", "{\"patch\":{},\"put\""),
        but("unknown_kind_fail", "No others.", "{\"put\":{", "{\"put\":{\"secrets\":[],"),
        but("unknown_kind_to_delete_fail", "No others.", "\"delete\":{", "\"delete\":{\"secrets\":[],"),
        but(
            "put_twice_fail",
            "Nothing stands twice.",
            "{\"put\":",
            "{\"put\":{\"env\":[],\"profiles\":[],\"resources\":[],\"runs\":[]},\"put\":",
        ),
        but("kind_twice_fail", "Nothing stands twice.", &array("env"), "\"env\":[],\"env\":["),
        but("kind_as_null_fail", "A list is a list.", "\"delete\":{\"env\":[]", "\"delete\":{\"env\":null"),
        but("kind_as_object_fail", "A list is a list.", "\"delete\":{\"env\":[]", "\"delete\":{\"env\":{}"),
        but(
            "record_as_array_fail",
            "A record is an object, not its values in order.",
            "\"put\":{\"env\":[",
            "\"put\":{\"env\":[[\"env_2\",\"acme\",\"tenant\",\"all\",\"A\",\"1\",true],",
        ),
        but("record_as_null_fail", "A record is an object.", "\"put\":{\"env\":[", "\"put\":{\"env\":[null,"),
        but(
            "id_to_delete_that_is_none_fail",
            "Ids are of one form.",
            "\"delete\":{\"env\":[]",
            "\"delete\":{\"env\":[\"../x\"]",
        ),
    ]
}

fn members() -> Vec<Story> {
    vec![
        but(
            "record_with_an_unknown_member_fail",
            "No others.",
            "\"enabled\":true",
            "\"enabled\":true,\"note\":\"\"",
        ),
        but(
            "record_with_a_member_twice_fail",
            "Nothing stands twice.",
            "\"enabled\":true",
            "\"enabled\":true,\"enabled\":false",
        ),
        but("record_without_a_member_fail", "Members must be there.", ",\"enabled\":true", ""),
        but("record_without_a_null_fail", "A null must be written.", ",\"project_id\":null", ""),
        but(
            "selection_without_a_null_fail",
            "A null must be written.",
            "{\"skip\":false,\"profile_id\":null}",
            "{\"skip\":false}",
        ),
        but(
            "selection_as_array_fail",
            "It is an object.",
            "{\"skip\":false,\"profile_id\":null}",
            "[false,null]",
        ),
        but("name_in_env_twice_fail", "Nothing stands twice.", "{\"B\":\"2\"}", "{\"B\":\"2\",\"B\":\"3\"}"),
        but(
            "policy_member_twice_fail",
            "Nothing stands twice, at any depth.",
            "{\"approval\":\"never\"}",
            "{\"a\":[{\"b\":1,\"b\":2}]}",
        ),
        but(
            "connector_member_twice_fail",
            "Nothing stands twice, at any depth.",
            "[\"refero\"]",
            "[{\"uid\":\"c\",\"uid\":\"d\"}]",
        ),
    ]
}

fn values() -> Vec<Story> {
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    vec![
        but("id_that_is_empty_fail", "Ids are of one form.", "\"id\":\"env_1\"", "\"id\":\"\""),
        but(
            "id_of_65_characters_fail",
            "Ids are of one form.",
            "\"id\":\"env_1\"",
            &format!("\"id\":\"{}\"", "e".repeat(65)),
        ),
        but("id_as_number_fail", "Ids are texts.", "\"id\":\"env_1\"", "\"id\":1"),
        but("resource_in_upper_case_fail", "Its id names a folder.", "\"id\":\"sbx-1\"", "\"id\":\"SBX-1\""),
        but(
            "tenant_that_is_no_id_fail",
            "Ids are of one form.",
            "\"tenant_id\":\"acme\"",
            "\"tenant_id\":\"acme/x\"",
        ),
        but("scope_that_is_unknown_fail", "There are three.", "\"scope\":\"tenant\"", "\"scope\":\"world\""),
        but(
            "scope_of_two_places_fail",
            "One of them.",
            "\"scope\":\"tenant\"",
            "\"scope\":{\"workspace\":\"w\",\"project\":\"p\"}",
        ),
        but("scope_of_no_place_fail", "One of them.", "\"scope\":\"tenant\"", "\"scope\":{}"),
        changed(
            "scope_of_a_workspace",
            "A place by its id.",
            "\"scope\":\"tenant\"",
            "\"scope\":{\"workspace\":\"ws_1\"}",
            Accept("replace"),
        ),
        but(
            "scope_of_a_place_that_is_no_id_fail",
            "Ids are of one form.",
            "\"scope\":\"tenant\"",
            "\"scope\":{\"workspace\":\"a/b\"}",
        ),
        but("scope_as_null_fail", "There are three.", "\"scope\":\"tenant\"", "\"scope\":null"),
        but(
            "value_in_env_with_a_zero_character_fail",
            "No environment can carry it.",
            "{\"B\":\"2\"}",
            "{\"B\":\"\\u0000\"}",
        ),
        but("value_in_env_as_null_fail", "Values are texts.", "{\"B\":\"2\"}", "{\"B\":null}"),
        but("env_as_array_fail", "It is an object.", "{\"B\":\"2\"}", "[]"),
        but("name_of_a_profile_as_number_fail", "It is a text.", "\"name\":\"Builder\"", "\"name\":1"),
        but("is_default_as_number_fail", "It is true or false.", "\"is_default\":true", "\"is_default\":1"),
        but("tools_as_text_fail", "A list is a list.", "[\"files\"]", "\"files\""),
        but(
            "selection_of_what_is_no_id_fail",
            "Ids are of one form.",
            "\"profile_id\":null",
            "\"profile_id\":\"a b\"",
        ),
        but(
            "resource_of_a_run_in_upper_case_fail",
            "Its id names a folder.",
            "\"resource_id\":\"sbx-1\"",
            "\"resource_id\":\"SBX-1\"",
        ),
        but(
            "connector_nested_too_deep_fail",
            "32 levels are enough.",
            "[\"refero\"]",
            &format!("[{{\"uid\":\"c\",\"x\":{}}}]", deep(32)),
        ),
        but(
            "scope_of_an_unknown_place_fail",
            "There are two.",
            "\"scope\":\"tenant\"",
            "\"scope\":{\"planet\":\"p\"}",
        ),
        but("target_that_is_unknown_fail", "There are four.", "\"target\":\"all\"", "\"target\":\"some\""),
        but("name_with_a_hyphen_fail", "A variable's name is of one form.", "\"GREETING\"", "\"GREET-ING\""),
        but(
            "name_with_a_digit_first_fail",
            "A variable's name is of one form.",
            "\"GREETING\"",
            "\"1GREETING\"",
        ),
        but(
            "name_in_env_that_is_empty_fail",
            "A variable's name is of one form.",
            "{\"B\":\"2\"}",
            "{\"\":\"2\"}",
        ),
        but(
            "value_with_a_zero_character_fail",
            "No environment can carry it.",
            "\"value\":\"one\"",
            "\"value\":\"o\\u0000ne\"",
        ),
        but("value_as_number_fail", "Values are texts.", "\"value\":\"one\"", "\"value\":1"),
        but(
            "value_of_half_a_pair_fail",
            "Half of a surrogate pair is no character.",
            "\"value\":\"one\"",
            "\"value\":\"\\ud800\"",
        ),
        but("enabled_as_text_fail", "It is true or false.", "\"enabled\":true", "\"enabled\":\"true\""),
        but("runtime_that_is_unknown_fail", "There are six.", "\"claude-code\"", "\"gpt\""),
        but(
            "kind_of_resource_that_is_unknown_fail",
            "There are three.",
            "\"kind\":\"sandbox\"",
            "\"kind\":\"vm\"",
        ),
        but("applies_to_an_unknown_kind_fail", "There are three.", "[\"sandbox\"]", "[\"vm\"]"),
        but("tool_with_a_comma_fail", "Tools are listed between commas.", "[\"files\"]", "[\"files,exec\"]"),
        but(
            "connector_with_a_comma_fail",
            "Connectors are listed between commas.",
            "[\"refero\"]",
            "[\"a,b\"]",
        ),
        but("tool_that_is_empty_fail", "Tools are listed between commas.", "[\"files\"]", "[\"\"]"),
        but(
            "tool_with_a_control_character_fail",
            "Tools are listed in one line.",
            "[\"files\"]",
            "[\"fi\\u0085les\"]",
        ),
        changed(
            "tools_that_are_not_said",
            "A profile may leave them open.",
            "[\"files\"]",
            "null",
            Accept("replace"),
        ),
        changed(
            "connector_by_its_name",
            "The first text among uid, id and name counts; the number before it does not.",
            "[\"refero\"]",
            "[{\"uid\":7,\"name\":\"c\"}]",
            Accept("replace"),
        ),
        but(
            "connector_with_a_comma_before_its_id_fail",
            "The first text among uid, id and name counts.",
            "[\"refero\"]",
            "[{\"uid\":\"a,b\",\"id\":\"c\"}]",
        ),
        changed(
            "runtime_by_another_name",
            "Two have names that are read as well.",
            "\"claude-code\"",
            "\"claude\"",
            Accept("replace"),
        ),
        but(
            "connector_without_id_fail",
            "It is granted under one.",
            "[\"refero\"]",
            "[{\"server_url\":\"https://x\"}]",
        ),
        but("connector_as_number_fail", "It is a text or an object.", "[\"refero\"]", "[7]"),
        but("policy_as_array_fail", "It is an object.", "{\"approval\":\"never\"}", "[]"),
        but("policy_nested_too_deep_fail", "32 levels are enough.", "{\"approval\":\"never\"}", &deep(33)),
        changed(
            "policy_nested_deep",
            "32 levels are not too many.",
            "{\"approval\":\"never\"}",
            &deep(32),
            Accept("replace"),
        ),
        but(
            "command_that_is_empty_fail",
            "There must be something to run.",
            "\"command\":null",
            "\"command\":\"\"",
        ),
        but(
            "command_of_white_space_fail",
            "There must be something to run.",
            "\"command\":null",
            "\"command\":\" \\u2003\\n\"",
        ),
        but(
            "command_without_a_program_fail",
            "There must be something to run.",
            "\"command\":null",
            "\"command\":[\"\",\"x\"]",
        ),
        changed(
            "command_with_an_empty_argument",
            "Only the first word must be there.",
            "\"command\":null",
            "\"command\":[\"x\",\"\"]",
            Accept("replace"),
        ),
        but(
            "command_with_a_zero_character_fail",
            "No argument can carry it.",
            "\"command\":null",
            "\"command\":[\"x\",\"\\u0000\"]",
        ),
        but(
            "instruction_with_a_zero_character_fail",
            "No argument can carry it.",
            "\"instruction\":null",
            "\"instruction\":\"a\\u0000b\"",
        ),
        changed(
            "approval_that_means_nothing",
            "It is kept, and means nothing.",
            "\"approval_policy\":null",
            "\"approval_policy\":7",
            Accept("replace"),
        ),
        but(
            "approval_nested_too_deep_fail",
            "32 levels are enough.",
            "\"approval_policy\":null",
            &format!("\"approval_policy\":{}", deep(33)),
        ),
        but(
            "number_beyond_every_double_fail",
            "Numbers are within a double.",
            "{\"approval\":\"never\"}",
            "{\"quota\":1e400}",
        ),
        but(
            "name_that_a_reader_keeps_for_itself_fail",
            "Such an object would be read as what its text says.",
            "{\"approval\":\"never\"}",
            "{\"$serde_json::private::RawValue\":\"{}\"}",
        ),
        but(
            "command_of_no_words_fail",
            "There must be something to run.",
            "\"command\":null",
            "\"command\":[]",
        ),
        but(
            "command_as_number_fail",
            "It is a text or a list of words.",
            "\"command\":null",
            "\"command\":1",
        ),
    ]
}

/// The one member that need not be there.
fn deliveries() -> Vec<Story> {
    let enabled = "\"enabled\":true";
    let delivered = |word: &str| format!("{enabled},\"deliver\":{word}");
    let taken = |name, about, word: &str| changed(name, about, enabled, &delivered(word), Accept("replace"));
    let refused = |name, about, word: &str| but(name, about, enabled, &delivered(word));
    vec![
        taken("delivered_as_env", "What goes without saying may be said.", "\"env\""),
        taken("delivered_as_file", "One of three ways.", "\"file\""),
        taken("delivered_as_fd", "One of three ways.", "\"fd\""),
        refused("delivery_that_is_unknown_fail", "There are three.", "\"disk\""),
        refused("delivery_in_upper_case_fail", "There are three, each in one spelling.", "\"FILE\""),
        refused("delivery_as_null_fail", "It is left out, or a word.", "null"),
        refused("delivery_as_list_fail", "It is one word.", "[\"file\"]"),
        refused("delivery_twice_fail", "Nothing stands twice.", "\"fd\",\"deliver\":\"fd\""),
        but(
            "delivery_of_a_profile_fail",
            "Variables alone have one.",
            "\"is_default\":true",
            "\"is_default\":true,\"deliver\":\"file\"",
        ),
    ]
}

fn sizes() -> Vec<Story> {
    let longest = 131_071 - "GREETING=".len();
    vec![offered(
        KIND,
        "variable_longer_than_linux_takes_fail",
        "NAME=value has at most 131,071 bytes.",
        Update::full(1, &valued(&"v".repeat(longest + 1))),
        Fail("P2", "PayloadError::EntryTooLong"),
    )]
}

fn states() -> Vec<Story> {
    let on_one = |name: &str, about: &str, state: &Change, change: &Change, verdict: Verdict| {
        let base = Update::full(1, state);
        offered(KIND, name, about, &base, Accept("replace")).takes(base.then(2, change), verdict)
    };
    let refused = |name: &str, about: &str, state: &Change, verdict: Verdict| {
        offered(KIND, name, about, Update::full(1, state), verdict)
    };
    let one_id = "One record of one kind and id.";
    vec![
        refused("variable_twice_fail", one_id, &one().env("env_1", "acme", "two"), TWICE),
        refused(
            "profile_twice_fail",
            one_id,
            &one().profile("arp_1", "acme").profile("arp_1", "acme"),
            TWICE,
        ),
        refused(
            "resource_twice_fail",
            one_id,
            &one().resource("sbx-1", "acme").resource("sbx-1", "acme"),
            TWICE,
        ),
        refused("run_twice_fail", one_id, &of_each().run("run_1", "sbx-1"), TWICE),
        offered(
            KIND,
            "one_id_for_records_of_two_kinds",
            "Ids are of one kind.",
            Update::full(1, &one().env("x", "acme", "1").profile("x", "acme").resource("x", "acme")),
            Accept("replace"),
        ),
        refused(
            "full_that_deletes_fail",
            "There is nothing to delete from.",
            &one().without("env", "env_2"),
            Fail("P4", "PayloadError::FullDeletes"),
        ),
        refused(
            "full_with_a_run_on_no_resource_fail",
            "A run is on a resource.",
            &one().run("run_1", "sbx-1"),
            NO_RESOURCE,
        ),
        on_one(
            "run_put_on_no_resource_fail",
            "A run is on a resource.",
            &one(),
            &Change::nothing().run("run_1", "sbx-1"),
            NO_RESOURCE,
        ),
        on_one(
            "resource_taken_from_its_run_fail",
            "A run is on a resource.",
            &of_each(),
            &Change::nothing().without("resources", "sbx-1"),
            NO_RESOURCE,
        ),
        on_one(
            "resource_taken_with_its_run",
            "The result counts.",
            &of_each(),
            &Change::nothing().without("resources", "sbx-1").without("runs", "run_1"),
            Accept("extend"),
        ),
        on_one(
            "record_put_and_deleted",
            "It deletes first.",
            &one(),
            &valued("two").without("env", "env_1"),
            Accept("extend"),
        ),
        on_one(
            "record_deleted_that_is_not_there",
            "That is no error.",
            &one(),
            &Change::nothing().without("runs", "run_9"),
            Accept("extend"),
        ),
        on_one("record_replaced", "By its id.", &one(), &valued("two"), Accept("extend")),
        on_one("change_of_nothing", "The version is another.", &one(), &Change::nothing(), Accept("extend")),
        on_one(
            "incremental_with_a_record_twice_fail",
            one_id,
            &one(),
            &valued("a").env("env_1", "acme", "b"),
            TWICE,
        ),
        offered(
            KIND,
            "incremental_that_is_empty_fail",
            "Only a heartbeat carries nothing at all.",
            first(),
            Accept("replace"),
        )
        .takes(first().then(2, &Change::nothing()).carrying("{}"), MALFORMED),
    ]
}

/// Signer 1 speaks for acme alone, signer 2 for all.
fn scopes() -> Vec<Story> {
    let document = |tenants: &[&str]| {
        Document::first().signers([signer_for(SIGNER_1, tenants), signer(SIGNER_2)]).signed(&[ROOT_1])
    };
    let scoped = document(&["acme"]);
    let story = |name: &str, about: &str| Story::new(KIND, name, about).pins(&scoped);
    let both = one().env("env_2", "globex", "theirs");
    let full = |state: &Change| Update::full(1, state);
    let mixed = full(&both).by(SIGNER_2);
    let mine = full(&one()).by(SIGNER_2);
    vec![
        story("tenants_in_scope", "All that it speaks for.").takes(full(&of_each()), Accept("replace")),
        story("variable_out_of_scope_fail", "Each record has a tenant.").takes(full(&both), SCOPE),
        story("profile_out_of_scope_fail", "Each record has a tenant.")
            .takes(full(&one().profile("p", "globex")), SCOPE),
        story("resource_out_of_scope_fail", "Each record has a tenant.")
            .takes(full(&one().resource("r", "globex")), SCOPE),
        story("tenant_in_other_case_fail", "Ids are compared byte for byte.")
            .takes(full(&one().env("e", "Acme", "")), SCOPE),
        story("state_of_nobody_in_scope", "There is no tenant to speak for.")
            .takes(full(&Change::nothing()), Accept("replace")),
        Story::new(KIND, "scope_of_nobody", "An empty list is none, and so is an empty state.")
            .pins(&document(&[]))
            .takes(full(&Change::nothing()), Accept("replace")),
        Story::new(KIND, "scope_of_nobody_fail", "An empty list is none, not all.")
            .pins(&document(&[]))
            .takes(full(&one()), SCOPE),
        story("full_that_takes_away_what_is_out_of_scope_fail", "What stood before counts too.")
            .takes(&mixed, Accept("replace"))
            .takes(Update::full(2, &one()), SCOPE),
        story(
            "incremental_on_what_is_out_of_scope_fail",
            "It speaks for the whole state, since it sets its times.",
        )
        .takes(&mixed, Accept("replace"))
        .takes(mixed.then(2, &valued("two")).by(SIGNER_1), SCOPE),
        story("incremental_that_takes_away_what_is_out_of_scope_fail", "What stood before counts too.")
            .takes(&mixed, Accept("replace"))
            .takes(mixed.then(2, &Change::nothing().without("env", "env_2")).by(SIGNER_1), SCOPE),
        story("incremental_that_adds_what_is_out_of_scope_fail", "What stands after counts.")
            .takes(&mine, Accept("replace"))
            .takes(mine.then(2, &Change::nothing().env("env_2", "globex", "")).by(SIGNER_1), SCOPE),
        story("heartbeat_for_what_is_out_of_scope_fail", "It speaks for the whole state.")
            .takes(&mixed, Accept("replace"))
            .takes(mixed.beat().by(SIGNER_1), SCOPE),
        story("heartbeat_in_scope", "Two signers may take turns.")
            .takes(&mine, Accept("replace"))
            .takes(mine.beat().by(SIGNER_1), Accept("refresh")),
        story(
            "payload_is_looked_at_before_its_scope_fail",
            "A run without resource, of a tenant out of scope.",
        )
        .takes(full(&both.clone().run("run_1", "sbx-1")), NO_RESOURCE),
        Story::new(
            KIND,
            "full_of_the_held_version_and_out_of_scope_fail",
            "Other states are told before other tenants: J6 comes before P6 is looked at.",
        )
        .pins(&trust())
        .takes(full(&one()), Accept("replace"))
        .trusts(
            &Document::first()
                .next()
                .signers([signer_for(SIGNER_1, &["acme"]), signer(SIGNER_2)])
                .signed(&[ROOT_1]),
            Accept("follow"),
        )
        .takes(full(&both), Fail("J6", "Refusal::Equivocation")),
    ]
}
