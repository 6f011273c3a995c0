//! Agent runtime profiles, as the reference and the design have them.

use serde_json::{Value, json};

use super::open;
use crate::client::Client;

const BASE: &str = "/api/v1/agent-runtime-profiles";

fn path(record: &Value) -> String {
    format!("{BASE}/{}", record["id"].as_str().unwrap())
}

async fn made(client: &Client, body: Value) -> Value {
    client.post(BASE, body).send().await.data(201)
}

#[tokio::test]
async fn the_example_of_the_reference_works_word_for_word() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({
        "workspace_id": "ws_123",
        "name": "Default app builder",
        "runtime": "claude-code",
        "description": "Builds apps in /workspace and exports deliverables.",
        "applies_to": {"resources": ["sandbox", "computer"]},
        "tools": ["files", "exec", "previews", "artifacts", "browser"],
        "connectors": ["refero/design-research", "anthropic/workspace-claude"],
        "env": {"ANTHROPIC_MODEL": "claude-sonnet-4.6", "MIOSA_AGENT_CWD": "/workspace"},
        "policy": {"approval": "confirm-risky", "max_child_sandboxes": 5},
        "metadata": {"product_agent": "app-builder"},
        "is_default": true
    });
    let profile = made(&client, body.clone()).await;
    let mut expected = body;
    for field in ["id", "created_at", "updated_at"] {
        expected[field] = profile[field].clone();
    }
    expected["project_id"] = Value::Null;
    assert_eq!(profile, expected);
    assert!(profile["id"].as_str().unwrap().starts_with("arp_"));
    assert_eq!(client.get(&path(&profile)).send().await.data(200), profile);
    assert_eq!(client.get(BASE).send().await.json(), json!({"data": [profile]}));
    let deleted = client.delete(&path(&profile)).send().await;
    assert_eq!(deleted.json(), json!({"ok": true, "id": profile["id"]}));
    assert_eq!(client.get(&path(&profile)).send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn only_a_name_and_a_runtime_are_needed() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let profile = made(&client, json!({"name": "p", "runtime": "pi"})).await;
    let expected = json!({
        "id": profile["id"], "workspace_id": null, "project_id": null, "name": "p", "runtime": "pi",
        "description": null, "applies_to": {}, "tools": null, "connectors": [], "env": {}, "policy": {},
        "metadata": {}, "is_default": false,
        "created_at": profile["created_at"], "updated_at": profile["updated_at"],
    });
    assert_eq!(profile, expected);
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({
        "name": "", "runtime": "gpt", "workspace_id": "a b", "project_id": 1, "description": 1,
        "applies_to": {"kinds": []}, "tools": ["files", 1], "connectors": ["ok", "", 3],
        "env": {"1A": "x", "B": 1, "MIOSA_RUN_ID": "r", "OK": "fine"}, "policy": [], "metadata": "x",
        "is_default": 1, "created_at": "now", "tenant_id": "t2"
    });
    let expected = [
        "applies_to",
        "connectors[1]",
        "connectors[2]",
        "created_at",
        "description",
        "env.1A",
        "env.B",
        "env.MIOSA_RUN_ID",
        "is_default",
        "metadata",
        "name",
        "policy",
        "project_id",
        "runtime",
        "tenant_id",
        "tools",
        "workspace_id",
    ];
    assert_eq!(client.post(BASE, body).send().await.bad_fields(), expected);
    assert_eq!(client.post(BASE, json!({})).send().await.bad_fields(), ["name", "runtime"]);
    let nulls = json!({"name": null, "runtime": null, "description": null});
    assert_eq!(client.post(BASE, nulls).send().await.bad_fields(), ["name", "runtime"]);
    let long = "x".repeat(64 * 1024);
    let body = json!({
        "name": "p", "runtime": "custom", "tools": vec!["t".repeat(64); 1024], "connectors": [long],
        "policy": {"x": long}, "metadata": {"x": long}, "applies_to": vec!["agent"; 8192],
    });
    let expected = ["applies_to", "connectors", "metadata", "policy", "tools"];
    assert_eq!(client.post(BASE, body).send().await.bad_fields(), expected);
    let blanks = [" ", "\u{3000}", " p", "p ", "\u{a0}p"].map(str::to_owned);
    for name in ["x".repeat(201), "a\nb".to_owned(), "a\0b".to_owned()].into_iter().chain(blanks) {
        let body = json!({"name": name, "runtime": "pi"});
        assert_eq!(client.post(BASE, body).send().await.bad_fields(), ["name"]);
    }
}

