//! No secret in any output, at the most verbose level. Canaries of many shapes are planted in every
//! place that takes one, the programs do all they can do, well and badly, and every byte that they
//! printed, answered or left on disk is searched for each of them in every form.

use std::path::{Path, PathBuf};

use miosa_tests::program::{command, eventually};
use miosa_tests::traces::Traces;
use miosa_tests::world::files_below;
use miosa_tests::{Endpoint, Host, Tenant, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn no_output_and_no_file_holds_a_secret_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let ops = folder.path().join("ops.sock");
    let world = World::start_with(&["--ops-listen", &format!("unix:{}", ops.display())]);
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    let mut aviary = Aviary::default();

    let id = set_variables(&tenant, &mut aviary);
    send_what_is_refused(&world, &tenant, &id, &mut aviary);
    let run = place_resources(&world, &tenant, &host, &mut aviary);
    let resolved = host.ask("sbx-1", &format!("/v1/resolve?run={run}")).body;
    assert!(aviary.traces().found_in(&resolved).len() > SHAPES.len(), "where values are due, they are found");

    ask_the_sockets(&host, &run, &mut aviary);
    ask_the_control_plane(&world, &tenant, &Endpoint::Unix(ops), &mut aviary);
    run_the_shim(&host, &run, &mut aviary);
    run_the_commands(&world, &host, folder.path(), &mut aviary);
    let log = host.state_dir().join("access/access.jsonl");
    let has_names = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("OF_TENANT_0"));
    eventually("names are in the access log", || has_names().then_some(()));
    restart_on_damaged_files(&mut host);
    run_the_commands(&world, &host, folder.path(), &mut aviary);
    // However they end.
    eventually("the daemon and the link end", || {
        host.serve().signal(Signal::SIGABRT);
        host.link().signal(Signal::SIGSEGV);
        (!host.serve().is_running() && !host.link().is_running()).then_some(())
    });
    world.stop_control();

    let traces = aviary.traces();
    for (what, bytes) in &aviary.seen {
        traces.assert_absent(what, bytes);
    }
    for path in left_behind(&world, folder.path()) {
        traces.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    keys_are_in_their_own_files_only(&world, &tenant, &host, &aviary, folder.path());
}

/// The canaries, and all that may not hold one.
#[derive(Default)]
struct Aviary {
    canaries: Vec<String>,
    seen: Vec<(String, Vec<u8>)>,
}

impl Aviary {
    /// A new canary of a shape.
    fn hatch(&mut self, shape: &str) -> String {
        let position = self.canaries.len();
        let canary = shape.replace('#', &format!("{position:03}{}", position * 7919 % 1000));
        self.canaries.push(canary.clone());
        canary
    }

    fn see(&mut self, what: impl Into<String>, bytes: Vec<u8>) {
        self.seen.push((what.into(), bytes));
    }

    fn run(&mut self, what: &str, mut command: std::process::Command) {
        let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
        self.see(what, [output.stdout, output.stderr].concat());
    }

    /// What a preview may show of a long value is not looked for: its first 6 and last 4 characters.
    fn traces(&self) -> Traces {
        Traces::of(self.canaries.iter().map(|canary| {
            let characters: Vec<char> = canary.chars().collect();
            let shown = if characters.len() < 32 { 0..characters.len() } else { 6..characters.len() - 4 };
            characters[shown].iter().collect::<String>()
        }))
    }
}

/// In each scope a variable of each shape, created, updated, replaced and tried. The id of one.
fn set_variables(tenant: &Tenant<'_>, aviary: &mut Aviary) -> String {
    let mut id = String::new();
    for (position, shape) in SHAPES.iter().enumerate() {
        for (scope, fields) in [
            ("TENANT", json!({})),
            ("TARGET", json!({"target": "sandbox"})),
            ("WORKSPACE", json!({"scope": "workspace", "workspace_id": "ws"})),
            ("PROJECT", json!({"scope": "project", "project_id": "p", "target": "sandbox"})),
        ] {
            tenant.set(&format!("OF_{scope}_{position}"), &aviary.hatch(shape), fields);
        }
        id = tenant.set(&format!("CHANGED_{position}"), &aviary.hatch(shape), json!({}));
        for (method, target) in [
            ("PATCH", format!("runtime-env/{id}")),
            ("PUT", format!("runtime-env/{id}")),
            ("PATCH", format!("runtime-env/{id}?dry_run=true")),
        ] {
            let answer = tenant.call(method, &target, json!({"value": aviary.hatch(shape)}));
            assert_eq!(answer.status, 200, "{answer:?}");
            aviary.see(format!("{method} {target}"), answer.body);
        }
        let body = json!({"scope": "tenant", "name": "TRIED", "value": aviary.hatch(shape)});
        let answer = tenant.call("POST", "runtime-env?dry_run=true", body);
        aviary.see("a dry run", answer.body);
    }
    id
}

