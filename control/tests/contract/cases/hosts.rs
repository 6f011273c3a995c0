//! Hosts: enrollment, their token, their stream, and how they are shown.

use std::collections::BTreeSet;

use miosa_snapshot::{Held, HostPrivateKey, Kind};
use serde_json::{Value, json};

use super::open;
use crate::host::{Host, any_digest, enroll_with, platform, sandbox};

#[tokio::test]
async fn of_fifty_that_come_with_one_join_token_one_enrolls() {
    let Some(control) = open().await else { return };
    let join = control.run(&["host", "create", "--name", "h1"]);
    let token = join.split_once('.').unwrap().0.to_owned();
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let (stranger, token) = (control.stranger(), token.clone());
            tokio::spawn(
                async move { enroll_with(&stranger, &token, &HostPrivateKey::generate().unwrap()).await },
            )
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        match answer.status.as_u16() {
            201 => winners += 1,
            _ => assert_eq!(answer.error(401), "UNAUTHORIZED"),
        }
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn a_bad_key_is_refused_and_does_not_use_the_token_up() {
    let Some(control) = open().await else { return };
    let join = control.run(&["host", "create", "--name", "h1"]);
    let token = join.split_once('.').unwrap().0;
    let stranger = control.stranger();
    let low_order = data_encoding::BASE64.encode(&[0; 32]);
    for bad in [json!("!"), json!("AAAA"), json!(low_order), json!(7), Value::Null] {
        let body = json!({"token": token, "public_key": bad});
        assert_eq!(stranger.post("/host/v1/enroll", body).send().await.bad_fields(), ["public_key"], "{bad}");
    }
    let body = json!({"token": 7, "agent": "a\nb", "more": 1});
    let refused = stranger.post("/host/v1/enroll", body).send().await;
    assert_eq!(refused.bad_fields(), ["agent", "more", "public_key", "token"]);
    let key = HostPrivateKey::generate().unwrap();
    for wrong in [join.as_str(), "mjt_short", &format!("mjt_{}", "A".repeat(43))] {
        assert_eq!(enroll_with(&stranger, wrong, &key).await.error(401), "UNAUTHORIZED", "{wrong}");
    }
    enroll_with(&stranger, token, &key).await.data(201);
    assert_eq!(enroll_with(&stranger, token, &key).await.error(401), "UNAUTHORIZED");
}

#[tokio::test]
async fn a_revoked_host_is_sent_nothing_any_more() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    control.run(&["host", "revoke", "h1"]);
    stream.ended().await;
    assert_eq!(host.client.get("/host/v1/updates").send().await.error(401), "UNAUTHORIZED");
    let report = host.client.post("/host/v1/status", json!({})).send().await;
    assert_eq!(report.error(401), "UNAUTHORIZED");
    let refused =
        platform(&control).post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await;
    assert_eq!(refused.bad_fields(), ["host_id"]);
}

#[tokio::test]
async fn a_host_that_lost_its_key_joins_again_as_what_it_was() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let platform = platform(&control);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    let has_it = |host: &Host| host.state.records().resources.contains_key(&"sbx-1".parse().unwrap());
    while !has_it(&host) {
        host.follow_state(&mut stream).await;
    }

    let unused = control.run(&["host", "rejoin", "h1"]);
    let join = control.run(&["host", "rejoin", &host.id]);
    let key = HostPrivateKey::generate().unwrap();
    let unused = enroll_with(&control.stranger(), unused.split_once('.').unwrap().0, &key).await;
    assert_eq!(unused.error(401), "UNAUTHORIZED", "the newer token is the one that counts");
    // Nothing has happened to the host so far.
    host.report(None).await;

    let mut again = Host::join(&control, &join).await;
    assert_eq!(again.id, host.id);
    assert_eq!(host.client.get("/host/v1/updates").send().await.error(401), "UNAUTHORIZED");
    let mut stream = again.connect().await;
    assert_eq!(again.follow_state(&mut stream).await.kind, Kind::Full);
    assert!(has_it(&again));
    let shown = platform.get(&format!("/platform/v1/hosts/{}", again.id)).send().await.data(200);
    assert_eq!(shown["regressed"], Value::Null, "{shown}");

    control.run(&["host", "revoke", "h1"]);
    assert!(!control.output(&["host", "rejoin", "h1"]).status.success());
}

#[tokio::test]
async fn a_second_stream_takes_the_place_of_the_first() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut first = host.connect().await;
    host.follow_state(&mut first).await;
    let mut second = host.connect().await;
    first.ended().await;
    assert!(matches!(host.follow(&mut second).await.kind, Kind::Heartbeat { .. }));
}

#[tokio::test]
async fn a_position_is_given_whole_or_not_at_all() {
    let Some(control) = open().await else { return };
    let host = Host::enroll(&control, "h1").await;
    let updates = |query: &str| format!("/host/v1/updates?{query}");
    let refused = host.client.get(&updates("epoch=1")).send().await;
    assert_eq!(refused.bad_fields(), ["digest", "version"]);
    let huge = updates(&format!("epoch=-1&version=9007199254740992&digest={}", any_digest()));
    assert_eq!(host.client.get(&huge).send().await.bad_fields(), ["epoch", "version"]);
    let odd = updates("epoch=1&version=1&digest=xyz&host_id=host_2");
    assert_eq!(host.client.get(&odd).send().await.bad_fields(), ["digest", "host_id"]);
}

