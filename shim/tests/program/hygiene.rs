//! What the command inherits from `miosa-exec`: nothing. What others can see of it: nothing.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::sync::mpsc;
use std::time::Duration;

use nix::unistd::geteuid;
use serde_json::json;

use crate::daemon::{Daemon, http, open_dir, open_to_all, resolution, say};
use crate::shim::{Shim, program};

/// What a command sees of itself when started directly, and when started by us in the same place.
fn directly_and_by_us(starter: &[&str], command: &[&str]) -> [String; 2] {
    let daemon = Daemon::resolving(json!({}));
    let (first, rest) = command.split_first().expect("a command");
    let directly = Shim::below(starter, first.as_ref()).args(rest).run().prints();
    let by_us = Shim::below(starter, &program()).arg("--socket").arg(daemon.socket()).arg("--").args(command);
    [directly, by_us.run().prints()]
}

#[test]
fn signals_are_as_they_were() {
    // SIGPIPE is the one that Rust programs usually change.
    for starter in [
        &["env"][..],
        &["env", "--ignore-signal=PIPE", "--ignore-signal=USR1", "--block-signal=USR2"],
        &["env", "--default-signal=PIPE", "--block-signal=TERM"],
    ] {
        // Without SigQ, which counts what waits for all processes of the user.
        let [directly, by_us] =
            directly_and_by_us(starter, &["/bin/grep", "^Sig[^Q]\\|^Shd", "/proc/self/status"]);
        assert_eq!(by_us, directly, "{starter:?}");
    }
}

#[test]
fn open_files_are_those_that_were_open() {
    let command = ["/bin/sh", "-c", "ls /proc/$$/fd"];
    for starter in [&["env"][..], &["sh", "-c", "exec \"$@\" 7</dev/null", "sh"]] {
        let [directly, by_us] = directly_and_by_us(starter, &command);
        assert_eq!(by_us, directly, "{starter:?}");
    }
}

#[test]
fn limits_and_umask_are_as_they_were() {
    let starter = ["sh", "-c", "ulimit -S -c 1234; ulimit -n 99; umask 027; exec \"$@\"", "sh"];
    let [directly, by_us] = directly_and_by_us(&starter, &["/bin/sh", "-c", "umask; cat /proc/self/limits"]);
    assert_eq!(by_us, directly);
}

#[test]
fn arguments_and_process_id_are_the_commands_own() {
    let daemon = Daemon::resolving(json!({}));
    let starter = ["sh", "-c", "echo $$; exec \"$@\"", "sh"];
    let script = "echo $$; tr '\\0' ' ' </proc/$$/cmdline";
    let shim = Shim::below(&starter, &program()).arg("--socket").arg(daemon.socket());
    let printed = shim.args(&["--env", "KEY=hunter2", "--", "sh", "-c", script]).run().prints();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], lines[1], "another process");
    assert_eq!(lines[2], format!("sh -c {script} "));
}

#[test]
fn no_list_of_processes_shows_a_value_that_was_typed() {
    let daemon = Daemon::resolving(json!({}));
    let script = "tr '\\0' ' ' </proc/$PPID/cmdline; echo; echo $A $B";
    let shim = Shim::of(&daemon).args(&["--init", "--env", "A=hunter2", "--env=B=hunter=3"]);
    let printed = shim.args(&["--", "sh", "-c", script, "--env=C=the-commands"]).run().prints();
    let (listed, given) = printed.trim_end().rsplit_once('\n').expect("two lines");
    assert_eq!(given, "hunter2 hunter=3");
    assert!(listed.contains(" --init --env A=******* --env=B=******** -- sh "), "{listed}");
    assert!(listed.contains("--env=C=the-commands"), "{listed}");
}

/// As for a debugger or a core dump, the kernel gives the files of such a process to root.
#[test]
fn while_secrets_are_in_its_memory_no_other_process_of_the_user_can_read_it() {
    let dir = open_dir();
    let copy = dir.path().join("miosa-exec");
    std::fs::copy(program(), &copy).expect("copy the program");
    open_to_all(&copy, 0o755);

    let (pids, asked) = mpsc::channel();
    let good = http(200, &resolution(json!({})).to_string());
    let owner_while_asking =
        |pid: u32| std::fs::metadata(format!("/proc/{pid}/environ")).expect("its files").uid();
    let daemon = Daemon::new(move |_, connection| {
        let pid = socket_peer(connection);
        pids.send(owner_while_asking(pid)).expect("tell the owner");
        say(connection, &good);
    });
    let user = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    let outcome = Shim::below(&["env"], &copy)
        .arg("--socket")
        .arg(daemon.socket())
        .args(&["--", "stat", "-c", "%u", "/proc/self/environ"])
        .configured(|command| {
            if geteuid().is_root() {
                command.uid(NOBODY).gid(NOBODY);
            }
        })
        .run();
    assert_eq!(asked.recv_timeout(Duration::from_secs(20)), Ok(0), "while it was asking");
    assert_eq!(outcome.prints(), format!("{user}\n"), "once it was the command");
}

fn socket_peer(connection: &std::os::unix::net::UnixStream) -> u32 {
    let peer = nix::sys::socket::getsockopt(connection, nix::sys::socket::sockopt::PeerCredentials);
    u32::try_from(peer.expect("peer credentials").pid()).expect("a process id")
}

const NOBODY: u32 = 65_534;
