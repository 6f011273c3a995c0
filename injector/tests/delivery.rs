//! How variables are delivered: it comes and goes with the value that wins.

#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

use miosa_injector::model::{Deliver, EnvName, SecretValue};
use miosa_injector::protocol::{Explanation, ResolveResponse};
use miosa_injector::{Change, Moving, Resolution, State, resolve};
use serde_json::{Value, json};

fn variable(id: &str, scope: Value, name: &str, deliver: Option<&str>) -> Value {
    let mut variable = json!({
        "id": id, "tenant_id": "t", "scope": scope, "target": "all", "name": name, "value": id, "enabled": true,
    });
    if let (Some(deliver), Some(members)) = (deliver, variable.as_object_mut()) {
        members.insert("deliver".to_owned(), json!(deliver));
    }
    variable
}

/// A state with a resource and a run on it, each with its env.
fn state(variables: &[Value], resource: Value, run: Value) -> State {
    let selection = json!({"skip": false, "profile_id": null});
    let payload = json!({
        "put": {
            "env": variables,
            "profiles": [{
                "id": "arp", "tenant_id": "t", "workspace_id": null, "project_id": null, "name": "P", "runtime": "custom",
                "applies_to": [], "tools": null, "connectors": [], "env": {"FROM_PROFILE": "p"}, "policy": {},
                "is_default": true,
            }],
            "resources": [{
                "id": "r", "tenant_id": "t", "workspace_id": "w", "project_id": null, "kind": "sandbox",
                "env": resource, "selection": selection,
            }],
            "runs": [{
                "id": "run", "resource_id": "r", "env": run, "selection": selection, "instruction": null, "cwd": null,
                "command": null, "runtime_command": null, "model": null, "provider": null, "approval_policy": null,
            }],
        },
        "delete": {"env": [], "profiles": [], "resources": [], "runs": []},
    });
    State::from_full(Change::decode(payload.to_string().as_bytes()).unwrap()).unwrap()
}

fn resolved(state: &State, run: Option<&str>) -> Resolution {
    resolve(state, &"r".parse().unwrap(), run.map(|run| run.parse().unwrap()).as_ref()).unwrap()
}

fn answered(resolution: &Resolution) -> ResolveResponse {
    let body = resolution.answer().body(Moving { snapshot_version: 1, stale: false, age_seconds: 0 });
    serde_json::from_slice(&body).unwrap()
}

