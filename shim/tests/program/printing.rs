//! `--print`: what would be started, masked, and in forms that shells and programs read back.

use std::process::Command;

use serde_json::{Value, json};

use crate::daemon::{Daemon, http};
use crate::shim::Shim;

const KEY: &str = "sk-ant-0123456789012345678901abcd";

fn daemon() -> Daemon {
    Daemon::resolving(json!({
        "env": {"KEY": KEY, "SHORT": "hunter2", "MIOSA_RESOURCE_ID": "sbx-1"},
        "cwd": "/work", "command": ["claude", "-p", "it's $HOME"], "command_source": "catalog",
        "profile": {"id": "arp_1", "name": "p"},
    }))
}

#[test]
fn values_are_masked_unless_they_are_to_be_revealed() {
    let daemon = daemon();
    for what in ["env", "json"] {
        let shim =
            Shim::of(&daemon).image("IMAGE", "hunter2").args(&["--env", "OWN=hunter2", "--print", what]);
        let masked = shim.run().prints();
        assert!(!masked.contains("hunter2") && !masked.contains(KEY), "{masked}");
        assert!(masked.contains("sk-ant...abcd") && masked.contains("sbx-1"), "{masked}");
        let revealed = Shim::of(&daemon).args(&["--print", what, "--reveal"]).run().prints();
        assert!(revealed.contains("hunter2") && revealed.contains(KEY), "{revealed}");
    }
    let revealed =
        Shim::of(&daemon).image("MIOSA_EXEC_PRINT", "env").image("MIOSA_EXEC_REVEAL", "1").run().prints();
    assert!(revealed.contains(KEY), "{revealed}");
}

#[test]
fn a_command_and_a_directory_from_variables_are_values_too() {
    let daemon = Daemon::resolving(json!({
        "cwd": "/hunter2", "cwd_source": "env",
        "command": ["agent", "--token", "hunter2"], "command_source": "env",
    }));
    for what in ["json", "command"] {
        let masked = Shim::of(&daemon).args(&["--print", what]).run().prints();
        assert!(!masked.contains("hunter2") && masked.contains("***"), "{masked}");
        let revealed = Shim::of(&daemon).args(&["--print", what, "--reveal"]).run().prints();
        assert!(revealed.contains("--token") && revealed.contains("hunter2"), "{revealed}");
    }
    let own = ["--env", "MIOSA_AGENT_COMMAND=agent hunter2", "--print", "command"];
    assert_eq!(Shim::of(&daemon).args(&own).run().prints(), "'***'\n");
}

#[test]
fn a_first_word_that_a_shell_would_take_for_an_assignment_is_quoted() {
    let daemon = Daemon::resolving(json!({"command": ["A=1", "B=2"], "command_source": "run.command"}));
    assert_eq!(Shim::of(&daemon).args(&["--print", "command"]).run().prints(), "'A=1' B=2\n");
}

#[test]
fn a_shell_reads_env_back_and_runs_nothing_of_it() {
    let odd = "a'b\"c $(touch pwned) `id` \\ \n # \u{1f980}";
    let daemon = Daemon::resolving(json!({"env": {"ODD": odd, "EMPTY": ""}}));
    let printed = Shim::of(&daemon)
        .image("not.a;name\n", "$(exit 9)")
        .args(&["--print", "env", "--reveal"])
        .run()
        .prints();
    assert!(printed.contains("# not a name that a shell takes: not.a;name\\n\n"), "{printed}");
    let script = format!("set -eu\n{printed}\nprintf '%s|%s' \"$ODD\" \"$EMPTY\"");
    let output = Command::new("sh").args(["-c", &script]).output().expect("run sh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{odd}|"));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn env_is_the_whole_environment_by_name() {
    let daemon = Daemon::resolving(json!({"env": {"B": "2"}}));
    let printed = Shim::of(&daemon)
        .image("C", "3 3")
        .args(&["--env", "A=1", "--print", "env", "--reveal"])
        .run()
        .prints();
    let socket = format!("MIOSA_SOCKET={}", daemon.socket().display());
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["A=1", "B=2", "C='3 3'", &socket]);
}

