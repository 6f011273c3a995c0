//! Install the packages, enroll, forget.

use miosa_tests::Machine;
use miosa_tests::program::eventually;
use serde_json::json;

#[test]
fn a_host_that_was_enrolled_serves_without_another_word() {
    let machine = Machine::with_packages();
    let control = machine.control_plane();
    let host = control.enroll("h1");
    control.place(&host, "acme", "sbx-1", &json!({"GREETING": "hello"}));
    let agent = machine.sandbox("sbx-1").run("exec miosa-exec -- /usr/bin/env");
    let environment = String::from_utf8_lossy(&agent.stdout).into_owned();
    assert!(environment.lines().any(|line| line == "GREETING=hello"), "{agent:?}");

    let failed = machine.run("systemctl --failed --plain --no-legend");
    assert_eq!(failed, "");
    for unit in UNITS {
        let pid = machine.main_pid(unit);
        assert_ne!(machine.run(&format!("ps -o user= -p {pid}")), "root", "{unit}");
        let status = machine.run(&format!("cat /proc/{pid}/status"));
        let says = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(says(capabilities), Some("0000000000000000"), "{unit} {capabilities}");
        }
        assert_eq!((says("NoNewPrivs:"), says("Seccomp:")), (Some("1"), Some("2")), "{unit}");
    }
}

#[test]
fn before_it_is_enrolled_nothing_runs_and_nothing_has_failed() {
    let machine = Machine::with_packages();
    assert_eq!(machine.property("miosad.path", "ActiveState"), "active");
    for unit in ["miosad.service", "miosad-link.service"] {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive", "{unit}");
    }
    assert_eq!(machine.run("stat --format='%a %U:%G' /var/lib/miosa"), "700 miosad:miosa");
}

#[test]
fn the_running_units_are_exposed_as_little_as_promised() {
    let machine = Machine::with_packages();
    let control = machine.control_plane();
    let _host = control.enroll("h1");
    eventually("both services run", || {
        let states = machine.run("systemctl is-active miosad.service miosad-link.service || true");
        (states == "active\nactive").then_some(())
    });
    // A threshold is ten times the score.
    for (unit, threshold) in [("miosad.service", 2), ("miosad-link.service", 10)] {
        let line = format!("systemd-analyze security --no-pager --threshold={threshold} {unit}");
        let said = machine.attempt(&line);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let exposed: Vec<&str> = said.lines().filter(|line| line.contains('✗')).collect();
        assert!(machine.attempt(&format!("{line} >/dev/null")).status.success(), "{unit}: {exposed:#?}");
    }
}

#[test]
fn a_host_key_is_read_by_nobody_but_the_daemon() {
    let machine = Machine::with_packages();
    let control = machine.control_plane();
    let _host = control.enroll("h1");
    for other in ["nobody", "miosad-link", "miosa-control"] {
        let reads = machine.attempt(&format!("runuser -u {other} -- cat /var/lib/miosa/host.key"));
        assert!(!reads.status.success(), "{other} reads the host's key");
    }
    assert_eq!(machine.run("stat --format='%a %U' /var/lib/miosa/host.key"), "600 miosad");
}

const UNITS: [&str; 3] = ["miosad.service", "miosad-link.service", "miosa-control.service"];
