//! What the first process of a virtual machine does beside its command, `--vm`: what the kernel leaves to it
//! before, and the end of the machine after. It knows nothing of the command, and starts none.

mod console;
mod ending;
mod loopback;
mod mounts;

use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::reboot::{reboot, set_cad_enabled};
use nix::unistd::{Pid, getpid};

use crate::failure::Failure;
use crate::options::Inherited;

/// Whether `--vm` stands somewhere before the command, even if the rest can't be read.
pub(crate) fn is_wanted(args: &[OsString], inherited: &Inherited) -> bool {
    let is_set = |(name, value): &(OsString, OsString)| name == VARIABLE && !value.is_empty() && value != "0";
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == OPTION) || inherited.iter().any(is_set)
}

/// Lives the life of a machine: makes it ready, runs what gives the command's exit status, and powers it
/// off, whatever came of it. A first process that simply ended would make the kernel panic, which is what it
/// does if this comes back with a status after all.
///
/// # Errors
/// Where we are not the first process of a machine, and would do harm.
pub(crate) fn live(grace: Duration, start: impl FnOnce() -> Result<i32, Failure>) -> Result<i32, Failure> {
    check_that_we_are_first()?;
    prepare();
    let status = match start() {
        Ok(0) => 0,
        Ok(status) => {
            Failure::own(format_args!("the command ended with status {status}")).tell();
            status
        }
        Err(failure) => failure.report().into(),
    };
    power_off(grace);
    Ok(status)
}

/// The root of a container may well be a file system of the host, which must not become read-only at the end.
/// In a process namespace the kernel takes no order for the whole machine (reboot_pid_ns() in
/// kernel/pid_namespace.c), whoever else is in it, and this one is of use: Ctrl-Alt-Del, with which a monitor
/// asks a machine to end, becomes a signal to us.
fn check_that_we_are_first() -> Result<(), Failure> {
    let process = getpid();
    if process != FIRST {
        return Err(Failure::usage(format_args!(
            "--vm is for the first process of a virtual machine (init=), and this is process {process}; leave it out, or give --init instead"
        )));
    }
    set_cad_enabled(false).map_err(|_refused| {
        let text = "and this is a container; give --init instead";
        Failure::usage(format_args!("--vm is for the first process of a virtual machine, {text}"))
    })
}

/// Makes of what the kernel has just started what programs expect: /proc, /sys, /dev and /run, standard
/// descriptors, a loopback interface. What can't be made is told, and gone without.
fn prepare() {
    let troubles = mounts::mount_missing();
    console::open_missing();
    troubles.iter().for_each(Failure::tell);
    if let Err(error) = loopback::bring_up() {
        Failure::own(format_args!("cannot bring the loopback interface up: {}", error.desc())).tell();
    }
}

/// Ends all that runs, which has `grace` for it, and the machine. Nobody is there any more who could do
/// anything about a failure.
fn power_off(grace: Duration) {
    ending::end_processes(grace);
    ending::settle_disks();
    console::drain();
    let Err(error): Result<Infallible, Errno> = reboot(ending::way_off());
    Failure::own(format_args!("cannot power off: {}", error.desc())).tell();
}

const OPTION: &str = "--vm";
const VARIABLE: &str = "MIOSA_EXEC_VM";
const FIRST: Pid = Pid::from_raw(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_the_first_process_ends_no_machine() {
        let text = live(Duration::ZERO, || panic!("started")).err().unwrap().text().to_owned();
        let expected = format!(
            "--vm is for the first process of a virtual machine (init=), and this is process {}",
            std::process::id()
        );
        assert!(text.starts_with(&expected), "{text}");
    }

    #[test]
    fn a_machine_is_told_from_arguments_that_cannot_be_read() {
        let wanted = |args: &[&str], variables: &[(&str, &str)]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            is_wanted(&args, &variables)
        };
        assert!(wanted(&["miosa-exec", "--nope", "--vm"], &[]));
        assert!(wanted(&["miosa-exec", "--nope"], &[("A", "1"), ("MIOSA_EXEC_VM", "1")]));
        assert!(!wanted(&["miosa-exec", "--nope"], &[("MIOSA_EXEC_VM", "0")]));
        assert!(!wanted(&["miosa-exec", "--nope"], &[("MIOSA_EXEC_VM", "")]));
        assert!(!wanted(&["miosa-exec", "--vmm"], &[("VM", "1")]));
        assert!(!wanted(&["miosa-exec", "--nope", "--", "qemu", "--vm"], &[]));
    }
}