#[tokio::test]
async fn runtimes_are_stored_under_one_name() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (sent, shown) in [
        ("osa", "osa"),
        ("codex", "codex"),
        ("claude-code", "claude-code"),
        ("claude", "claude-code"),
        ("claude_code", "claude-code"),
        ("pi", "pi"),
        ("hermes", "hermes"),
        ("hermes-agent", "hermes"),
        ("custom", "custom"),
    ] {
        let profile = made(&client, json!({"name": sent, "runtime": sent})).await;
        assert_eq!(profile["runtime"], shown);
    }
}

#[tokio::test]
async fn applies_to_and_connectors_are_kept_as_they_were_sent() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let connector = json!({
        "uid": "mcp/search", "type": "mcp", "managed": false, "serverUrl": "https://x.example/mcp",
        "scopes": ["a", "b"], "metadata": {"deep": [1, 2.5, null]}
    });
    for (n, applies_to) in [
        json!({"resources": ["agent"]}),
        json!(["sandbox", "computer"]),
        json!({"sandboxes": true, "agents": false}),
        json!({}),
        json!([]),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({
            "name": n.to_string(), "runtime": "custom", "applies_to": applies_to,
            "connectors": ["a/b", connector], "tools": [],
        });
        let profile = made(&client, body).await;
        assert_eq!(profile["applies_to"], applies_to);
        assert_eq!(profile["connectors"], json!(["a/b", connector]));
        assert_eq!(profile["tools"], json!([]));
    }
    for bad in [json!({"vms": true}), json!("sandbox"), json!(["vm"]), json!({"sandboxes": 1})] {
        let body = json!({"name": "x", "runtime": "pi", "applies_to": bad});
        assert_eq!(client.post(BASE, body).send().await.bad_fields(), ["applies_to"], "{bad}");
    }
}

#[tokio::test]
async fn no_object_may_pass_for_the_json_of_its_text() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let profile = made(&client, json!({"name": "p", "runtime": "custom"})).await;
    for text in ["never", "{", "\"confirm-risky\"", "{\"a\":1}"] {
        let disguised = json!({"$serde_json::private::RawValue": text});
        for change in [
            json!({"policy": {"approval": disguised}}),
            json!({"policy": disguised}),
            json!({"connectors": [disguised]}),
            json!({"connectors": [{"id": "a/b", "scopes": disguised}]}),
            json!({"applies_to": disguised}),
            json!({"env": disguised}),
            json!({"metadata": {"deep": [disguised]}}),
        ] {
            let refused = client.patch(&path(&profile), change).send().await;
            assert_eq!(refused.error(400), "MALFORMED_REQUEST");
            assert!(refused.text.contains("reserved"), "{}", refused.text);
        }
    }
    let mut whole = client.get(&path(&profile)).send().await.data(200);
    assert_eq!(whole, profile);
    whole["metadata"] = json!({"$": 1});
    client.put(&path(&profile), whole).send().await.data(200);
}

#[tokio::test]
async fn only_a_custom_runtime_has_tools_of_its_own() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = |runtime: &str, tools: Value| json!({"name": "p", "runtime": runtime, "tools": tools});
    let refused = client.post(BASE, body("codex", json!(["files", "drill"]))).send().await;
    assert_eq!(refused.bad_fields(), ["tools"]);
    let refused = client.post(BASE, body("codex", json!(["\"\\u0041"]))).send().await;
    assert_eq!(refused.bad_fields(), ["tools"]);
    let all = json!(["files", "exec", "browser", "previews", "artifacts", "deploy"]);
    let profile = made(&client, body("codex", all)).await;
    let refused = client.put(&path(&profile), json!({"tools": ["drill"]})).send().await;
    assert_eq!(refused.bad_fields(), ["tools"]);
    let changed = client.put(&path(&profile), json!({"tools": ["drill"], "runtime": "custom"})).send().await;
    assert_eq!(changed.data(200)["tools"], json!(["drill"]));
    // The tools that are there would not fit the runtime any more.
    let refused = client.put(&path(&profile), json!({"runtime": "pi"})).send().await;
    assert_eq!(refused.bad_fields(), ["tools"]);
    let refused = client.put(&path(&profile), json!({"runtime": "pi", "name": 1})).send().await;
    assert_eq!(refused.bad_fields(), ["name", "tools"]);
    client.put(&path(&profile), json!({"runtime": "pi", "tools": null})).send().await.data(200);
}

