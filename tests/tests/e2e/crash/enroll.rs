//! Every system call of an enrollment, by enumeration: killed or failed anywhere, it can be finished or is
//! done, and never half.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64;
use miosa_tests::lone::LoneHost;
use miosa_tests::strace::{self, Calls, Effect, Fault};
use miosa_tests::{Publisher, Trials};
use serde_json::{Value, json};

#[test]
fn an_enrollment_killed_or_failed_at_any_call_is_done_or_can_be_done_again() {
    let trials = Trials::new();
    let measured = trials.path("measured");
    std::fs::create_dir_all(&measured).unwrap();
    let _reached = enroll(&measured, None);
    let all = Calls::read(&measured.join("calls"));
    let kills = all.kinds().into_iter().map(|call| (call, Effect::Kill));
    let errors = all.about("/state").kinds().into_iter();
    let errors = errors.flat_map(|call| ["EIO", "ENOSPC"].map(|error| (call.clone(), Effect::Error(error))));
    let points = AtomicUsize::new(0);
    trials.each(kills.chain(errors), |(call, effect), folder| {
        for nth in 1.. {
            let fault = Fault { call: call.clone(), nth, effect };
            if !enroll(folder, Some(&fault)) {
                break;
            }
            points.fetch_add(1, Ordering::Relaxed);
        }
    });
    let points = points.into_inner();
    trials.tell(&format!("killed or failed an enrollment at {points} system calls"));
    assert!(points > 100, "{points}");
}

/// Enrolls a host that was none, once with the fault and, if that made it none, once without; then it
/// serves. Whether the fault was reached.
fn enroll(folder: &Path, fault: Option<&Fault>) -> bool {
    let mut publisher = Publisher::new("host_1");
    let (mut host, log, trust) = (LoneHost::at(folder), folder.join("calls"), folder.join("trust.json"));
    if host.state("").exists() {
        std::fs::remove_dir_all(host.state("")).unwrap();
    }
    std::fs::write(&trust, publisher.trust(1)).unwrap();
    let arguments = ["enroll", "--host-id", "host_1", "--trust", trust.to_str().unwrap()];
    let first = strace::from_the_start(&host.command(&arguments), fault, &log).output().unwrap();
    let reached = match fault.map(|fault| fault.effect) {
        Some(Effect::Kill) => !first.status.success(),
        Some(Effect::Error(_)) => Calls::read(&log).failed().is_some(),
        None => false,
    };
    let again = host.run(&arguments);
    let words = String::from_utf8_lossy(&again.stderr);
    // Done by the first, which may not have come to say so; the key to seal to stands in `host.json`.
    assert!(again.status.success() || words.contains("is already enrolled"), "{fault:?}: {words}");
    let known: Value = serde_json::from_slice(&std::fs::read(host.state("host.json")).unwrap()).unwrap();
    publisher.seal_to(&BASE64.decode(known["key"].as_str().unwrap().as_bytes()).unwrap());

    host.start();
    assert_eq!(host.standing().version, None, "{fault:?}");
    assert_eq!(host.push(&publisher.full(1)).unwrap().status, 200, "{fault:?}");
    assert_eq!(host.standing().version, Some(1), "{fault:?}");
    assert_eq!(host.status()["alarms"], json!({}), "{fault:?}: {}", host.log());
    host.kill();
    reached
}
