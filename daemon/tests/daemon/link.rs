//! The way from a control plane to the resource's socket, and what the control plane learns.

use std::fs;

use data_encoding::BASE64;
use miosa_injector::Change;
use miosa_snapshot::{Digest, HostPublicKey};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::control::Control;
use crate::host::{Host, eventually, now_ms};
use crate::http;
use crate::publisher::{Publisher, resources};

const HOST_TOKEN: &str = "mht_host-token-that-nobody-may-see-0000000000000";

fn update(envelope: &[u8]) -> String {
    format!("{{\"update\":{}}}", String::from_utf8(envelope.to_vec()).unwrap())
}

fn raw(envelope: &[u8]) -> Value {
    serde_json::from_slice(envelope).unwrap()
}

fn join_token(trust: &[u8]) -> String {
    format!("mjt_{}.{}", "J".repeat(43), Digest::of(trust))
}

/// A host that enrolled with a control plane, serving and linked.
fn enrolled(control: &Control) -> Host {
    let mut host = Host::blank();
    host.publisher = Publisher::new("host_1", now_ms());
    let trust = host.publisher.trust(1);
    let data =
        json!({"host_id": "host_1", "name": "build-7", "host_token": HOST_TOKEN, "trust": [raw(&trust)]});
    control.enrolls_with(201, &json!({ "data": data }));
    let joined = host.run(&["enroll", "--control", &control.url, "--token", &join_token(&trust)]);
    assert!(joined.status.success(), "{joined:?}");
    assert_eq!(
        String::from_utf8(joined.stdout).unwrap(),
        format!("enrolled as host_1 (build-7) with {}\n", control.url)
    );
    let asked = &control.requests("/host/v1/enroll")[0].body;
    assert_eq!(asked["token"], format!("mjt_{}", "J".repeat(43)), "the digest stays here");
    let public = BASE64.decode(asked["public_key"].as_str().unwrap().as_bytes()).unwrap();
    host.publisher = host.publisher.seal_to(&HostPublicKey::from_bytes(&public).unwrap());
    host.start();
    host
}

#[test]
fn updates_travel_from_the_stream_to_the_socket_and_the_verdict_back() {
    let control = Control::start();
    let host = enrolled(&control);
    let first = host.publisher.full(1, resources(&[("sbx-1", "t1", "linked")]));
    control.will_stream(vec![String::new(), update(&first)]);
    let link = host.spawn("link");
    eventually("the update is served", || host.status()["version"] == 1);
    assert_eq!(host.greeting("sbx-1"), "linked");
    eventually("the verdict is known", || {
        control.requests("/host/v1/status").last().is_some_and(|report| report.body["version"] == 1)
    });

    let refused = host.publisher.full(0, resources(&[]));
    control.stream(&update(&refused));
    eventually("the refusal is known", || {
        control
            .requests("/host/v1/status")
            .last()
            .is_some_and(|report| report.body["error"]["code"] == "stale_version")
    });
    let second = host.publisher.full(2, resources(&[("sbx-1", "t1", "changed")]));
    control.stream(&update(&second));
    eventually("the next one is served", || host.status()["version"] == 2);

    let reports = control.requests("/host/v1/");
    let authorized = format!("Bearer {HOST_TOKEN}");
    assert!(reports.iter().skip(1).all(|request| request.authorization == authorized), "{reports:?}");
    assert!(link.end(Signal::SIGTERM).success());
    assert!(!host.log("link").contains("nobody-may-see"), "the token is never logged");
}

