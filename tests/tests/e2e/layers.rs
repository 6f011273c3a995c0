//! What is written through the REST APIs is what a resource starts with.

use miosa_tests::World;
use serde_json::json;

/// The profile of the API reference, word for word.
pub fn reference_profile() -> serde_json::Value {
    json!({
        "workspace_id": "ws_123",
        "name": "Default app builder",
        "runtime": "claude-code",
        "description": "Builds apps in /workspace and exports deliverables.",
        "applies_to": { "resources": ["sandbox", "computer"] },
        "tools": ["files", "exec", "previews", "artifacts", "browser"],
        "connectors": ["refero/design-research", "anthropic/workspace-claude"],
        "env": { "ANTHROPIC_MODEL": "claude-sonnet-4.6", "MIOSA_AGENT_CWD": "/workspace" },
        "policy": { "approval": "confirm-risky", "max_child_sandboxes": 5 },
        "metadata": { "product_agent": "app-builder" },
        "is_default": true
    })
}

#[test]
fn the_reference_profile_and_secret_reach_a_sandbox_of_their_workspace() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.profile(reference_profile());
    let secret = "sk-ant-0123456789-0123456789-abcd";
    let scope = json!({"scope": "workspace", "workspace_id": "ws_123", "target": "sandbox", "metadata": {"provider": "anthropic"}});
    tenant.set("ANTHROPIC_API_KEY", secret, scope);
    host.place(&tenant, "sbx-1", json!({"workspace_id": "ws_123"}));
    host.place(&tenant, "sbx-2", json!({"workspace_id": "ws_other"}));
    let run = host.start_run("sbx-1", json!({"instruction": "Build a landing page"}));

    let resolved = host.ask("sbx-1", &format!("/v1/resolve?run={run}")).json();
    assert_eq!(resolved["env"]["ANTHROPIC_API_KEY"], secret);
    assert_eq!(resolved["env"]["ANTHROPIC_MODEL"], "claude-sonnet-4.6");
    assert_eq!(resolved["env"]["MIOSA_RUN_ID"], run);
    assert_eq!(resolved["env"]["MIOSA_AGENT_TOOLS"], "files,exec,previews,artifacts,browser");
    assert_eq!(resolved["cwd"], "/workspace");
    assert_eq!(resolved["command"][0], "claude");
    assert_eq!(resolved["profile"]["name"], "Default app builder");

    let other = host.resolve("sbx-2");
    assert_eq!(other["env"]["ANTHROPIC_API_KEY"], json!(null));
    assert_eq!(other["profile"], json!(null));
}

