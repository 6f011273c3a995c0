//! As process 1 of its own namespaces, as a sandbox starts it, down to a root with nothing in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::json;

use crate::daemon::{Daemon, http, open_dir, open_to_all, resolution, say};
use crate::shim::{PATH, Shim, program, shipped, skipped};

/// `unshare` with a process namespace, or `None` where this machine does not let us make one.
fn namespaces(more: &[&'static str]) -> Option<Vec<&'static str>> {
    let mut starter = vec!["unshare", "--pid", "--fork", "--kill-child"];
    if !geteuid().is_root() {
        starter.extend(["--user", "--map-root-user"]);
    }
    starter.extend(more);
    let (first, rest) = starter.split_first()?;
    let allowed =
        Command::new(first).args(rest).arg("true").output().is_ok_and(|output| output.status.success());
    if !allowed {
        skipped(&format!("this machine does not permit {}", starter.join(" ")));
    }
    allowed.then_some(starter)
}

#[test]
fn it_becomes_the_command_as_process_1() {
    let Some(starter) = namespaces(&["--mount-proc"]) else { return };
    let daemon = Daemon::resolving(json!({"env": {"KEY": "value"}, "cwd": "/usr"}));
    let script = "echo $$ $KEY; pwd; cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l";
    let shim = Shim::below(&starter, &program()).arg("--socket").arg(daemon.socket());
    let printed = shim.args(&["--", "sh", "-c", script]).run().prints();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..3], ["1 value", "/usr", "sh"], "{printed}");
    // The shell and its pipe's two ends: nothing else was left running.
    assert!(lines[3].parse::<u32>().expect("a count") <= 3, "{printed}");
}

#[test]
fn its_failures_and_the_commands_status_reach_whoever_started_it() {
    let Some(starter) = namespaces(&["--mount-proc"]) else { return };
    let daemon = Daemon::resolving(json!({}));
    let shim = || Shim::below(&starter, &program()).arg("--socket").arg(daemon.socket());
    assert_eq!(shim().args(&["--", "sh", "-c", "exit 7"]).run().status, Some(7));
    shim().args(&["--", "no-such-agent"]).run().fails(127, "no-such-agent is in no directory of PATH");
    Shim::below(&starter, &program())
        .args(&["--wait", "0", "--socket", "/nope"])
        .run()
        .fails(125, "no socket at /nope");
}

/// A root that holds two copies of the shim and the daemon's socket: no /proc, no /dev, no libraries.
/// The second copy is the command, so that its request to the daemon tells that it was started.
struct EmptyRoot {
    daemon: Daemon,
    starter: Vec<&'static str>,
}

impl EmptyRoot {
    fn new() -> Option<Self> {
        let Some(shipped) = shipped() else {
            skipped("an empty root needs the static program; `make test` builds it");
            return None;
        };
        let starter = namespaces(&[])?;
        let dir = open_dir();
        for name in ["miosa-exec", "agent"] {
            copy(&shipped, &dir.path().join(name));
        }
        let answer = resolution(json!({"env": {"KEY": "value"}, "cwd": "/"}));
        let daemon =
            Daemon::listening(dir, move |_, connection| say(connection, &http(200, &answer.to_string())));
        Some(Self { daemon, starter })
    }

    fn start(&self, wrapper: &[&str]) -> Shim {
        let root = self.daemon.dir().display().to_string();
        let words = [wrapper, &self.starter, &["chroot", &root]].concat();
        Shim::below(&words, Path::new("/miosa-exec")).args(&[
            "--socket",
            "/miosa.sock",
            "--",
            "/agent",
            "--run",
            "started",
            "--print",
            "env",
            "--reveal",
        ])
    }

    fn was_started(&self) -> bool {
        self.daemon.requests().iter().any(|request| request.starts_with("GET /v1/resolve?run=started "))
    }
}

#[test]
fn it_needs_nothing_of_the_image() {
    let Some(root) = EmptyRoot::new() else { return };
    let printed = root.start(&["env", "-i", &format!("PATH={PATH}")]).run().prints();
    assert!(printed.contains("KEY=value\n") && printed.contains("MIOSA_SOCKET=/miosa.sock\n"), "{printed}");
    assert!(root.was_started());
}

/// Early in the boot of a machine there may be no console: the three standard descriptors are closed.
#[test]
fn it_works_with_nothing_open() {
    let Some(root) = EmptyRoot::new() else { return };
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    root.start(&closed).run();
    assert!(root.was_started());
}

#[test]
fn without_path_it_still_explains_itself() {
    let Some(root) = EmptyRoot::new() else { return };
    let dir = root.daemon.dir().display().to_string();
    let starter = [&root.starter[..], &["chroot", &dir]].concat();
    let shim =
        Shim::below(&starter, Path::new("/miosa-exec")).args(&["--clear-env", "--socket", "/miosa.sock"]);
    shim.args(&["--", "no-such-agent"])
        .run()
        .fails(127, "no-such-agent is in none of /usr/local/bin:/usr/bin:/bin, and PATH is not set");
}

/// Whose root may be the host's own. The namespace of users keeps this machine safe from who tests.
#[test]
fn the_first_process_of_a_container_is_none_of_a_machine_whoever_else_is_in_it() {
    let users = &["--user", "--map-root-user", "--mount-proc"][..];
    let Some(starter) = namespaces(if geteuid().is_root() { users } else { &users[2..] }) else { return };
    for script in ["exec \"$@\"", "sleep 60 & exec \"$@\""] {
        Shim::below(&[&starter[..], &["sh", "-c", script, "sh"]].concat(), &program())
            .args(&["--vm", "--wait=0", "--socket=/nope", "--", "/bin/true"])
            .run()
            .fails(125, "--vm is for the first process of a virtual machine, and this is a container");
    }
}

fn copy(from: &PathBuf, to: &Path) {
    std::fs::copy(from, to).expect("copy the program");
    open_to_all(to, 0o755);
}
