//! Each way not to get an answer, with a socket that the test holds itself: a bounded time, one line, 125;
//! and what is only late is waited for.

mod faults;

use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::scope;

use miosa_tests::StandIn;
use miosa_tests::program::{command, eventually};
use miosa_tests::stand_in::{refusal, resolved, say};
use miosa_tests::start::ended;
use serde_json::json;
use tempfile::TempDir;

use faults::{Fault, Held, Lasts, faults};

#[test]
fn whatever_goes_wrong_the_wait_ends_with_one_line_that_says_it_and_125() {
    for init in ["0", "1"] {
        each(&faults(), |fault, socket, _held| {
            let mut command = bounded(socket, &["--wait", WAIT]);
            let ended = ended(command.env("MIOSA_EXEC_INIT", init));
            let line = ended.why_not();
            fault.is_told_by(line, socket);
            assert_eq!(line.ends_with(WAITED), fault.lasts == Lasts::AllTheWait, "{}: {line}", fault.name);
        });
    }
}

#[test]
fn whatever_goes_wrong_who_wants_it_starts_with_what_the_image_has() {
    for init in ["0", "1"] {
        each(&faults(), |fault, socket, _held| {
            let mut command = bounded(socket, &["--wait", WAIT, "--on-failure", "continue"]);
            let ended = ended(command.env("MIOSA_EXEC_INIT", init));
            let started = (0, "started with image and typed\n");
            assert_eq!((ended.code(), ended.stdout.as_str()), started, "{ended:?}");
            fault.is_told_by(ended.the_line(), socket);
        });
    }
}

#[test]
fn what_is_only_late_is_waited_for() {
    let late = [
        refusal(503, "not_ready", "no verified snapshot yet"),
        refusal(503, "snapshot_expired", "too old to serve"),
        refusal(503, "signer_revoked", "a full update is needed"),
        refusal(503, "draining", "restarting"),
        refusal(404, "resource_not_found", "no such resource"),
        refusal(404, "run_not_found", "no such run"),
        refusal(429, "too_many_requests", "slow down"),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\nconte".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"reso".to_vec(),
    ];
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    let count = late.len();
    let ready = resolved(json!({"env": {"KEY": "resolved"}}));
    let daemon = StandIn::answering(&socket, move |turn, connection| {
        say(connection, late.get(turn).unwrap_or(&ready));
    });
    assert_eq!(ended(&mut bounded(&socket, &[])).prints(), "started with resolved and typed\n");
    assert_eq!(daemon.requests().len(), count + 1);
}

#[test]
fn a_socket_that_comes_later_is_found_by_who_waits_for_it() {
    let folder = folder();
    let socket = folder.path().join("mounted/miosa.sock");
    let mut waiting = started(&socket, &["--wait", "60"]);
    has_tried(&mut waiting);
    std::fs::create_dir(folder.path().join("mounted")).unwrap();
    let _daemon = StandIn::saying(&socket, resolved(json!({})));
    assert_eq!(printed(waiting), "started with image and typed\n");
}

#[test]
fn a_socket_that_nobody_listens_on_may_have_a_listener_later() {
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let mut waiting = started(&socket, &["--wait", "60"]);
    has_tried(&mut waiting);
    let _daemon = StandIn::saying(&socket, resolved(json!({})));
    assert_eq!(printed(waiting), "started with image and typed\n");
}

/// As it is while a service manager holds the socket of a daemon that starts again: the request is taken by
/// the kernel, and answered by the next process.
#[test]
fn a_request_in_the_queue_of_a_listener_waits_for_whoever_accepts() {
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut waiting = started(&socket, &["--wait", "60"]);
    has_tried(&mut waiting);
    let (mut connection, _) = listener.accept().unwrap();
    say(&mut connection, &resolved(json!({})));
    assert_eq!(printed(waiting), "started with image and typed\n");
}

#[test]
fn a_daemon_that_goes_away_in_the_middle_of_its_answer_is_asked_again_when_it_is_back() {
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    let whole = resolved(json!({"env": {"KEY": "resolved"}}));
    let half = whole[..whole.len() / 2].to_vec();
    let (begun, answering) = std::sync::mpsc::channel();
    let first = StandIn::answering(&socket, move |_, connection| {
        say(connection, &half);
        let _ended = begun.send(());
    });
    let mut waiting = started(&socket, &["--wait", "60"]);
    answering.recv().unwrap();
    drop(first);
    has_tried(&mut waiting);
    let second = StandIn::saying(&socket, whole);
    assert_eq!(printed(waiting), "started with resolved and typed\n");
    assert_eq!(second.requests().len(), 1);
}

