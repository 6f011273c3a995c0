//! A client that connects at any moment waits and is answered: over restarts, crashes, upgrades, reloads
//! and a daemon that hangs; also in a sandbox whose folder was mounted before.

use miosa_tests::Published;
use miosa_tests::boot::{Heard, packages};
use miosa_tests::program::eventually;

#[test]
fn a_restart_refuses_no_connection() {
    let heard = throughout(|host| {
        host.machine.run("systemctl restart miosad.service");
    });
    assert_eq!(heard.cut, 0, "an orderly end finishes what it has begun: {heard:?}");
}

#[test]
fn a_daemon_that_is_killed_refuses_no_connection() {
    throughout(|host| dies(host, "KILL"));
}

#[test]
fn a_daemon_that_crashes_refuses_no_connection() {
    throughout(|host| dies(host, "SEGV"));
}

#[test]
fn a_daemon_that_aborts_again_and_again_refuses_no_connection() {
    throughout(|host| {
        for _ in 0..3 {
            dies(host, "ABRT");
        }
    });
}

#[test]
fn a_reload_refuses_no_connection_and_keeps_the_process() {
    let heard = throughout(|host| {
        let before = host.machine.main_pid(UNIT);
        host.machine.run("systemctl reload miosad.service");
        assert_eq!(host.machine.main_pid(UNIT), before);
    });
    assert_eq!(heard.cut, 0, "{heard:?}");
}

#[test]
fn a_daemon_that_hangs_is_replaced_and_refuses_no_connection() {
    let mut host = Published::holding(&["sbx-1", "sbx-2"]);
    host.machine.set(UNIT, "[Service]\nWatchdogSec=3s");
    host.machine.run("systemctl restart miosad.service");
    let heard = throughout_on(&mut host, |host| {
        let before = host.machine.main_pid(UNIT);
        host.machine.run(&format!("kill -STOP {before}"));
        eventually("another process serves", || another_serves(host, before));
    });
    assert!(heard.longest.as_millis() > 500, "it did not hang: {heard:?}");
    assert_eq!(host.machine.property(UNIT, "NRestarts"), "1");
}

#[test]
fn an_upgrade_and_a_downgrade_refuse_no_connection() {
    throughout(|host| {
        let packages = packages();
        let of_ours = packages.iter().find(|package| package.name == "miosad").expect("the daemon's package");
        let folder = host.machine.disk().path("packages");
        std::fs::create_dir(&folder).expect("make a folder");
        let successor = of_ours.as_version("999.0", &folder);
        for (package, version) in [(&successor, Some("999.0")), (of_ours, None)] {
            let before = host.machine.main_pid(UNIT);
            host.machine.install(std::slice::from_ref(package));
            let now = host.machine.run("dpkg-query --show --showformat='${Version}' miosad");
            assert!(version.is_none_or(|version| version == now), "{now}");
            eventually("the new one serves", || another_serves(host, before));
        }
    });
}

/// Ends the daemon with a signal and waits until another serves.
fn dies(host: &Published, signal: &str) {
    let before = host.machine.main_pid(UNIT);
    eventually("another process serves", || {
        // More than once: what a program does at its first SIGSEGV may be to look whether it was one.
        let _gone = host.machine.attempt(&format!("kill -{signal} {before}"));
        another_serves(host, before)
    });
}

fn another_serves(host: &Published, before: u32) -> Option<()> {
    let pid: u32 = host.machine.property(UNIT, "MainPID").parse().expect("a pid");
    (pid != 0 && pid != before && host.machine.property(UNIT, "ActiveState") == "active").then_some(())
}

/// What an insistent client heard while something happened to the daemon.
fn throughout(event: impl FnOnce(&Published)) -> Heard {
    let mut host = Published::holding(&["sbx-1", "sbx-2"]);
    throughout_on(&mut host, event)
}

fn throughout_on(host: &mut Published, event: impl FnOnce(&Published)) -> Heard {
    let sandbox = host.machine.sandbox("sbx-1");
    let client = sandbox.insist();
    client.hears_more();
    event(host);
    client.hears_more();
    let heard = client.end();
    heard.was_served_throughout();
    assert_eq!(heard.versions.iter().copied().collect::<Vec<_>>(), [host.version]);
    drop(sandbox);
    // What was made before goes on being of use: the next version comes by the same sockets.
    let still = host.machine.sandbox("sbx-2").resolve();
    assert_eq!(still.status, 200, "{}", still.json());
    host.publish(&[("acme", "sbx-1"), ("acme", "sbx-2")]);
    assert_eq!(host.kept(), HOME + 2);
    heard
}

const UNIT: &str = "miosad.service";
/// The admin socket and the intake socket.
const HOME: usize = 2;
