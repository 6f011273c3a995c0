//! `Idempotency-Key`.

use serde_json::json;

use super::open;

#[tokio::test]
async fn a_request_sent_again_happens_once_and_is_answered_the_same() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"name": "p", "runtime": "pi"});
    let send =
        || client.post("/api/v1/agent-runtime-profiles", body.clone()).header("idempotency-key", "k1").send();
    let (first, second) = (send().await, send().await);
    first.data(201);
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));

    // Also when what it made is gone.
    let path = format!("/api/v1/agent-runtime-profiles/{}", first.data(201)["id"].as_str().unwrap());
    client.delete(&path).send().await;
    assert_eq!(send().await.text, first.text);
    assert_eq!(client.get("/api/v1/agent-runtime-profiles").send().await.data(200), json!([]));
}

#[tokio::test]
async fn the_value_of_a_variable_is_part_of_the_request() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let send = |value: &str| {
        let body = json!({"scope": "tenant", "name": "A", "value": value});
        client.post("/api/v1/runtime-env", body).header("idempotency-key", "k1").send()
    };
    let first = send("one").await;
    first.data(201);
    assert_eq!(send("one").await.text, first.text);
    assert_eq!(send("two").await.error(422), "IDEMPOTENCY_KEY_REUSED");
    let other_path = client
        .post("/api/v1/agent-runtime-profiles", json!({"name": "p", "runtime": "pi"}))
        .header("idempotency-key", "k1");
    assert_eq!(other_path.send().await.error(422), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_key_is_the_tenants_own() {
    let Some(control) = open().await else { return };
    let body = json!({"name": "p", "runtime": "pi"});
    let mut ids = Vec::new();
    for tenant in ["t1", "t2"] {
        let client = control.tenant(tenant);
        let made =
            client.post("/api/v1/agent-runtime-profiles", body.clone()).header("idempotency-key", "k1");
        ids.push(made.send().await.data(201)["id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_request_that_failed_may_be_tried_again() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let send =
        |body| client.post("/api/v1/agent-runtime-profiles", body).header("idempotency-key", "k1").send();
    assert_eq!(send(json!({"name": "p"})).await.bad_fields(), ["runtime"]);
    send(json!({"name": "p", "runtime": "pi"})).await.data(201);
}

#[tokio::test]
async fn a_dry_run_uses_up_no_key() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"name": "p", "runtime": "pi"});
    let dry = client.post("/api/v1/agent-runtime-profiles?dry_run=true", body.clone());
    assert_eq!(dry.header("idempotency-key", "k1").send().await.json()["dry_run"], true);
    let real = client.post("/api/v1/agent-runtime-profiles", body).header("idempotency-key", "k1");
    real.send().await.data(201);
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let long = "k".repeat(256);
    for bad in ["", "a b", long.as_str()] {
        let call = client.post("/api/v1/agent-runtime-profiles", json!({"name": "p", "runtime": "pi"}));
        assert_eq!(call.header("idempotency-key", bad).send().await.error(400), "MALFORMED_REQUEST");
    }
}

#[tokio::test]
async fn twenty_at_once_with_one_key_make_one_profile() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.spawn(async move {
            let body = json!({"name": "p", "runtime": "pi"});
            client.post("/api/v1/agent-runtime-profiles", body).header("idempotency-key", "k").send().await
        });
    }
    let answers = calls.join_all().await;
    for answer in &answers {
        answer.data(201);
        assert_eq!(answer.text, answers[0].text);
    }
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1);
}
