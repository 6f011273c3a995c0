//! All three services on one machine, as their units are: how they are held, and what keeps them going.

use std::fs;

use miosa_tests::boot::Machine;
use miosa_tests::program::eventually;

#[test]
fn a_host_that_joins_a_control_plane_is_linked_and_every_service_is_confined() {
    let machine = joined();
    for (unit, limit) in [("miosad", 0.2), ("miosad-link", 1.0), ("miosa-control", 1.0)] {
        let said = machine.run(&format!("systemd-analyze security --no-pager {unit}.service | tail -1"));
        let level = said.split(": ").nth(1).and_then(|words| words.split(' ').next()?.parse().ok());
        let level: f64 = level.unwrap_or_else(|| panic!("{said}"));
        assert!(level <= limit, "{said}");

        let pid = machine.main_pid(&format!("{unit}.service"));
        let status = machine.run(&format!("cat /proc/{pid}/status"));
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(of(set), "0000000000000000", "{unit}: {set}");
        }
        assert_eq!((of("NoNewPrivs"), of("Seccomp")), ("1".to_owned(), "2".to_owned()), "{unit}");
        assert_ne!(of("Uid"), "0", "{unit}");
    }
    // What enrolling anew needs: the link comes and goes with the daemon.
    machine.run("systemctl stop miosad.service");
    assert_eq!(machine.property("miosad-link.service", "ActiveState"), "inactive");
    machine.run("systemctl start miosad.service");
    is_linked(&machine);
    machine.run("systemctl kill --signal=KILL miosad.service");
    eventually("the daemon is back", || {
        (machine.property("miosad.service", "NRestarts") == "1").then_some(())
    });
    is_linked(&machine);
}

#[test]
fn a_control_plane_that_hangs_is_started_again() {
    let machine = Machine::with_packages();
    machine.set("miosa-control.service", "[Service]\nWatchdogSec=2s");
    machine.run("systemctl restart miosa-control.service");
    assert_eq!(machine.property("miosa-control.service", "StatusText"), "listening on 127.0.0.1:7400");
    let pid = machine.main_pid("miosa-control.service");
    machine.run(&format!("kill -STOP {pid}"));
    eventually("the control plane is another process", || {
        let now = machine.property("miosa-control.service", "MainPID");
        let state = machine.property("miosa-control.service", "ActiveState");
        (state == "active" && now != pid.to_string()).then_some(())
    });
}

#[test]
fn a_master_key_can_be_encrypted_to_the_machine_and_its_file_erased() {
    let machine = Machine::with_packages();
    machine.run("systemctl restart miosa-control.service");
    let file = "/var/lib/miosa-control/master.key";
    let key = fs::read(machine.path(file)).expect("it was made at the first start");
    machine.run(&format!(
        "mkdir -p -m 0700 /etc/credstore.encrypted && systemd-creds encrypt --with-key=host \
         --name=miosa-control.master-key {file} /etc/credstore.encrypted/miosa-control.master-key \
         && shred -u {file} && systemctl restart miosa-control.service"
    ));
    assert!(!machine.path(file).exists(), "another one was made");
    let credential = "/run/credentials/miosa-control.service/miosa-control.master-key";
    assert_eq!(fs::read(machine.path(credential)).expect("the credential"), key);
    // As the unit says of other commands than `serve`.
    let listed = machine.run(
        "systemd-run --quiet --wait --pipe --uid=miosa-control \
         -p LoadCredentialEncrypted=miosa-control.master-key miosa-control key list",
    );
    assert!(listed.starts_with("ID"), "{listed}");
}

/// A machine that is its own control plane's host.
fn joined() -> Machine {
    let machine = Machine::with_packages();
    machine.run("systemctl restart miosa-control.service");
    let create = "runuser -u miosa-control -- miosa-control host create --name h1";
    let said = machine.run(&format!("miosad enroll --control http://127.0.0.1:7400 --token \"$({create})\""));
    assert!(said.starts_with("enrolled as "), "{said}");
    is_linked(&machine);
    machine
}

fn is_linked(machine: &Machine) {
    eventually("the host is linked and ready", || {
        let link = machine.property("miosad-link.service", "SubState");
        let status = machine.attempt("miosad status --json").stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).ok()?;
        (link == "running" && status["ready"] == true && status["confirmed"] == true).then_some(())
    });
}