#[tokio::test]
async fn a_providers_key_has_no_place_in_profile_env() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let key = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz";
    let body = json!({"name": "p", "runtime": "pi", "env": {"ANTHROPIC_API_KEY": key, "A": "b"}});
    let refused = client.post(BASE, body).send().await;
    assert_eq!(refused.bad_fields(), ["env.ANTHROPIC_API_KEY"]);
    assert!(refused.text.contains("runtime env"), "{}", refused.text);
    assert!(!refused.text.contains("0123456789"), "{}", refused.text);
    let hidden = json!({
        "ENV": format!("ANTHROPIC_API_KEY={key}"), "JSON": json!({"keys": [key]}).to_string(),
        "URL": "https://x:ghp_0123456789abcdefghijklmnopqrstuvwxyz@github.com/a/b",
    });
    let refused = client.post(BASE, json!({"name": "p", "runtime": "pi", "env": hidden})).send().await;
    assert_eq!(refused.bad_fields(), ["env.ENV", "env.JSON", "env.URL"]);
    let managed = json!({"ANTHROPIC_API_KEY": "miosa-managed:anthropic/cliniciq", "http_proxy": "x"});
    let profile = made(&client, json!({"name": "p", "runtime": "pi", "env": managed})).await;
    assert_eq!(profile["env"], managed);
    let refused = client.patch(&path(&profile), json!({"env": {"X": key}})).send().await;
    assert_eq!(refused.bad_fields(), ["env.X"]);
}

#[tokio::test]
async fn put_and_patch_change_only_what_is_given_and_null_clears() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({
        "name": "p", "runtime": "claude-code", "description": "d", "workspace_id": "w", "project_id": "q",
        "applies_to": ["sandbox"], "tools": ["files"], "connectors": ["a"], "env": {"A": "b"},
        "policy": {"approval": "never"}, "metadata": {"m": 1}, "is_default": true
    });
    let profile = made(&client, body.clone()).await;
    for method in ["PUT", "PATCH"] {
        let path = path(&profile);
        let change = |body: Value| {
            let (client, path) = (&client, path.clone());
            async move { client.call(method, &path).json(&body).send().await }
        };
        let renamed = change(json!({"name": "p2"})).await.data(200);
        for field in
            ["runtime", "description", "applies_to", "tools", "connectors", "env", "policy", "metadata"]
        {
            assert_eq!(renamed[field], profile[field], "{field}");
        }
        assert_eq!((&renamed["name"], &renamed["is_default"]), (&json!("p2"), &json!(true)));
        let nulls = json!({
            "description": null, "workspace_id": null, "project_id": null, "applies_to": null, "tools": null,
            "connectors": null, "env": null, "policy": null, "metadata": null, "is_default": null
        });
        let cleared = change(nulls).await.data(200);
        let empty = json!({
            "id": profile["id"], "created_at": profile["created_at"], "updated_at": cleared["updated_at"],
            "name": "p2", "runtime": "claude-code", "description": null, "workspace_id": null,
            "project_id": null, "applies_to": {}, "tools": null, "connectors": [], "env": {}, "policy": {},
            "metadata": {}, "is_default": false
        });
        assert_eq!(cleared, empty);
        assert_eq!(change(json!({"name": null, "runtime": null})).await.bad_fields(), ["name", "runtime"]);
        assert_eq!(change(json!({"nope": 1})).await.bad_fields(), ["nope"]);
        let back = change(body.clone()).await.data(200);
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(back[field], *value, "{field}");
        }
    }
}

#[tokio::test]
async fn what_was_fetched_can_be_sent_back() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let profile = made(&client, json!({"name": "p", "runtime": "pi", "env": {"A": "b"}})).await;
    let mut whole = client.get(&path(&profile)).send().await.data(200);
    whole["description"] = json!("new");
    assert_eq!(client.put(&path(&profile), whole).send().await.data(200)["description"], "new");
    for (field, other) in
        [("id", json!("arp_x")), ("created_at", json!(null)), ("updated_at", json!("2020-01-01T00:00:00Z"))]
    {
        let refused = client.put(&path(&profile), json!({field: other})).send().await;
        assert_eq!(refused.bad_fields(), [field]);
    }
}

