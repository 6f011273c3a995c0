//! Values that must never be seen: not in answers, logs or the database.

use serde_json::json;

use super::open;

const CANARY: &str = "canary-7f3a9c51e0d84b6290aa417c-value";

#[tokio::test]
async fn a_value_is_in_no_answer_log_or_file() {
    let Some(mut control) = open().await else { return };
    let client = control.tenant("t1");
    let base = "/api/v1/runtime-env";
    let good = json!({"scope": "tenant", "name": "A", "value": CANARY});
    let mut answers = Vec::new();
    let made = client.post(base, good.clone()).header("idempotency-key", "k").send().await;
    let path = format!("{base}/{}", made.data(201)["id"].as_str().unwrap());
    answers.push(made);
    answers.push(client.post(base, good).header("idempotency-key", "k").send().await);
    answers.push(client.get(&path).send().await);
    answers.push(client.get(base).send().await);
    answers.push(client.put(&path, json!({"value": format!("{CANARY}2")})).send().await);
    answers.push(client.patch(&path, json!({"value": CANARY, "name": "B"})).send().await);
    answers.push(client.post(base, json!({"scope": "tenant", "name": CANARY, "value": CANARY})).send().await);
    answers.push(client.post(base, json!({"scope": "tenant", "name": "A", "value": [CANARY]})).send().await);
    answers.push(client.post(base, json!({"scope": CANARY, "name": "A", "value": CANARY})).send().await);
    let broken = format!(r#"{{"scope":"tenant","name":"A","value":"{CANARY}""#);
    answers.push(client.call("POST", base).raw("application/json", broken.into_bytes()).send().await);
    let profile = json!({"name": "p", "runtime": "pi", "env": {"A": format!("sk-ant-{CANARY}")}});
    answers.push(client.post("/api/v1/agent-runtime-profiles", profile).send().await);
    for answer in &answers {
        assert!(!answer.text.contains(&CANARY[7..31]), "{answer:?}");
        assert!(!format!("{:?}", answer.headers).contains(CANARY));
    }
    assert_eq!(control.stop().await, Some(0));
    assert!(!control.log().contains(&CANARY[7..31]), "the log holds a value");
    let key = client.key.as_deref().unwrap();
    assert!(!control.log().contains(key), "the log holds a key");
    for file in std::fs::read_dir(control.state_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for needle in [&CANARY.as_bytes()[7..31], key.as_bytes()] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "a file holds a value");
        }
    }
}

#[tokio::test]
async fn values_survive_a_restart() {
    let Some(mut control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": CANARY});
    let made = client.post("/api/v1/runtime-env", body).send().await.data(201);
    assert_eq!(control.stop().await, Some(0));
    control.serve().await;
    let listed = client.get("/api/v1/runtime-env").send().await.data(200);
    assert_eq!(listed, json!([made]));
    assert_eq!(listed[0]["preview"], "canary...alue");
}
