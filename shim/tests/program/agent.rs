//! What the command gets: environment, directory, arguments, and the exit status it leaves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::daemon::{Daemon, open_dir};
use crate::shim::{Outcome, Shim};

const ENV: [&str; 3] = ["--", "/usr/bin/env", "-0"];

/// What `env -0` printed, sorted.
fn variables(outcome: Outcome) -> Vec<String> {
    let mut variables: Vec<String> = outcome.prints().split_terminator('\0').map(str::to_owned).collect();
    variables.sort();
    variables
}

#[test]
fn the_layers_lie_in_their_order_and_the_socket_on_top() {
    let daemon = Daemon::resolving(json!({"env": {
        "B": "daemon", "C": "daemon", "MIOSA_TENANT_ID": "t1", "MIOSA_SOCKET": "/elsewhere",
    }}));
    let shim = Shim::of(&daemon)
        .image("A", "image")
        .image("B", "image")
        .image("C", "image")
        .image("MIOSA_TENANT_ID", "claimed")
        .image("MIOSA_WORKSPACE_ID", "claimed")
        .image("MIOSA_EXEC_WAIT", "5")
        .image("MIOSA_EXEC_ENV_C", "variable")
        .image("MIOSA_EXEC_ENV_D", "variable")
        .args(&["--env", "D=typed", "--env", "E=a=b c"]);
    let socket = format!("MIOSA_SOCKET={}", daemon.socket().display());
    assert_eq!(
        variables(shim.args(&ENV).run()),
        ["A=image", "B=daemon", "C=variable", "D=typed", "E=a=b c", &socket, "MIOSA_TENANT_ID=t1"]
    );
}

#[test]
fn clear_env_leaves_the_image_out() {
    let daemon = Daemon::resolving(json!({"env": {"B": "daemon"}}));
    let socket = format!("MIOSA_SOCKET={}", daemon.socket().display());
    for shim in [
        Shim::of(&daemon).image("A", "image").arg("--clear-env"),
        Shim::of(&daemon).image("A", "image").image("MIOSA_EXEC_CLEAR_ENV", "1"),
    ] {
        assert_eq!(variables(shim.args(&ENV).run()), ["B=daemon", &socket]);
    }
}

#[test]
fn values_arrive_byte_by_byte() {
    let odd = "line\nline\t\"quotes\" 'and' \\ $HOME `id` \u{1f980}\r";
    let daemon =
        Daemon::resolving(json!({"env": {"ODD": odd, "EMPTY": "", "MIOSA_AGENT_POLICY": "{\"a\":1}"}}));
    let outcome = Shim::of(&daemon)
        .image(OsStr::from_bytes(b"RAW.\xff"), OsStr::from_bytes(b"\xfe=\n\x01"))
        .args(&ENV)
        .run();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let variables: Vec<&[u8]> = outcome.stdout.split(|byte| *byte == 0).collect();
    for expected in [
        b"RAW.\xff=\xfe=\n\x01".as_slice(),
        format!("ODD={odd}").as_bytes(),
        b"EMPTY=",
        b"MIOSA_AGENT_POLICY={\"a\":1}",
    ] {
        assert!(variables.contains(&expected), "{}", expected.escape_ascii());
    }
}

#[test]
fn a_large_environment_arrives_whole() {
    let env: serde_json::Map<_, _> =
        (0..50).map(|count| (format!("V{count}"), "x".repeat(20_000).into())).collect();
    let daemon = Daemon::resolving(json!({"env": env}));
    let arrived = variables(Shim::of(&daemon).args(&ENV).run());
    assert_eq!(arrived.iter().filter(|entry| entry.len() > 20_000).count(), 50);
}

#[test]
fn the_directory_is_typed_or_assigned_or_the_daemons_or_kept() {
    let dir = open_dir();
    let here = dir.path().canonicalize().expect("a path");
    for name in ["typed", "assigned", "held"] {
        std::fs::create_dir(here.join(name)).expect("make a directory");
    }
    let daemon = Daemon::resolving(json!({"cwd": here.join("held")}));
    let silent = Daemon::resolving(json!({}));
    let assigned = format!("MIOSA_AGENT_CWD={}", here.join("assigned").display());
    let pwd = ["--", "/bin/pwd", "-P"];
    let line = |name: &str| format!("{}\n", here.join(name).display());

    let both = Shim::of(&daemon).args(&["--cwd", "typed", "--env", &assigned]).starting_in(&here);
    assert_eq!(both.args(&pwd).run().prints(), line("typed"));
    let variable = Shim::of(&daemon).image("MIOSA_EXEC_CWD", here.join("typed"));
    assert_eq!(variable.args(&pwd).run().prints(), line("typed"));
    assert_eq!(Shim::of(&daemon).args(&["--env", &assigned]).args(&pwd).run().prints(), line("assigned"));
    assert_eq!(Shim::of(&daemon).args(&pwd).run().prints(), line("held"));
    let kept = Shim::of(&silent).starting_in(&here.join("held"));
    assert_eq!(kept.args(&pwd).run().prints(), line("held"));
}

