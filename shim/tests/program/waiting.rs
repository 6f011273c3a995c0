//! The daemon, the resource or the run is not there yet.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use serde_json::json;

use crate::daemon::{Daemon, http, open_dir, refusal, resolution, say};
use crate::shim::Shim;

/// Answers with these one after the other, then with a resolution.
fn after(first: Vec<Vec<u8>>) -> Daemon {
    let good = http(200, &resolution(json!({"env": {"A": "1"}})).to_string());
    Daemon::new(move |turn, connection| say(connection, first.get(turn).unwrap_or(&good)))
}

#[test]
fn it_asks_again_while_the_daemon_is_not_ready_or_the_resource_not_here() {
    let daemon = after(vec![
        refusal(503, "not_ready", "no snapshot yet"),
        refusal(404, "resource_not_found", "no such resource"),
        refusal(404, "run_not_found", "no such run"),
        refusal(429, "too_many_requests", "slow down"),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-len".to_vec(),
    ]);
    assert_eq!(Shim::of(&daemon).args(&["--", "sh", "-c", "echo $A"]).run().prints(), "1\n");
    assert_eq!(daemon.requests().len(), 7);
}

#[test]
fn it_waits_for_a_socket_that_is_not_there_yet() {
    let dir = open_dir();
    let socket = dir.path().join("miosa.sock");
    let shim = Shim::alone().arg("--socket").arg(&socket).args(&["--", "sh", "-c", "echo $A"]);
    let started = thread::spawn(move || shim.run().prints());
    // Long enough that the first tries find nothing; that they do is not what is asserted.
    thread::sleep(Duration::from_millis(150));
    let good = http(200, &resolution(json!({"env": {"A": "1"}})).to_string());
    let _daemon = Daemon::listening(dir, move |_, connection| say(connection, &good));
    assert_eq!(started.join().expect("the start"), "1\n");
}

#[test]
fn it_waits_for_a_daemon_that_comes_back_to_its_socket() {
    let dir = open_dir();
    let socket = dir.path().join("miosa.sock");
    // A socket that nobody listens on any more refuses connections.
    drop(UnixListener::bind(&socket).expect("bind"));
    let shim = Shim::alone().arg("--socket").arg(&socket).args(&["--", "sh", "-c", "echo $A"]);
    let started = thread::spawn(move || shim.run().prints());
    thread::sleep(Duration::from_millis(150));
    std::fs::remove_file(&socket).expect("remove the socket");
    let good = http(200, &resolution(json!({"env": {"A": "1"}})).to_string());
    let _daemon = Daemon::listening(dir, move |_, connection| say(connection, &good));
    assert_eq!(started.join().expect("the start"), "1\n");
}

#[test]
fn after_the_time_one_line_says_that_nobody_listens() {
    let dir = open_dir();
    let [missing, stale, plain] = ["miosa.sock", "stale.sock", "plain"].map(|name| dir.path().join(name));
    drop(UnixListener::bind(&stale).expect("bind"));
    std::fs::write(&plain, "").expect("write a file");
    thread::scope(|scope| {
        for (socket, why) in [
            (missing, "no socket at {}; is the host's directory mounted here, and is miosad running?"),
            (stale, "nothing listens on {}; is miosad running on the host, and is this its socket?"),
            (plain, "nothing listens on {}; is miosad running on the host, and is this its socket?"),
        ] {
            scope.spawn(move || {
                let line =
                    format!("{why} (waited 1 s; see --wait)").replace("{}", &socket.display().to_string());
                let shim = Shim::alone().arg("--socket").arg(&socket).args(&["--wait", "1", "--", "true"]);
                let outcome = shim.run().fails(125, &line);
                assert!(outcome.took >= Duration::from_millis(900), "{outcome:?}");
                assert!(outcome.took < Duration::from_secs(8), "{outcome:?}");
            });
        }
    });
}

#[test]
fn after_the_time_one_line_says_what_the_daemon_lacks() {
    thread::scope(|scope| {
        for (status, code, message) in [
            (503, "not_ready", "no verified snapshot yet"),
            (503, "snapshot_expired", "too old to serve"),
            (404, "run_not_found", "no run run_1 on this resource"),
        ] {
            scope.spawn(move || {
                let daemon = Daemon::saying(refusal(status, code, message));
                let line = format!("miosad answers {code}: {message} (waited 1 s; see --wait)");
                Shim::of(&daemon).args(&["--wait", "1", "--", "true"]).run().fails(125, &line);
                assert!(daemon.requests().len() > 3, "it was hardly asked again");
            });
        }
    });
}

#[test]
fn wait_0_is_one_try() {
    let dir = open_dir();
    let missing = dir.path().join("miosa.sock");
    let shim = Shim::alone().arg("--socket").arg(&missing).image("MIOSA_EXEC_WAIT", "0");
    let outcome = shim.args(&["--", "true"]).run().fails(125, "no socket at ");
    assert!(outcome.took < Duration::from_secs(4), "{outcome:?}");
    let daemon = Daemon::saying(refusal(503, "not_ready", "no snapshot yet"));
    Shim::of(&daemon).args(&["--wait", "0"]).run().fails(125, "miosad answers not_ready");
    assert_eq!(daemon.requests().len(), 1);
    Shim::of(&after(Vec::new())).args(&["--wait", "0", "--", "true"]).run().prints();
}

#[test]
fn a_path_too_long_for_a_socket_is_told_at_once() {
    let long = format!("/{}", "x".repeat(200));
    let outcome = Shim::alone().args(&["--socket", &long, "--wait", "60", "--", "true"]).run();
    let outcome = outcome.fails(125, &format!("cannot connect to {long}: File name too long"));
    assert!(outcome.took < Duration::from_secs(20), "{outcome:?}");
}

#[test]
fn a_full_queue_does_not_block_for_ever() {
    let dir = open_dir();
    let path = dir.path().join("full.sock");
    let listener =
        socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("socket");
    socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("address")).expect("bind");
    socket::listen(&listener, Backlog::new(0).expect("a backlog")).expect("listen");
    // A queue of no length holds one connection; this one is never taken out of it.
    let _queued = UnixStream::connect(&path).expect("connect");
    let shim = Shim::alone().arg("--socket").arg(&path).args(&["--wait", "1", "--", "true"]);
    let outcome = shim.run().fails(125, "miosad is too busy to take a connection on ");
    assert!(outcome.took < Duration::from_secs(8), "{outcome:?}");
}
