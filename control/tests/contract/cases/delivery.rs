//! How a variable is delivered: said in its metadata, and told to the hosts.

use std::time::Duration;

use miosa_injector::Understands;
use miosa_injector::model::Deliver;
use miosa_snapshot::Kind;
use serde_json::{Value, json};

use super::open;
use crate::host::{Host, id_of, platform, sandbox};

const BASE: &str = "/api/v1/runtime-env";

fn body(name: &str, metadata: Value) -> Value {
    json!({"scope": "tenant", "name": name, "value": "v", "metadata": metadata})
}

#[tokio::test]
async fn a_delivery_is_one_of_three_words_and_nothing_else_of_metadata_is_judged() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let made = client.post(BASE, body("KEPT", json!({}))).send().await.data(201);
    let path = format!("{BASE}/{}", made["id"].as_str().unwrap());
    for said in [json!("File"), json!(""), json!("disk"), json!(1), json!(true), json!(null), json!(["fd"]), json!({})] {
        let metadata = json!({"deliver": said, "note": "x"});
        for refused in [
            client.post(BASE, body("NEW", metadata.clone())).send().await,
            client.post(&format!("{BASE}?dry_run=true"), body("NEW", metadata.clone())).send().await,
            client.patch(&path, json!({"metadata": metadata})).send().await,
            client.put(&path, json!({"metadata": metadata})).send().await,
            client.patch(&format!("{path}?dry_run=true"), json!({"metadata": metadata})).send().await,
        ] {
            assert_eq!(refused.bad_fields(), ["metadata.deliver"], "{metadata}");
            let message = refused.json()["error"]["details"][0]["message"].clone();
            assert_eq!(message, "must be one of env, file, fd");
        }
    }
    let several = json!({"scope": "tenant", "name": "bad", "value": 1, "metadata": {"deliver": "disk"}});
    assert_eq!(client.post(BASE, several).send().await.bad_fields(), ["metadata.deliver", "name", "value"]);
    assert_eq!(client.get(BASE).send().await.data(200), json!([made]), "nothing of it was stored");

    let free = json!({"deliver": "fd", "Deliver": 1, "delivery": "disk", "note": {"deliver": [null]}});
    for (position, metadata) in
        [json!({"deliver": "env"}), json!({"deliver": "file"}), free, json!({})].into_iter().enumerate()
    {
        let name = format!("N_{position}");
        let made = client.post(BASE, body(&name, metadata.clone())).send().await.data(201);
        assert_eq!(made["metadata"], metadata, "it is shown as it was sent");
    }
}

#[tokio::test]
async fn what_the_platform_reads_in_the_environment_is_delivered_there() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for name in ["MIOSA_AGENT_CWD", "MIOSA_AGENT_COMMAND"] {
        for word in ["file", "fd"] {
            let refused = client.post(BASE, body(name, json!({"deliver": word}))).send().await;
            assert_eq!(refused.bad_fields(), ["metadata.deliver"], "{name} {word}");
        }
        let made = client.post(BASE, body(name, json!({"deliver": "env"}))).send().await.data(201);
        let path = format!("{BASE}/{}", made["id"].as_str().unwrap());
        let refused = client.patch(&path, json!({"metadata": {"deliver": "file"}})).send().await;
        assert_eq!(refused.bad_fields(), ["metadata.deliver"], "{name}");
        client.patch(&path, json!({"metadata": {"note": 1}})).send().await.data(200);
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_delivery_and_keeps_the_one_there_is() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let made = client.post(BASE, body("A", json!({"deliver": "file"}))).send().await.data(201);
    let path = format!("{BASE}/{}", made["id"].as_str().unwrap());
    let change = json!({"metadata": {"deliver": "fd"}});
    let would = client.patch(&format!("{path}?dry_run=true"), change).send().await.json();
    assert_eq!(would["before"]["metadata"], json!({"deliver": "file"}));
    assert_eq!(would["data"]["metadata"], json!({"deliver": "fd"}));
    assert_eq!(client.get(&path).send().await.data(200), made);
}

