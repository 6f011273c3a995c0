//! Runtime env, as the reference and the design have it.

use serde_json::{Value, json};

use super::open;
use crate::client::Client;

const BASE: &str = "/api/v1/runtime-env";
const SECRET: &str = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz";

fn path(record: &Value) -> String {
    format!("{BASE}/{}", record["id"].as_str().unwrap())
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let listed = client.get(&format!("{BASE}{query}")).send().await.data(200);
    listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_example_of_the_reference_works_word_for_word() {
    let Some(control) = open().await else { return };
    let client = control.tenant("tenant_123");
    let body = json!({
        "scope": "workspace", "workspace_id": "ws_123", "target": "sandbox", "name": "ANTHROPIC_API_KEY",
        "value": SECRET, "metadata": {"provider": "anthropic"}
    });
    let made = client.post(BASE, body).send().await.data(201);
    let expected = json!({
        "id": made["id"], "tenant_id": "tenant_123", "workspace_id": "ws_123", "project_id": null,
        "scope": "workspace", "target": "sandbox", "name": "ANTHROPIC_API_KEY", "preview": "sk-ant...wxyz",
        "enabled": true, "metadata": {"provider": "anthropic"},
        "created_at": made["created_at"], "updated_at": made["updated_at"],
    });
    assert_eq!(made, expected);
    assert!(made["id"].as_str().unwrap().starts_with("env_"));
    let at = made["created_at"].as_str().unwrap();
    assert!(at.len() == 20 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");

    assert_eq!(client.get(&path(&made)).send().await.data(200), made);
    let query = format!("{BASE}?scope=workspace&workspace_id=ws_123&target=sandbox");
    assert_eq!(client.get(&query).send().await.json(), json!({"data": [made]}));

    let patched =
        client.patch(&path(&made), json!({"value": "sk-ant-new", "enabled": true})).send().await.data(200);
    assert_eq!((&patched["id"], &patched["preview"]), (&made["id"], &json!("***")));
    let deleted = client.delete(&path(&made)).send().await;
    assert_eq!(deleted.json(), json!({"ok": true, "id": made["id"]}));
    assert_eq!(client.get(&path(&made)).send().await.error(404), "NOT_FOUND");
    assert_eq!(client.delete(&path(&made)).send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn only_name_value_and_scope_are_needed() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let made = client.post(BASE, json!({"scope": "tenant", "name": "A", "value": ""})).send().await.data(201);
    assert_eq!(made["target"], "all");
    assert_eq!(made["enabled"], true);
    assert_eq!(made["metadata"], json!({}));
    assert_eq!((&made["workspace_id"], &made["project_id"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_upsert_finds_the_variable_of_the_same_identity() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let identities = [
        json!({"scope": "tenant"}),
        json!({"scope": "tenant", "target": "sandbox"}),
        json!({"scope": "workspace", "workspace_id": "w1"}),
        json!({"scope": "workspace", "workspace_id": "w2"}),
        json!({"scope": "workspace", "workspace_id": "w1", "target": "agent"}),
        json!({"scope": "project", "project_id": "w1"}),
        json!({"scope": "project", "project_id": "p1", "target": "computer"}),
    ];
    let mut ids = Vec::new();
    for identity in &identities {
        let mut body = identity.clone();
        body["name"] = json!("A");
        body["value"] = json!("1");
        ids.push(client.post(BASE, body).send().await.data(201)["id"].clone());
    }
    for (identity, id) in identities.iter().zip(&ids) {
        let mut body = identity.clone();
        body["name"] = json!("A");
        body["value"] = json!(SECRET);
        let found = client.post(BASE, body).send().await.data(200);
        assert_eq!(found["id"], *id);
        assert_eq!(found["preview"], "sk-ant...wxyz");
    }
    assert_eq!(names(&client, "").await.len(), identities.len());
}

#[tokio::test]
async fn an_upsert_leaves_what_it_does_not_mention() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({
        "scope": "project", "project_id": "p1", "workspace_id": "w1", "name": "A", "value": "1",
        "enabled": false, "metadata": {"owner": "ops"}
    });
    let made = client.post(BASE, body).send().await.data(201);
    assert_eq!(made["enabled"], false);
    assert_eq!(made["workspace_id"], "w1");

    let bare = json!({"scope": "project", "project_id": "p1", "name": "A", "value": "2"});
    let kept = client.post(BASE, bare.clone()).send().await.data(200);
    assert_eq!((&kept["enabled"], &kept["metadata"]), (&json!(false), &json!({"owner": "ops"})));
    assert_eq!(kept["workspace_id"], "w1");

    let mut cleared = bare.clone();
    cleared["enabled"] = Value::Null;
    cleared["metadata"] = Value::Null;
    cleared["workspace_id"] = Value::Null;
    let cleared = client.post(BASE, cleared).send().await.data(200);
    assert_eq!((&cleared["enabled"], &cleared["metadata"]), (&json!(true), &json!({})));
    assert_eq!(cleared["workspace_id"], Value::Null);

    let mut moved = bare;
    moved["workspace_id"] = json!("w2");
    let moved = client.post(BASE, moved).send().await.data(200);
    assert_eq!((&moved["id"], &moved["workspace_id"]), (&made["id"], &json!("w2")));
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({
        "scope": "planet", "workspace_id": 7, "project_id": "", "target": "vm", "name": "lower",
        "value": 1, "enabled": "yes", "metadata": [], "nonsense": 1, "id": "env_x"
    });
    let fields = client.post(&format!("{BASE}?dry_run=maybe&page=2"), body).send().await.bad_fields();
    let expected = [
        "dry_run",
        "enabled",
        "id",
        "metadata",
        "name",
        "nonsense",
        "page",
        "project_id",
        "scope",
        "target",
        "value",
        "workspace_id",
    ];
    assert_eq!(fields, expected);
    assert_eq!(client.post(BASE, json!({})).send().await.bad_fields(), ["name", "scope", "value"]);
    let nulls = json!({"scope": null, "name": null, "value": null, "target": null});
    assert_eq!(client.post(BASE, nulls).send().await.bad_fields(), ["name", "scope", "value"]);
}

#[tokio::test]
async fn a_scope_needs_its_own_ids_and_takes_no_others() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (scope, field) in [
        (json!({"scope": "workspace"}), "workspace_id"),
        (json!({"scope": "workspace", "workspace_id": null}), "workspace_id"),
        (json!({"scope": "workspace", "workspace_id": "w", "project_id": "p"}), "project_id"),
        (json!({"scope": "project"}), "project_id"),
        (json!({"scope": "project", "workspace_id": "w"}), "project_id"),
        (json!({"scope": "tenant", "workspace_id": "w"}), "workspace_id"),
        (json!({"scope": "tenant", "project_id": "p"}), "project_id"),
        (json!({"scope": "workspace", "workspace_id": "a/b"}), "workspace_id"),
        (json!({"scope": "workspace", "workspace_id": "x".repeat(65)}), "workspace_id"),
    ] {
        let mut body = scope.clone();
        body["name"] = json!("A");
        body["value"] = json!("1");
        assert_eq!(client.post(BASE, body).send().await.bad_fields(), [field], "{scope}");
    }
}

#[tokio::test]
async fn names_and_values_are_what_an_environment_can_carry() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let post =
        |name: &str, value: &str| client.post(BASE, json!({"scope": "tenant", "name": name, "value": value}));
    for bad in ["", "lower", "1A", "A-B", "A=B", "A B", "A\0", "É", "MIOSA_TENANT_ID", "MIOSA_SOCKET"] {
        assert_eq!(post(bad, "x").send().await.bad_fields(), ["name"], "{bad:?}");
    }
    for good in ["_", "A1_B", "MIOSA_AGENT_CWD", "MIOSA_AGENT_COMMAND", "PATH", "LD_PRELOAD"] {
        post(good, "x").send().await.data(201);
    }
    assert_eq!(post("A", "a\0b").send().await.bad_fields(), ["value"]);
    post("A", &"v".repeat(131_071 - 2)).send().await.data(201);
    assert_eq!(post("A", &"v".repeat(131_071 - 1)).send().await.bad_fields(), ["value"]);
}

#[tokio::test]
async fn a_scope_holds_no_more_than_an_environment() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body =
        |name: &str, bytes: usize| json!({"scope": "tenant", "name": name, "value": "x".repeat(bytes)});
    // NAME=value and a NUL.
    let most = 1024 * 1024 / 8 - "V0".len() - 2;
    for number in 0..7 {
        client.post(BASE, body(&format!("V{number}"), most)).send().await.data(201);
    }
    let last = client.post(BASE, body("V7", most - 100)).send().await.data(201);
    let path = format!("{BASE}/{}", last["id"].as_str().unwrap());

    let refused = client.post(BASE, body("V8", 97)).send().await;
    assert_eq!(refused.bad_fields(), ["value"]);
    assert!(refused.text.contains("1048577") && refused.text.contains("1048576"), "{}", refused.text);
    assert_eq!(
        client.post(&format!("{BASE}?dry_run=true"), body("V8", 97)).send().await.bad_fields(),
        ["value"]
    );
    assert_eq!(
        client.patch(&path, json!({"value": "x".repeat(most + 1)})).send().await.bad_fields(),
        ["value"]
    );
    assert_eq!(client.post(BASE, body("V7", most + 1)).send().await.bad_fields(), ["value"]);
    assert_eq!(names(&client, "").await.len(), 8);

    // What is disabled, or has another scope, target or tenant, does not count.
    let mut off = body("V8", 97);
    off["enabled"] = json!(false);
    let off = client.post(BASE, off).send().await.data(201);
    let off = format!("{BASE}/{}", off["id"].as_str().unwrap());
    assert_eq!(client.patch(&off, json!({"enabled": true})).send().await.bad_fields(), ["value"]);
    let mut elsewhere = body("V9", 97);
    elsewhere["target"] = json!("agent");
    client.post(BASE, elsewhere).send().await.data(201);
    let elsewhere = json!({"scope": "project", "project_id": "p", "name": "V9", "value": "x".repeat(97)});
    client.post(BASE, elsewhere).send().await.data(201);
    control.tenant("t2").post(BASE, body("V8", 97)).send().await.data(201);

    client.post(BASE, body("V9", 96)).send().await.data(201);
    client.patch(&path, json!({"value": ""})).send().await.data(200);
    client.post(BASE, body("V8", 97)).send().await.data(200);
}

#[tokio::test]
async fn short_values_have_no_preview() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (length, shown) in [(0, "***"), (31, "***"), (32, "vvvvvv...vvvv")] {
        let body = json!({"scope": "tenant", "name": "A", "value": "v".repeat(length)});
        assert_eq!(client.post(BASE, body).send().await.json()["data"]["preview"], shown);
    }
}

#[tokio::test]
async fn put_and_patch_change_only_what_is_given() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": SECRET, "metadata": {"a": 1}});
    let made = client.post(BASE, body).send().await.data(201);
    for method in ["PUT", "PATCH"] {
        let change = |body: Value| {
            let (client, path) = (&client, path(&made));
            async move { client.call(method, &path).json(&body).send().await }
        };
        let off = change(json!({"enabled": false})).await.data(200);
        assert_eq!((&off["enabled"], &off["metadata"]), (&json!(false), &json!({"a": 1})));
        assert_eq!(off["preview"], "sk-ant...wxyz");
        let null = change(json!({"enabled": null, "metadata": null})).await.data(200);
        assert_eq!((&null["enabled"], &null["metadata"]), (&json!(true), &json!({})));
        let back = change(json!({"metadata": {"a": 1}})).await.data(200);
        assert_eq!(back["metadata"], json!({"a": 1}));
        assert_eq!(change(json!({"value": null})).await.bad_fields(), ["value"]);
        assert_eq!(change(json!({"value": "a\0"})).await.bad_fields(), ["value"]);
        assert_eq!(change(json!({})).await.data(200)["preview"], "sk-ant...wxyz");
    }
}