#[test]
fn a_link_begins_where_the_host_stands_and_from_nothing_when_that_does_not_fit() {
    let control = Control::start();
    let host = enrolled(&control);
    let first = host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    let second = host.publisher.full(2, resources(&[("sbx-1", "t1", "two")]));
    control.will_stream(vec![update(&host.publisher.heartbeat(2, &second))]);
    control.will_stream(vec![update(&second)]);
    let _link = host.spawn("link");
    eventually("it has caught up", || host.status()["version"] == 2);
    let opened: Vec<_> =
        control.requests("/host/v1/updates").into_iter().map(|request| request.target).collect();
    let digest = Digest::of(&first);
    let expected = [
        format!("/host/v1/updates?epoch=1&version=1&digest={digest}&trust_version=1"),
        "/host/v1/updates".to_owned(),
    ];
    assert_eq!(opened, expected);
    control.will_stream(vec![]);
    control.hang_up();
    eventually("it is back", || control.requests("/host/v1/updates").len() == 3);
}

#[test]
fn a_control_plane_is_told_when_increments_outweigh_the_last_full_update() {
    let control = Control::start();
    let host = enrolled(&control);
    let one = host.publisher.full(1, resources(&[("sbx-1", "t1", "small")]));
    let large = Change { put: resources(&[("sbx-1", "t1", &"x".repeat(10_000))]), ..Change::default() };
    let two = host.publisher.incremental(2, 1, &one, &large);
    control.will_stream(vec![update(&one), update(&two)]);
    let _link = host.spawn("link");
    let reports = |version: u64| {
        let reports = control.requests("/host/v1/status").into_iter();
        reports.filter(|report| report.body["version"] == version).collect::<Vec<_>>()
    };
    eventually("it asks for a full update", || {
        reports(2).last().is_some_and(|report| report.body["need_full"] == true)
    });
    assert!(reports(1).iter().all(|report| report.body.get("need_full").is_none()));
    assert_eq!(host.greeting("sbx-1"), "x".repeat(10_000), "it serves and extends meanwhile");
    control.stream(&update(&host.publisher.full(3, resources(&[("sbx-1", "t1", "whole")]))));
    eventually("the full one is reported", || {
        reports(3).last().is_some_and(|report| report.body.get("need_full").is_none())
    });
    assert_eq!(control.requests("/host/v1/updates").len(), 1, "all on one stream");
}

#[test]
fn what_serve_could_not_keep_is_handed_over_again() {
    let control = Control::start();
    let host = enrolled(&control);
    // No directory, no place to write.
    let (cache, away) = (host.state("cache"), host.path("away"));
    fs::rename(&cache, &away).unwrap();
    control.will_stream(vec![update(&host.publisher.full(1, resources(&[("sbx-1", "t1", "late")])))]);
    let _link = host.spawn("link");
    eventually("it was not kept", || host.log("link").contains("not_kept"));
    fs::rename(&away, &cache).unwrap();
    eventually("it is kept after all", || host.status()["version"] == 1);
    assert_eq!(control.requests("/host/v1/updates").len(), 1, "in the same session");
}

#[test]
fn a_link_leaves_a_control_plane_that_only_sends_what_is_refused() {
    let control = Control::start();
    let host = enrolled(&control);
    host.publish(9, resources(&[]));
    let refused = update(&host.publisher.full(1, resources(&[])));
    control.will_stream(vec![refused; 40]);
    let _link = host.spawn("link");
    eventually("it came anew", || control.requests("/host/v1/updates").len() == 2);
    assert_eq!(host.status()["refused"]["stale_version"], 16);
    assert!(host.log("link").contains("could use none of the last 16 things sent"), "{}", host.log("link"));
}

#[test]
fn a_host_that_lost_its_trust_asks_for_everything() {
    let control = Control::start();
    let mut host = enrolled(&control);
    host.publish(1, resources(&[("sbx-1", "t1", "kept")]));
    host.stop();
    fs::remove_file(host.state("trust/1.json")).unwrap();
    host.start();
    let trust = String::from_utf8(host.publisher.trust(1)).unwrap();
    let second = host.publisher.full(2, resources(&[("sbx-1", "t1", "again")]));
    control.will_stream(vec![format!("{{\"trust\":{trust}}}"), update(&second)]);
    let _link = host.spawn("link");
    eventually("it serves again", || host.status()["version"] == 2);
    assert_eq!(control.requests("/host/v1/updates")[0].target, "/host/v1/updates");
}