#[tokio::test]
async fn a_delivery_is_published_and_other_metadata_are_not() {
    let Some(control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let id = id_of(&tenant.post(BASE, body("KEY", json!({"deliver": "file", "note": 1}))).send().await);
    let path = format!("{BASE}/{id}");
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.variables.is_empty()).await;
    assert_eq!(delivered(&host), Deliver::File);

    tenant.patch(&path, json!({"metadata": {"deliver": "file", "note": 2}})).send().await.data(200);
    tenant.patch(&path, json!({"value": "v"})).send().await.data(200);
    assert!(stream.is_silent(Duration::from_millis(1500)).await);

    for (metadata, expected) in [
        (json!({"deliver": "fd", "note": 2}), Deliver::Fd),
        (json!({"note": 2}), Deliver::Env),
        (json!({"deliver": "file"}), Deliver::File),
        (json!({"deliver": "env"}), Deliver::Env),
        (json!({"deliver": "fd"}), Deliver::Fd),
        (Value::Null, Deliver::Env),
    ] {
        tenant.patch(&path, json!({"metadata": metadata})).send().await.data(200);
        host.follow_state(&mut stream).await;
        assert_eq!(delivered(&host), expected, "{metadata}");
    }
    let audit = platform.get("/platform/v1/audit?action=variable.update").send().await.data(200);
    assert_eq!(audit[2]["detail"]["fields"], json!(["metadata"]), "{audit}");
}

#[tokio::test]
async fn an_upsert_that_says_nothing_of_metadata_keeps_the_delivery() {
    let Some(control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    tenant.post(BASE, body("KEY", json!({"deliver": "fd"}))).send().await.data(201);
    tenant.post(BASE, json!({"scope": "tenant", "name": "KEY", "value": "new"})).send().await.data(200);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| {
        records.variables.values().any(|variable| variable.value.expose() == "new")
    })
    .await;
    let variable = host.state.records().variables.values().next().unwrap();
    assert_eq!((variable.deliver, variable.enabled), (Deliver::Fd, true));
}

#[tokio::test]
async fn a_host_that_knows_no_deliveries_is_sent_none_and_goes_on_for_all_tenants() {
    let Some(control) = open().await else { return };
    let (platform, tenant, other) = (platform(&control), control.tenant("acme"), control.tenant("other"));
    let mut old = Host::enroll(&control, "old").await;
    old.knows = None;
    let mut new = Host::enroll(&control, "new").await;
    new.knows = Some("deliver, something-later".to_owned());
    for (id, tenant, host) in [("a", "acme", &old), ("b", "other", &old), ("c", "acme", &new)] {
        platform.post("/platform/v1/resources", sandbox(id, tenant, host)).send().await.data(201);
    }
    tenant.post(BASE, body("KEY", json!({"deliver": "file"}))).send().await.data(201);
    let mut streams = [old.connect().await, new.connect().await];
    old.follow_until(&mut streams[0], |records| !records.variables.is_empty()).await;
    new.follow_until(&mut streams[1], |records| !records.variables.is_empty()).await;
    assert_eq!((delivered(&old), delivered(&new)), (Deliver::Env, Deliver::File));
    other.post(BASE, body("THEIRS", json!({}))).send().await.data(201);
    old.follow_until(&mut streams[0], |records| records.variables.len() == 2).await;

    for (host, resource, understands, delivery) in
        [(&old, "a", json!([]), Value::Null), (&new, "c", json!(["deliver"]), json!("file"))]
    {
        let shown = platform.get(&format!("/platform/v1/hosts/{}", host.id)).send().await.data(200);
        assert_eq!((&shown["understands"], &shown["error"]), (&understands, &Value::Null));
        let path = format!("/platform/v1/resources/{resource}/explain");
        let explained = platform.get(&path).send().await.data(200);
        let key = explained["variables"].as_array().unwrap().iter().find(|v| v["name"] == "KEY").unwrap();
        assert_eq!(key["delivery"], delivery, "{explained}");
    }
}

#[tokio::test]
async fn a_host_that_is_upgraded_or_put_back_has_what_it_knows_in_a_version_of_its_own() {
    let Some(mut control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    host.knows = None;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    tenant.post(BASE, body("KEY", json!({"deliver": "fd"}))).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.variables.is_empty()).await;
    let knows = Understands::ALL.to_string();
    for (said, expected) in
        [(Some(&knows), Deliver::Fd), (None, Deliver::Env), (Some(&knows), Deliver::Fd), (None, Deliver::Env)]
    {
        let before = host.version();
        host.knows = said.cloned();
        let mut stream = host.connect().await;
        // The first that comes is what it can read: it is issued before anything is sent.
        host.follow_state(&mut stream).await;
        assert_eq!((delivered(&host), host.version()), (expected, before + 1), "{said:?}");
        // As it was before, and after a restart of the control plane too.
        control.stop().await;
        control.serve().await;
        let mut stream = host.connect().await;
        assert!(matches!(host.follow(&mut stream).await.kind, Kind::Heartbeat { .. }));
        assert_eq!((delivered(&host), host.version()), (expected, before + 1), "{said:?}");
    }
}

/// How the host has KEY.
fn delivered(host: &Host) -> Deliver {
    let variables = host.state.records().variables.values();
    variables.filter(|variable| variable.name.as_str() == "KEY").map(|variable| variable.deliver).next().unwrap()
}