#[tokio::test]
async fn what_was_fetched_can_be_sent_back() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body =
        json!({"scope": "project", "project_id": "p", "workspace_id": "w", "name": "A", "value": SECRET});
    let made = client.post(BASE, body).send().await.data(201);
    let mut whole = client.get(&path(&made)).send().await.data(200);
    whole["enabled"] = json!(false);
    let back = client.put(&path(&made), whole.clone()).send().await.data(200);
    assert_eq!(back["enabled"], json!(false));
    for (field, other) in [
        ("id", json!("env_other")),
        ("tenant_id", json!("t2")),
        ("workspace_id", json!(null)),
        ("project_id", json!("q")),
        ("scope", json!("tenant")),
        ("target", json!("agent")),
        ("name", json!("B")),
        ("preview", json!("x")),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("updated_at", json!(0)),
        ("unknown", json!(1)),
    ] {
        let changed = client.patch(&path(&made), json!({field: other})).send().await;
        assert_eq!(changed.bad_fields(), [field]);
    }
    let several = json!({"name": "B", "scope": "tenant", "value": 1, "x": 1});
    assert_eq!(
        client.patch(&path(&made), several).send().await.bad_fields(),
        ["name", "scope", "value", "x"]
    );
}

#[tokio::test]
async fn lists_are_filtered() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (name, rest) in [
        ("T", json!({"scope": "tenant"})),
        ("T_AGENT", json!({"scope": "tenant", "target": "agent"})),
        ("W1", json!({"scope": "workspace", "workspace_id": "w1"})),
        ("W2", json!({"scope": "workspace", "workspace_id": "w2"})),
        ("P1", json!({"scope": "project", "project_id": "p1", "workspace_id": "w1"})),
        ("P2", json!({"scope": "project", "project_id": "p2", "target": "agent"})),
    ] {
        let mut body = rest;
        body["name"] = json!(name);
        body["value"] = json!("x");
        client.post(BASE, body).send().await.data(201);
        // Lists are in the order of creation, which is known to the millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(names(&client, "").await, ["T", "T_AGENT", "W1", "W2", "P1", "P2"]);
    assert_eq!(names(&client, "?scope=tenant").await, ["T", "T_AGENT"]);
    assert_eq!(names(&client, "?scope=workspace&workspace_id=w1").await, ["W1"]);
    assert_eq!(names(&client, "?scope=project&project_id=p1").await, ["P1"]);
    assert_eq!(names(&client, "?workspace_id=w1").await, ["W1", "P1"]);
    assert_eq!(names(&client, "?project_id=p2").await, ["P2"]);
    assert_eq!(names(&client, "?target=agent").await, ["T_AGENT", "P2"]);
    assert_eq!(names(&client, "?scope=tenant&target=all").await, ["T"]);
    assert_eq!(names(&client, "?scope=workspace&workspace_id=none").await, [""; 0]);
    for (query, field) in [
        ("?scope=workspace", "workspace_id"),
        ("?scope=project", "project_id"),
        ("?scope=project&workspace_id=w1", "project_id"),
        ("?scope=galaxy", "scope"),
        ("?target=vm", "target"),
        ("?workspace_id=", "workspace_id"),
        ("?workspaceid=w1", "workspaceid"),
        ("?target=all&target=agent", "target"),
    ] {
        let refused = client.get(&format!("{BASE}{query}")).send().await;
        assert_eq!(refused.bad_fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn a_write_may_wait_for_the_hosts() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": "1"});
    // No host has a resource of this tenant, so that none lacks the change.
    let made = client.post(&format!("{BASE}?wait=5"), body.clone()).send().await;
    assert_eq!(made.header("miosa-applied"), Some("yes"));
    let id = path(&made.data(201));
    let changed = client.patch(&format!("{id}?wait=5"), json!({"enabled": false})).send().await;
    assert_eq!((changed.status.as_u16(), changed.header("miosa-applied")), (200, Some("yes")));
    let deleted = client.delete(&format!("{id}?wait=0")).send().await;
    assert_eq!((deleted.status.as_u16(), deleted.header("miosa-applied")), (200, Some("yes")));
    assert_eq!(client.post(BASE, body.clone()).send().await.header("miosa-applied"), None);
    for bad in ["61", "-1", "soon"] {
        let refused = client.post(&format!("{BASE}?wait={bad}"), body.clone()).send().await;
        assert_eq!(refused.bad_fields(), ["wait"]);
    }
}
