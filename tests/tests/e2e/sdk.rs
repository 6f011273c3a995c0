//! The product's public Python SDK, unchanged, against this control plane.

use std::process::Command;

use miosa_tests::World;
use serde_json::json;

#[test]
fn the_public_python_sdk_works_unchanged() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"workspace_id": "ws_123", "project_id": "proj_7"}));
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/sdk.py");
    let output = Command::new(crate::foreign::python())
        .arg(script)
        .args([world.url(), tenant.key.clone(), tenant.id.clone()])
        .output()
        .expect("run python");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    host.await_env("sbx-1", "FROM_SDK", Some("changed"));
    let resolved = host.resolve("sbx-1");
    assert_eq!(resolved["profile"]["name"], "From the SDK");
    assert_eq!(resolved["delivery"], json!({"DELIVERED": "file"}));
}
