//! Updates between our programs and a publisher, and an opener, of other people's DSSE, Ed25519,
//! HPKE and AES-GCM: what docs/snapshot-format.md says is enough.

use std::path::Path;
use std::process::Command;

use miosa_tests::program::{Program, command, eventually};
use miosa_tests::world::files_below;
use miosa_tests::{Endpoint, World};
use serde_json::{Value, json};

use crate::outage::newest_update;

#[test]
fn an_update_of_our_control_plane_opens_with_other_peoples_cryptography() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("TOKEN", "the value", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let trust = files_below(&host.state_dir().join("trust")).remove(0);
    let key = std::fs::read_to_string(host.state_dir().join("host.key")).unwrap();
    let known: Value =
        serde_json::from_slice(&std::fs::read(host.state_dir().join("host.json")).unwrap()).unwrap();
    let pin = known["trust"].as_str().unwrap_or_else(|| panic!("{known}"));
    let update = newest_update(&host);
    let statement = foreign(&["open", text(&trust), pin, &host.id, key.trim(), text(&update)]);
    let statement: Value = serde_json::from_str(&statement).unwrap();
    assert_eq!(statement["host_id"], host.id);
    assert_eq!(statement["payload"]["put"]["env"][0]["value"], "the value");
    assert_eq!(statement["payload"]["put"]["resources"][0]["id"], "sbx-1");
}

#[test]
fn a_publisher_that_others_made_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (root, signer) = ("11".repeat(32), "22".repeat(32));
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let of = |seed: &str| {
        let both = foreign(&["public", seed]);
        let (key, id) = both.trim().split_once(' ').unwrap();
        (key.to_owned(), id.to_owned())
    };
    let document = json!({
        "format": 1, "version": 1, "epoch": 1, "threshold": 1, "roots": [of(&root).0],
        "signers": [{"key": of(&signer).0, "expires_at": FOREVER, "tenants": null}], "expires_at": FOREVER
    });
    let document = write("document.json", &document.to_string());
    let trust = write("trust.json", &foreign(&["sign-trust", text(&document), &root]));

    let miosad = |args: &[&str]| {
        let mut command = command("miosad");
        command.args(args).arg("--state-dir").arg(folder.path().join("host"));
        command.arg("--runtime-dir").arg(folder.path().join("run"));
        command
    };
    let enrolled = miosad(&["enroll", "--trust", text(&trust), "--host-id", "host_1"]).output().unwrap();
    let host_key = String::from_utf8(enrolled.stdout).unwrap();
    let _serve = Program::start("miosad serve", miosad(&["serve"]), &folder.path().join("serve.log"));
    let admin = Endpoint::Unix(folder.path().join("run/admin.sock"));
    eventually("the daemon answers", || admin.request("GET", "/healthz", &[], b"").ok());

    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let statement = json!({
        "format": 1, "host_id": "host_1", "signer": of(&signer).1, "epoch": 1, "version": 1, "kind": "full",
        "from": null, "prev": null, "issued_at": now, "expires_at": now + 900_000, "serve_until": now + 900_000,
        "payload": {
            "put": {
                "env": [{"id": "env_1", "tenant_id": "acme", "scope": "tenant", "target": "all", "name": "HELLO",
                         "value": "from python", "enabled": true}],
                "profiles": [],
                "resources": [{"id": "sbx-1", "tenant_id": "acme", "workspace_id": null, "project_id": null,
                               "kind": "sandbox", "env": {}, "selection": {"skip": false, "profile_id": null}}],
                "runs": []
            },
            "delete": {"env": [], "profiles": [], "resources": [], "runs": []}
        }
    });
    let statement = write("statement.json", &statement.to_string());
    let update = write("update.json", &foreign(&["make", text(&statement), host_key.trim(), &signer]));
    let pushed = miosad(&["push", text(&update)]).output().unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let socket = Endpoint::Unix(folder.path().join("run/resources/sbx-1/miosa.sock"));
    let resolved = socket.request("GET", "/v1/resolve", &[], b"").unwrap().json();
    assert_eq!(resolved["env"]["HELLO"], "from python");

    // The same statement under a key that the trust document does not list.
    let forged = write("forged.json", &foreign(&["make", text(&statement), host_key.trim(), &root]));
    let refused = miosad(&["push", text(&forged)]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unknown_signer"), "{refused:?}");
}

fn foreign(args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/open_update.py");
    let output = Command::new(python()).arg(script).args(args).output().expect("run python");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The Python with the packages of tests/requirements.txt.
pub fn python() -> std::ffi::OsString {
    std::env::var_os("MIOSA_TEST_PYTHON").expect("MIOSA_TEST_PYTHON: `make test` sets it")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

const FOREVER: u64 = (1 << 53) - 1;
