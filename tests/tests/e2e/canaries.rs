//! No secret value in any output, at the most verbose level. Canaries of many shapes are planted on
//! every layer, the programs do all they can do, and every byte that they printed or left on disk
//! is searched.

use miosa_tests::World;
use miosa_tests::program::command;
use miosa_tests::world::files_below;
use serde_json::json;

#[test]
fn no_output_and_no_file_holds_a_secret_in_the_clear() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let canaries: Vec<String> = (0..24).map(canary).collect();
    let mut planted = canaries.iter();
    let mut next = || planted.next().expect("enough canaries").clone();

    for fields in [
        json!({}),
        json!({"target": "sandbox"}),
        json!({"scope": "workspace", "workspace_id": "ws"}),
        json!({"scope": "project", "project_id": "p", "target": "sandbox"}),
    ] {
        tenant.set("PLANTED", &next(), fields.clone());
        tenant.set(&format!("PLANTED_{}", fields.to_string().len()), &next(), fields);
    }
    let changed = tenant.set("CHANGED", &next(), json!({}));
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{changed}"), json!({"value": next()})).status, 200);
    // Refused requests hold values too.
    let refused =
        tenant.call("POST", "runtime-env", json!({"scope": "tenant", "name": "lower", "value": next()}));
    assert_eq!(refused.status, 422);
    let refused = tenant.call(
        "POST",
        "runtime-env",
        json!({"scope": "tenant", "name": "X", "value": [next()], "x": next()}),
    );
    assert_eq!(refused.status, 422);
    let broken = format!("{{\"scope\":\"tenant\",\"value\":\"{}\"", next());
    let broken = world.endpoint().request(
        "POST",
        "/api/v1/runtime-env",
        &[("Authorization", &format!("Bearer {}", tenant.key)), ("Content-Type", "application/json")],
        broken.as_bytes(),
    );
    let broken = broken.unwrap();
    assert_eq!(broken.status, 400);
    host.place(
        &tenant,
        "sbx-1",
        json!({"workspace_id": "ws", "project_id": "p", "env": {"OF_RESOURCE": next()}}),
    );
    let run = host.start_run("sbx-1", json!({"env": {"OF_RUN": next()}}));
    // One that is too large to start with, and one whose agent can't be found.
    host.place(&tenant, "sbx-2", json!({"env": {"MIOSA_AGENT_COMMAND": format!("'unclosed {}", next())}}));

    let mut seen = vec![refused.body, broken.body];
    for target in
        ["/v1/explain", &format!("/v1/explain?run={run}"), "/v1/nonsense", "/v1/explain?run=nonsense"]
    {
        seen.push(host.ask("sbx-1", target).body);
    }
    let socket = host.resource_dir("sbx-1").join("miosa.sock");
    for args in [
        &["--print", "env"][..],
        &["--print", "json"],
        &["--print", "explain"],
        &["--print", "command"],
        &["--", "no-such"],
    ] {
        let output = command("miosa-exec")
            .arg("--socket")
            .arg(&socket)
            .args(["--run", &run, "--wait", "1"])
            .args(args)
            .output()
            .unwrap();
        seen.extend([output.stdout, output.stderr]);
    }
    let secret = next();
    let output = command("miosa-exec")
        .arg("--socket")
        .arg(&socket)
        .args(["--env", &format!("X={secret}"), "--print", "explain"])
        .output();
    let output = output.unwrap();
    seen.extend([output.stdout, output.stderr]);
    for args in
        [&["status"][..], &["resources"], &["explain", "sbx-1"], &["explain", "sbx-2"], &["status", "--json"]]
    {
        let output = host.run(args);
        seen.extend([output.stdout, output.stderr]);
    }
    for target in
        ["hosts", "resources", "resources/sbx-1", "resources/sbx-1/runs", "resources/sbx-1/explain", "audit"]
    {
        seen.push(world.platform("GET", target, json!(null)).body);
    }
    seen.push(tenant.call("GET", "runtime-env", json!(null)).body);
    host.serve().kill();
    host.start_serve();
    assert_eq!(host.resolve("sbx-1")["env"]["PLANTED"], canaries[6]);
    host.stop_link();
    host.stop_serve();
    world.stop_control();

    for canary in &canaries {
        for bytes in &seen {
            assert!(!holds(bytes, canary), "an answer holds {canary}: {}", String::from_utf8_lossy(bytes));
        }
        // Logs, databases, caches, keys: everything that any program left behind.
        for path in files_below(&world.path("")) {
            assert!(!holds(&std::fs::read(&path).unwrap(), canary), "{} holds {canary}", path.display());
        }
    }
    for path in files_below(&world.path("")) {
        assert!(
            !contains(&std::fs::read(&path).unwrap(), &tenant.key),
            "{} holds an API key",
            path.display()
        );
    }
}

/// Short ones and long ones: a preview may show ten characters of a long one, which is why the part
/// that is searched for stands in its middle.
fn canary(position: usize) -> String {
    let core = format!("kanarienvogel{position:02}x{}", position * 7919);
    match position % 3 {
        0 => core,
        1 => format!("sk-ant-{core}-{}", "z".repeat(40)),
        _ => format!("{{\"json\": \"{core}\"}}\n"),
    }
}

fn holds(bytes: &[u8], canary: &str) -> bool {
    let start = canary.find("kanarienvogel").expect("the core of a canary");
    contains(bytes, &canary[start..start + 15])
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
