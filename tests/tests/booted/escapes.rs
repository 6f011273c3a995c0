//! A service that was taken over: a program that tries to get out of it runs in its place, under the unit as
//! it is shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use miosa_tests::Published;
use miosa_tests::boot::Machine;

#[test]
fn a_service_that_was_taken_over_gets_nowhere() {
    let Published { machine, .. } = Published::holding(&["sbx-1"]);
    fs::copy(env!("CARGO_BIN_EXE_escapes"), machine.path("/usr/bin/escapes")).expect("copy the program");
    // As if there were a control plane, so that there is a link and a key to look for.
    machine.run("echo '{}' >/var/lib/miosa/link.json && systemctl stop miosad-link.service");
    machine.run(
        "touch /var/lib/miosa-control/master.key && chown miosa-control: /var/lib/miosa-control/master.key",
    );

    let may = ["socket-inet", "socket-inet6", "bus", "own-memory"];
    assert_eq!(what_succeeds(&machine, "miosad-link.service", &[]), set(&may));

    let own = ["read-the-master-key", "own-file-var-lib-miosa-control"];
    let succeeded = what_succeeds(&machine, "miosa-control.service", &["/var/lib/miosa-control"]);
    assert_eq!(succeeded, &set(&may) | &set(&own));

    let may = [
        "admin-socket",
        "bind-in-runtime",
        "read-the-host-key",
        "list-the-resources",
        "own-file-var-lib-miosa",
        "own-file-run-miosa",
        "own-memory",
    ];
    let own = ["/var/lib/miosa", "/run/miosa"];
    assert_eq!(what_succeeds(&machine, "miosad.service", &own), set(&may));
}

/// The attempts that succeed under a unit; the others must be refused for the reason that they are what
/// they are, and not because they were made badly.
fn what_succeeds(machine: &Machine, unit: &str, writable: &[&str]) -> BTreeSet<String> {
    let program = "/usr/bin/escapes";
    let section = format!(
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecPaths={program}\nExecStartPost=\nExecStart=\n\
         ExecStart={program} {}",
        writable.join(" ")
    );
    machine.set(unit, &section);
    machine.run(&format!("systemctl restart {unit}"));
    let outcomes: BTreeMap<String, String> = machine
        .journal(unit)
        .lines()
        .filter_map(|line| line.strip_prefix("escape ")?.split_once(": "))
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect();
    assert!(outcomes.len() > 60, "{outcomes:#?}");
    for (name, outcome) in &outcomes {
        let is_refusal = REFUSALS.iter().any(|number| outcome.ends_with(&format!("(os error {number})")));
        let is_loader = name == "exec-by-the-loader" && outcome.starts_with("refused exit status");
        assert!(outcome == "DONE" || is_refusal || is_loader, "{unit}: {name}: {outcome}");
    }
    outcomes.into_iter().filter(|(_, outcome)| outcome == "DONE").map(|(name, _)| name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// EPERM, ENOENT, EACCES, EROFS, EAFNOSUPPORT.
const REFUSALS: [u32; 5] = [1, 2, 13, 30, 97];