#[test]
fn json_is_the_whole_launch() {
    let printed = Shim::of(&daemon()).args(&["--print", "json", "--cwd", "/typed"]).run().prints();
    let launch: Value = serde_json::from_str(&printed).expect("JSON");
    for (member, expected) in [
        ("resource_id", json!("sbx-1")),
        ("snapshot_version", json!(7)),
        ("stale", json!(false)),
        ("age_seconds", json!(3)),
        ("cwd", json!("/typed")),
        ("command", json!(["claude", "-p", "it's $HOME"])),
        ("command_error", json!(null)),
        ("profile", json!({"id": "arp_1", "name": "p"})),
    ] {
        assert_eq!(launch[member], expected, "{member}");
    }
    assert_eq!(launch["env"]["SHORT"], "***");

    let without =
        Daemon::resolving(json!({"command_error": {"code": "no_command", "message": "none given"}}));
    let printed = Shim::of(&without).args(&["--print", "json"]).run().prints();
    let launch: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(
        (&launch["command"], &launch["command_error"]),
        (&json!(null), &json!("no command to start: none given"))
    );
}

#[test]
fn command_is_a_line_that_a_shell_splits_back() {
    let daemon = daemon();
    assert_eq!(
        Shim::of(&daemon).args(&["--print", "command"]).run().prints(),
        "claude -p 'it'\\''s $HOME'\n"
    );
    let typed = Shim::of(&daemon).args(&["--print", "command", "--", "a", "", "b c"]);
    assert_eq!(typed.run().prints(), "a '' 'b c'\n");
    Shim::of(&Daemon::resolving(json!({})))
        .args(&["--print", "command"])
        .run()
        .fails(125, "no command to start");
}

#[test]
fn explain_is_a_table_with_what_was_typed_on_top() {
    let explanation = json!({
        "resource_id": "sbx-1", "kind": "sandbox", "run_id": "run_1", "snapshot_version": 7,
        "profile": {"id": null, "name": null, "runtime": null, "reason": "no default applies"},
        "variables": [{
            "name": "KEY", "preview": "sk-ant...abcd", "layer": "tenant all", "source_id": "env_1", "overrode": [],
        }],
        "ignored": [], "cwd": null, "command": {"argv": null, "source": null, "error": null},
    });
    let daemon = Daemon::saying(http(200, &explanation.to_string()));
    let table = Shim::of(&daemon)
        .args(&["--run", "run_1", "--print", "explain", "--env", "KEY=hunter2", "--env", "OWN=hunter2"])
        .run()
        .prints();
    assert!(
        table.contains("sandbox sbx-1") && table.contains("env_1") && !table.contains("hunter2"),
        "{table}"
    );
    for line in ["KEY   ***    --env  -\n", "tenant all is below --env\n", "OWN   ***    --env  -\n"] {
        assert!(table.contains(line), "{table}");
    }
    assert!(daemon.requests()[0].starts_with("GET /v1/explain?run=run_1 HTTP/1.1\r\n"));
    let out = Shim::of(&daemon)
        .args(&["--print", "explain", "--cwd", "/typed", "--fd", "KEY=3", "--", "my", "agent"])
        .run()
        .prints();
    assert!(out.contains("my agent") && out.contains("the command line"), "{out}");
    assert!(out.contains("/typed") && out.contains("--cwd") && out.contains("delivered as fd"), "{out}");
}

#[test]
fn what_nobody_can_read_is_no_success() {
    let daemon = Daemon::resolving(json!({}));
    let script = "exec \"$0\" \"$@\" >&-";
    let shim = Shim::below(&["/bin/sh", "-c", script], &crate::shim::program());
    let args = ["--print", "json"];
    shim.arg("--socket")
        .arg(daemon.socket())
        .args(&args)
        .run()
        .fails(125, "cannot write to stdout: Bad file");
}