#[test]
fn a_host_that_lost_its_newest_trust_follows_through_all_that_it_still_has() {
    let control = Control::start();
    let mut host = enrolled(&control);
    let chain: Vec<_> = (1..=20).map(|version| host.publisher.trust(version)).collect();
    for document in &chain {
        let mut client = http::Client::connect(&host.intake()).unwrap();
        assert_eq!(client.request("PUT", "/v1/trust", &[], document).unwrap().status, 200);
    }
    host.publish(1, resources(&[("sbx-1", "t1", "kept")]));
    host.stop();
    fs::remove_file(host.state("trust/20.json")).unwrap();
    host.start();
    let lines = chain.iter().map(|document| format!("{{\"trust\":{}}}", String::from_utf8_lossy(document)));
    control.will_stream(lines.collect());
    let _link = host.spawn("link");
    eventually("it has all of them", || host.status()["trust_version"] == 20);
    assert_eq!(host.status()["version"], 1);
    assert_eq!(control.requests("/host/v1/updates").len(), 1);
}

#[test]
fn a_link_waits_for_serve_without_asking_the_control_plane() {
    let control = Control::start();
    let mut host = enrolled(&control);
    host.stop();
    control.will_stream(vec![update(&host.publisher.full(1, resources(&[("sbx-1", "t1", "x")])))]);
    let link = host.spawn("link");
    eventually("it waits", || host.log("link").contains("no_serve"));
    assert!(control.requests("/host/v1/updates").is_empty());
    host.start();
    eventually("it is served", || host.status()["version"] == 1);
    assert!(link.end(Signal::SIGTERM).success());
}

#[test]
fn serving_goes_on_without_control_plane_and_link() {
    let control = Control::start();
    let mut host = enrolled(&control);
    control.will_stream(vec![update(&host.publisher.full(1, resources(&[("sbx-1", "t1", "kept")])))]);
    let link = host.spawn("link");
    eventually("the update is served", || host.status()["version"] == 1);
    drop(link);
    drop(control);
    host.restart();
    assert_eq!(host.greeting("sbx-1"), "kept");
    assert_eq!(http::get(&host.admin(), "/readyz").status, 200);
}

#[test]
fn a_trust_document_that_the_token_does_not_vouch_for_enrolls_nobody() {
    let control = Control::start();
    let host = Host::blank();
    let (ours, theirs) = (host.publisher.trust(1), Publisher::new("host_1", now_ms()).trust(1));
    for trust in [json!([raw(&theirs)]), json!([])] {
        let data = json!({"host_id": "host_1", "name": "n", "host_token": HOST_TOKEN, "trust": trust});
        control.enrolls_with(201, &json!({ "data": data }));
        let refused = host.run(&["enroll", "--control", &control.url, "--token", &join_token(&ours)]);
        assert_eq!(refused.status.code(), Some(1));
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("the trust document is not the pinned one"), "{error}");
        assert!(!host.state("host.json").exists() && !host.state("link.json").exists());
    }
}

#[test]
fn a_refused_token_is_told_without_showing_it() {
    let control = Control::start();
    let host = Host::blank();
    let token = join_token(b"trust");
    control.enrolls_with(401, &json!({"error": {"code": "UNAUTHORIZED", "message": "unknown token"}}));
    let refused = host.run(&["enroll", "--control", &control.url, "--token", &token]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("refused the join token (unknown token)"), "{error}");
    assert!(!error.contains("JJJJ"), "{error}");
    let plain = host.run(&["enroll", "--control", "http://control.example", "--token", &token]);
    assert!(String::from_utf8(plain.stderr).unwrap().contains("use https://"));
    let blank = Host::blank();
    for (url, token) in [("http://control.example", token.as_str()), (&control.url, "mjt_short")] {
        assert_eq!(blank.run(&["enroll", "--control", url, "--token", token]).status.code(), Some(1));
        assert!(!blank.path("state").exists(), "nothing was written");
    }
}
