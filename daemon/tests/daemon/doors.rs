//! What comes in: only what was signed for this host, once, and in order.

use crate::host::{Host, write};
use crate::http::{self, Client};
use crate::publisher::{Publisher, resources};

#[test]
fn an_update_for_another_host_and_a_replayed_one_are_refused_and_disturb_nothing() {
    let host = Host::serving();
    let first = host.publish(1, resources(&[("sbx-1", "t1", "first")]));
    host.publish(2, resources(&[("sbx-1", "t1", "second")]));
    let mut elsewhere = Host::enrolled();
    std::mem::swap(&mut elsewhere.publisher.signer, &mut Publisher::new("host_1", 0).signer);
    let foreign = elsewhere.publisher.full(3, resources(&[("sbx-1", "t1", "foreign")]));
    for (bytes, code) in [(&first, "stale_version"), (&foreign, "unknown_signer")] {
        let answer = host.offer(bytes);
        assert_eq!((answer.status, answer.code().as_str()), (422, code));
        assert_eq!(host.greeting("sbx-1"), "second");
    }
    let status = host.status();
    assert_eq!(status["refused"]["stale_version"], 1);
    assert_eq!(status["last_refusal"]["code"], "unknown_signer");
    assert_eq!(status["ready"], true);
}

#[test]
fn push_hands_over_a_file_and_says_what_became_of_it() {
    let host = Host::serving();
    let push = |bytes: &[u8]| {
        write(&host.path("envelope"), bytes);
        host.run(&["push", host.path("envelope").to_str().unwrap()])
    };
    let pushed = push(&host.publisher.full(1, resources(&[("sbx-1", "t1", "pushed")])));
    assert_eq!(String::from_utf8(pushed.stdout).unwrap(), "accepted: epoch 1, version 1 (replace)\n");
    assert_eq!(host.greeting("sbx-1"), "pushed");
    let pushed = push(&host.publisher.trust(1));
    assert_eq!(String::from_utf8(pushed.stdout).unwrap(), "accepted: trust document version 1\n");

    let refused = push(&host.publisher.full(0, resources(&[])));
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.starts_with("miosad: J2 stale_version: cannot apply the update: "), "{error}");
    let refused = push(b"{\"payloadType\":\"text/plain\"}");
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("neither an update nor a trust document"), "{error}");
}

#[test]
fn what_needs_a_full_update_is_told_by_409() {
    let host = Host::serving();
    let full = host.publisher.full(1, resources(&[("sbx-1", "t1", "x")]));
    let answer = host.offer(&host.publisher.heartbeat(1, &full));
    assert_eq!((answer.status, answer.code().as_str()), (409, "need_full"));
    assert_eq!(http::get(&host.intake(), "/v1/position").json()["need_full"], true);
    host.publish(1, resources(&[("sbx-1", "t1", "x")]));
    let position = http::get(&host.intake(), "/v1/position").json();
    assert_eq!(position["host_id"], "host_1");
    assert_eq!((&position["epoch"], &position["version"]), (&1.into(), &1.into()));
    assert_eq!((&position["trust_version"], &position["need_full"]), (&1.into(), &false.into()));
    assert_eq!(position["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn the_intake_reads_no_more_than_an_envelope() {
    let host = Host::serving();
    let mut client = Client::connect(&host.intake()).unwrap();
    client.send(b"PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").unwrap();
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    assert!(client.is_closed());
    let mut client = Client::connect(&host.intake()).unwrap();
    client.send(b"PUT /v1/trust HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"));
    assert!(client.is_closed());
    for (method, path, status) in
        [("GET", "/v1/updates", 405), ("PUT", "/v1/position", 405), ("GET", "/v1", 404)]
    {
        let mut client = Client::connect(&host.intake()).unwrap();
        assert_eq!(client.request(method, path, &[], b"").unwrap().status, status, "{method} {path}");
    }
}

#[test]
fn operators_see_what_is_served() {
    let mut host = Host::with(&[("sbx-1", "t1", "one"), ("sbx-2", "t2", "two")]);
    let list = http::get(&host.admin(), "/v1/resources").json();
    assert_eq!(list["resources"][1]["id"], "sbx-2");
    assert_eq!(list["resources"][1]["tenant_id"], "t2");
    assert_eq!(list["resources"][1]["served"], true);
    assert_eq!(list["resources"][1]["socket"], host.socket("sbx-2").to_str().unwrap());
    assert_eq!(http::get(&host.admin(), "/v1/resources/sbx-9").status, 404);
    let metrics = String::from_utf8(http::get(&host.admin(), "/metrics").body).unwrap();
    assert!(metrics.contains("\nmiosad_snapshot_version 1\n"), "{metrics}");
    assert!(metrics.contains("\nmiosad_accepted_total{verdict=\"replace\"} 1\n"), "{metrics}");

    let shown = String::from_utf8(host.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("ready         yes\nsnapshot      epoch 1, version 1\n"), "{shown}");
    let shown = String::from_utf8(host.run(&["resources"]).stdout).unwrap();
    assert!(shown.contains("sbx-1     sandbox  t1      -     /"), "{shown}");
    let json: serde_json::Value = serde_json::from_slice(&host.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["version"], 1);

    host.stop();
    let failed = host.run(&["status"]);
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8(failed.stderr).unwrap();
    assert!(error.starts_with("miosad: `miosad serve` is not running on "), "{error}");
}

#[test]
fn waiting_for_a_resource_ends_when_it_is_served() {
    let host = Host::serving();
    let admin = host.admin();
    let waiting = std::thread::spawn(move || http::get(&admin, "/v1/resources/sbx-1?wait=20"));
    host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    assert_eq!(waiting.join().unwrap().json()["served"], true);
    assert_eq!(http::get(&host.admin(), "/v1/resources/sbx-9?wait=0").status, 404);
    assert_eq!(http::get(&host.admin(), "/v1/resources/sbx-9?wait=301").status, 400);
}

#[test]
fn no_value_reaches_a_log_at_the_most_verbose_level() {
    let canary = "canary-7f3a9c51e0";
    let host = Host::with(&[("sbx-1", "t1", canary)]);
    assert_eq!(host.greeting("sbx-1"), canary);
    let malformed = format!("{{\"put\":{{\"env\":[{{\"{canary}\":\"{canary}\"}}]}}}}");
    let answer = host.offer(&host.publisher.seal(2, miosa_snapshot::Kind::Full, malformed.as_bytes()));
    assert_eq!(answer.code(), "malformed_payload");
    let outputs = [
        host.log("serve"),
        String::from_utf8(answer.body).unwrap(),
        host.status().to_string(),
        String::from_utf8(host.run(&["status"]).stdout).unwrap(),
        String::from_utf8(http::get(&host.admin(), "/metrics").body).unwrap(),
    ];
    for output in outputs {
        assert!(!output.contains("canary"), "{output}");
    }
}
