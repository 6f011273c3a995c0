//! Resources and runs in the platform API.

use serde_json::{Value, json};

use super::open;
use crate::host::{Host, id_of, platform, sandbox};

#[tokio::test]
async fn a_resource_is_created_shown_changed_and_deleted() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let secret = "a-secret-of-more-than-32-characters-1234";
    let mut body = sandbox("sbx-1", "acme", &host);
    body["workspace_id"] = json!("ws_1");
    body["env"] = json!({"KEY": secret, "short": "x"});
    let created = platform.post("/platform/v1/resources", body).send().await.data(201);
    assert_eq!(
        created["env"],
        json!({"KEY": {"preview": "a-secr...1234"}, "short": {"preview": "***"}}),
        "names and previews only"
    );
    assert_eq!(created["project_id"], Value::Null);
    assert_eq!(created["skip_agent_runtime_profile"], json!(false));

    let path = "/platform/v1/resources/sbx-1";
    assert_eq!(platform.get(path).send().await.data(200), created);
    let list = platform.get("/platform/v1/resources?tenant_id=acme&kind=sandbox").send().await.data(200);
    assert_eq!(list, json!([created]));
    assert_eq!(platform.get("/platform/v1/resources?tenant_id=other").send().await.data(200), json!([]));

    let patch = json!({"workspace_id": null, "project_id": "p1", "env": {"B": "2"}, "tenant_id": "acme"});
    let changed = platform.patch(path, patch).send().await.data(200);
    assert_eq!(changed["workspace_id"], Value::Null);
    assert_eq!(changed["project_id"], json!("p1"));
    assert_eq!(changed["env"], json!({"B": {"preview": "***"}}), "an env is replaced as a whole");

    let deleted = platform.delete(path).send().await;
    assert_eq!(deleted.json(), json!({"ok": true, "id": "sbx-1"}));
    assert_eq!(platform.get(path).send().await.error(404), "NOT_FOUND");
    assert_eq!(platform.delete(path).send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn an_id_is_made_where_none_is_given() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let mut body = sandbox("x", "acme", &host);
    body.as_object_mut().unwrap().remove("id");
    let id = id_of(&platform.post("/platform/v1/resources", body).send().await);
    assert!(id.starts_with("res-") && id.len() == 24, "{id}");
}

#[tokio::test]
async fn everything_wrong_with_a_resource_is_told_at_once() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let body = json!({
        "id": "Upper", "tenant_id": "a b", "host_id": "host_unknown", "kind": "vm", "workspace_id": 7,
        "env": {"1BAD": "x", "MIOSA_RUN_ID": "x", "NUL": "a\u{0}b"}, "color": "red",
        "agent_runtime_profile_id": "arp_1", "agent_profile_id": "arp_2",
    });
    let refused = platform.post("/platform/v1/resources?wait=99", body).send().await;
    let expected = [
        "agent_profile_id",
        "color",
        "env.1BAD",
        "env.MIOSA_RUN_ID",
        "env.NUL",
        "host_id",
        "id",
        "kind",
        "tenant_id",
        "wait",
        "workspace_id",
    ];
    assert_eq!(refused.bad_fields(), expected);
    let refused = platform.post("/platform/v1/resources", json!({})).send().await;
    assert_eq!(refused.bad_fields(), ["host_id", "kind", "tenant_id"]);

    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let again = platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await;
    assert_eq!(again.error(409), "ID_TAKEN");
    let moved = json!({"tenant_id": "other", "host_id": "host_2", "kind": "computer", "id": "sbx-2"});
    let refused = platform.patch("/platform/v1/resources/sbx-1", moved).send().await;
    assert_eq!(refused.bad_fields(), ["host_id", "id", "kind", "tenant_id"]);
}

#[tokio::test]
async fn a_profile_must_be_the_tenants_own() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let profile = json!({"name": "p", "runtime": "custom"});
    let profile =
        id_of(&control.tenant("other").post("/api/v1/agent-runtime-profiles", profile).send().await);
    let with_profile = |tenant: &str| {
        let mut body = sandbox("sbx-1", tenant, &host);
        body["agent_profile_id"] = json!(profile);
        body
    };
    let refused = platform.post("/platform/v1/resources", with_profile("acme")).send().await;
    assert_eq!(refused.bad_fields(), ["agent_runtime_profile_id"]);
    let created = platform.post("/platform/v1/resources", with_profile("other")).send().await.data(201);
    assert_eq!(created["agent_runtime_profile_id"], json!(profile));
    let unknown = json!({"agent_runtime_profile_id": "arp_none"});
    let path = "/platform/v1/resources/sbx-1";
    assert_eq!(platform.patch(path, unknown.clone()).send().await.bad_fields(), ["agent_runtime_profile_id"]);
    let runs = "/platform/v1/resources/sbx-1/runs";
    assert_eq!(platform.post(runs, unknown).send().await.bad_fields(), ["agent_runtime_profile_id"]);
    let cleared = json!({"agent_runtime_profile_id": null, "skip_agent_runtime_profile": true});
    let cleared = platform.patch(path, cleared).send().await.data(200);
    assert_eq!(cleared["agent_runtime_profile_id"], Value::Null);
    assert_eq!(cleared["skip_agent_runtime_profile"], json!(true));
}

