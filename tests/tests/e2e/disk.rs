//! A disk that is full, read-only, gone, or put back to an earlier copy: what is held is served, nothing is
//! acknowledged that is not kept, and an operator is told what to do.

use std::fs;
use std::process::Command;

use miosa_tests::lone::{LoneHost, copy};
use miosa_tests::small_disk::half_written;
use miosa_tests::{Answer, Publisher, SmallDisk, Trials};
use serde_json::{Value, json};

/// A host that serves version 1, and its publisher.
fn serving(trials: &Trials) -> (LoneHost, Publisher) {
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    host.start();
    assert_eq!(host.push(&publisher.full(1)).unwrap().status, 200);
    (host, publisher)
}

fn refused(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"]), (503, &json!("not_durable")));
    error["message"].as_str().unwrap().to_owned()
}

/// Those of the access log, which is written now and then, are another test's.
fn alarms(host: &LoneHost) -> Value {
    let mut alarms = host.status()["alarms"].clone();
    alarms.as_object_mut().unwrap().remove("access_log_failed");
    alarms
}

/// What `miosad status` tells an operator.
fn words(host: &LoneHost) -> String {
    String::from_utf8(host.run(&["status"]).stdout).unwrap()
}

#[test]
fn on_a_full_disk_it_serves_on_and_takes_the_update_once_there_is_room() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    host.stop();
    let disk = SmallDisk::under(&host, 256);
    host.start_as(disk.inside(&host.command(&["serve"])));
    let filler = disk.fill();
    // One that is larger than what a file system keeps back, and one that fits into a single block.
    let updates = [publisher.full_of_size(2, 20_000), publisher.full(2)];
    for update in &updates {
        let message = refused(&host.push(update).unwrap());
        assert!(message.contains("the disk is full: free some space"), "{message}");
        assert_eq!(host.standing().version, Some(1));
    }
    assert_eq!(alarms(&host), json!({"disk_full": 1}), "an alarm once, not for each try");
    assert!(words(&host).contains("disk_full"), "{}", words(&host));
    assert_eq!(half_written(&disk.path("")), [] as [std::path::PathBuf; 0]);

    host.kill();
    host.start_as(disk.inside(&host.command(&["serve"])));
    assert_eq!(host.standing().version, Some(1), "it starts on a full disk");
    fs::remove_file(filler).unwrap();
    assert_eq!(host.push(&updates[0]).unwrap().status, 200);
    host.kill();
    host.start_as(disk.inside(&host.command(&["serve"])));
    assert_eq!(host.standing().version, Some(2));
    assert_eq!(alarms(&host), json!({}));
}