#[test]
fn each_of_the_eight_layers_arrives_and_the_more_specific_wins() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let layers = [
        ("TENANT_ALL", json!({"scope": "tenant"})),
        ("TENANT_SANDBOX", json!({"scope": "tenant", "target": "sandbox"})),
        ("WORKSPACE_ALL", json!({"scope": "workspace", "workspace_id": "ws"})),
        ("WORKSPACE_SANDBOX", json!({"scope": "workspace", "workspace_id": "ws", "target": "sandbox"})),
        ("PROJECT_ALL", json!({"scope": "project", "project_id": "p"})),
        ("PROJECT_SANDBOX", json!({"scope": "project", "project_id": "p", "target": "sandbox"})),
    ];
    for (position, (name, fields)) in layers.iter().enumerate() {
        tenant.set(name, name, fields.clone());
        // Each layer also speaks on every name that a lower layer set: the last to speak must win.
        for higher in layers.iter().skip(position) {
            tenant.set(&format!("BEATS_{position}"), higher.0, higher.1.clone());
        }
    }
    // Noise that must not reach a sandbox of this workspace and project.
    tenant.set("TENANT_ALL", "computers only", json!({"target": "computer"}));
    tenant.set("WORKSPACE_ALL", "another workspace", json!({"scope": "workspace", "workspace_id": "ws2"}));
    tenant.set("PROJECT_ALL", "another project", json!({"scope": "project", "project_id": "p2"}));
    host.place(&tenant, "sbx-1", json!({
        "workspace_id": "ws", "project_id": "p", "env": {"RESOURCE": "RESOURCE", "BEATS_0": "resource", "BEATS_1": "resource"},
    }));
    let run = host.start_run("sbx-1", json!({"env": {"RUN": "RUN", "BEATS_0": "run"}}));

    let env = host.ask("sbx-1", &format!("/v1/resolve?run={run}")).json()["env"].clone();
    for (name, _) in &layers {
        assert_eq!(env[name], *name);
    }
    assert_eq!((&env["RESOURCE"], &env["RUN"]), (&json!("RESOURCE"), &json!("RUN")));
    assert_eq!((&env["BEATS_0"], &env["BEATS_1"]), (&json!("run"), &json!("resource")));
    for position in 2..layers.len() {
        assert_eq!(env[format!("BEATS_{position}")], "PROJECT_SANDBOX");
    }

    let explanation = host.ask("sbx-1", &format!("/v1/explain?run={run}")).json();
    let beats = explanation["variables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|variable| variable["name"] == "BEATS_0")
        .unwrap();
    let lost: Vec<&str> =
        beats["overrode"].as_array().unwrap().iter().map(|entry| entry["layer"].as_str().unwrap()).collect();
    assert_eq!(beats["layer"], "run");
    assert_eq!(
        lost,
        [
            "resource",
            "project/sandbox",
            "project/all",
            "workspace/sandbox",
            "workspace/all",
            "tenant/sandbox",
            "tenant/all"
        ]
    );
}

#[test]
fn a_change_a_disable_and_a_delete_reach_a_placed_sandbox() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let id = tenant.set("TOKEN", "one", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    assert_eq!(host.env("sbx-1", "TOKEN").as_deref(), Some("one"));

    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{id}"), json!({"value": "two"})).status, 200);
    host.await_env("sbx-1", "TOKEN", Some("two"));
    assert_eq!(tenant.call("PUT", &format!("runtime-env/{id}"), json!({"enabled": false})).status, 200);
    host.await_env("sbx-1", "TOKEN", None);
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{id}"), json!({"enabled": true})).status, 200);
    host.await_env("sbx-1", "TOKEN", Some("two"));
    assert_eq!(tenant.call("DELETE", &format!("runtime-env/{id}"), json!(null)).status, 200);
    host.await_env("sbx-1", "TOKEN", None);
}

#[test]
fn a_run_ends_and_a_resource_goes() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let run = host.start_run("sbx-1", json!({"command": ["true"]}));
    assert_eq!(host.ask("sbx-1", &format!("/v1/resolve?run={run}")).status, 200);

    let ended = world.platform("DELETE", &format!("resources/sbx-1/runs/{run}?wait=20"), json!(null));
    assert_eq!(ended.header("miosa-applied"), Some("yes"), "{ended:?}");
    let gone = host.ask("sbx-1", &format!("/v1/resolve?run={run}"));
    assert_eq!((gone.status, gone.json()["error"]["code"].as_str()), (404, Some("run_not_found")));

    let removed = world.platform("DELETE", "resources/sbx-1?wait=20", json!(null));
    assert_eq!(removed.header("miosa-applied"), Some("yes"), "{removed:?}");
    assert!(!host.resource_dir("sbx-1").exists());
}

#[test]
fn a_named_profile_that_goes_is_an_error_and_not_another_profile() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.profile(json!({"name": "default", "runtime": "osa", "is_default": true}));
    let named = tenant.profile(json!({"name": "named", "runtime": "codex"}));
    host.place(&tenant, "sbx-1", json!({"agent_runtime_profile_id": named}));
    assert_eq!(host.resolve("sbx-1")["profile"]["name"], "named");
    assert_eq!(tenant.call("DELETE", &format!("agent-runtime-profiles/{named}"), json!(null)).status, 200);
    let refused = miosa_tests::program::eventually("the profile is gone", || {
        Some(host.ask("sbx-1", "/v1/resolve")).filter(|answer| answer.status != 200)
    });
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (409, Some("profile_not_found")));
}
