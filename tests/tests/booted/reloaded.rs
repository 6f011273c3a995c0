//! Other settings for a daemon in its sandbox, as an operator brings them: by writing the file, and by
//! `systemctl reload`.

use std::fs;

use miosa_tests::Published;
use miosa_tests::program::eventually;

#[test]
fn a_configuration_is_taken_in_under_systemd_and_a_bad_one_changes_nothing() {
    let host = Published::holding(&["sbx-1"]);
    let config = host.machine.path("/etc/miosa/miosad.toml");
    let pid = host.machine.main_pid(UNIT);
    let await_state = |state: &str| {
        eventually(&format!("the configuration is {state}"), || {
            (host.status()["configuration"]["state"] == state).then_some(())
        });
    };
    await_state("in_force");
    // The package's own file sets nothing; this is noticed without being asked for.
    fs::write(&config, "[limits]\nidle_seconds = 9\n").unwrap();
    eventually("it is in force", || {
        host.machine.journal(UNIT).contains("changed=\"limits.idle_seconds\"").then_some(())
    });
    fs::write(&config, "[limits]\nidle_seconds = 0\n").unwrap();
    host.machine.run("systemctl reload miosad.service");
    await_state("refused");
    assert_eq!(host.machine.property(UNIT, "ActiveState"), "active");
    let check = host.machine.attempt("miosad serve --check-config");
    assert_eq!(check.status.code(), Some(78), "{check:?}");
    fs::write(&config, "[limits]\nidle_seconds = 8\n").unwrap();
    host.machine.run("systemctl reload miosad.service && miosad serve --check-config");
    await_state("in_force");
    assert_eq!(host.machine.property(UNIT, "SubState"), "running");
    assert_eq!(host.machine.main_pid(UNIT), pid);
    host.serves(&[("acme", "sbx-1")]);
}

const UNIT: &str = "miosad.service";