/// The deliveries of an answer, after a look at whether its explanation says the same.
fn delivery(state: &State, run: Option<&str>) -> Value {
    let resolution = resolved(state, run);
    let answer = answered(&resolution);
    for variable in resolution.explain(1).variables {
        let name = EnvName::parse(&variable.name).unwrap();
        assert_eq!(variable.delivery.as_ref(), answer.delivery.get(&name), "{name}");
    }
    answer
        .delivery
        .iter()
        .map(|(name, word)| (name.to_string(), json!(word)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn workspace() -> Value {
    json!({"workspace": "w"})
}

#[test]
fn an_answer_names_what_is_not_delivered_as_env_and_nothing_else() {
    let state = state(
        &[
            variable("a", json!("tenant"), "PLAIN", None),
            variable("b", json!("tenant"), "SPELLED_OUT", Some("env")),
            variable("c", json!("tenant"), "KEY", Some("file")),
            variable("d", json!("tenant"), "TOKEN", Some("fd")),
        ],
        json!({}),
        json!({}),
    );
    assert_eq!(delivery(&state, None), json!({"KEY": "file", "TOKEN": "fd"}));
    let answer = answered(&resolved(&state, None));
    assert_eq!(
        answer.env.get(&EnvName::parse("KEY").unwrap()).unwrap().expose(),
        "c",
        "its value is where values are"
    );
}

#[test]
fn the_variable_that_wins_says_how_it_is_delivered() {
    let of = |tenant, workspace_says| {
        let variables = [
            variable("a", json!("tenant"), "KEY", tenant),
            variable("b", workspace(), "KEY", workspace_says),
        ];
        delivery(&state(&variables, json!({}), json!({})), None)
    };
    assert_eq!(of(Some("file"), None), json!({}));
    assert_eq!(of(None, Some("fd")), json!({"KEY": "fd"}));
    assert_eq!(of(Some("file"), Some("fd")), json!({"KEY": "fd"}));
}

#[test]
fn a_disabled_variable_takes_its_delivery_with_it() {
    let mut disabled = variable("b", workspace(), "KEY", Some("file"));
    disabled["enabled"] = json!(false);
    let state = state(&[variable("a", json!("tenant"), "KEY", None), disabled], json!({}), json!({}));
    assert_eq!(delivery(&state, None), json!({}));
}

#[test]
fn what_a_resource_or_a_run_says_itself_goes_into_the_environment() {
    let variables = [
        variable("a", json!("tenant"), "A", Some("file")),
        variable("b", json!("tenant"), "B", Some("file")),
        variable("c", json!("tenant"), "FROM_PROFILE", Some("fd")),
    ];
    let state = state(&variables, json!({"A": "of the resource"}), json!({"B": "of the run"}));
    assert_eq!(delivery(&state, None), json!({"B": "file", "FROM_PROFILE": "fd"}));
    assert_eq!(delivery(&state, Some("run")), json!({"FROM_PROFILE": "fd"}));
}

#[test]
fn what_the_platform_reads_in_the_environment_stays_there_whatever_a_publisher_says() {
    let mut cwd = variable("a", json!("tenant"), "MIOSA_AGENT_CWD", Some("file"));
    cwd["value"] = json!("/work");
    let mut command = variable("b", json!("tenant"), "MIOSA_AGENT_COMMAND", Some("fd"));
    command["value"] = json!("agent --flag");
    let reserved = variable("c", json!("tenant"), "MIOSA_SOCKET", Some("file"));
    let state = state(&[cwd, command, reserved], json!({}), json!({}));
    assert_eq!(delivery(&state, None), json!({}));
    let answer = answered(&resolved(&state, None));
    assert_eq!(answer.cwd.as_deref(), Some("/work"));
    assert_eq!(answer.command, Some(vec!["agent".to_owned(), "--flag".to_owned()]));
}

#[test]
fn a_delivery_is_content() {
    let content = |deliver| {
        let state = state(&[variable("a", json!("tenant"), "KEY", deliver)], json!({}), json!({}));
        resolved(&state, None).answer().content().concat()
    };
    assert_eq!(content(None), content(Some("env")));
    assert_ne!(content(None), content(Some("file")));
    assert_ne!(content(Some("fd")), content(Some("file")));
}

#[test]
fn a_name_that_stands_twice_in_an_answer_weighs_twice() {
    let name = "N".repeat(100_000);
    let weight = |deliver| {
        let state = state(&[variable("a", json!("tenant"), &name, deliver)], json!({}), json!({}));
        let size = resolved(&state, None).answer().content().concat().len();
        let weight = *state.weights().values().next().unwrap();
        (weight, size)
    };
    let ((plain, plain_size), (other, other_size)) = (weight(None), weight(Some("file")));
    assert!(other_size - plain_size >= name.len(), "{plain_size} {other_size}");
    assert!(other - plain >= other_size - plain_size, "{plain} {other}");
}

#[test]
fn a_word_that_is_not_known_yet_stays_readable_and_a_name_twice_does_not() {
    let read = |delivery: &str| {
        let body = format!(
            r#"{{"resource_id":"r","snapshot_version":1,"stale":false,"age_seconds":0,"env":{{"A":"1"}},"delivery":{delivery}}}"#
        );
        serde_json::from_str::<ResolveResponse>(&body)
    };
    let word = read(r#"{"A":"keyring"}"#).unwrap().delivery.into_values().next().unwrap();
    assert_eq!((word.as_str(), word.parse::<Deliver>().is_err()), ("keyring", true));
    assert_eq!("file".parse(), Ok(Deliver::File));
    for bad in [r#"{"A":"fd","A":"env"}"#, r#"{"A=B":"fd"}"#, r#"{"A":1}"#, "null"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_override_of_the_command_line_goes_into_the_environment() {
    let state = state(&[variable("a", json!("tenant"), "KEY", Some("file"))], json!({}), json!({}));
    let mut explanation = resolved(&state, None).explain(1);
    let shown = |explanation: &Explanation| {
        let key = explanation.variables.iter().find(|variable| variable.name == "KEY").unwrap();
        (key.layer.clone(), key.delivery.clone())
    };
    assert_eq!(shown(&explanation), ("tenant/all".to_owned(), Some("file".to_owned())));
    let value = SecretValue::new("typed".to_owned()).unwrap();
    explanation.add_command_line(&EnvName::parse("KEY").unwrap(), &value);
    assert_eq!(shown(&explanation), ("--env".to_owned(), None));
}
