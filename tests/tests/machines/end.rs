//! From the end of the agent to the end of the machine.

use miosa_tests::vm::{Disk, Vm};

#[test]
fn a_failed_agent_is_told_and_what_it_wrote_is_on_the_disk() {
    let disk = Disk::with_agent("echo written >/work/file; exit 3");
    let off = Vm::boot(disk, None, &unattended("rw", "/agent")).goes_off();
    assert_eq!(off.told()[1..], ["the command ended with status 3"]);
    assert_eq!(off.disk.read("/work/file"), "written\n");
    assert!(off.disk.is_settled());
}

#[test]
fn an_agent_that_ends_well_ends_the_machine_without_a_word() {
    let disk = Disk::with_agent("echo 'that is all'");
    let off = Vm::boot(disk, None, &unattended("ro", "/agent")).goes_off();
    assert!(off.said("that is all"));
    assert_eq!(off.told().len(), 1, "{:#?}", off.console);
}

#[test]
fn orphans_are_reaped_and_given_time_to_end() {
    let disk = Disk::with_agent(
        r#"
        (sleep 0.01 & sleep 0.01 & sleep 0.01 &)
        sleep 1
        echo "zombies: $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l)"
        setsid sh -c 'trap "echo heard >/work/asked; sleep 0.5; echo ended >/work/orphan; exit" TERM
            touch /work/ready; while :; do sleep 0.1; done' &
        setsid sh -c 'trap "" TERM; touch /work/deaf; while :; do sleep 1; done' &
        until [ -e /work/ready ] && [ -e /work/deaf ]; do sleep 0.1; done
        "#,
    );
    let line = unattended("rw", "--grace 3 /agent");
    let off = Vm::boot(disk, None, &line).goes_off();
    assert!(off.said("zombies: 0"), "{:#?}", off.console);
    assert_eq!(off.disk.read("/work/asked"), "heard\n");
    assert_eq!(off.disk.read("/work/orphan"), "ended\n");
    assert!(off.disk.is_settled(), "the one that does not hear is killed");
}

#[test]
fn ctrl_alt_del_asks_the_agent_to_stop() {
    let disk = Disk::with_agent(
        "trap 'echo stopped; exit 4' TERM; trap 'echo interrupted' INT; echo ready; while :; do sleep 0.1; done",
    );
    let mut vm = Vm::boot(disk, None, &unattended("rw", "/agent"));
    vm.says("ready");
    vm.press_ctrl_alt_del();
    let off = vm.goes_off();
    assert!(off.said("stopped") && !off.said("interrupted"), "{:#?}", off.console);
    assert!(off.told().contains(&"the command ended with status 4"), "{:#?}", off.console);
    assert!(off.disk.is_settled());
}

/// As under Firecracker, whose machines have no way to power off, and end at a reset.
#[test]
fn a_machine_that_cannot_power_off_is_reset() {
    let off = Vm::boot(Disk::with_agent("echo 'that is all'"), None, &unattended("acpi=off ro", "/agent"))
        .goes_off();
    assert!(off.said("that is all"), "{:#?}", off.console);
    assert!(off.console.iter().any(|line| line.ends_with("reboot: Restarting system")), "{:#?}", off.console);
}

/// With no daemon to ask.
fn unattended(options: &str, arguments: &str) -> String {
    format!("{options} -- --vm --wait 0 --on-failure continue --socket vsock:2:7007 {arguments}")
}
