//! The control plane may go, and the daemon may restart: what was accepted is served.

use miosa_tests::World;
use miosa_tests::program::eventually;
use serde_json::json;

#[test]
fn a_host_answers_without_the_control_plane_and_after_its_own_restart() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    tenant.set("TOKEN", "kept", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let before = host.ask("sbx-1", "/v1/resolve");

    world.stop_control();
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("kept"));
    host.stop_link();
    host.stop_serve();
    host.start_serve();
    let after = host.ask("sbx-1", "/v1/resolve");
    assert_eq!(after.json()["env"], before.json()["env"]);
    assert_eq!(
        after.header("etag"),
        before.header("etag"),
        "the content did not change, so neither may its tag"
    );
    assert_eq!(host.admin().request("GET", "/readyz", &[], b"").unwrap().status, 200);
}

#[test]
fn a_daemon_killed_at_any_moment_serves_what_it_had_accepted() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let id = tenant.set("COUNT", "0", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let mut newest = 0_u32;
    for round in 1..=20_u32 {
        let value = json!({"value": round.to_string()});
        assert_eq!(tenant.call("PATCH", &format!("runtime-env/{id}"), value).status, 200);
        if round % 4 != 0 {
            continue;
        }
        // Whatever it answers now it has made durable: it must never answer less.
        newest = newest.max(host.env("sbx-1", "COUNT").unwrap().parse().unwrap());
        host.serve().kill();
        host.start_serve();
        let after: u32 = eventually("it serves again", || {
            let answer = host.socket("sbx-1").request("GET", "/v1/resolve", &[], b"").ok()?;
            answer.json()["env"]["COUNT"].as_str()?.parse().ok()
        });
        assert!(after >= newest, "served {newest} before and {after} after");
    }
    host.await_env("sbx-1", "COUNT", Some("20"));
}

#[test]
fn a_control_plane_that_comes_back_goes_on_where_it_was() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let id = tenant.set("TOKEN", "before", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let version = host.resolve("sbx-1")["snapshot_version"].as_u64().unwrap();
    world.stop_control();
    world.start_control(&[]);
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{id}"), json!({"value": "after"})).status, 200);
    host.await_env("sbx-1", "TOKEN", Some("after"));
    assert_eq!(host.resolve("sbx-1")["snapshot_version"].as_u64(), Some(version + 1));
}

#[test]
fn a_host_without_a_link_still_takes_updates_by_hand() {
    // Whoever can reach the intake can deliver, because nobody can forge: here a copy of an update
    // that was already accepted, and one with a single bit changed.
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    let update = newest_update(&host);
    let again = host.run(&["push", update.to_str().unwrap()]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let mut bytes = std::fs::read(&update).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = world.path("forged.json");
    std::fs::write(&forged, bytes).unwrap();
    let refused = host.run(&["push", forged.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert_eq!(String::from_utf8_lossy(&refused.stderr).lines().count(), 1);
    assert_eq!(host.env("sbx-1", "A").as_deref(), Some("1"));
}

/// The cached file of the newest full update.
pub fn newest_update(host: &miosa_tests::Host<'_>) -> std::path::PathBuf {
    let cache = host.state_dir().join("cache");
    let files = miosa_tests::world::files_below(&cache);
    let of_state =
        |path: &std::path::PathBuf| !path.file_name().unwrap().to_str().unwrap().contains("heartbeat");
    files.into_iter().rfind(of_state).unwrap_or_else(|| panic!("no update in {}", cache.display()))
}
