//! Where a secret is in memory, and for how long: the memory of the running programs is searched, as
//! only root can.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use miosa_tests::memory::{self, Region};
use miosa_tests::program::{binary, command, eventually};
use miosa_tests::traces::Traces;
use miosa_tests::{Program, World};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn a_value_is_in_memory_while_it_is_served_and_nowhere_once_it_is_gone() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let values: Vec<String> =
        (0..5).map(|layer| format!("wanderfalke-{layer}\"\\\n<&>%ä{}", "x".repeat(layer * 2_000))).collect();
    let traces = Traces::of(values.iter().map(|value| &value[..20]));

    let variable = tenant.set("OF_TENANT", &values[0], json!({}));
    let changed = tenant.set("CHANGED", &values[1], json!({"scope": "project", "project_id": "p"}));
    host.place(&tenant, "sbx-1", json!({"project_id": "p", "env": {"OF_RESOURCE": values[2]}}));
    let run = host.start_run("sbx-1", json!({"env": {"OF_RUN": values[3]}}));
    host.place(&tenant, "sbx-2", json!({}));
    assert_eq!(host.resolve("sbx-1")["env"]["OF_TENANT"], values[0]);
    let of_run = host.ask("sbx-1", &format!("/v1/resolve?run={run}"));
    assert_eq!(of_run.json()["env"]["OF_RUN"], values[3]);
    assert!(found(&traces, host.serve().pid()) >= 4, "what is served is found");
    let refused =
        tenant.call("POST", "runtime-env", json!({"scope": "x", "name": "OF_NOBODY", "value": values[4]}));
    assert_eq!(refused.status, 422);
    // A request that is still under way is the only place where the control plane needs a value for
    // longer than a moment.
    let unfinished = half_a_request(&world, &tenant.key, &values[4]);
    eventually("a value under way is found", || (found(&traces, world.control_pid()) > 0).then_some(()));
    drop(unfinished);

    let gone = |target: &str| {
        let answer = world.platform("DELETE", &format!("{target}?wait=20"), json!(null));
        assert_eq!((answer.status, answer.header("miosa-applied")), (200, Some("yes")), "{answer:?}");
    };
    let other = tenant.call("PATCH", &format!("runtime-env/{changed}"), json!({"value": "something else"}));
    assert_eq!(other.status, 200);
    assert_eq!(tenant.call("DELETE", &format!("runtime-env/{variable}"), json!(null)).status, 200);
    gone(&format!("resources/sbx-1/runs/{run}"));
    gone("resources/sbx-1");
    host.await_env("sbx-2", "OF_TENANT", None);
    for number in 0..3 {
        tenant.set("LATER", &format!("{number}"), json!({}));
        host.await_env("sbx-2", "LATER", Some(&number.to_string()));
    }
    for (program, pid) in [
        ("miosa-control", world.control_pid()),
        ("miosad serve", host.serve().pid()),
        ("miosad link", host.link().pid()),
    ] {
        eventually(&format!("{program} holds no value"), || {
            let places = places(&traces, pid);
            places.is_empty().then_some(())
        });
    }
}

#[test]
fn the_host_key_is_in_one_place_of_one_process_and_nowhere_after_unenrolling() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    tenant.set("B", "2", json!({}));
    host.await_env("sbx-1", "B", Some("2"));

    let text = std::fs::read_to_string(host.state_dir().join("host.key")).unwrap();
    let traces = Traces::of([BASE64.decode(text.trim().as_bytes()).unwrap()]);
    assert_eq!(places(&traces, host.serve().pid()).len(), 1, "{:?}", places(&traces, host.serve().pid()));
    assert_eq!(places(&traces, host.link().pid()), Vec::<String>::new());
    assert_eq!(places(&traces, world.control_pid()), Vec::<String>::new());

    host.stop_link();
    host.stop_serve();
    assert!(host.run(&["unenroll"]).status.success());
    for path in miosa_tests::world::files_below(&world.path("")) {
        traces.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

#[test]
fn the_link_holds_no_value_while_it_carries_them() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let traces = Traces::of(["wanderfalke"]);
    for number in 0..5 {
        tenant.set("SECRET", &format!("wanderfalke-{number}"), json!({}));
        host.place(&tenant, &format!("sbx-{number}"), json!({"env": {"OWN": "wanderfalke"}}));
        assert_eq!(places(&traces, host.link().pid()), Vec::<String>::new());
    }
    assert!(found(&traces, host.serve().pid()) > 0);
}