/// Requests that are wrong in every way, each with a value in it.
fn send_what_is_refused(world: &World, tenant: &Tenant<'_>, id: &str, aviary: &mut Aviary) {
    for shape in SHAPES {
        let mut refused = |what: &str, status: u16, answer: miosa_tests::Answer| {
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            aviary.seen.push((what.to_owned(), answer.body));
        };
        let mut hatch = || {
            let position = aviary.canaries.len();
            let canary = shape.replace('#', &format!("{position:03}{}", position * 7919 % 1000));
            aviary.canaries.push(canary.clone());
            canary
        };
        let fields = |name: &str, value: Value| json!({"scope": "tenant", "name": name, "value": value});
        let bodies = [
            fields("lower", json!(hatch())),
            fields("X", json!([hatch()])),
            fields("X", json!({"deep": {"er": hatch()}})),
            fields("X", json!(format!("{}\0", hatch()))),
            fields(&hatch(), json!("x")),
            json!({"scope": hatch(), "name": "X", "value": hatch(), "target": hatch(), "unknown": hatch(), "metadata": hatch()}),
            json!({"scope": "tenant", "name": "X", "value": hatch(), "enabled": hatch(), "tenant_id": hatch()}),
            json!([hatch()]),
        ];
        for body in bodies {
            refused("a refused variable", 422, tenant.call("POST", "runtime-env", body));
        }
        refused(
            "a refused update",
            422,
            tenant.call("PATCH", &format!("runtime-env/{id}"), json!({"value": [hatch()]})),
        );
        refused(
            "an unknown variable",
            404,
            tenant.call("PATCH", "runtime-env/env_nobody", json!({"value": hatch()})),
        );
        let profile = json!({"name": "p", "runtime": "custom", "env": {"KEY": format!("sk-ant-api03-{}", "Zz9".repeat(30)), "lower-case": hatch()}});
        refused("a refused profile", 422, tenant.call("POST", "agent-runtime-profiles", profile));
        let resource = json!({"id": "sbx-9", "tenant_id": "acme", "host_id": "nowhere", "kind": "sandbox", "env": {"A-B": hatch(), "C": [hatch()]}});
        refused("a refused resource", 422, world.platform("POST", "resources", resource));

        let (key, body) = (format!("Bearer {}", tenant.key), fields("X", json!(hatch())).to_string());
        let raw = |what: &str, headers: &[(&str, &str)], body: &[u8]| {
            world
                .endpoint()
                .request("POST", "/api/v1/runtime-env", headers, body)
                .unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let json_type = ("Content-Type", "application/json");
        let half = &body.as_bytes()[..body.len() - 1];
        refused("half a body", 400, raw("half", &[("Authorization", &key), json_type], half));
        let twice = body.replacen('{', "{\"value\": 1, ", 1);
        refused("a member twice", 400, raw("twice", &[("Authorization", &key), json_type], twice.as_bytes()));
        refused(
            "another type",
            415,
            raw("type", &[("Authorization", &key), ("Content-Type", "text/plain")], body.as_bytes()),
        );
        refused("no key", 401, raw("no key", &[json_type], body.as_bytes()));
        refused(
            "a wrong key",
            401,
            raw("wrong key", &[("Authorization", "Bearer msk_live_x"), json_type], body.as_bytes()),
        );
        refused(
            "another tenant",
            403,
            raw("other", &[("Authorization", &key), ("X-MIOSA-Tenant", "other"), json_type], body.as_bytes()),
        );
        let large = fields("X", json!(hatch().repeat(1 << 17))).to_string();
        let large = world.endpoint().request(
            "POST",
            "/api/v1/runtime-env",
            &[("Authorization", &key), json_type],
            large.as_bytes(),
        );
        if let Ok(large) = large {
            refused("too large a body", 413, large);
        }
    }
}

/// A resource with a value of each shape of its own and a run with more, one whose command is a value
/// that can't be read, and one that is too large. The run.
fn place_resources(world: &World, tenant: &Tenant<'_>, host: &Host<'_>, aviary: &mut Aviary) -> String {
    let mut env = |prefix: &str| {
        let variables = SHAPES.iter().enumerate();
        let variables =
            variables.map(|(position, shape)| (format!("{prefix}_{position}"), json!(aviary.hatch(shape))));
        Value::Object(variables.collect())
    };
    let (of_resource, of_run, changed) = (env("OF_RESOURCE"), env("OF_RUN"), env("OF_RESOURCE"));
    host.place(tenant, "sbx-1", json!({"workspace_id": "ws", "project_id": "p", "env": of_resource}));
    let run = host.start_run("sbx-1", json!({"env": of_run}));
    let answer = world.platform("PATCH", "resources/sbx-1?dry_run=true", json!({"env": changed}));
    aviary.see("a dry run of a resource", answer.body);
    let unclosed = format!("'unclosed {}", aviary.hatch("kanarienvogel-#"));
    host.place(tenant, "sbx-2", json!({"env": {"MIOSA_AGENT_COMMAND": unclosed}}));
    let large = aviary.hatch("kanarienvogel-#").repeat(4_000);
    let many: serde_json::Map<String, Value> =
        (0..16).map(|number| (format!("LARGE_{number}"), json!(large))).collect();
    let answer = world.platform(
        "POST",
        "resources?wait=20",
        json!({"id": "sbx-3", "tenant_id": "acme", "host_id": host.id, "kind": "sandbox", "env": many}),
    );
    aviary.see("a large resource", answer.body);
    run
}

/// Everything that the daemon's sockets answer, but for a resolution.
fn ask_the_sockets(host: &Host<'_>, run: &str, aviary: &mut Aviary) {
    let of_run = format!("/v1/explain?run={run}");
    for target in [
        "/v1/explain",
        &of_run,
        "/v1/nonsense",
        "/v1/explain?run=nonsense",
        "/v1/resolve?run=nonsense",
        "/v1/resolve?x",
    ] {
        aviary.see(target, host.ask("sbx-1", target).body);
    }
    aviary.see("what can't start", host.ask("sbx-2", "/v1/explain").body);
    for target in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/status",
        "/v1/resources",
        "/v1/resources/sbx-1",
        "/v1/resources/sbx-1/explain",
        "/v1/resources/sbx-2/explain",
        "/v1/nonsense",
    ] {
        aviary.see(target, host.admin().request("GET", target, &[], b"").unwrap().body);
    }
    for target in ["/v1/position", "/v1/nonsense"] {
        aviary.see(target, host.intake().request("GET", target, &[], b"").unwrap().body);
    }
    // Refused, and kept as evidence where it should be.
    for path in files_below(&host.state_dir().join("cache")) {
        let mut update = std::fs::read(path).unwrap();
        aviary
            .see("an update again", host.intake().request("PUT", "/v1/updates", &[], &update).unwrap().body);
        let middle = update.len() / 2;
        update[middle] ^= 1;
        aviary
            .see("a damaged update", host.intake().request("PUT", "/v1/updates", &[], &update).unwrap().body);
        let dropped = host.state_dir().join("drop");
        if dropped.exists() {
            std::fs::write(dropped.join(".new"), &update).unwrap();
            std::fs::rename(dropped.join(".new"), dropped.join("damaged.json")).unwrap();
        }
    }
}

