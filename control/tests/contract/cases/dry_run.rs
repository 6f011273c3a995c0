//! `?dry_run=true`: says what would change, and changes nothing.

use serde_json::{Value, json};

use super::open;

#[tokio::test]
async fn a_dry_run_of_a_variable_changes_nothing() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let base = "/api/v1/runtime-env";
    let body = json!({"scope": "tenant", "name": "A", "value": "1"});
    let would = client.post(&format!("{base}?dry_run=true"), body.clone()).send().await.json();
    assert_eq!((&would["dry_run"], &would["action"]), (&json!(true), &json!("create")));
    assert_eq!((&would["before"], &would["data"]["id"]), (&Value::Null, &Value::Null));
    assert_eq!(would["data"]["name"], "A");
    assert_eq!(client.get(base).send().await.data(200), json!([]));

    let made = client.post(base, body).send().await.data(201);
    let path = format!("{base}/{}", made["id"].as_str().unwrap());
    let again = json!({"scope": "tenant", "name": "A", "value": "1", "enabled": false});
    let would = client.post(&format!("{base}?dry_run=1"), again).send().await.json();
    assert_eq!((&would["action"], &would["before"]), (&json!("update"), &made));
    assert_eq!((&would["data"]["id"], &would["data"]["enabled"]), (&made["id"], &json!(false)));

    let would = client.patch(&format!("{path}?dry_run"), json!({"metadata": {"a": 1}})).send().await.json();
    assert_eq!((&would["action"], &would["data"]["metadata"]), (&json!("update"), &json!({"a": 1})));
    let would = client.delete(&format!("{path}?dry_run=true")).send().await.json();
    assert_eq!((&would["action"], &would["before"], &would["data"]), (&json!("delete"), &made, &Value::Null));
    assert_eq!(client.get(&path).send().await.data(200), made);

    client.delete(&format!("{path}?dry_run=false")).send().await;
    assert_eq!(client.delete(&format!("{path}?dry_run=true")).send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_dry_run_works_for_a_tenant_that_has_nothing_yet() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": "1"});
    for _ in 0..2 {
        let dry = client.post("/api/v1/runtime-env?dry_run=true", body.clone()).send().await;
        assert_eq!(dry.json()["data"]["name"], "A");
    }
    let made = client.post("/api/v1/runtime-env", body).send().await.data(201);
    assert_eq!(client.get("/api/v1/runtime-env").send().await.data(200), json!([made]));
}

#[tokio::test]
async fn a_dry_run_of_a_profile_tells_who_would_lose_its_place() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let base = "/api/v1/agent-runtime-profiles";
    let first = json!({"name": "a", "runtime": "pi", "is_default": true});
    let first = client.post(base, first).send().await.data(201);
    let second = json!({"name": "b", "runtime": "pi", "is_default": true});
    let would = client.post(&format!("{base}?dry_run=true"), second).send().await.json();
    assert_eq!((&would["action"], &would["also"]), (&json!("create"), &json!([first["id"]])));
    let listed = client.get(base).send().await.data(200);
    assert_eq!(listed, json!([first]));
    let path = format!("{base}/{}", first["id"].as_str().unwrap());
    let would = client.put(&format!("{path}?dry_run=true"), json!({"name": "c"})).send().await.json();
    assert_eq!((&would["before"], &would["data"]["name"]), (&first, &json!("c")));
    assert_eq!(client.get(&path).send().await.data(200), first);
}

#[tokio::test]
async fn a_dry_run_fails_as_the_real_one_would() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let base = "/api/v1/agent-runtime-profiles";
    client.post(base, json!({"name": "a", "runtime": "pi"})).send().await.data(201);
    let dry = format!("{base}?dry_run=true");
    let taken = client.post(&dry, json!({"name": "a", "runtime": "pi"})).send().await;
    assert_eq!(taken.error(409), "NAME_TAKEN");
    assert_eq!(client.post(&dry, json!({"name": "b"})).send().await.bad_fields(), ["runtime"]);
    let gone = format!("{base}/arp_{}?dry_run=true", "a".repeat(20));
    assert_eq!(client.put(&gone, json!({"name": "b"})).send().await.error(404), "NOT_FOUND");
}
