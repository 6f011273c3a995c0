//! Trust changes with the real programs: a stolen signer, root keys on other machines, hosts that were
//! away, a database from yesterday, a document that ran out. No host is ever visited.

use std::path::Path;
use std::process::Output;

use data_encoding::BASE64;
use miosa_snapshot::{ContentKey, Draft, HostPrivateKey, Kind, MAX_NUMBER, SigningKey, Times, seal};
use miosa_tests::program::eventually;
use miosa_tests::publisher::now_ms;
use miosa_tests::{Host, World};
use serde_json::{Value, json};

use crate::outage::newest_update;

#[test]
fn a_stolen_signer_is_revoked_by_one_command_and_no_host_is_visited() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let (mut one, two) = (world.host("h1"), world.host("h2"));
    tenant.set("TOKEN", "ours", json!({}));
    one.place(&tenant, "sbx-1", json!({}));
    two.place(&tenant, "sbx-2", json!({}));
    let by_the_old_signer = std::fs::read(newest_update(&one)).unwrap();

    // The thief speaks with a key that hosts trust, and makes the most of it: far ahead in versions
    // and in time.
    let thief = Thief::with_a_trusted_key(&world);
    await_trust(&[&one, &two], 2);
    let stolen = thief.update(&one, 1, 1_000_000);
    assert_eq!(deliver(&one, &stolen), (200, None));
    assert_eq!(one.env("sbx-1", "TOKEN").as_deref(), Some("stolen"));

    rotate(&world, 3, &["--revoke-signer", "all"]);
    for (host, resource) in [(&one, "sbx-1"), (&two, "sbx-2")] {
        // From the command on nothing of the thief's is served, not even for a moment.
        await_trust(&[host], 3);
        let answer = host.ask(resource, "/v1/resolve");
        assert!(answer.status == 503 || answer.json()["env"]["TOKEN"] == "ours", "{answer:?}");
        host.await_env(resource, "TOKEN", Some("ours"));
        assert_eq!(host.status()["epoch"], 2);
    }

    let refused =
        [by_the_old_signer, stolen, thief.update(&one, 1, 2_000_000), thief.update(&one, 2, 2_000_000)];
    let all_refused = |host: &Host<'_>| {
        for update in &refused {
            assert_eq!(deliver(host, update), (422, Some("unknown_signer".to_owned())));
        }
        assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("ours"));
    };
    all_refused(&one);
    one.stop_serve();
    one.start_serve();
    all_refused(&one);
    tenant.set("TOKEN", "newer", json!({}));
    one.await_env("sbx-1", "TOKEN", Some("newer"));
}

#[test]
fn a_host_that_held_the_thiefs_state_while_it_was_off_drops_it_when_it_is_back() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    tenant.set("TOKEN", "ours", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let thief = Thief::with_a_trusted_key(&world);
    await_trust(&[&host], 2);
    assert_eq!(deliver(&host, &thief.update(&host, 1, 1_000_000)), (200, None));
    host.stop_link();
    host.stop_serve();
    rotate(&world, 3, &["--revoke-signer", "all"]);
    host.start_serve();
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("stolen"), "it was told nothing yet");
    host.start_link();
    host.await_env("sbx-1", "TOKEN", Some("ours"));
    assert_eq!(deliver(&host, &thief.update(&host, 1, 3_000_000)).0, 422);
}

