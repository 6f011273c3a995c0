//! Daemons that lie, stall or refuse: a bounded time, one line, no value in it.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::daemon::{Daemon, http, refusal, resolution, wait_for_the_end};
use crate::shim::Shim;

fn start(daemon: &Daemon) -> Shim {
    Shim::of(daemon).args(&["--wait", "1", "--", "/bin/true"])
}

#[test]
fn a_refusal_that_patience_does_not_mend_is_told_at_once() {
    for (status, code, message) in [
        (409, "profile_not_found", "profile arp_1 is gone"),
        (409, "profile_not_applicable", "profile arp_1 is not for a sandbox"),
        (413, "env_too_large", "the environment is 2097152 bytes"),
        (400, "bad_request", "no"),
        (404, "not_found", "no such path"),
    ] {
        let daemon = Daemon::saying(refusal(status, code, message));
        let line = format!("miosad answers {code}: {message}\n");
        let outcome = Shim::of(&daemon).args(&["--wait", "60", "--", "true"]).run().fails(125, &line);
        assert!(outcome.took < Duration::from_secs(20), "{outcome:?}");
        assert_eq!(daemon.requests().len(), 1);
    }
}

#[test]
fn an_answer_of_something_else_is_not_taken_for_one_of_the_daemon() {
    let fails = |daemon: Daemon, why: &str| {
        let line = why.replace("{}", &daemon.socket().display().to_string());
        start(&daemon).run().fails(125, &line);
    };
    let another = "the answer on {} is HTTP 404 without a reason; is it really miosad that listens there?";
    fails(Daemon::saying(http(404, "<html>not found</html>")), another);
    fails(Daemon::saying(http(503, "")), "the answer on {} is HTTP 503 without a reason");
    let no_http = "the answer on {} is not one of miosad: invalid HTTP version";
    fails(Daemon::saying("SSH-2.0-OpenSSH\r\n"), no_http);
}

#[test]
fn a_resolution_that_makes_no_sense_is_refused_without_quoting_it() {
    let secret = "hunter2";
    for body in [
        "not json hunter2".to_owned(),
        "{}".to_owned(),
        json!({"env": secret}).to_string(),
        resolution(json!({"env": {"A": [secret]}})).to_string(),
        resolution(json!({"env": {"9": secret}})).to_string(),
        resolution(json!({"env": {"A=B": secret}})).to_string(),
        resolution(json!({"env": {"": secret}})).to_string(),
        resolution(json!({"env": {"A": "hunter2\u{0}"}})).to_string(),
        resolution(json!({"command": secret})).to_string(),
        resolution(json!({"snapshot_version": secret})).to_string(),
        resolution(json!({})).to_string().replace("\"env\":{}", r#""env":{"A":"hunter2","A":"hunter2"}"#),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let outcome = start(&Daemon::saying(http(200, &body))).run().fails(125, "the answer of miosad on ");
        assert!(outcome.stderr.contains(" can't be read (line "), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
}

#[test]
fn a_delivery_that_is_not_known_is_refused_and_not_forgotten() {
    let more = json!({"env": {"KEY": "hunter2"}, "delivery": {"KEY": "carrier pigeon"}});
    let line =
        "miosad asks for KEY to be delivered as \"carrier pigeon\", which this version can't do; put a newer";
    start(&Daemon::resolving(more)).run().fails(125, line);
    let line = "miosad asks for files to be written, which this version can't do; put a newer";
    start(&Daemon::resolving(json!({"files": [{"path": "/x"}]}))).run().fails(125, line);
}

#[test]
fn members_of_a_newer_daemon_are_let_pass() {
    let daemon = Daemon::resolving(json!({"newer": {"x": [1, 2.5]}, "profile": {"id": "arp_1", "newer": 1}}));
    start(&daemon).run().prints();
}

#[test]
fn a_message_without_end_or_with_control_characters_is_one_short_line() {
    let message = format!("a\nb\u{1b}[31m{}", "x".repeat(100_000));
    let outcome = start(&Daemon::saying(refusal(409, "bad\ncode", &message)))
        .run()
        .fails(125, "miosad answers bad code: a b [31mx");
    assert!(outcome.stderr.len() < 600, "{}", outcome.stderr.len());
}

#[test]
fn a_silent_daemon_gets_the_time_of_wait_and_no_more() {
    let daemon = Daemon::new(|_, connection| wait_for_the_end(connection));
    let socket = daemon.socket();
    let line = format!(
        "miosad took the request on {} and did not answer in time (waited 1 s; see --wait)",
        socket.display()
    );
    let outcome = start(&daemon).run().fails(125, &line);
    assert!(
        outcome.took >= Duration::from_millis(900) && outcome.took < Duration::from_secs(8),
        "{outcome:?}"
    );
}

#[test]
fn a_dripping_daemon_gets_the_time_of_wait_and_no_more() {
    let daemon = Daemon::new(|_, connection| {
        let mut alive = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").is_ok();
        while alive {
            std::thread::sleep(Duration::from_millis(50));
            alive = connection.write_all(b" ").is_ok();
        }
    });
    let outcome = start(&daemon).run().fails(125, "miosad took the request on ");
    assert!(outcome.took < Duration::from_secs(4), "{outcome:?}");
}

#[test]
fn endless_answers_are_cut() {
    let no_end = |start: &'static [u8]| {
        Daemon::new(move |_, connection| {
            let mut alive = connection.write_all(start).is_ok();
            while alive {
                alive = connection.write_all(&[b'x'; 65_536]).is_ok();
            }
        })
    };
    for (head, why) in [
        (&b"HTTP/1.1 200 OK\r\nX: "[..], "is not one of miosad: its head is longer than 16384 bytes"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n",
            "is not one of miosad: its body is longer than 8388608 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", "is not one of miosad: it has no length"),
    ] {
        let daemon = no_end(head);
        let line = format!("the answer on {} {why}", daemon.socket().display());
        start(&daemon).run().fails(125, &line);
    }
    start(&no_end(b"HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n"))
        .run()
        .fails(125, "the answer of miosad on ");
}

#[test]
fn an_answer_that_is_always_cut_short_ends_with_the_time() {
    let daemon = Daemon::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
    let line = format!(
        "miosad closed the connection on {} before its answer was complete (waited 1 s; see --wait)",
        daemon.socket().display()
    );
    start(&daemon).run().fails(125, &line);
    assert!(daemon.requests().len() > 1, "it was asked once only");
}
