//! Many writers at once.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::open;

#[tokio::test]
async fn fifty_upserts_of_one_identity_make_one_variable() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut calls = JoinSet::new();
    for n in 0..50 {
        let client = client.clone();
        calls.spawn(async move {
            let body =
                json!({"scope": "workspace", "workspace_id": "w", "name": "A", "value": format!("{n}")});
            client.post("/api/v1/runtime-env", body).send().await
        });
    }
    let answers = calls.join_all().await;
    let created = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
    assert_eq!(created, 1);
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    assert_eq!(client.get("/api/v1/runtime-env").send().await.data(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ten_at_once_do_not_get_past_a_limit_together() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut calls = JoinSet::new();
    for n in 0..10 {
        let client = client.clone();
        calls.spawn(async move {
            let body = json!({"scope": "tenant", "name": format!("V{n}"), "value": "x".repeat(130_000)});
            client.post("/api/v1/runtime-env", body).send().await
        });
    }
    let answers = calls.join_all().await;
    let created = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
    let refused = answers.iter().filter(|answer| answer.status.as_u16() == 422).count();
    assert_eq!((created, refused), (8, 2), "{answers:?}");
}

#[tokio::test]
async fn thirty_new_defaults_leave_one_default() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut calls = JoinSet::new();
    for n in 0..30 {
        let client = client.clone();
        calls.spawn(async move {
            let body = json!({"name": format!("p{n}"), "runtime": "pi", "is_default": true});
            client.post("/api/v1/agent-runtime-profiles", body).send().await.data(201)
        });
    }
    calls.join_all().await;
    let listed = client.get("/api/v1/agent-runtime-profiles").send().await.data(200);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 30);
    assert_eq!(listed.iter().filter(|row| row["is_default"] == json!(true)).count(), 1);
}

#[tokio::test]
async fn updates_of_different_fields_are_not_lost() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let profile = json!({"name": "p", "runtime": "pi"});
    let profile = client.post("/api/v1/agent-runtime-profiles", profile).send().await.data(201);
    let path = format!("/api/v1/agent-runtime-profiles/{}", profile["id"].as_str().unwrap());
    let changes: Vec<Value> = vec![
        json!({"description": "d"}),
        json!({"env": {"A": "b"}}),
        json!({"tools": ["files"]}),
        json!({"policy": {"approval": "never"}}),
        json!({"metadata": {"m": 1}}),
        json!({"connectors": ["c"]}),
        json!({"workspace_id": "w"}),
        json!({"is_default": true}),
    ];
    let mut calls = JoinSet::new();
    for change in changes.clone() {
        let (client, path) = (client.clone(), path.clone());
        calls.spawn(async move { client.patch(&path, change).send().await.data(200) });
    }
    calls.join_all().await;
    let last = client.get(&path).send().await.data(200);
    for change in changes {
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(last[field], *value, "{field}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_locked() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut calls = JoinSet::new();
    for n in 0..40 {
        let client = client.clone();
        calls.spawn(async move {
            let body = json!({"scope": "tenant", "name": format!("V{n}"), "value": "x"});
            let call = client.post("/api/v1/runtime-env", body).send();
            let _given_up = tokio::time::timeout(std::time::Duration::from_micros(300 * n), call).await;
        });
    }
    calls.join_all().await;
    let body = json!({"scope": "tenant", "name": "LAST", "value": "x"});
    client.post("/api/v1/runtime-env", body).send().await.data(201);
}

#[tokio::test]
async fn commands_work_while_the_server_writes() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            let body = json!({"scope": "tenant", "name": format!("V{n}"), "value": "x"});
            client.post("/api/v1/runtime-env", body).send().await.data(201);
        }
    });
    while !writer.is_finished() {
        control.run(&["key", "create", "--tenant", "t1"]);
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    writer.await.unwrap();
}
