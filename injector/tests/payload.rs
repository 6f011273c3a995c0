//! What a payload may hold: one sound example, and every way to spoil it.

use miosa_injector::{Change, PayloadError, Records, State, StateError};
use serde_json::{Value, json};

fn sound() -> Value {
    json!({
        "put": {
            "env": [
                {"id": "env_1", "tenant_id": "acme", "scope": {"workspace": "ws_123"}, "target": "sandbox",
                 "name": "A", "value": "1", "enabled": true},
                {"id": "env_2", "tenant_id": "acme", "scope": "tenant", "target": "all", "name": "B", "value": "", "enabled": false}
            ],
            "profiles": [
                {"id": "arp_1", "tenant_id": "acme", "workspace_id": null, "project_id": null, "name": "P",
                 "runtime": "custom", "applies_to": ["sandbox"], "tools": ["files"],
                 "connectors": ["a/b", {"uid": "c", "deep": {"er": []}}], "env": {"M": "x"},
                 "policy": {"approval": "auto"}, "is_default": true}
            ],
            "resources": [
                {"id": "sbx-1", "tenant_id": "acme", "workspace_id": "ws_123", "project_id": null, "kind": "sandbox",
                 "env": {}, "selection": {"skip": false, "profile_id": null}}
            ],
            "runs": [
                {"id": "run_1", "resource_id": "sbx-1", "env": {}, "selection": {"skip": false, "profile_id": "arp_1"},
                 "instruction": "go", "cwd": "/w", "command": "echo hi", "runtime_command": ["agent", ""],
                 "model": "m", "provider": "p", "approval_policy": {"approval": "never"}}
            ]
        },
        "delete": {"env": [], "profiles": [], "resources": [], "runs": []}
    })
}

fn decode(payload: &Value) -> Result<Change, PayloadError> {
    Change::decode(payload.to_string().as_bytes())
}

#[test]
fn the_sound_example_is_read_and_written_as_it_stands() {
    let change = decode(&sound()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&change.encode()).unwrap(), sound());
    assert!(State::from_full(change).is_ok());
}

#[test]
fn a_delivery_is_written_where_it_is_not_env_and_read_either_way() {
    let written = |change: &Change| serde_json::from_slice::<Value>(&change.encode()).unwrap();
    for word in ["file", "fd"] {
        let mut payload = sound();
        payload["put"]["env"][0]["deliver"] = json!(word);
        assert_eq!(written(&decode(&payload).unwrap()), payload, "{word}");
    }
    let mut spelled_out = sound();
    spelled_out["put"]["env"][0]["deliver"] = json!("env");
    assert_eq!(decode(&spelled_out).unwrap(), decode(&sound()).unwrap());
    assert_eq!(written(&decode(&spelled_out).unwrap()), sound());
}

#[test]
fn a_delivery_that_is_none_or_stands_twice_or_elsewhere_is_refused() {
    for word in
        [json!("File"), json!(""), json!("disk"), json!(null), json!(1), json!({"file": null}), json!([])]
    {
        let mut payload = sound();
        payload["put"]["env"][0]["deliver"] = word.clone();
        assert!(matches!(decode(&payload), Err(PayloadError::Malformed(_))), "{word}");
    }
    let mut payload = sound();
    payload["put"]["env"][0]["deliver"] = json!("fd");
    let text = payload.to_string();
    let twice = text.replacen("\"deliver\":\"fd\"", "\"deliver\":\"fd\",\"deliver\":\"fd\"", 1);
    assert!(text != twice && Change::decode(twice.as_bytes()).is_err());
    for place in ["/put/profiles/0", "/put/resources/0", "/put/runs/0"] {
        let mut payload = sound();
        payload.pointer_mut(place).unwrap()["deliver"] = json!("file");
        assert!(decode(&payload).is_err(), "{place}");
    }
}