#[tokio::test]
async fn a_name_is_unique_within_its_scope() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let scopes = [
        json!({}),
        json!({"workspace_id": "w"}),
        json!({"project_id": "w"}),
        json!({"workspace_id": "w", "project_id": "p"}),
    ];
    let mut profiles = Vec::new();
    for scope in &scopes {
        let mut body = scope.clone();
        body["name"] = json!("same");
        body["runtime"] = json!("pi");
        profiles.push(made(&client, body.clone()).await);
        assert_eq!(client.post(BASE, body).send().await.error(409), "NAME_TAKEN");
    }
    let other = made(&client, json!({"name": "other", "runtime": "pi"})).await;
    let renamed = client.put(&path(&other), json!({"name": "same"})).send().await;
    assert_eq!(renamed.error(409), "NAME_TAKEN");
    let moved = client.put(&path(&profiles[1]), json!({"workspace_id": null})).send().await;
    assert_eq!(moved.error(409), "NAME_TAKEN");
    let kept = client.put(&path(&profiles[0]), json!({"name": "same"})).send().await;
    assert_eq!(kept.data(200)["name"], "same");
    client.delete(&path(&profiles[0])).send().await;
    assert_eq!(client.put(&path(&other), json!({"name": "same"})).send().await.data(200)["name"], "same");
}

#[tokio::test]
async fn a_new_default_takes_the_place_of_the_former_one() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let defaults = || async {
        let listed = client.get(BASE).send().await.data(200);
        let defaults = listed.as_array().unwrap().iter().filter(|row| row["is_default"] == json!(true));
        let mut names: Vec<_> = defaults.map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let a = made(&client, json!({"name": "a", "runtime": "pi", "is_default": true})).await;
    made(&client, json!({"name": "w", "runtime": "pi", "is_default": true, "workspace_id": "w"})).await;
    made(&client, json!({"name": "p", "runtime": "pi", "is_default": true, "project_id": "p"})).await;
    assert_eq!(defaults().await, ["a", "p", "w"]);
    let b = made(&client, json!({"name": "b", "runtime": "pi", "is_default": true})).await;
    assert_eq!(defaults().await, ["b", "p", "w"]);
    client.put(&path(&a), json!({"is_default": true})).send().await.data(200);
    assert_eq!(defaults().await, ["a", "p", "w"]);
    // A default that moves to a scope is that scope's default.
    client.put(&path(&a), json!({"workspace_id": "w"})).send().await.data(200);
    assert_eq!(defaults().await, ["a", "p"]);
    client.put(&path(&a), json!({"is_default": false})).send().await.data(200);
    assert_eq!(defaults().await, ["p"]);
    // One that could not be stored unseats nobody.
    client.put(&path(&b), json!({"is_default": true})).send().await.data(200);
    let taken = client.post(BASE, json!({"name": "b", "runtime": "pi", "is_default": true})).send().await;
    assert_eq!(taken.error(409), "NAME_TAKEN");
    assert_eq!(defaults().await, ["b", "p"]);
}

#[tokio::test]
async fn lists_are_filtered() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (name, rest) in [
        ("t", json!({})),
        ("w1", json!({"workspace_id": "w1"})),
        ("w2", json!({"workspace_id": "w2"})),
        ("w1p", json!({"workspace_id": "w1", "project_id": "p"})),
    ] {
        let mut body = rest;
        body["name"] = json!(name);
        body["runtime"] = json!("pi");
        made(&client, body).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    for (query, expected) in [
        ("", vec!["t", "w1", "w2", "w1p"]),
        ("?workspace_id=w1", vec!["w1", "w1p"]),
        ("?project_id=p", vec!["w1p"]),
        ("?workspace_id=w2&project_id=p", vec![]),
    ] {
        let listed = client.get(&format!("{BASE}{query}")).send().await.data(200);
        let names: Vec<_> =
            listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
    }
    assert_eq!(client.get(&format!("{BASE}?scope=tenant")).send().await.bad_fields(), ["scope"]);
}