#[tokio::test]
async fn a_run_has_all_its_fields_and_ends() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let runs = "/platform/v1/resources/sbx-1/runs";
    let fields = json!({
        "instruction": "Build a page", "cwd": "/work", "command": ["make", "-j2"],
        "runtime_command": "claude -p", "model": "m", "provider": "p", "runner": "r", "timeout": 60,
        "approval_policy": {"approval": "never"}, "ttl_seconds": 100,
    });
    let mut body = fields.clone();
    body["env"] = json!({"KEY": "value"});
    let created = platform.post(runs, body).send().await.data(201);
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(&created[field], value, "{field}");
    }
    assert_eq!(created["env"], json!({"KEY": {"preview": "***"}}));
    let id = created["id"].as_str().unwrap();
    let path = format!("{runs}/{id}");
    assert_eq!(platform.get(&path).send().await.data(200), created);
    assert_eq!(platform.get(runs).send().await.data(200), json!([created]));
    let elsewhere = format!("/platform/v1/resources/sbx-2/runs/{id}");
    assert_eq!(platform.get(&elsewhere).send().await.error(404), "NOT_FOUND");
    assert_eq!(platform.delete(&path).send().await.json(), json!({"ok": true, "id": id}));
    assert_eq!(platform.get(&path).send().await.error(404), "NOT_FOUND");

    let day = platform.post(runs, json!({})).send().await.data(201);
    assert_eq!(day["ttl_seconds"], json!(86_400));
    platform.delete("/platform/v1/resources/sbx-1").send().await;
    assert_eq!(platform.get(runs).send().await.error(404), "NOT_FOUND");
    assert_eq!(platform.post(runs, json!({})).send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_resource_has_so_many_runs_at_a_time() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    for id in ["sbx-1", "sbx-2"] {
        platform.post("/platform/v1/resources", sandbox(id, "acme", &host)).send().await.data(201);
    }
    let runs = "/platform/v1/resources/sbx-1/runs";
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..260 {
        let platform = platform.clone();
        calls.spawn(async move { platform.post(runs, json!({})).send().await });
    }
    let answers = calls.join_all().await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status.is_success());
    assert_eq!((made.len(), refused.len()), (256, 4));
    assert_eq!(refused[0].error(409), "TOO_MANY_RUNS");
    platform.post("/platform/v1/resources/sbx-2/runs", json!({})).send().await.data(201);
    platform.delete(&format!("{runs}/{}", id_of(made[0]))).send().await;
    platform.post(runs, json!({})).send().await.data(201);
}

