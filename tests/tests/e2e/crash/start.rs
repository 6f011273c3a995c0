//! Every system call of a start, by enumeration: killed or failed at any of them, the daemon serves what it
//! had accepted at the next start at the latest, and sets no good file aside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use miosa_tests::lone::{LoneHost, Standing};
use miosa_tests::strace::{self, Calls, Effect, Fault};
use miosa_tests::{Publisher, Trials};
use serde_json::json;

use super::{Point, ends_the_daemon};

#[test]
fn killed_at_any_call_of_its_start_it_starts_as_if_nothing_had_been() {
    let trials = Trials::new();
    let kept = Kept::by(&trials);
    let points = enumerate_start(&trials, &kept, Effect::Kill, |host, program, _| {
        let reached = !host.comes_up(program);
        strace::kill_traced(host);
        reached
    });
    trials.tell(&format!("killed once at each of {points} system calls of its start"));
    assert!(points > 100, "{points}");
}

#[test]
fn at_any_call_of_its_start_that_fails_nothing_is_lost() {
    let trials = Trials::new();
    let kept = Kept::by(&trials);
    let points = enumerate_start(&trials, &kept, Effect::Error("EIO"), |host, program, log| {
        let up = host.comes_up(program);
        let (calls, words) = (Calls::read(log), host.log());
        if up {
            assert_serves_this_or_nothing(host, &kept);
            strace::kill_traced(host);
        } else if !calls.failed().is_some_and(ends_the_daemon) {
            let words = words.lines().filter(|line| !line.starts_with("20"));
            assert_eq!(words.count(), 1, "not one line, after {:?}: {}", calls.failed(), host.log());
        }
        Calls::read(log).failed().is_some()
    });
    trials.tell(&format!("failed once at each of {points} system calls of its start"));
    assert!(points > 100, "{points}");
}

/// A state folder with something of everything, and where a host is that has it.
struct Kept {
    image: PathBuf,
    standing: Standing,
    next: Vec<u8>,
}

impl Kept {
    fn by(trials: &Trials) -> Self {
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(&trials.path("kept"), &mut publisher);
        host.start();
        let one = publisher.full(1);
        let two = publisher.incremental(2, &one);
        publisher.now_ms += 1_000;
        assert_eq!(host.push_trust(&publisher.trust(2)).unwrap().status, 200);
        for update in [&one, &two, &publisher.heartbeat(2, &two)] {
            assert_eq!(host.push(update).unwrap().status, 200);
        }
        let standing = host.standing();
        host.kill();
        std::fs::write(host.state("cache/.new-heartbeat.json"), "half").unwrap();
        Self { image: host.state(""), standing, next: publisher.incremental(3, &two) }
    }
}

/// Each call of a start, once, or each of those that the disk may fail; how many there were. The daemon that `trial` is given a command for has
/// ended when it returns; it says whether the call was reached.
fn enumerate_start(
    trials: &Trials,
    kept: &Kept,
    effect: Effect,
    trial: impl Fn(&mut LoneHost, Command, &Path) -> bool + Sync,
) -> usize {
    let points = AtomicUsize::new(0);
    let measured = trials.path("measured");
    std::fs::create_dir_all(&measured).unwrap();
    let (mut host, log) = (LoneHost::at(&measured), measured.join("calls"));
    host.put_state(&kept.image);
    host.start_as(strace::from_the_start(&host.command(&["serve"]), None, &log));
    strace::kill_traced(&mut host);
    let calls = match effect {
        Effect::Kill => Calls::read(&log),
        Effect::Error(_) => Calls::read(&log).about("/state"),
    };
    trials.each(calls.kinds(), |call, folder| {
        let (mut host, log) = (LoneHost::at(folder), folder.join("calls"));
        for nth in 1.. {
            let fault = Fault { call: call.clone(), nth, effect };
            let _point = Point("a start", "any", &fault);
            host.put_state(&kept.image);
            let program = strace::from_the_start(&host.command(&["serve"]), Some(&fault), &log);
            let reached = trial(&mut host, program, &log);
            assert_starts_right(&mut host, kept);
            if !reached {
                break;
            }
            points.fetch_add(1, Ordering::Relaxed);
        }
    });
    points.into_inner()
}

/// It may lack what it could not read, and then serves nothing rather than something older; and a
/// resource whose socket could not be made has none until the next update.
fn assert_serves_this_or_nothing(host: &LoneHost, kept: &Kept) {
    let status = host.status();
    let version = status["version"].as_u64();
    assert!(version.is_none() || version == kept.standing.version, "{status}");
    if status["sockets_failed"] == 0 {
        assert_eq!(host.standing().version, version);
    }
}

fn assert_starts_right(host: &mut LoneHost, kept: &Kept) {
    host.start();
    assert_eq!(host.standing(), kept.standing);
    let status = host.status();
    assert_eq!((&status["alarms"], &status["set_aside"]), (&json!({}), &json!([])), "{}", host.log());
    assert_eq!(host.push(&kept.next).unwrap().status, 200);
    assert_eq!(host.standing().version, Some(3));
    host.kill();
}
