//! Files of the cache that a disk or a visitor has changed.

use std::fs;
use std::path::PathBuf;

use crate::host::{Host, write};
use crate::http;
use crate::publisher::resources;

fn kept(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.state("cache")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn flip(path: &PathBuf, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    write(path, &bytes);
}

#[test]
fn a_flipped_bit_in_a_kept_update_is_set_aside_and_serve_stays_up() {
    let mut host = Host::with(&[("sbx-1", "t1", "kept")]);
    for (version, bit) in [(2, 17), (3, 2_000), (4, 5_003)] {
        host.stop();
        flip(&kept(&host)[0], bit);
        host.start();
        assert_eq!(http::get(&host.admin(), "/healthz").status, 200);
        assert_eq!(http::get(&host.admin(), "/readyz").code(), "not_ready");
        let status = host.status();
        assert_eq!((&status["ready"], &status["need_full"]), (&false.into(), &true.into()));
        assert!(!status["set_aside"].as_array().unwrap().is_empty(), "{status}");
        assert!(kept(&host).is_empty());
        assert!(host.log("serve").contains("a kept file is not served"));
        host.publish(version, resources(&[("sbx-1", "t1", "again")]));
        assert_eq!(host.greeting("sbx-1"), "again");
    }
}

#[test]
fn a_flipped_bit_in_the_heartbeat_does_not_stop_serving() {
    let mut host = Host::serving();
    let full = host.publish(1, resources(&[("sbx-1", "t1", "kept")]));
    assert_eq!(host.offer(&host.publisher.heartbeat(1, &full)).status, 200);
    host.stop();
    let files = kept(&host);
    assert!(files[0].ends_with("heartbeat.json"));
    flip(&files[0], 3_333);
    host.start();
    assert_eq!(host.greeting("sbx-1"), "kept");
    assert_eq!(host.status()["set_aside"].as_array().unwrap().len(), 1);
}

#[test]
fn a_flipped_bit_in_the_trust_document_is_set_aside_and_healed_by_the_same_document() {
    let mut host = Host::with(&[("sbx-1", "t1", "kept")]);
    host.stop();
    flip(&host.state("trust/1.json"), 1_001);
    host.start();
    let status = host.status();
    assert_eq!((&status["ready"], &status["trust_version"]), (&false.into(), &serde_json::Value::Null));
    let words = String::from_utf8(host.run(&["status"]).stdout).unwrap();
    assert!(words.contains("a trust document and a full update"), "{words}");
    write(&host.path("trust.json"), &host.publisher.trust(1));
    assert!(host.run(&["push", host.path("trust.json").to_str().unwrap()]).status.success());
    assert_eq!(host.greeting("sbx-1"), "kept");
    host.publish(2, resources(&[("sbx-1", "t1", "healed")]));
    assert_eq!(host.greeting("sbx-1"), "healed");
}

#[test]
fn both_copies_of_the_floor_lost_raise_an_alarm_and_a_recent_full_update_heals_it() {
    let mut host = Host::with(&[("sbx-1", "t1", "kept")]);
    host.stop();
    flip(&host.state("floor.a"), 5);
    fs::remove_file(host.state("floor.b")).unwrap();
    host.start();
    // The kept update is itself younger than 15 minutes, so it may set the floor again.
    assert_eq!(host.status()["alarms"]["floor_lost"], 2);
    assert_eq!(host.greeting("sbx-1"), "kept");
    host.restart();
    assert_eq!(host.status()["alarms"], serde_json::json!({}));
}

#[test]
fn whatever_lies_in_the_cache_directory_stops_nothing() {
    let mut host = Host::with(&[("sbx-1", "t1", "kept")]);
    host.stop();
    write(&host.state("cache/notes.txt"), b"x");
    write(&host.state("cache/.new-heartbeat.json"), b"half");
    write(&host.state("cache/update-0000000000000001-0000000000000009.json"), &[0; 4096]);
    let outside = host.path("outside");
    write(&outside, b"x");
    std::os::unix::fs::symlink(&outside, host.state("cache/heartbeat.json")).unwrap();
    fs::create_dir(host.state("cache/directory")).unwrap();
    host.start();
    assert_eq!(host.greeting("sbx-1"), "kept");
    assert_eq!(host.status()["set_aside"].as_array().unwrap().len(), 4);
    assert!(outside.exists());
}