#[tokio::test]
async fn what_a_profile_may_say_fits_the_variables_that_tell_it() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    // As JSON, each is as long as it may be.
    let text = |bytes: usize| "x".repeat(bytes);
    let profile = json!({
        "name": "p", "runtime": "custom", "is_default": true,
        "tools": vec![text(64); 978],
        "connectors": [text(65_536 - r#"[""]"#.len())],
        "policy": {"x": text(65_536 - r#"{"x":""}"#.len())},
        "env": {"MIOSA_AGENT_COMMAND": "true"},
    });
    control.tenant("acme").post("/api/v1/agent-runtime-profiles", profile).send().await.data(201);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let policy = json!({"y": text(16 * 1024 - r#"{"y":""}"#.len())});
    let runs = "/platform/v1/resources/sbx-1/runs";
    let run = platform.post(runs, json!({"approval_policy": policy, "command": "true"})).send().await;
    let path = format!("/platform/v1/resources/sbx-1/explain?run={}", id_of(&run));
    let explained = platform.get(&path).send().await.data(200);
    let told = explained["variables"].as_array().unwrap().iter().map(|variable| &variable["name"]);
    assert_eq!(
        told.filter(|name| name.as_str().unwrap().starts_with("MIOSA_AGENT_")).count(),
        6,
        "{explained}"
    );
    let longer = json!({"approval_policy": {"y": text(16 * 1024)}});
    assert_eq!(platform.post(runs, longer).send().await.bad_fields(), ["approval_policy"]);
}

#[tokio::test]
async fn everything_wrong_with_a_run_is_told_at_once() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let body = json!({
        "id": "-", "instruction": "a\u{0}b", "cwd": "", "command": [], "runtime_command": {"a": 1}, "model": 1,
        "provider": "x".repeat(257), "approval_policy": 7, "ttl_seconds": 0, "timeout": "60", "more": 1,
        "skip_agent_runtime_profile": "yes", "env": {"A": 1},
    });
    let refused = platform.post("/platform/v1/resources/sbx-1/runs", body).send().await;
    let expected = [
        "approval_policy",
        "command",
        "cwd",
        "env.A",
        "id",
        "instruction",
        "model",
        "more",
        "provider",
        "runtime_command",
        "skip_agent_runtime_profile",
        "timeout",
        "ttl_seconds",
    ];
    assert_eq!(refused.bad_fields(), expected);
}

#[tokio::test]
async fn a_run_is_over_when_its_time_is_up() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let runs = "/platform/v1/resources/sbx-1/runs";
    let id = id_of(&platform.post(runs, json!({"ttl_seconds": 1})).send().await);
    while !host.state.records().runs.contains_key(&id.parse().unwrap()) {
        host.follow_state(&mut stream).await;
    }
    host.follow_state(&mut stream).await;
    assert!(host.state.records().runs.is_empty(), "the host is told that the run is over");
    assert_eq!(platform.get(runs).send().await.data(200), json!([]));
    let audit = platform.get("/platform/v1/audit?action=run.expire").send().await.data(200);
    assert_eq!(audit[0]["record_id"], json!(id));
    assert_eq!(audit[0]["actor"], json!("expiry"));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let resources = "/platform/v1/resources";
    let dry = |path: &str| format!("{path}?dry_run=true&wait=5");
    let mut body = sandbox("x", "acme", &host);
    body.as_object_mut().unwrap().remove("id");
    let answer = platform.post(&dry(resources), body).send().await;
    let would = answer.json();
    assert_eq!((&would["action"], &would["data"]["id"]), (&json!("create"), &Value::Null));
    assert_eq!(answer.header("miosa-applied"), None);
    assert_eq!(platform.get(resources).send().await.data(200), json!([]));

    platform.post(resources, sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let (path, runs) = ("/platform/v1/resources/sbx-1", "/platform/v1/resources/sbx-1/runs");
    let run = id_of(&platform.post(runs, json!({"id": "run_1"})).send().await);
    let would = platform.patch(&dry(path), json!({"project_id": "p"})).send().await.json();
    assert_eq!((&would["before"]["project_id"], &would["data"]["project_id"]), (&Value::Null, &json!("p")));
    let would = platform.delete(&dry(path)).send().await.json();
    assert_eq!(would["also"], json!([run]));
    platform.delete(&dry(&format!("{runs}/{run}"))).send().await;
    platform.post(&dry(runs), json!({})).send().await;
    assert_eq!(platform.get(path).send().await.data(200)["project_id"], Value::Null);
    assert_eq!(platform.get(runs).send().await.data(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_post_sent_again_with_its_key_happens_once() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let body = || {
        let mut body = sandbox("x", "acme", &host);
        body.as_object_mut().unwrap().remove("id");
        body
    };
    let send =
        || platform.post("/platform/v1/resources?wait=0", body()).header("idempotency-key", "k1").send();
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    assert_eq!(second.header("miosa-applied"), Some("no; reason=offline"), "waiting is not what is kept");
    assert_eq!(platform.get("/platform/v1/resources").send().await.data(200).as_array().unwrap().len(), 1);
    let runs = format!("/platform/v1/resources/{}/runs", id_of(&first));
    let run = || platform.post(&runs, json!({})).header("idempotency-key", "k2").send();
    assert_eq!(id_of(&run().await), id_of(&run().await));
}

#[tokio::test]
async fn a_post_sent_again_is_answered_the_same_whatever_became_of_the_rest() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let acme = control.tenant("acme");
    let profile = json!({"name": "p", "runtime": "custom"});
    let profile = id_of(&acme.post("/api/v1/agent-runtime-profiles", profile).send().await);
    let mut body = sandbox("sbx-1", "acme", &host);
    body["agent_runtime_profile_id"] = json!(profile);
    let resource = |query: &str| {
        let path = format!("/platform/v1/resources{query}");
        let (platform, body) = (platform.clone(), body.clone());
        async move { platform.post(&path, body).header("idempotency-key", "k1").send().await }
    };
    let run = || {
        let body = json!({"agent_runtime_profile_id": profile});
        platform.post("/platform/v1/resources/sbx-1/runs", body).header("idempotency-key", "k2").send()
    };
    let (first_resource, first_run) = (resource("").await, run().await);
    first_resource.data(201);
    first_run.data(201);

    acme.delete(&format!("/api/v1/agent-runtime-profiles/{profile}")).send().await;
    platform.delete("/platform/v1/resources/sbx-1").send().await;
    control.run(&["host", "revoke", "h1"]);
    for query in ["", "?wait=0", "?wait=1"] {
        let again = resource(query).await;
        assert_eq!((again.status, &again.text), (first_resource.status, &first_resource.text), "{query}");
    }
    assert_eq!(run().await.text, first_run.text);
    assert_eq!(platform.get("/platform/v1/resources").send().await.data(200), json!([]));
    assert_eq!(resource("?x=1").await.error(422), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_post_sent_again_waits_for_its_own_change() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let elsewhere = Host::enroll(&control, "h2").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let post = |path: &'static str, wait: u8, body: Value| {
        let platform = platform.clone();
        let waiting = format!("{path}?wait={wait}");
        async move { platform.post(&waiting, body).header("idempotency-key", path).send().await }
    };
    let (resources, runs) = ("/platform/v1/resources", "/platform/v1/resources/sbx-1/runs");
    let body = sandbox("sbx-1", "acme", &host);
    tokio::join!(post(resources, 20, body.clone()), host.follow_state(&mut stream));
    tokio::join!(post(runs, 20, json!({})), host.follow_state(&mut stream));
    // What the tenant does elsewhere is no concern of this host.
    platform.post("/platform/v1/resources", sandbox("sbx-2", "acme", &elsewhere)).send().await.data(201);
    for (path, body) in [(resources, body), (runs, json!({}))] {
        let again = post(path, 0, body).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("miosa-applied"), Some("yes"), "{path}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    for number in 0..5 {
        let body = sandbox(&format!("sbx-{number}"), "acme", &host);
        platform.post("/platform/v1/resources", body).send().await.data(201);
    }
    let mut seen = Vec::new();
    let mut path = "/platform/v1/resources?limit=2".to_owned();
    loop {
        let page = platform.get(&path).send().await.json();
        seen.extend(
            page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/platform/v1/resources?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["sbx-0", "sbx-1", "sbx-2", "sbx-3", "sbx-4"]);
    let first = platform.get("/platform/v1/audit?limit=3").send().await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = platform.get(&format!("/platform/v1/audit?limit=3&cursor={cursor}")).send().await.json();
    assert_ne!(first["data"][2], next["data"][0]);
}

#[tokio::test]
async fn explain_tells_the_layers_and_no_value() {
    let Some(control) = open().await else { return };
    let (platform, host) = (platform(&control), Host::enroll(&control, "h1").await);
    let tenant = control.tenant("acme");
    let secret = "sk-0123456789-0123456789-0123456789";
    for (target, value) in [("all", "one"), ("sandbox", secret)] {
        let body = json!({"scope": "tenant", "name": "KEY", "value": value, "target": target});
        tenant.post("/api/v1/runtime-env", body).send().await.data(201);
    }
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let runs = "/platform/v1/resources/sbx-1/runs";
    let run = id_of(&platform.post(runs, json!({"command": "true", "cwd": "/w"})).send().await);
    let path = "/platform/v1/resources/sbx-1/explain";
    let explained = platform.get(path).send().await;
    let key = explained.data(200)["variables"].as_array().unwrap().clone();
    let key = key.iter().find(|variable| variable["name"] == "KEY").unwrap();
    assert_eq!(key["layer"], json!("tenant/sandbox"));
    assert_eq!(key["preview"], json!("sk-012...6789"));
    assert!(!explained.text.contains(secret));
    let explained = platform.get(&format!("{path}?run={run}")).send().await.data(200);
    assert_eq!(explained["run_id"], json!(run));
    assert_eq!(explained["cwd"]["path"], json!("/w"));
    assert_eq!(platform.get(&format!("{path}?run=run_none")).send().await.error(404), "NOT_FOUND");
    let unknown = platform.get("/platform/v1/resources/sbx-2/explain").send().await;
    assert_eq!(unknown.error(404), "NOT_FOUND");

    let profile = json!({"name": "p", "runtime": "custom"});
    let profile = id_of(&tenant.post("/api/v1/agent-runtime-profiles", profile).send().await);
    let named = json!({"agent_runtime_profile_id": profile});
    platform.patch("/platform/v1/resources/sbx-1", named).send().await.data(200);
    tenant.delete(&format!("/api/v1/agent-runtime-profiles/{profile}")).send().await;
    assert_eq!(platform.get(path).send().await.error(409), "PROFILE_NOT_FOUND");
}