#[tokio::test]
async fn hosts_are_shown_with_what_they_have_and_what_is_wrong() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    control.run(&["host", "create", "--name", "waiting"]);
    let mut host = Host::enroll(&control, "h1").await;
    let hosts = platform.get("/platform/v1/hosts").send().await.data(200);
    assert_eq!((&hosts[0]["name"], &hosts[0]["status"]), (&json!("waiting"), &json!("pending")));
    assert_eq!((&hosts[1]["status"], &hosts[1]["connected"]), (&json!("enrolled"), &json!(false)));

    let path = format!("/platform/v1/hosts/{}", host.id);
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let shown = platform.get(&path).send().await.data(200);
    for (field, value) in [
        ("connected", json!(true)),
        ("agent", json!("miosad 0.1.0")),
        ("epoch", json!(1)),
        ("version_published", json!(1)),
        ("version_applied", json!(1)),
        ("lag", json!(0)),
        ("error", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field} of {shown}");
    }
    assert!(shown["last_seen_at"].is_string());

    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    stream.update().await;
    host.report(Some("bad_signature")).await;
    let shown = platform.get(&path).send().await.data(200);
    assert_eq!((&shown["version_published"], &shown["lag"]), (&json!(2), &json!(1)));
    assert_eq!((&shown["error"]["from"], &shown["error"]["code"]), (&json!("host"), &json!("bad_signature")));
    assert_eq!(platform.get("/platform/v1/hosts/host_none").send().await.error(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_host_without_a_state_is_sent_the_trust_documents_first() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect_for_everything().await;
    let trust = control.run(&["trust", "show"]);
    assert_eq!(stream.envelope().await, ("trust".to_owned(), trust.into_bytes()));
    host.follow_state(&mut stream).await;
    let mut stream = host.connect().await;
    assert_eq!(stream.envelope().await.0, "update");
}

#[tokio::test]
async fn a_host_that_is_ahead_of_control_is_shown_as_an_error() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let held = host.held.unwrap();
    host.held = Some(Held { version: held.version + 1, ..held });
    host.report(None).await;
    let path = format!("/platform/v1/hosts/{}", host.id);
    let shown = platform(&control).get(&path).send().await.data(200);
    assert_eq!(shown["error"]["code"], json!("ahead_of_control"), "{shown}");
}

#[tokio::test]
async fn each_key_opens_its_own_api_only() {
    let Some(control) = open().await else { return };
    let (tenant, platform) = (control.tenant("acme"), platform(&control));
    let host = Host::enroll(&control, "h1").await;
    let reader = control.client(&control.run(&["key", "create", "--tenant", "acme", "--role", "read"]));
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let routes = [
        ("GET", "/api/v1/runtime-env"),
        ("GET", "/api/v1/agent-runtime-profiles"),
        ("GET", "/platform/v1/resources"),
        ("POST", "/platform/v1/resources"),
        ("GET", "/platform/v1/resources/sbx-1"),
        ("PATCH", "/platform/v1/resources/sbx-1"),
        ("DELETE", "/platform/v1/resources/sbx-1"),
        ("GET", "/platform/v1/resources/sbx-1/explain"),
        ("GET", "/platform/v1/resources/sbx-1/runs"),
        ("POST", "/platform/v1/resources/sbx-1/runs"),
        ("GET", "/platform/v1/resources/sbx-1/runs/run_1"),
        ("DELETE", "/platform/v1/resources/sbx-1/runs/run_1"),
        ("GET", "/platform/v1/hosts"),
        ("GET", "/platform/v1/hosts/host_1"),
        ("GET", "/platform/v1/audit"),
        ("POST", "/host/v1/status"),
    ];
    for (method, path) in routes {
        let status = async |client: &crate::client::Client| {
            let call = client.call(method, path);
            let call = if method == "GET" { call } else { call.json(&json!({})) };
            call.send().await.status.as_u16()
        };
        let statuses = [
            status(&control.stranger()).await,
            status(&tenant).await,
            status(&reader).await,
            status(&platform).await,
            status(&host.client).await,
        ];
        let own = |api: &str| path.starts_with(api);
        let expected: [BTreeSet<u16>; 5] = match () {
            () if own("/api") => [[401].into(), [200].into(), [200].into(), [403].into(), [401].into()],
            () if own("/platform") => {
                let fine = [200, 201, 404, 422].into();
                [[401].into(), [403].into(), [403].into(), fine, [401].into()]
            }
            () => [[401].into(), [401].into(), [401].into(), [401].into(), [200].into()],
        };
        for (status, expected) in statuses.into_iter().zip(expected) {
            assert!(expected.contains(&status), "{method} {path}: {statuses:?}");
        }
    }
    // With its own token the answer would not end.
    for client in [control.stranger(), tenant, platform] {
        assert_eq!(client.get("/host/v1/updates").send().await.error(401), "UNAUTHORIZED");
    }
}