#[test]
fn two_of_three_offline_root_keys_rotate_the_signer() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let online = root_keys(&world)[0].clone();
    let offline: Vec<_> = (1..=3)
        .map(|number| {
            let file = world.path(&format!("root-{number}.pem"));
            let public = world.control_says(&["trust", "root-key", "generate", "--out", text(&file)]);
            (file, public)
        })
        .collect();
    let draft = world.path("to-offline.json");
    let made = world.control_says(&[
        "trust",
        "rotate",
        "--remove-root",
        &online,
        "--threshold",
        "2",
        "--out",
        text(&draft),
        "--add-root",
        &offline[0].1,
        "--add-root",
        &offline[1].1,
        "--add-root",
        &offline[2].1,
    ]);
    assert_eq!(made, text(&draft));
    let before = world.path("trust-1.json");
    std::fs::write(&before, world.control_says(&["trust", "show"])).unwrap();
    // The present root key has signed already; of the new ones two must.
    assert!(refusal(&world, &draft).contains("by 0 of its own roots, not by 2"));
    for (file, _) in &offline[..2] {
        let signed = sign(&world, &draft, file, Some(&before));
        assert!(signed.status.success(), "{}", said(&signed));
        assert!(said(&signed).contains(&format!("- root key {online} (")), "{}", said(&signed));
    }
    assert_eq!(world.control_says(&["trust", "publish", text(&draft)]), "2");
    await_trust(&[&host], 2);
    let shown = said(&world.control(&["trust", "show"]));
    assert!(shown.contains("no root key is online here") && shown.contains("2 of 3 must sign"), "{shown}");

    // From here on the machine of the control plane can change nothing by itself.
    let draft = world.control_says(&["trust", "rotate", "--revoke-signer", "all"]);
    let draft = Path::new(&draft);
    assert!(draft.ends_with("trust-3.draft.json"), "{}", draft.display());
    let before = world.path("trust-2.json");
    std::fs::write(&before, world.control_says(&["trust", "show"])).unwrap();
    let signed = sign(&world, draft, &offline[2].0, Some(&before));
    assert!(said(&signed).contains("1 more of the root keys of document 2 must sign"), "{}", said(&signed));
    assert!(refusal(&world, draft).contains("signed by 1 roots of version 2, not by 2"));
    assert!(!sign(&world, draft, &world.path("root-4.pem"), None).status.success());
    tenant.set("TOKEN", "still by the old signer", json!({}));
    host.await_env("sbx-1", "TOKEN", Some("still by the old signer"));

    let signed = sign(&world, draft, &offline[0].0, Some(&before));
    assert!(said(&signed).contains("it is finished"), "{}", said(&signed));
    assert_eq!(world.control_says(&["trust", "publish", text(draft)]), "3");
    await_trust(&[&host], 3);
    host.await_env("sbx-1", "TOKEN", Some("still by the old signer"));
    assert_eq!(host.status()["epoch"], 2);
}

#[test]
fn a_host_that_was_off_during_three_rotations_follows_them_all() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    tenant.set("TOKEN", "before", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    host.stop_link();
    host.stop_serve();
    rotate(&world, 2, &["--new-signer"]);
    rotate(&world, 3, &["--revoke-signer", "all"]);
    world.stop_control();
    rotate(&world, 4, &["--raise-epoch"]);
    world.start_control(&[]);
    tenant.set("TOKEN", "after", json!({}));
    host.start_serve();
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("before"));
    host.start_link();
    host.await_env("sbx-1", "TOKEN", Some("after"));
    let status = host.status();
    assert_eq!((&status["trust_version"], &status["epoch"]), (&json!(4), &json!(3)));
    // And one that is enrolled only now knows no other document than the newest.
    let late = world.host("h2");
    late.place(&tenant, "sbx-2", json!({}));
    assert_eq!(late.env("sbx-2", "TOKEN").as_deref(), Some("after"));
    assert_eq!(late.status()["refused"], json!({}));
}