#[test]
fn after_the_exec_a_value_is_in_the_environment_and_nowhere_else() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let host = world.host("h1");
    host.place(&tenant, "sbx-1", json!({"env": {"SECRET": "wanderfalke"}}));
    let mut shim = command("miosa-exec");
    shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock")).args(["--", "sleep", "60"]);
    let agent = Program::start("miosa-exec", shim, &world.path("agent.log"));
    eventually("the agent runs", || (memory::status(agent.pid(), "Name") == "sleep").then_some(()));

    let (traces, environment) = (Traces::of(["wanderfalke"]), memory::environment(agent.pid()));
    let mut inside = 0;
    for Region { name, addresses, bytes } in memory::writable(agent.pid()) {
        let range = |address: u64| {
            usize::try_from(address.clamp(addresses.start, addresses.end) - addresses.start).unwrap()
        };
        let (start, end) = (range(environment.start), range(environment.end));
        inside += traces.count_in(&bytes[start..end]);
        traces.assert_absent(&name, &bytes[..start]);
        traces.assert_absent(&name, &bytes[end..]);
    }
    assert_eq!(inside, 1);
}

#[test]
fn the_agent_keeps_the_limits_that_its_image_had() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let mut shim = Command::new("prlimit");
    shim.args(["--core=1048576:2097152", "--memlock=65536:65536"]).arg(binary("miosa-exec"));
    shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock")).args(["--", "sleep", "60"]);
    let agent = Program::start("miosa-exec", shim, &world.path("agent.log"));
    eventually("the agent runs", || (memory::status(agent.pid(), "Name") == "sleep").then_some(()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("the limit");
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["1048576", "2097152"]);
    assert_eq!(limit("Max locked memory"), ["65536", "65536"]);
}

#[test]
fn all_memory_of_the_daemons_is_locked_and_none_is_swapped() {
    let world = World::start();
    let mut host = world.host("h1");
    assert_eq!(host.status()["memory_locked"], true);
    for pid in [host.serve().pid(), world.control_pid()] {
        // Each page from its first use on: what is locked is what is there, and what may yet come.
        assert!(memory::kibibytes(pid, "VmLck") >= memory::kibibytes(pid, "VmRSS") / 2);
        assert_eq!(memory::kibibytes(pid, "VmSwap"), 0);
    }
}

