//! A second opinion: a host and a publisher of other people's DSSE, Ed25519, HPKE and AES-GCM, written
//! from docs/snapshot-format.md alone, against the vectors, our control plane and our daemon.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use miosa_tests::program::{Program, binary, command, eventually};
use miosa_tests::world::files_below;
use miosa_tests::{Endpoint, World};
use serde_json::{Value, json};

/// What is expected there is what our own runner of the vectors expects of our crates.
#[test]
fn another_implementation_agrees_with_every_vector() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let is_case = |path: &PathBuf| path.file_name().is_some_and(|name| name == "case.json");
    let cases = files_below(&vectors).iter().filter(|path| is_case(path)).count();
    let said = foreign("verify.py", &[text(&vectors)]);
    assert_eq!(said, format!("{cases} cases, 0 disagreements\n"));
}

/// The seed makes it the same offers each time; others can be tried by hand, and longer.
#[test]
fn another_implementation_gives_our_daemons_verdict_on_whatever_is_offered() {
    let said = foreign("differential.py", &[text(&binary("miosad")), "1", "400"]);
    assert_eq!(said.lines().last(), Some("400 offers, 0 disagreements"), "{said}");
}

#[test]
fn updates_of_our_control_plane_are_accepted_by_another_implementation() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("TOKEN", "the value", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    tenant.set("SECOND", "another", json!({}));
    host.await_env("sbx-1", "SECOND", Some("another"));

    let known = std::fs::read(host.state_dir().join("host.json")).unwrap();
    let known: Value = serde_json::from_slice(&known).unwrap();
    let pin = known["trust"].as_str().unwrap_or_else(|| panic!("{known}"));
    let key = host.state_dir().join("host.key");
    let trust = files_below(&host.state_dir().join("trust"));
    let updates = files_below(&host.state_dir().join("cache"));
    let carries_state = |path: &&PathBuf| !text(path).contains("heartbeat");
    let kept = trust.iter().chain(updates.iter().filter(carries_state)).map(|path| text(path));
    let said =
        foreign("verify.py", &[&["offer", &host.id, text(&key), pin], &*kept.collect::<Vec<_>>()].concat());

    let end: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(end["standing"], "good", "{end}");
    assert_eq!(end["records"]["resources"], json!(["sbx-1"]));
    let values = end["records"]["env"].as_object().unwrap().values().collect::<Vec<_>>();
    assert!(values.contains(&&json!("the value")) && values.contains(&&json!("another")), "{end}");
}

#[test]
fn a_publisher_that_others_made_is_served() {
    let other = OtherPublisher::new();
    let resource = Endpoint::Unix(other.path("run/resources/sbx-1/miosa.sock"));
    let resolve = || resource.request("GET", "/v1/resolve", &[], b"").unwrap().json();
    let intake = other.path("run/intake.sock");

    let full = other.write("full.json", &payload("from python", json!([resource_record()])));
    other.publish(&["full", &full, text(&intake)]);
    let resolved = resolve();
    assert_eq!(resolved["env"]["HELLO"], "from python");
    assert_eq!(resolved["env"]["ANTHROPIC_MODEL"], "a-model", "of the profile");
    assert_eq!(resolved["profile"]["id"], "arp_1");

    let change = other.write("change.json", &payload("changed", json!([])));
    other.publish(&["incremental", &change, text(&intake)]);
    assert_eq!(resolve()["env"]["HELLO"], "changed");
    other.publish(&["heartbeat", text(&intake)]);
    assert_eq!(resolve()["snapshot_version"], 2);

    // A trust document drops the signer, and what it signed is served no longer.
    other.publish(&["rotate", text(&intake)]);
    assert_eq!(resolve()["error"]["code"], "signer_revoked");
    let refused = other.try_publish(&["heartbeat", text(&intake)]);
    assert!(!refused.status.success(), "{refused:?}");
    other.publish(&["full", &full, text(&intake)]);
    assert_eq!(resolve()["env"]["HELLO"], "from python");

    // The other door.
    other.publish(&["incremental", &change, text(&other.path("host/drop"))]);
    eventually("the dropped update is served", || (resolve()["env"]["HELLO"] == "changed").then_some(()));
}

/// publisher.py, and a host that it publishes for.
struct OtherPublisher {
    _serve: Program,
    folder: tempfile::TempDir,
}

impl OtherPublisher {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("publisher");
        foreign("publisher.py", &[text(&memory), "new", "host_1"]);
        let miosad = |args: &[&str]| {
            let mut command = command("miosad");
            command.args(args).arg("--state-dir").arg(folder.path().join("host"));
            command.arg("--runtime-dir").arg(folder.path().join("run"));
            command
        };
        let trust = memory.join("trust-1.json");
        let enrolled = miosad(&["enroll", "--trust", text(&trust), "--host-id", "host_1"]).output().unwrap();
        let host_key = String::from_utf8(enrolled.stdout).unwrap();
        foreign("publisher.py", &[text(&memory), "host", host_key.trim()]);
        let serve = Program::start("miosad serve", miosad(&["serve"]), &folder.path().join("serve.log"));
        let admin = Endpoint::Unix(folder.path().join("run/admin.sock"));
        eventually("the daemon answers", || admin.request("GET", "/healthz", &[], b"").ok());
        Self { _serve: serve, folder }
    }

    fn publish(&self, args: &[&str]) {
        let output = self.try_publish(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn try_publish(&self, args: &[&str]) -> Output {
        let memory = self.path("publisher");
        run("publisher.py", &[&[text(&memory)], args].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &Value) -> String {
        let path = self.path(name);
        std::fs::write(&path, content.to_string()).unwrap();
        text(&path).to_owned()
    }
}

/// A payload that sets `HELLO`, with a profile.
fn payload(value: &str, resources: Value) -> Value {
    json!({
        "put": {
            "env": [{"id": "env_1", "tenant_id": "acme", "scope": "tenant", "target": "all", "name": "HELLO",
                     "value": value, "enabled": true}],
            "profiles": [{"id": "arp_1", "tenant_id": "acme", "workspace_id": null, "project_id": null,
                          "name": "Default", "runtime": "claude-code", "applies_to": [], "tools": ["files"],
                          "connectors": [], "env": {"ANTHROPIC_MODEL": "a-model"}, "policy": {},
                          "is_default": true}],
            "resources": resources,
            "runs": []
        },
        "delete": {"env": [], "profiles": [], "resources": [], "runs": []}
    })
}

fn resource_record() -> Value {
    json!({"id": "sbx-1", "tenant_id": "acme", "workspace_id": null, "project_id": null, "kind": "sandbox",
           "env": {}, "selection": {"skip": false, "profile_id": null}})
}

/// Runs one of tests/foreign, and gives what it prints.
fn foreign(script: &str, args: &[&str]) -> String {
    let output = run(script, args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {args:?}: {said}{errors}");
    said
}

fn run(script: &str, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(script);
    Command::new(python()).arg("-B").arg(script).args(args).output().expect("run python")
}

/// The Python with the packages of tests/requirements.txt.
pub fn python() -> std::ffi::OsString {
    std::env::var_os("MIOSA_TEST_PYTHON").expect("MIOSA_TEST_PYTHON: `make test` sets it")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