#[test]
fn the_command_is_what_the_daemon_names_unless_one_is_typed() {
    let daemon = Daemon::resolving(json!({
        "command": ["/bin/sh", "-c", "echo \"$0 $1\"", "held", "a b"], "command_source": "run.command",
    }));
    assert_eq!(Shim::of(&daemon).run().prints(), "held a b\n");
    // An image whose ENTRYPOINT ends in `--`, and that has no CMD.
    assert_eq!(Shim::of(&daemon).arg("--").run().prints(), "held a b\n");
    assert_eq!(
        Shim::of(&daemon).args(&["--", "/bin/echo", "typed", "--wait"]).run().prints(),
        "typed --wait\n"
    );
    assert_eq!(Shim::of(&daemon).args(&["/bin/echo", "--", "typed"]).run().prints(), "-- typed\n");
    let own = "MIOSA_AGENT_COMMAND=/bin/echo assigned";
    assert_eq!(Shim::of(&daemon).args(&["--env", own]).run().prints(), "held a b\n");
    let catalog = Daemon::resolving(json!({"command": ["/nope"], "command_source": "catalog"}));
    assert_eq!(Shim::of(&catalog).args(&["--env", own]).run().prints(), "assigned\n");
}

#[test]
fn a_bare_name_is_looked_up_in_the_commands_own_path_after_changing_directory() {
    let dir = open_dir();
    let script = dir.path().join("agent");
    std::fs::write(&script, "#!/bin/sh\necho found\n").expect("write a script");
    crate::daemon::open_to_all(&script, 0o755);
    let here = dir.path().display().to_string();

    let daemon = Daemon::resolving(json!({"env": {"PATH": format!("/nowhere:{here}:/usr/bin")}}));
    assert_eq!(Shim::of(&daemon).image("PATH", "/usr/bin").args(&["--", "agent"]).run().prints(), "found\n");
    // An empty entry is the directory that the command starts in, as is a relative one.
    for path in [":/usr/bin", "."] {
        let daemon = Daemon::resolving(json!({"env": {"PATH": path}, "cwd": here}));
        assert_eq!(Shim::of(&daemon).args(&["--", "agent"]).run().prints(), "found\n");
        assert_eq!(Shim::of(&daemon).args(&["--", "./agent"]).run().prints(), "found\n");
    }
    // Without PATH the usual places are searched.
    assert_eq!(Shim::of(&Daemon::resolving(json!({}))).args(&["--", "echo", "x"]).run().prints(), "x\n");
}

#[test]
fn the_exit_status_is_the_commands_own() {
    let daemon = Daemon::resolving(json!({}));
    assert_eq!(Shim::of(&daemon).args(&["--", "sh", "-c", "exit 42"]).run().status, Some(42));
    assert_eq!(Shim::of(&daemon).args(&["--", "sh", "-c", "kill -TERM $$"]).run().status, None);
}

#[test]
fn the_run_is_asked_for_and_env_is_never_sent() {
    let daemon = Daemon::resolving(json!({}));
    let ask = |shim: Shim| shim.args(&["--env", "KEY=hunter2", "--", "true"]).run().prints();
    ask(Shim::of(&daemon));
    ask(Shim::of(&daemon).args(&["--run", "run_typed"]).image("MIOSA_RUN_ID", "run_platform"));
    ask(Shim::of(&daemon).image("MIOSA_RUN_ID", "run_platform"));
    ask(Shim::of(&daemon).image("MIOSA_RUN_ID", "run_platform").image("MIOSA_EXEC_RUN", "run_variable"));
    ask(Shim::alone().image("MIOSA_SOCKET", daemon.socket()));
    ask(Shim::alone().image("MIOSA_EXEC_SOCKET", daemon.socket()).image("MIOSA_SOCKET", "/nowhere"));
    let requests = daemon.requests();
    let targets: Vec<&str> = requests.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(
        targets,
        [
            "GET /v1/resolve HTTP/1.1",
            "GET /v1/resolve?run=run_typed HTTP/1.1",
            "GET /v1/resolve?run=run_platform HTTP/1.1",
            "GET /v1/resolve?run=run_variable HTTP/1.1",
            "GET /v1/resolve HTTP/1.1",
            "GET /v1/resolve HTTP/1.1",
        ]
    );
    assert!(!requests.concat().contains("hunter2"));
}