#[test]
fn under_a_limit_of_locked_memory_the_daemons_work_and_say_that_memory_can_be_swapped() {
    let world = World::start();
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    host.stop_serve();
    let mut limited = Command::new("prlimit");
    limited.args(["--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]);
    limited.arg(binary("miosad")).arg("serve");
    limited.arg("--state-dir").arg(host.state_dir()).arg("--runtime-dir").arg(host.runtime_dir());
    let serve = Program::start("miosad serve", limited, &world.path("limited.log"));
    eventually("the daemon answers", || host.admin().request("GET", "/healthz", &[], b"").ok());
    assert_eq!(host.status()["memory_locked"], false);
    assert_eq!(memory::kibibytes(serve.pid(), "VmLck"), 0);
    assert!(serve.output().contains("set LimitMEMLOCK=infinity"), "{}", serve.output());
    let told = String::from_utf8(host.run(&["status"]).stdout).unwrap();
    assert!(told.contains("LimitMEMLOCK=infinity"), "{told}");
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    assert_eq!(host.env("sbx-1", "A").as_deref(), Some("1"));
}

#[test]
fn no_program_leaves_a_core_file_whatever_its_limit_was() {
    let world = World::start();
    let host = world.host("h1");
    let folder = world.path("cores");
    std::fs::create_dir(&folder).unwrap();
    for signal in [Signal::SIGSEGV, Signal::SIGABRT] {
        let sample = with_core_files("sleep", &["60"], &folder);
        crash(&world, "sleep", sample, signal, || true);
        let cores = miosa_tests::world::files_below(&folder);
        if std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().trim() == "core" {
            assert!(!cores.is_empty(), "a program without precautions leaves one");
        }
        cores.iter().for_each(|core| std::fs::remove_file(core).unwrap());

        let (state, run) = (world.path("second"), world.path("second-run"));
        let directories = ["--state-dir", state.to_str().unwrap(), "--runtime-dir", run.to_str().unwrap()];
        let token = world.control_says(&["host", "create", "--name", &format!("second-{signal}")]);
        let enroll = command("miosad")
            .args(directories)
            .args(["enroll", "--control", &world.url()])
            .args(["--token", &token])
            .output();
        assert!(enroll.unwrap().status.success());
        let program =
            |name: &str, args: &[&str]| with_core_files(binary(name).to_str().unwrap(), args, &folder);
        let [a, b, c, d] = directories;
        crash(&world, "serve", program("miosad", &["serve", a, b, c, d]), signal, || {
            run.join("admin.sock").exists()
        });
        crash(&world, "link", program("miosad", &["link", a, b, c, d]), signal, || true);
        let control = world.path("second-control");
        let control = control.to_str().unwrap();
        let socket = world.path("second-control.sock");
        let listen = format!("unix:{}", socket.display());
        crash(
            &world,
            "control",
            program("miosa-control", &["serve", "--state-dir", control, "--listen", &listen]),
            signal,
            || socket.exists(),
        );
        crash(
            &world,
            "shim",
            program("miosa-exec", &["--socket", "/nowhere", "--wait", "60", "--", "true"]),
            signal,
            || true,
        );
        std::fs::remove_file(&socket).unwrap();
        assert!(command("miosad").args(directories).arg("unenroll").status().unwrap().success());
        assert_eq!(miosa_tests::world::files_below(&folder), Vec::<std::path::PathBuf>::new());
    }
    drop(host);
}

/// A program in a folder, allowed to leave a core file there.
fn with_core_files(program: &str, args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("prlimit");
    command.arg("--core=unlimited").arg(program).args(args).current_dir(folder);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn crash(world: &World, name: &str, command: Command, signal: Signal, is_up: impl Fn() -> bool) {
    let mut program = Program::start(name, command, &world.path(&format!("crashed-{name}.log")));
    eventually(&format!("{name} is up"), || is_up().then_some(()));
    // It has reached what it does once it sleeps.
    eventually(&format!("{name} waits"), || {
        let state = memory::status(program.pid(), "State");
        (state.starts_with('S') && memory::status(program.pid(), "Name") != "prlimit").then_some(())
    });
    // Rust's own handler of SIGSEGV expects a real one to come again.
    eventually(&format!("{name} ends"), || {
        program.signal(signal);
        (!program.is_running()).then_some(())
    });
}

#[test]
fn another_user_and_the_same_one_can_read_nothing_of_the_daemons_in_proc() {
    let world = World::start();
    let mut host = world.host("h1");
    for pid in [host.serve().pid(), host.link().pid(), world.control_pid()] {
        for file in ["environ", "mem", "maps", "fd/0", "auxv", "stack"] {
            let read = |setup: &[&str]| {
                let path = format!("/proc/{pid}/{file}");
                let mut reader = Command::new("setpriv");
                reader.args(setup).args(["head", "-c1", &path]).stdout(Stdio::null()).stderr(Stdio::null());
                reader.status().expect("run setpriv").success()
            };
            assert!(!read(&["--reuid=65534", "--regid=65534", "--clear-groups"]), "{file} as nobody");
            // The same user, without the capability that root may trace anything with.
            assert!(
                !read(&[
                    "--bounding-set=-sys_ptrace,-dac_override,-dac_read_search,-sys_admin,-perfmon",
                    "--inh-caps=-all"
                ]),
                "{file} as the same user"
            );
        }
    }
    let itself = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "head", "-c1", "/proc/self/maps"])
        .output();
    assert!(itself.unwrap().status.success(), "what is tried can succeed");
}

#[test]
fn neither_arguments_nor_environment_of_the_daemons_hold_a_key_or_a_token() {
    let world = World::start();
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"SECRET": "wanderfalke"}}));
    let link: serde_json::Value =
        serde_json::from_slice(&std::fs::read(host.state_dir().join("link.json")).unwrap()).unwrap();
    let master = std::fs::read(world.path("control").join("master.key")).unwrap();
    let host_key = std::fs::read(host.state_dir().join("host.key")).unwrap();
    let traces = Traces::of([
        link["token"].as_str().unwrap().as_bytes(),
        tenant.key.as_bytes(),
        master.trim_ascii(),
        host_key.trim_ascii(),
        b"wanderfalke",
    ]);
    for pid in [host.serve().pid(), host.link().pid(), world.control_pid()] {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            traces.assert_absent(file, &bytes);
        }
    }
}

/// A request that holds a value and never ends; closed on drop.
fn half_a_request(world: &World, key: &str, value: &str) -> TcpStream {
    let url = world.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let body = json!({"scope": "tenant", "name": "HALF", "value": value}).to_string();
    let head = format!(
        "POST /api/v1/runtime-env HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    stream
}

fn found(traces: &Traces, pid: i32) -> usize {
    memory::writable(pid).iter().map(|region| traces.count_in(&region.bytes)).sum()
}

/// Where in the memory of a program any of the secrets is, once for each copy.
fn places(traces: &Traces, pid: i32) -> Vec<String> {
    memory::writable(pid)
        .iter()
        .flat_map(|Region { name, addresses, bytes }| {
            let count = traces.count_in(bytes);
            let found = format!("{name} at {:x}: {:?}", addresses.start, traces.found_in(bytes));
            std::iter::repeat_n(found, count)
        })
        .collect()
}
