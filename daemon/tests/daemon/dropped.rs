//! The drop directory: what is put there is taken as if it had come by the socket, whatever else is
//! put there beside it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use miosa_injector::Change;
use nix::sys::stat::Mode;

use crate::host::{Host, eventually, write};
use crate::http;
use crate::publisher::resources;

/// Puts a file into the drop directory as the documentation says: another name first, then a rename.
fn put(host: &Host, name: &str, bytes: &[u8]) {
    let unfinished = dropped(host, &format!(".{name}"));
    write(&unfinished, bytes);
    fs::rename(unfinished, dropped(host, name)).unwrap();
}

fn dropped(host: &Host, name: &str) -> PathBuf {
    host.state("drop").join(name)
}

fn await_empty(host: &Host) {
    eventually("everything dropped is dealt with", || {
        fs::read_dir(host.state("drop")).is_ok_and(|mut entries| entries.next().is_none())
    });
}

fn await_version(host: &Host, version: u64) {
    eventually(&format!("version {version} is held"), || host.status()["version"] == version);
}

fn await_state(host: &Host, state: &str) {
    eventually(&format!("the drop directory is {state}"), || host.status()["drop"]["state"] == state);
}

/// Serving, with the drop directory watched.
fn serving() -> Host {
    let host = Host::serving();
    await_state(&host, "watched");
    host
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_update_put_there_is_served_and_removed_and_told_of() {
    let host = serving();
    assert_eq!(mode(&host.state("drop")), 0o700);
    put(&host, "one", &host.publisher.full(1, resources(&[("sbx-1", "t1", "dropped")])));
    await_version(&host, 1);
    assert_eq!(host.greeting("sbx-1"), "dropped");
    await_empty(&host);
    let status = host.status();
    assert_eq!(status["doors"]["drop"]["accepted"], 1);
    assert_eq!(status["doors"]["drop"]["last"]["file"], "one");
    assert_eq!(status["doors"]["drop"]["last"]["result"], "replace");
    assert_eq!(status["confirmed"], true);
    put(&host, "two", &host.publisher.full(0, resources(&[])));
    await_empty(&host);
    eventually("the refusal is told", || host.status()["doors"]["drop"]["refused"] == 1);
    let log = host.log("serve");
    assert!(log.contains("event=\"refused\" door=\"drop\" file=\"two\""), "{log}");
    assert!(log.contains("code=\"stale_version\" check=\"J2\""), "{log}");
    let metrics = String::from_utf8(http::get(&host.admin(), "/metrics").body).unwrap();
    assert!(metrics.contains("\nmiosad_offers_total{door=\"drop\",result=\"refused\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nmiosad_drop_watched 1\n"), "{metrics}");
}

#[test]
fn what_was_put_there_before_the_start_is_taken_in_whatever_order_it_stands() {
    let mut host = Host::serving();
    host.publisher.change_signer();
    let trust = [host.publisher.trust(2), host.publisher.trust(3)];
    let one = host.publisher.full(1, resources(&[("sbx-1", "t1", "one")]));
    let two = host.publisher.incremental(2, 1, &one, &Change::default());
    let three = host.publisher.incremental(3, 2, &two, &Change::default());
    let beat = host.publisher.heartbeat(3, &three);
    host.stop();
    for (name, bytes) in [
        ("a-beat", &beat),
        ("b-three", &three),
        ("c-two", &two),
        ("d-one", &one),
        ("e-trust-3", &trust[1]),
        ("f-trust-2", &trust[0]),
    ] {
        put(&host, name, bytes);
    }
    host.start();
    await_version(&host, 3);
    await_empty(&host);
    eventually("all are counted", || host.status()["doors"]["drop"]["accepted"] == 6);
    let status = host.status();
    assert_eq!(status["trust_version"], 3);
    assert_eq!(status["doors"]["drop"]["refused"], 0, "what was tried too early is no refusal");
    assert_eq!(status["increments"]["count"], 2);
}

#[test]
fn a_file_that_is_being_written_is_left_alone_until_it_is_whole() {
    let host = serving();
    let update = host.publisher.full(1, resources(&[("sbx-1", "t1", "slow")]));
    let (first, rest) = update.split_at(update.len() / 2);
    let mut file = File::options().create_new(true).write(true).open(dropped(&host, "slow")).unwrap();
    file.write_all(first).unwrap();
    drop(file);
    eventually("half a file waits", || host.status()["drop"]["waiting"] == 1);
    assert_eq!(host.status()["refused"], serde_json::json!({}));
    OpenOptions::new().append(true).open(dropped(&host, "slow")).unwrap().write_all(rest).unwrap();
    await_version(&host, 1);
    await_empty(&host);
    assert_eq!(host.status()["drop"]["waiting"], 0);
}

#[test]
fn a_file_that_stays_half_written_is_refused_by_number_and_removed() {
    let host = serving();
    let update = host.publisher.full(1, resources(&[("sbx-1", "t1", "half")]));
    put(&host, "half", &update[..update.len() - 1]);
    put(&host, "empty", b"");
    File::create_new(dropped(&host, "huge")).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    await_empty(&host);
    eventually("all are told", || host.status()["doors"]["drop"]["refused"] == 3);
    let status = host.status();
    assert_eq!(status["refused"]["malformed_envelope"], 2);
    assert_eq!(status["refused"]["oversize"], 1);
    assert_eq!(status["ready"], false);
    assert!(host.log("serve").contains("check=\"E1\""));
}

#[test]
fn names_of_unfinished_files_are_left_alone_until_they_are_renamed() {
    let host = serving();
    let update = host.publisher.full(1, resources(&[("sbx-1", "t1", "renamed")]));
    for name in [".hidden", "x.part", "x.tmp", "x~"] {
        write(&dropped(&host, name), &update);
    }
    put(&host, "junk", b"{}");
    eventually("the junk is refused", || host.status()["doors"]["drop"]["refused"] == 1);
    // It is removed after it was told.
    eventually("the junk is gone", || fs::read_dir(host.state("drop")).unwrap().count() == 4);
    assert_eq!(host.status()["ready"], false);
    fs::rename(dropped(&host, "x.part"), dropped(&host, "x")).unwrap();
    await_version(&host, 1);
}

#[test]
fn what_is_no_file_of_its_own_is_left_where_it_is_and_told_once() {
    let host = serving();
    let update = host.publisher.full(1, resources(&[("sbx-1", "t1", "real")]));
    write(&host.path("outside"), &update);
    symlink(host.path("outside"), dropped(&host, "a-link")).unwrap();
    fs::hard_link(host.path("outside"), dropped(&host, "b-hard")).unwrap();
    nix::unistd::mkfifo(&dropped(&host, "c-fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    fs::create_dir(dropped(&host, "d-dir")).unwrap();
    symlink("/dev/zero", dropped(&host, "e-device")).unwrap();
    eventually("all are seen", || host.status()["drop"]["left_count"] == 5);
    let left = host.status()["drop"]["left"].clone();
    let reasons: Vec<_> = left.as_array().unwrap().iter().map(|left| left["reason"].clone()).collect();
    assert_eq!(reasons, ["symbolic_link", "hard_link", "fifo", "directory", "symbolic_link"]);
    assert_eq!(host.status()["ready"], false, "none of them was read");
    put(&host, "z-real", &update);
    await_version(&host, 1);
    assert_eq!(host.log("serve").matches("file=\"c-fifo\"").count(), 1);
    assert!(
        String::from_utf8(host.run(&["status"]).stdout).unwrap().contains("drop left     c-fifo (fifo)\n")
    );
    assert_eq!(fs::read(host.path("outside")).unwrap(), update);

    fs::remove_file(host.path("outside")).unwrap();
    eventually("the file with one name left is taken", || !dropped(&host, "b-hard").exists());
}

#[test]
fn a_drop_directory_that_is_removed_replaced_or_exposed_is_an_alarm_and_mended() {
    let host = serving();
    let update = |version| host.publisher.full(version, resources(&[("sbx-1", "t1", "again")]));
    fs::remove_dir(host.state("drop")).unwrap();
    eventually("it is made again", || host.state("drop").is_dir());
    await_state(&host, "watched");
    assert_eq!(host.status()["alarms"]["drop_vanished"], 1);
    put(&host, "one", &update(1));
    await_version(&host, 1);

    fs::rename(host.state("drop"), host.path("moved")).unwrap();
    symlink(host.path("moved"), host.state("drop")).unwrap();
    await_state(&host, "unusable");
    write(&host.path("moved").join("two"), &update(2));
    fs::remove_file(host.state("drop")).unwrap();
    await_state(&host, "watched");
    assert!(host.path("moved").join("two").exists(), "no link leads out of the state directory");

    fs::set_permissions(host.state("drop"), fs::Permissions::from_mode(0o777)).unwrap();
    put(&host, "three", &update(3));
    await_state(&host, "unusable");
    assert_eq!(host.status()["alarms"]["drop_exposed"], 1);
    assert_eq!(mode(&host.state("drop")), 0o777, "no mode is changed");
    fs::set_permissions(host.state("drop"), fs::Permissions::from_mode(0o700)).unwrap();
    await_version(&host, 3);
    assert_eq!(host.greeting("sbx-1"), "again");
}

#[test]
fn what_cannot_be_kept_stays_in_the_drop_directory_until_it_can() {
    let host = serving();
    fs::rename(host.state("cache"), host.path("elsewhere")).unwrap();
    put(&host, "one", &host.publisher.full(1, resources(&[("sbx-1", "t1", "kept")])));
    eventually("it can't be kept", || host.status()["refused"]["not_durable"].is_u64());
    assert_eq!(host.status()["alarms"]["state_missing"], 1);
    assert!(dropped(&host, "one").exists());
    fs::rename(host.path("elsewhere"), host.state("cache")).unwrap();
    await_version(&host, 1);
    await_empty(&host);
    assert_eq!(host.status()["alarms"]["state_missing"], 1, "one alarm, however often it was tried");
}
