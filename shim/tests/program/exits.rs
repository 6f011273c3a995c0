//! Each way not to start the command: its exit status and its line.

use serde_json::json;

use crate::daemon::{Daemon, open_dir, open_to_all};
use crate::shim::{PATH, Shim};

#[test]
fn bad_usage_is_125() {
    for (args, line) in [
        (&["--nope"][..], "no option --nope; see miosa-exec --help"),
        (&["--wait", "x"], "--wait takes a whole number of seconds; see miosa-exec --help"),
        (&["--socket", "vsock:2"], "--socket takes vsock:CID:PORT in decimal numbers"),
        (&["--on-change=reload"], "--on-change takes ignore, restart or signal=NAME, such as signal=HUP"),
        (&["--env", "MIOSA_SOCKET=/x"], "--env: MIOSA_SOCKET is set by the platform alone"),
    ] {
        Shim::alone().args(args).run().fails(125, line);
    }
    Shim::alone().image("MIOSA_EXEC_INIT", "yes").run().fails(125, "MIOSA_EXEC_INIT takes 1 or 0");
    Shim::alone().image("MIOSA_EXEC_WIAT", "1").run().fails(125, "MIOSA_EXEC_WIAT sets no option");
}

#[test]
fn a_directory_that_is_not_there_is_125() {
    let daemon = Daemon::resolving(json!({"cwd": "/nowhere/held", "cwd_source": "run.cwd"}));
    Shim::of(&daemon)
        .args(&["--cwd", "/nowhere/typed", "--", "true"])
        .run()
        .fails(125, "cannot change to the directory /nowhere/typed (from --cwd): No such file or directory");
    Shim::of(&daemon).args(&["--", "true"]).run().fails(
        125,
        "cannot change to the directory /nowhere/held (from the run's cwd): No such file or directory",
    );
    // A variable's value is in no message.
    let daemon = Daemon::resolving(json!({"cwd": "/nowhere/held", "cwd_source": "env"}));
    Shim::of(&daemon)
        .args(&["--", "true"])
        .run()
        .fails(125, "cannot change to the directory that MIOSA_AGENT_CWD names: No such file or directory");
    Shim::of(&daemon)
        .args(&["--cwd", "/etc/passwd", "--", "true"])
        .run()
        .fails(125, "cannot change to the directory /etc/passwd (from --cwd): Not a directory");
}

#[test]
fn no_command_is_125_with_the_daemons_reason() {
    let reason = json!({"command_error": {"code": "no_command", "message": "give the run a command"}});
    let daemon = Daemon::resolving(reason);
    Shim::of(&daemon).run().fails(125, "no command to start: give the run a command");
    Shim::of(&daemon)
        .args(&["--env", "MIOSA_AGENT_COMMAND=[agent]"])
        .run()
        .fails(125, "--env MIOSA_AGENT_COMMAND begins with [ but is not a JSON array of strings");
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let dir = open_dir();
    let script = dir.path().join("orphan");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("write a script");
    open_to_all(&script, 0o755);
    let daemon = Daemon::resolving(json!({"env": {"PATH": "/usr/bin:/bin"}}));
    for (command, line) in [
        ("no-such-agent", "no-such-agent is in no directory of PATH"),
        ("/no/such/agent", "/no/such/agent does not exist"),
        ("/etc/passwd/agent", "/etc/passwd/agent does not exist"),
        ("", "the name of the command is empty"),
    ] {
        Shim::of(&daemon).args(&["--", command]).run().fails(127, line);
    }
    let there = format!("{} is there, but the interpreter or loader it needs is not", script.display());
    Shim::of(&daemon).arg("--").arg(&script).run().fails(127, &there);
    let in_path = format!("PATH={}:/usr/bin", dir.path().display());
    Shim::of(&daemon).args(&["--env", &in_path, "--", "orphan"]).run().fails(127, &there);
}

#[test]
fn a_command_that_cannot_be_run_is_126() {
    let dir = open_dir();
    let (plain, empty) = (dir.path().join("plain"), dir.path().join("empty"));
    for (path, mode) in [(&plain, 0o644), (&empty, 0o755)] {
        std::fs::write(path, "not a program\n").expect("write a file");
        open_to_all(path, mode);
    }
    let daemon = Daemon::resolving(json!({}));
    let fails = |path: &std::path::Path, why: &str| {
        let line = format!("cannot run {}: {why}", path.display());
        Shim::of(&daemon).arg("--").arg(path).run().fails(126, &line);
    };
    fails(&plain, "Permission denied");
    fails(dir.path(), "Permission denied");
    fails(&empty, "neither a program for this machine nor a script that begins with #!");

    // One that may not be run does not hide one further on, and is named when there is none.
    let path = format!("PATH={}:{PATH}", dir.path().display());
    std::fs::write(dir.path().join("true"), "").expect("write a file");
    Shim::of(&daemon).args(&["--env", &path, "--", "true"]).run().prints();
    let line = format!("cannot run {}: Permission denied", plain.display());
    Shim::of(&daemon).args(&["--env", &path, "--", "plain"]).run().fails(126, &line);
}

#[test]
fn too_much_for_linux_is_126_and_names_the_variable_but_not_its_value() {
    let hunter2 = "hunter2".repeat(20_000);
    let daemon = Daemon::resolving(json!({"env": {"SMALL": "x", "LARGE_ONE": hunter2}}));
    let outcome = Shim::of(&daemon).args(&["--", "/bin/true"]).run().fails(
        126,
        "cannot run /bin/true: the variable LARGE_ONE has 140010 bytes, and Linux takes at most 131071",
    );
    assert!(!outcome.stderr.contains("hunter2"));

    let daemon = Daemon::resolving(json!({"command": ["/bin/echo", "x", hunter2], "command_source": "env"}));
    let outcome = Shim::of(&daemon).run().fails(
        126,
        "cannot run /bin/echo: argument 2 of the command has 140000 bytes, and Linux takes at most 131071",
    );
    assert!(!outcome.stderr.contains("hunter2"));

    // Every string is small enough, and all of them together are not.
    let env: serde_json::Map<_, _> =
        (0..40).map(|count| (format!("V{count:02}"), "x".repeat(100_000).into())).collect();
    let daemon = Daemon::resolving(json!({"env": env}));
    let starter = ["sh", "-c", "ulimit -s 8192; exec \"$@\"", "sh"];
    Shim::below(&starter, &crate::shim::program())
        .arg("--socket")
        .arg(daemon.socket())
        .args(&["--", "/bin/true"])
        .run()
        .fails(
            126,
            "cannot run /bin/true: environment and arguments together are more than Linux takes (a quarter of the stack limit, ulimit -s); the largest is the variable V39 with 100004 bytes",
        );
}

#[test]
fn help_and_version_ask_nobody() {
    let help = Shim::alone().arg("--help").run().prints();
    assert!(help.starts_with("miosa-exec: ") && help.contains("\nusage: miosa-exec [OPTIONS]"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "a line is too long for a terminal");
    assert_eq!(Shim::alone().arg("-h").run().prints(), help);
    let version = Shim::alone().arg("--version").run().prints();
    assert_eq!(version, format!("miosa-exec {}\n", env!("CARGO_PKG_VERSION")));
}