#[test]
fn hosts_that_are_ahead_of_a_restored_database_take_what_it_publishes() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let host = world.host("h1");
    tenant.set("TOKEN", "backed up", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let backup = world.path("backup.db");
    assert_eq!(world.control_says(&["backup", text(&backup)]), text(&backup));
    for round in 1..=3 {
        tenant.set("TOKEN", &format!("later {round}"), json!({}));
        host.await_env("sbx-1", "TOKEN", Some(&format!("later {round}")));
    }
    let (ahead, key) = (host.status()["version"].clone(), world.path("control/master.key"));

    world.stop_control();
    assert!(
        said(&world.control(&["restore", text(&backup), "--no-later-trust"]))
            .contains("exists; stop the control plane")
    );
    for file in ["control.db", "control.db-wal", "control.db-shm"] {
        let _may_be_gone = std::fs::remove_file(world.path("control").join(file));
    }
    let away = world.path("master.key");
    std::fs::rename(&key, &away).unwrap();
    assert!(said(&world.control(&["restore", text(&backup), "--no-later-trust"])).contains("master key"));
    std::fs::rename(&away, &key).unwrap();
    let damaged = world.path("damaged.db");
    let mut bytes = std::fs::read(&backup).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&damaged, bytes).unwrap();
    assert!(said(&world.control(&["restore", text(&damaged), "--no-later-trust"])).contains("is damaged"));

    assert_eq!(world.control_says(&["restore", text(&backup), "--no-later-trust"]), "2");
    world.start_control(&[]);
    host.await_env("sbx-1", "TOKEN", Some("backed up"));
    let status = host.status();
    assert_eq!((&status["epoch"], &status["trust_version"]), (&json!(2), &json!(2)));
    assert!(status["version"].as_u64() <= ahead.as_u64(), "{status} after version {ahead}");
    tenant.set("TOKEN", "goes on", json!({}));
    host.await_env("sbx-1", "TOKEN", Some("goes on"));
}

#[test]
fn a_restored_database_goes_on_in_no_epoch_that_hosts_have_been_in_since() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let host = world.host("h1");
    tenant.set("TOKEN", "backed up", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let (root, backup) = (world.path("root.pem"), world.path("backup.db"));
    assert!(world.control(&["trust", "root-key", "move", "--out", text(&root)]).status.success());
    assert_eq!(world.control_says(&["backup", text(&backup)]), text(&backup));
    rotate(&world, 2, &["--raise-epoch", "--root-key", text(&root)]);
    await_trust(&[&host], 2);
    for round in 1..=3 {
        tenant.set("TOKEN", &format!("later {round}"), json!({}));
        host.await_env("sbx-1", "TOKEN", Some(&format!("later {round}")));
    }

    world.stop_control();
    for file in ["control.db", "control.db-wal", "control.db-shm"] {
        let _may_be_gone = std::fs::remove_file(world.path("control").join(file));
    }
    let since = host.state_dir().join("trust/2.json");
    assert!(said(&world.control(&["restore", text(&backup)])).contains("--no-later-trust"));
    // What can't be followed leaves nothing in place.
    let none = said(&world.control(&["restore", text(&backup), "--trust", text(&backup)]));
    assert!(none.contains(text(&backup)), "{none}");
    assert!(!world.path("control/control.db").exists());
    assert!(world.control(&["restore", text(&backup), "--trust", text(&since)]).status.success());
    world.start_control(&[]);
    eventually("it is told", || {
        let shown = world.platform("GET", &format!("hosts/{}", host.id), Value::Null).json();
        let error = shown["data"]["error"]["message"].as_str()?.to_owned();
        error.contains("before the trust document is of epoch 3").then_some(())
    });
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("later 3"));
    assert_eq!(host.status()["refused"], json!({}));

    let draft = world.path("control/trust-3.draft.json");
    assert!(sign(&world, &draft, &root, Some(&since)).status.success());
    assert_eq!(world.control_says(&["trust", "publish", text(&draft)]), "3");
    host.await_env("sbx-1", "TOKEN", Some("backed up"));
}

#[test]
fn an_expired_trust_document_is_followed_by_a_new_one() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("TOKEN", "before", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    rotate(&world, 2, &["--expires-in", "2s"]);
    await_trust(&[&host], 2);
    eventually("the document has expired", || {
        said(&world.control(&["trust", "show"])).contains("trust document 2 expired at").then_some(())
    });
    tenant.set("TOKEN", "after", json!({}));
    eventually("it is told", || {
        let shown = world.platform("GET", &format!("hosts/{}", host.id), Value::Null).json();
        let error = shown["data"]["error"]["message"].as_str()?.to_owned();
        error.contains("trust document 2 expired at").then_some(())
    });
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("before"));
    rotate(&world, 3, &[]);
    host.await_env("sbx-1", "TOKEN", Some("after"));
    assert_eq!(host.status()["trust_version"], 3);
}