fn ask_the_control_plane(world: &World, tenant: &Tenant<'_>, ops: &Endpoint, aviary: &mut Aviary) {
    for target in [
        "hosts",
        "resources",
        "resources/sbx-1",
        "resources/sbx-1/runs",
        "resources/sbx-1/explain",
        "audit",
        "nonsense",
    ] {
        aviary.see(target, world.platform("GET", target, json!(null)).body);
    }
    for target in ["runtime-env", "agent-runtime-profiles", "nonsense"] {
        aviary.see(target, tenant.call("GET", target, json!(null)).body);
    }
    for target in ["/metrics", "/healthz", "/readyz", "/nonsense"] {
        aviary.see(target, ops.request("GET", target, &[], b"").unwrap().body);
    }
}

fn run_the_shim(host: &Host<'_>, run: &str, aviary: &mut Aviary) {
    let secret = format!("X={}", aviary.hatch("kanarienvogel-#"));
    for args in [
        &["--print", "env"][..],
        &["--print", "json"],
        &["--print", "explain"],
        &["--print", "command"],
        &["--env", &secret, "--print", "env"],
        &["--env", &secret, "--print", "explain"],
        &["--", "no-such"],
        &["--cwd", "/no/such", "--", "true"],
    ] {
        let mut shim = command("miosa-exec");
        shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock"));
        shim.args(["--run", run, "--wait", "1"]).args(args);
        aviary.run(&format!("miosa-exec {}", args[0]), shim);
    }
}