#[test]
fn on_a_read_only_disk_it_serves_on_and_starts_and_takes_the_update_once_it_is_writable() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    host.stop();
    fs::write(host.state("cache/.new-heartbeat.json"), "half").unwrap();
    let disk = SmallDisk::under(&host, 256);
    host.start_as(disk.inside(&host.command(&["serve"])));
    fs::write(disk.path("cache/.new-heartbeat.json"), "half").unwrap();
    disk.remount("ro");
    for _again in 0..2 {
        let message = refused(&host.push(&publisher.full(2)).unwrap());
        assert!(message.contains("the file system is read-only: mount it read-write"), "{message}");
        assert_eq!(host.standing().version, Some(1));
        assert_eq!(alarms(&host), json!({"disk_read_only": 1}));
        host.kill();
        host.start_as(disk.inside(&host.command(&["serve"])));
        assert_eq!(host.standing().version, Some(1), "it starts on a read-only disk");
    }
    disk.remount("rw");
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
    assert_eq!(host.standing().version, Some(2));
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    host.stop();
    let serve = host.command(&["serve", "--log-level", "trace"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"]).arg(serve.get_program()).args(serve.get_args());
    command.env_clear().envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    host.start_as(command);
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
    assert_eq!(host.push(b"{}").unwrap().status, 422);
    assert_eq!(host.standing().version, Some(2));
}

#[test]
fn without_its_state_directory_a_running_daemon_serves_on_and_a_new_one_says_what_is_missing() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    let (state, elsewhere) = (trials.path("host/state"), trials.path("host/elsewhere"));
    fs::rename(&state, &elsewhere).unwrap();
    let message = refused(&host.push(&publisher.full(2)).unwrap());
    assert!(message.contains("was removed or moved: put it back"), "{message}");
    assert_eq!(host.standing().version, Some(1));
    assert_eq!(alarms(&host), json!({"state_missing": 1}));
    assert!(!state.exists(), "nothing is made where it was");
    host.kill();

    assert!(!host.comes_up(host.command(&["serve"])));
    let log = host.log();
    assert!(log.contains("is not enrolled in") && log.contains("run `miosad enroll`"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(!state.exists());

    fs::rename(&elsewhere, &state).unwrap();
    host.start();
    assert_eq!(host.standing().version, Some(1));
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
}

#[test]
fn one_lost_copy_of_the_floor_costs_nothing_and_both_cost_all_but_a_recent_full_update() {
    let trials = Trials::new();
    let (mut host, mut publisher) = serving(&trials);
    host.stop();
    fs::remove_file(host.state("floor.a")).unwrap();
    host.start();
    assert_eq!((host.standing().version, alarms(&host)), (Some(1), json!({"floor_damaged": 1})));
    host.stop();
    host.start();
    assert_eq!((host.standing().version, alarms(&host)), (Some(1), json!({})), "it was repaired");

    // An update of more than 15 minutes ago, by which an old copy of the cache could be passed off.
    publisher.fresh_for_ms = 3_600_000;
    let now = publisher.now_ms;
    let mut host_of_old = LoneHost::enroll(&trials.path("old"), &mut publisher);
    publisher.now_ms = now - 20 * 60 * 1_000;
    host_of_old.start();
    assert_eq!(host_of_old.push(&publisher.full(1)).unwrap().status, 200);
    host_of_old.stop();
    fs::write(host_of_old.state("floor.a"), "noise").unwrap();
    fs::remove_file(host_of_old.state("floor.b")).unwrap();
    host_of_old.start();
    let status = host_of_old.status();
    assert_eq!((&status["ready"], &status["alarms"]), (&json!(false), &json!({"floor_lost": 2})));
    assert_eq!(status["set_aside"][0]["reason"], "floor_lost");
    assert!(host_of_old.log().contains("cannot read a copy of the floor, /"), "{}", host_of_old.log());
    assert_eq!(host_of_old.push(&publisher.full(2)).unwrap().status, 409, "not recent either");
    publisher.now_ms = now;
    assert_eq!(host_of_old.push(&publisher.full(2)).unwrap().status, 200);
    assert_eq!(host_of_old.standing().version, Some(2));
}

#[test]
fn a_cache_put_back_to_an_earlier_copy_is_not_served_and_an_operator_is_told() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    copy(&host.state("cache"), &trials.path("earlier"));
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
    host.stop();
    fs::remove_dir_all(host.state("cache")).unwrap();
    copy(&trials.path("earlier"), &host.state("cache"));
    host.start();
    let status = host.status();
    assert_eq!((&status["ready"], &status["need_full"]), (&json!(false), &json!(true)));
    assert_eq!(status["alarms"], json!({"below_floor": 1}));
    assert_eq!(status["set_aside"][0]["reason"], "below_floor");
    assert!(host.log().contains("the cache is older than what this host has accepted"), "{}", host.log());
    assert!(words(&host).contains("below_floor"), "{}", words(&host));
    assert_eq!(host.push(&publisher.full(1)).unwrap().json()["error"]["code"], "below_floor");
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
    assert_eq!(host.standing().version, Some(2));
}

#[test]
fn a_whole_state_directory_put_back_is_told_from_one_that_was_confirmed_and_heals() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    copy(&host.state(""), &trials.path("earlier"));
    let two = publisher.full(2);
    assert_eq!(host.push(&two).unwrap().status, 200);
    assert_eq!(host.status()["source"], "update");
    host.kill();
    host.put_state(&trials.path("earlier"));
    host.start();
    // Nothing on this machine knows better. What was not confirmed since the start is told apart, and the
    // publisher, who is told the position, does know better.
    let standing = host.standing();
    assert_eq!((standing.version, &host.status()["source"]), (Some(1), &json!("cache")));
    let answer = host.push(&publisher.heartbeat(2, &two)).unwrap();
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (409, json!("need_full")));
    assert_eq!(host.push(&two).unwrap().status, 200);
    assert_eq!((host.standing().version, &host.status()["source"]), (Some(2), &json!("update")));
}
