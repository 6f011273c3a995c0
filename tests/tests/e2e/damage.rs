//! Damage to what a host keeps, through the real program. Every bit of every file is tried in the daemon's
//! own tests; this sample shows that the program does as its parts do.

use std::path::{Path, PathBuf};

use miosa_tests::lone::{LoneHost, copy};
use miosa_tests::world::files_below;
use miosa_tests::{Publisher, Trials};
use serde_json::json;

#[test]
fn whatever_file_is_damaged_the_program_serves_the_right_values_or_none_and_says_so() {
    let trials = Trials::new();
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    host.start();
    let one = publisher.full(1);
    let two = publisher.incremental(2, &one);
    publisher.now_ms += 1_000;
    assert_eq!(host.push_trust(&publisher.trust(2)).unwrap().status, 200);
    for update in [&one, &two, &publisher.heartbeat(2, &two)] {
        assert_eq!(host.push(update).unwrap().status, 200);
    }
    host.stop();
    let image = trials.path("image");
    copy(&host.state(""), &image);
    let points = files_below(&image).into_iter().flat_map(|file| (0..24).map(move |nth| (file.clone(), nth)));
    let points: Vec<_> = points.collect();
    let (count, next) = (points.len(), publisher.full(3));
    trials.each(points, |(file, nth), folder| {
        let mut host = LoneHost::at(folder);
        host.put_state(&image);
        let name = file.strip_prefix(&image).unwrap();
        damage(&host.state("").join(name), nth);
        let is_identity = name.starts_with("host.json") || name.starts_with("host.key");
        if is_identity {
            return assert_refuses_or_serves(&mut host, name);
        }
        host.start();
        let (version, status) = (host.standing().version, host.status());
        assert!(version.is_none() || version == Some(2), "{version:?} with a damaged {name:?}");
        let told = [&status["alarms"], &status["refused"]].iter().any(|told| **told != json!({}));
        assert!(told, "nobody was told of a damaged {name:?}: {status}");
        let answer = host.push(&next).unwrap();
        // Without its trust document a host takes nothing until that comes again.
        let taken = answer.status == 200 || name.starts_with("trust");
        assert!(taken, "a damaged {name:?}: {}", answer.json());
        host.kill();
    });
    trials.tell(&format!("damaged files in {count} ways"));
    assert!(count > 150, "{count}");
}

/// Sixteen bits and eight lengths, spread over the file.
fn damage(path: &Path, nth: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    if nth < 16 {
        let place = (bytes.len() - 1) * nth / 15;
        bytes[place] ^= 1 << (nth % 8);
    } else {
        bytes.truncate(bytes.len() * (nth - 16) / 8);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Who the host is must be right, or it does not start. A bit of the key that X25519 ignores changes
/// nothing.
fn assert_refuses_or_serves(host: &mut LoneHost, name: &Path) {
    if host.comes_up(host.command(&["serve"])) {
        assert_eq!(host.standing().version, Some(2), "a damaged {name:?}");
        return host.kill();
    }
    let log = host.log();
    let file: PathBuf = host.state("").join(name);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.starts_with(&format!("miosad: cannot use {}: it is ", file.display())), "{log}");
    assert!(log.contains("enroll again"), "{log}");
}