/// Somebody who has the private key of a listed signer.
struct Thief(SigningKey);

impl Thief {
    fn with_a_trusted_key(world: &World) -> Self {
        let (key, _) = SigningKey::generate().unwrap();
        let public = BASE64.encode(key.public().as_bytes());
        rotate(world, 2, &["--add-signer", &public]);
        Self(key)
    }

    /// A state of the thief's, issued as far ahead as a host believes.
    fn update(&self, host: &Host<'_>, epoch: u64, version: u64) -> Vec<u8> {
        let key = std::fs::read(host.state_dir().join("host.key")).unwrap();
        let key = HostPrivateKey::from_bytes(&BASE64.decode(key.trim_ascii()).unwrap()).unwrap();
        let content_key = ContentKey::for_host(&host.id.parse().unwrap(), &key.public()).unwrap();
        let resource = json!({"id": "sbx-1", "tenant_id": "acme", "workspace_id": null, "project_id": null,
            "kind": "sandbox", "env": {"TOKEN": "stolen"}, "selection": {"skip": false, "profile_id": null}});
        let payload = json!({
            "put": {"env": [], "profiles": [], "resources": [resource], "runs": []},
            "delete": {"env": [], "profiles": [], "resources": [], "runs": []},
        });
        let issued_at = now_ms() + 50 * 60 * 1000;
        let times = Times { issued_at, expires_at: MAX_NUMBER, serve_until: MAX_NUMBER };
        let draft = Draft { epoch, version, kind: Kind::Full, times };
        seal(&draft, payload.to_string().as_bytes(), &content_key, &self.0).unwrap()
    }
}

/// One command, that makes and publishes this version.
fn rotate(world: &World, version: u64, flags: &[&str]) {
    let published = world.control_says(&[&["trust", "rotate"], flags].concat());
    assert_eq!(published, version.to_string());
}

/// Hands an update to a host: the status, and the name of the refusal.
fn deliver(host: &Host<'_>, update: &[u8]) -> (u16, Option<String>) {
    let answer = host.intake().request("PUT", "/v1/updates", &[], update).unwrap();
    (answer.status, answer.json()["error"]["code"].as_str().map(str::to_owned))
}

fn await_trust(hosts: &[&Host<'_>], version: u64) {
    for host in hosts {
        eventually("the host has the trust document", || {
            (host.status()["trust_version"] == version).then_some(())
        });
    }
}

/// The key ids of the roots in force.
fn root_keys(world: &World) -> Vec<String> {
    let envelope: Value = serde_json::from_str(&world.control_says(&["trust", "show"])).unwrap();
    let payload = BASE64.decode(envelope["payload"].as_str().unwrap().as_bytes()).unwrap();
    let document: Value = serde_json::from_slice(&payload).unwrap();
    let roots = document["roots"].as_array().unwrap();
    let id = |root: &Value| {
        let bytes = BASE64.decode(root.as_str().unwrap().as_bytes()).unwrap();
        miosa_snapshot::VerifyingKey::from_bytes(&bytes).unwrap().key_id().to_string()
    };
    roots.iter().map(id).collect()
}

/// As on a machine without any state.
fn sign(world: &World, draft: &Path, root: &Path, previous: Option<&Path>) -> Output {
    let mut command = miosa_tests::program::command("miosa-control");
    command.env("MIOSA_CONTROL_STATE_DIR", "/dev/null/none").current_dir(world.path(""));
    command.args(["trust", "sign", text(draft), "--yes", "--root-key", text(root)]);
    if let Some(previous) = previous {
        command.args(["--previous", text(previous)]);
    }
    command.output().unwrap()
}

/// Why a document is not published.
fn refusal(world: &World, draft: &Path) -> String {
    let output = world.control(&["trust", "publish", text(draft)]);
    assert!(!output.status.success());
    said(&output)
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
