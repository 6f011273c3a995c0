//! Staying with a command while its daemon is watched: daemons that are out of order, and changes that can't be
//! brought about.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::{Daemon, resolution, say, wait_for_the_end};
use crate::shim::{PATH, Shim, program};

/// An answer that is called `tag`.
fn tagged(status: u16, tag: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\netag: \"{tag}\"\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_daemon_that_answers_at_once_for_ever_keeps_nobody_busy() {
    let body = |value: &str| resolution(json!({"env": {"KEY": value}})).to_string();
    let same = tagged(200, "a", &body("1"));
    let unchanged = vec![same.clone(), tagged(304, "a", "")];
    let alternating = vec![same.clone(), tagged(200, "b", &body("2"))];
    for answers in [vec![same], unchanged, alternating] {
        let daemon = Daemon::new(move |count, connection| {
            // The first tells what to start with; a turn of the others follows, from the last on.
            let answer =
                if count == 0 { answers.first() } else { answers.iter().rev().cycle().nth(count - 1) };
            say(connection, answer.expect("an answer"));
        });
        let out = Shim::of(&daemon).args(&["--on-change=restart", "--settle=60", "--", "/bin/sleep", "2"]);
        assert_eq!(out.run().prints(), "");
        let questions = daemon.requests().len();
        assert!((2..50).contains(&questions), "{questions} questions in some two seconds");
    }
}

#[test]
fn a_command_is_not_ended_for_one_that_could_not_be_started() {
    for (change, why) in [
        (
            json!({"cwd": "/no/such"}),
            "cannot change to the directory that MIOSA_AGENT_CWD names: No such file",
        ),
        (
            json!({"cwd": "/bin/sh"}),
            "cannot change to the directory that MIOSA_AGENT_CWD names: Not a directory",
        ),
        (json!({"env": {"PATH": "/no/such"}}), "sh is in no directory of PATH"),
    ] {
        let changed = tagged(200, "b", &resolution(change).to_string());
        let daemon = Daemon::new(move |count, connection| match count {
            0 => say(connection, &tagged(200, "a", &resolution(json!({"env": {"PATH": PATH}})).to_string())),
            1 => say(connection, &changed),
            _ => wait_for_the_end(connection),
        });
        let script = "echo started; trap 'echo ended; exit' TERM; sleep 2";
        let out =
            Shim::of(&daemon).args(&["--on-change=restart", "--settle=0", "--", "sh", "-c", script]).run();
        assert_eq!((out.status, out.stdout.as_slice()), (Some(0), b"started\n".as_slice()), "{}", out.stderr);
        assert!(out.stderr.starts_with(&format!("miosa-exec: {why}")), "{}", out.stderr);
        assert!(out.stderr.ends_with("; the command runs on as it was started\n"), "{}", out.stderr);
        assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
    }
}

#[test]
fn a_change_of_the_version_alone_is_none_though_descriptors_were_inherited() {
    let of = |version: &str| {
        let env = json!({"KEY": "value", "PATH": PATH, "MIOSA_SNAPSHOT_VERSION": version});
        resolution(json!({"env": env, "delivery": {"KEY": "fd"}})).to_string()
    };
    let daemon = Daemon::new(move |count, connection| match count {
        0 => say(connection, &tagged(200, "a", &of("7"))),
        1 => say(connection, &tagged(200, "b", &of("8"))),
        _ => wait_for_the_end(connection),
    });
    let starter = ["sh", "-c", "exec 3</dev/null; exec \"$@\"", "sh"];
    let script = "echo $KEY_FD; trap 'echo told' USR1; sleep 1; sleep 1";
    let shim = Shim::below(&starter, &program()).arg("--socket").arg(daemon.socket());
    let out = shim.args(&["--on-change=signal=USR1", "--settle=0", "--", "sh", "-c", script]).run();
    assert_eq!(out.prints(), "4\n");
    assert!(daemon.requests().len() > 2, "it was told of the change");
}

#[test]
fn a_change_whose_file_cannot_be_written_comes_into_force_once_it_can() {
    let of = |value: &str| resolution(json!({"env": {"KEY": value, "PATH": PATH}})).to_string();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (within, without) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir(&within).unwrap();
    let is_away = without.clone();
    let daemon = Daemon::new(move |count, connection| match count {
        0 => say(connection, &tagged(200, "a", &of("1"))),
        1 => {
            let started = Instant::now();
            while !is_away.exists() && started.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(10));
            }
            say(connection, &tagged(200, "b", &of("2")));
        }
        _ => wait_for_the_end(connection),
    });
    // It is told nothing as long as the directory is away, for longer than a try takes to come again.
    let script = "trap 'cat $KEY_FILE; echo; exit' USR1; cat $KEY_FILE; echo; mv $FOLDER/in $FOLDER/out; \
        sleep 3; mv $FOLDER/out $FOLDER/in; for n in $(seq 200); do sleep 0.1; done";
    let out = Shim::of(&daemon)
        .args(&["--on-change=signal=USR1", "--settle=0", &format!("--file=KEY={}/key", within.display())])
        .args(&["--", "sh", "-c", script])
        .configured(|command| _ = command.env("FOLDER", folder.path()))
        .run();
    assert_eq!((out.status, out.stdout.as_slice()), (Some(0), b"1\n2\n".as_slice()), "{}", out.stderr);
    assert!(out.stderr.starts_with(&format!("miosa-exec: cannot write {}/key: No such", within.display())));
    assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
}
