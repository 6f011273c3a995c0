//! Damage on the host's disk and bad input at its doors: refused, reported, and nothing is lost.

use miosa_tests::World;
use miosa_tests::program::eventually;
use miosa_tests::world::files_below;
use serde_json::{Value, json};

use crate::outage::newest_update;

#[test]
fn a_flipped_bit_in_any_cached_file_is_set_aside_and_never_served() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    tenant.set("TOKEN", "the right value", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    world.stop_control();
    host.stop_link();
    host.stop_serve();
    let update = newest_update(&host);
    let sound = std::fs::read(&update).unwrap();
    for place in [0, sound.len() / 3, sound.len() / 2, sound.len() - 2] {
        let mut damaged = sound.clone();
        damaged[place] ^= 1;
        std::fs::write(&update, &damaged).unwrap();
        host.start_serve();
        // With the resource unknown there may be no socket; with one, it must not resolve.
        let answer = host.socket("sbx-1").request("GET", "/v1/resolve", &[], b"");
        assert!(answer.is_err() || answer.unwrap().status == 503, "byte {place}");
        assert_eq!(host.admin().request("GET", "/readyz", &[], b"").unwrap().status, 503, "byte {place}");
        assert_eq!(host.admin().request("GET", "/healthz", &[], b"").unwrap().status, 200, "byte {place}");
        assert!(!update.exists(), "the damaged file is still in its place (byte {place})");
        let reported = host.status().to_string();
        assert!(reported.contains("quarantine") || reported.contains("set_aside"), "{reported}");
        host.stop_serve();
        for aside in files_below(&host.state_dir().join("cache")) {
            std::fs::remove_file(aside).unwrap();
        }
    }
    std::fs::write(&update, &sound).unwrap();
    host.start_serve();
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("the right value"));
}

#[test]
fn a_host_whose_cache_was_damaged_heals_from_the_control_plane() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    host.stop_serve();
    let update = newest_update(&host);
    let mut bytes = std::fs::read(&update).unwrap();
    bytes[100] ^= 4;
    std::fs::write(&update, bytes).unwrap();
    host.start_serve();
    host.await_ready();
    host.await_env("sbx-1", "A", Some("1"));
}

#[test]
fn an_update_for_another_host_is_refused_and_counted() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let (one, other) = (world.host("h1"), world.host("h2"));
    one.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    other.place(&tenant, "sbx-2", json!({"env": {"B": "2"}}));
    let foreign = std::fs::read(newest_update(&other)).unwrap();
    let refused = one.intake().request("PUT", "/v1/updates", &[], &foreign).unwrap();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (422, Some("wrong_host")));
    assert!(one.status().to_string().contains("wrong_host"), "{}", one.status());
    assert_eq!(one.env("sbx-1", "A").as_deref(), Some("1"));
}

#[test]
fn an_older_update_is_refused_and_changes_nothing() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let id = tenant.set("A", "old", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let old = std::fs::read(newest_update(&host)).unwrap();
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{id}"), json!({"value": "new"})).status, 200);
    host.await_env("sbx-1", "A", Some("new"));
    let files = |host: &miosa_tests::Host<'_>| -> Vec<Vec<u8>> {
        // The access log tells of what is asked here meanwhile.
        let files = files_below(&host.state_dir())
            .into_iter()
            .filter(|path| !path.starts_with(host.state_dir().join("access")));
        files.map(|path| std::fs::read(path).unwrap()).collect()
    };
    let before = files(&host);
    let refused = host.intake().request("PUT", "/v1/updates", &[], &old).unwrap();
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (422, Some("stale_version")));
    assert_eq!(host.env("sbx-1", "A").as_deref(), Some("new"));
    assert!(files(&host) == before, "a refused update changed the state folder");
}

#[test]
fn the_doors_answer_nonsense_with_a_clear_error_and_stay_open() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    for nonsense in [&b"{}"[..], b"not json", b"{\"payloadType\":1}", &[0xff; 4096]] {
        let answer = host.intake().request("PUT", "/v1/updates", &[], nonsense).unwrap();
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    for (request, why) in [
        (&b"POST /v1/resolve HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"[..], "a method that changes"),
        (b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "a body"),
        (
            b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "a chunked body",
        ),
        (b"GET /v1/resolve?resource=sbx-2 HTTP/1.1\r\nHost: x\r\n\r\n", "an identity parameter"),
        (b"GET /v1/../admin HTTP/1.1\r\nHost: x\r\n\r\n", "another path"),
        (b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", "a proxy's header"),
        (b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n", "a browser's header"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS"),
    ] {
        let answer = host.socket("sbx-1").exchange(request).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{why}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), usize::from(!text.is_empty()), "{why}: {text}");
    }
    assert_eq!(host.ask("sbx-1", "/v1/resolve").status, 200);
}

#[test]
fn the_control_plane_names_every_bad_field_at_once() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let refused = tenant.call(
        "POST",
        "runtime-env",
        json!({
            "scope": "workspace", "target": "fridge", "name": "lower", "value": "a\u{0}b", "surprise": 1
        }),
    );
    let body = refused.json();
    assert_eq!((refused.status, body["error"]["code"].as_str()), (422, Some("VALIDATION_FAILED")), "{body}");
    let mut fields: Vec<&str> = body["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| detail["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["name", "surprise", "target", "value", "workspace_id"], "{body}");
    assert!(refused.header("x-request-id").is_some());
}

#[test]
fn a_stale_host_says_so_and_serves() {
    let world = World::start_with(&["--fresh-for", "2s"]);
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    assert_eq!(host.resolve("sbx-1")["stale"], Value::Bool(false));
    world.stop_control();
    let resolved =
        eventually("the state is stale", || Some(host.resolve("sbx-1")).filter(|body| body["stale"] == true));
    assert_eq!(resolved["env"]["A"], "1");
    assert!(resolved["age_seconds"].as_u64().unwrap() >= 2);
}

#[test]
fn a_state_past_its_time_is_not_served() {
    let world = World::start_with(&["--fresh-for", "1s", "--serve-for", "3s"]);
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    world.stop_control();
    let refused = eventually("the state is expired", || {
        Some(host.ask("sbx-1", "/v1/resolve")).filter(|answer| answer.status != 200)
    });
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("snapshot_expired")));
    world.start_control(&["--fresh-for", "1s", "--serve-for", "3s"]);
    host.await_env("sbx-1", "A", Some("1"));
}