fn run_the_commands(world: &World, host: &Host<'_>, folder: &Path, aviary: &mut Aviary) {
    let (cache, backup) = (host.state_dir().join("cache"), folder.join("backup"));
    let update = files_below(&cache).pop().expect("an update");
    let update = update.to_str().unwrap();
    for args in [
        &["status"][..],
        &["resources"],
        &["explain", "sbx-1"],
        &["explain", "sbx-2"],
        &["explain", "nobody"],
        &["verify", update],
        &["push", update],
        &["push", "/no/such"],
        &["access"],
    ] {
        for json in [&[][..], &["--json"]] {
            let mut miosad = command("miosad");
            miosad.args(args).args(json).args(["--log-level", "trace"]);
            miosad.arg("--state-dir").arg(host.state_dir()).arg("--runtime-dir").arg(host.runtime_dir());
            aviary.run(&format!("miosad {args:?}"), miosad);
        }
    }
    drop(std::fs::remove_file(&backup));
    for args in
        [&["key", "list"][..], &["host", "list"], &["trust", "show"], &["backup", backup.to_str().unwrap()]]
    {
        let mut control = command("miosa-control");
        control.args(args).args(["--log-level", "trace"]).arg("--state-dir").arg(world.path("control"));
        aviary.run(&format!("miosa-control {args:?}"), control);
    }
}

fn restart_on_damaged_files(host: &mut Host<'_>) {
    host.serve().kill();
    let update = files_below(&host.state_dir().join("cache")).pop().expect("an update");
    let mut bytes = std::fs::read(&update).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&update, bytes).unwrap();
    host.start_serve();
    host.await_ready();
}

/// Logs, databases, caches, evidence, core files: everything that any program left.
fn left_behind(world: &World, folder: &Path) -> Vec<PathBuf> {
    let mut files = files_below(&world.path(""));
    files.extend(files_below(folder));
    files
}

fn keys_are_in_their_own_files_only(
    world: &World,
    tenant: &Tenant<'_>,
    host: &Host<'_>,
    aviary: &Aviary,
    folder: &Path,
) {
    let link: Value =
        serde_json::from_slice(&std::fs::read(host.state_dir().join("link.json")).unwrap()).unwrap();
    let host_key = std::fs::read(host.state_dir().join("host.key")).unwrap();
    let host_key = data_encoding::BASE64.decode(host_key.trim_ascii()).unwrap();
    let master = std::fs::read(world.path("control").join("master.key")).unwrap();
    let master = data_encoding::BASE64.decode(master.trim_ascii()).unwrap_or(master);
    for (own, key) in [
        ("", tenant.key.as_bytes()),
        ("link.json", link["token"].as_str().unwrap().as_bytes()),
        ("host.key", &host_key),
        ("master.key", &master),
    ] {
        let traces = Traces::of([key]);
        for (what, bytes) in &aviary.seen {
            traces.assert_absent(what, bytes);
        }
        for path in left_behind(world, folder) {
            if path.file_name().is_some_and(|name| name != own) {
                traces.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
            }
        }
    }
}

/// Values as people have them, and as somebody might choose them to get past an escape. `#` stands for
/// what makes each one.
const SHAPES: [&str; 10] = [
    "kv#-vk",
    "sk-ant-kanarienvogel-#-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    "{\"json\": \"kanarien\\vogel-#\"}\n",
    "känårïen–vögel–#–鳥🐤–",
    "%6b%2F%25kanarien#%%s{}{0}$HOME",
    "<kanarien & 'vögel' \"#\">&amp;",
    "postgres://kanarie:n#@db.example:5432/vogel?sslmode=require&x=y",
    "-----BEGIN PRIVATE KEY-----\nkanarien#vogel+/==\n-----END PRIVATE KEY-----\n",
    "\u{1b}[31mkanarien\r\t\u{7f}#\u{202e}",
    "\"\\\n<>&%'`$;|\"#",
];
