//! A machine without an agent: nothing was started, and it is off all the same.

use miosa_tests::World;
use miosa_tests::vm::{Disk, Vm, Vsock};

#[test]
fn without_a_daemon_one_line_says_so_and_the_machine_is_off() {
    let world = World::start();
    let nothing = world.path("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let disk = Disk::with_agent("echo started");
    let line = "-- --vm --wait 3 --socket vsock:2:7007 /agent";
    let off = Vm::boot(disk, Some(Vsock::to(&nothing)), line).goes_off();
    let [told] = off.told()[..] else { panic!("{:#?}", off.console) };
    assert!(told.starts_with("nothing answers on vsock:2:7007 ("), "{told}");
    assert!(told.ends_with("(waited 3 s; see --wait)"), "{told}");
    assert!(!off.said("started"), "{:#?}", off.console);
}

#[test]
fn ctrl_alt_del_ends_a_machine_that_still_waits_for_its_daemon() {
    // At this level the kernel tells that somebody has made a socket.
    let line = "loglevel=7 -- --vm --wait 300 --socket vsock:2:7007 /agent";
    let mut vm = Vm::boot(Disk::with_agent("echo started"), None, line);
    vm.says("Registered PF_VSOCK");
    vm.press_ctrl_alt_del();
    let off = vm.goes_off();
    assert_eq!(off.told(), ["asked to stop by signal 2 before the command was started"]);
    assert!(!off.said("started"), "{:#?}", off.console);
}

#[test]
fn a_mistake_on_the_kernels_command_line_is_one_line_and_no_panic() {
    let off = Vm::boot(Disk::with_agent(""), None, "-- --vm --bogus /agent").goes_off();
    assert_eq!(off.told(), ["no option --bogus; see miosa-exec --help"]);
}