#[test]
fn an_old_snapshot_is_served_without_a_word() {
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    let stale = json!({"env": {"KEY": "resolved"}, "stale": true, "age_seconds": 86_000});
    let _daemon = StandIn::saying(&socket, resolved(stale));
    assert_eq!(ended(&mut bounded(&socket, &[])).prints(), "started with resolved and typed\n");
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    for head in [
        "content-length: 10737418240\r\n\r\n",
        "\r\n",
        "x: ",
        "transfer-encoding: chunked\r\n\r\nffffffff\r\n",
    ] {
        let folder = folder();
        let socket = folder.path().join("miosa.sock");
        let (written, sent) = std::sync::mpsc::channel();
        let _daemon = StandIn::answering(&socket, move |_, connection| {
            say(connection, format!("HTTP/1.1 200 OK\r\n{head}").as_bytes());
            let piece = [b'x'; 65_536];
            let mut bytes = 0;
            while bytes < TEN_GIB && connection.write_all(&piece).is_ok() {
                bytes += piece.len();
            }
            let _ended = written.send(bytes);
        });
        let ended = ended(&mut bounded(&socket, &["--wait", "60"]));
        assert!(ended.why_not().contains("not one of miosad"), "{head}: {ended:?}");
        // What one read takes, and what the kernel holds between the two.
        let bytes = sent.recv().unwrap();
        assert!(bytes < 4 * 1024 * 1024, "{head}: {bytes} bytes were taken");
    }
}

#[test]
fn a_single_try_is_one_request() {
    let folder = folder();
    let socket = folder.path().join("miosa.sock");
    let daemon = StandIn::saying(&socket, refusal(503, "not_ready", "no verified snapshot yet"));
    let one_try = ended(&mut bounded(&socket, &["--wait", "0"]));
    assert!(one_try.why_not().contains("not_ready"), "{one_try:?}");
    assert_eq!(daemon.requests().len(), 1);
}

#[test]
fn what_is_no_socket_at_all_is_told_with_its_path() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    symlink("loop", path("loop")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(path("datagrams")).unwrap();
    for name in ["file", "directory", "fifo", "loop", "dangling", "datagrams", "file/below", &"x".repeat(120)]
    {
        let ended = ended(&mut bounded(&path(name), &["--wait", "0"]));
        assert!(ended.why_not().contains(&path(name).display().to_string()), "{name}: {ended:?}");
    }
}

/// Runs `test` for each fault, several at a time: most of them take all the time there is.
fn each(faults: &[Fault], test: impl Fn(&Fault, &Path, &Held) + Sync) {
    for batch in faults.chunks(12) {
        scope(|scope| {
            for fault in batch {
                let test = &test;
                scope.spawn(move || {
                    let folder = folder();
                    let socket = folder.path().join("miosa.sock");
                    let held = (fault.arrange)(&socket);
                    test(fault, &socket, &held);
                });
            }
        });
    }
}

/// The shim in little memory, with a command that says what it was started with.
fn bounded(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("prlimit");
    command.arg("--as=67108864").arg(command_of_the_shim().get_program());
    finish(command, socket, args)
}

fn started(socket: &Path, args: &[&str]) -> Child {
    let mut command = finish(command_of_the_shim(), socket, args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

fn command_of_the_shim() -> Command {
    command("miosa-exec")
}

fn finish(mut command: Command, socket: &Path, args: &[&str]) -> Command {
    command.env_clear().env("KEY", "image").env("MIOSA_EXEC_ENV_TYPED", "typed");
    command.arg("--socket").arg(socket).args(args);
    command.args(["--", "/bin/sh", "-c", "echo started with $KEY and $TYPED"]);
    command
}

/// It has met what there was, and waits.
fn has_tried(child: &mut Child) {
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    eventually("the shim waits", || {
        assert_eq!(child.try_wait().unwrap(), None, "it did not wait");
        let status = std::fs::read_to_string(&status).unwrap();
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let waits: u32 = of("voluntary_ctxt_switches:").trim().parse().unwrap();
        (waits >= 1 && of("State:").trim().starts_with('S')).then_some(())
    });
}

fn printed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

const WAIT: &str = "1";
const WAITED: &str = " (waited 1 s; see --wait)";
const TEN_GIB: usize = 10 * 1024 * 1024 * 1024;