#[test]
fn a_payload_is_its_records_one_after_the_other() {
    let change = decode(&sound()).unwrap();
    let payload = String::from_utf8(change.encode().to_vec()).unwrap();
    let mut rest = payload.as_str();
    let mut ids = Vec::new();
    for record in change.put.iter() {
        let mut written = Vec::new();
        record.write(&mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(written.contains(&format!("\"id\":\"{}\"", record.id())), "{written}");
        let place = rest.find(&written).unwrap_or_else(|| panic!("{written} is not in what follows: {rest}"));
        rest = &rest[place + written.len()..];
        ids.push(record.id());
    }
    assert_eq!(ids, ["env_1", "env_2", "arp_1", "sbx-1", "run_1"]);
}

#[test]
fn every_spoiled_member_is_refused() {
    let long = "v".repeat(131_072);
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (place, value) in [
        ("/put", json!([[], [], [], []])),
        ("/delete", json!([[], [], [], []])),
        ("/put/env/0", json!(["env_1", "acme", "tenant", "all", "A", "1", true])),
        ("/put/env/0/id", json!("../x")),
        ("/put/env/0/scope", json!("workspace")),
        ("/put/env/0/scope", json!({"tenant": null})),
        ("/put/env/0/scope", json!({})),
        ("/put/env/0/scope", json!(["ws_123", null])),
        ("/put/env/0/scope", json!({"workspace": "a", "project": "b"})),
        ("/put/env/0/scope", json!({"workspace": "a", "project": null})),
        ("/put/env/0/target", json!("fridge")),
        ("/put/env/0/target", json!({"sandbox": null})),
        ("/put/env/0/name", json!("A=B")),
        ("/put/env/0/value", json!("a\u{0}b")),
        ("/put/env/0/value", json!(long)),
        ("/put/env/0/enabled", json!(1)),
        ("/put/profiles/0/runtime", json!("gpt")),
        ("/put/profiles/0/applies_to", json!(["vm"])),
        ("/put/profiles/0/tools", json!(["files,exec"])),
        ("/put/profiles/0/tools", json!([""])),
        ("/put/profiles/0/connectors", json!(["a,evil/grant"])),
        ("/put/profiles/0/connectors", json!([{}])),
        ("/put/profiles/0/connectors", json!([""])),
        ("/put/profiles/0/connectors", json!(["n\u{0}"])),
        ("/put/profiles/0/env", json!({"M": long})),
        ("/put/profiles/0/env", json!({"9M": "x"})),
        ("/put/profiles/0/policy", json!([])),
        ("/put/profiles/0/policy", json!({"deep": deep})),
        ("/put/resources/0/id", json!("SBX")),
        ("/put/resources/0/kind", json!({"sandbox": null})),
        ("/put/resources/0/selection", json!([false, null])),
        ("/put/runs/0/instruction", json!("a\u{0}")),
        ("/put/runs/0/cwd", json!("/\u{0}")),
        ("/put/runs/0/command", json!([])),
        ("/put/runs/0/command", json!("")),
        ("/put/runs/0/command", json!("a\u{0}")),
        ("/put/runs/0/runtime_command", json!([""])),
        ("/put/runs/0/runtime_command", json!(["a", "\u{0}"])),
        ("/put/runs/0/approval_policy", deep.clone()),
        ("/delete/env", json!(["a/b"])),
    ] {
        let mut payload = sound();
        *payload.pointer_mut(place).unwrap() = value.clone();
        let shown: String = value.to_string().chars().take(60).collect();
        assert!(decode(&payload).is_err(), "{place} = {shown}");
    }
}

#[test]
fn what_no_program_can_be_given_is_told_before_what_stands_twice() {
    let mut payload = sound();
    payload["put"]["env"][0]["value"] = json!("v".repeat(131_072));
    let twice = payload["put"]["env"][0].clone();
    payload["put"]["env"].as_array_mut().unwrap().push(twice);
    assert_eq!(decode(&payload).unwrap_err().check(), "P2");
    payload["put"]["env"][0]["value"] = json!("v");
    payload["put"]["env"].as_array_mut().unwrap().last_mut().unwrap()["value"] = json!("v");
    assert_eq!(decode(&payload).unwrap_err().check(), "P3");
}

#[test]
fn a_member_that_is_missing_unknown_or_stands_twice_is_refused() {
    let places = [
        "",
        "/put",
        "/delete",
        "/put/env/0",
        "/put/profiles/0",
        "/put/resources/0",
        "/put/runs/0",
        "/put/runs/0/selection",
    ];
    for place in places {
        let names: Vec<String> =
            sound().pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
        for name in names {
            let mut payload = sound();
            payload.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(&name);
            assert!(decode(&payload).is_err(), "{place} without {name}");
        }
        let mut payload = sound();
        payload.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("surprise".into(), json!(1));
        assert!(decode(&payload).is_err(), "{place} with a surprise");
    }
    for member in
        ["\"id\":\"env_1\"", "\"M\":\"x\"", "\"approval\":\"auto\"", "\"uid\":\"c\"", "\"skip\":false"]
    {
        let text = sound().to_string();
        let twice = text.replacen(member, &format!("{member},{member}"), 1);
        assert_ne!(text, twice, "{member}");
        assert!(Change::decode(twice.as_bytes()).is_err(), "{member} twice");
    }
    let mut payload = sound();
    let again = payload["put"]["runs"][0].clone();
    payload["put"]["runs"].as_array_mut().unwrap().push(again);
    assert!(matches!(decode(&payload), Err(PayloadError::Twice { kind: "run", .. })));
}

#[test]
fn an_error_never_quotes_a_value() {
    let mut payload = sound();
    payload["put"]["env"][0]["enabled"] = json!("hunter2");
    let error = decode(&payload).unwrap_err();
    let told = format!("{error:?} {error} {}", std::error::Error::source(&error).unwrap());
    assert!(!told.contains("hunter2"), "{told}");
    let shown = format!("{:?}", decode(&sound()).unwrap());
    assert!(!shown.contains("echo hi") && !shown.contains("go") && !shown.contains("agent"), "{shown}");
}

#[test]
fn a_run_without_its_resource_makes_no_state() {
    let mut payload = sound();
    payload["put"]["resources"] = json!([]);
    let refused = State::from_full(decode(&payload).unwrap());
    assert!(matches!(refused, Err(PayloadError::State(StateError::RunWithoutResource { .. }))));
}

#[test]
fn a_full_payload_that_deletes_is_refused() {
    let mut payload = sound();
    payload["delete"]["env"] = json!(["env_9"]);
    assert!(matches!(State::from_full(decode(&payload).unwrap()), Err(PayloadError::FullDeletes)));
}

#[test]
fn an_increment_deletes_and_then_puts() {
    let state = State::from_full(decode(&sound()).unwrap()).unwrap();
    let mut change = Change::full(Records::default());
    change.delete.runs.insert("run_1".parse().unwrap());
    change.delete.resources.insert("sbx-1".parse().unwrap());
    change.delete.variables.insert("env_1".parse().unwrap());
    change.delete.variables.insert("env_gone_already".parse().unwrap());
    let after = state.apply(change).unwrap();
    assert_eq!(
        (after.records().runs.len(), after.records().resources.len(), after.records().variables.len()),
        (0, 0, 1)
    );

    let mut orphan = Change::full(Records::default());
    orphan.delete.resources.insert("sbx-1".parse().unwrap());
    assert!(state.apply(orphan).is_err(), "its run is still there");

    let mut replaced = decode(&sound()).unwrap();
    replaced.delete.resources.insert("sbx-1".parse().unwrap());
    assert_eq!(state.apply(replaced).unwrap(), state, "what is deleted and put is there");
}
