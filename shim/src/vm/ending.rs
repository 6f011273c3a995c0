//! The end of a machine: its processes, its disks, and which way it goes off.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, sync};

use crate::patience::Patience;

/// Asks every process to end, and after `grace` no longer asks.
pub(super) fn end_processes(grace: Duration) {
    for (signal, time) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, LAST_WAIT)] {
        // All but ourselves: kill(2). A stopped one hears it when it goes on.
        drop(kill(EVERYBODY, signal));
        drop(kill(EVERYBODY, Signal::SIGCONT));
        if all_end_within(time) {
            return;
        }
    }
}

/// Every process is our child in the end, since orphans are given to us.
fn all_end_within(time: Duration) -> bool {
    let started = Instant::now();
    loop {
        match waitpid(ANYBODY, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(status) if status.pid().is_some() => continue,
            Ok(_) | Err(_) if started.elapsed() >= time => return false,
            Ok(_) | Err(_) => drop(Patience::deaf().sleep(PAUSE)),
        }
    }
}

/// Puts everything on the disks, and takes the root's file system out of use. One that can't be, as in
/// memory, or as something is still written, is no worse off than before.
pub(super) fn settle_disks() {
    sync();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    drop(mount(None::<&str>, "/", None::<&str>, flags, None::<&str>));
}

/// By power-off where the machine can; else by a reset, at which a monitor ends that offers no other way
/// (Firecracker on x86). The kernel itself would only halt, and leave the monitor running for ever.
pub(super) fn way_off() -> RebootMode {
    let firmware = Path::new(FIRMWARE);
    if !cfg!(target_arch = "x86_64") || !firmware.exists() {
        return RebootMode::RB_POWER_OFF;
    }
    match std::fs::read(firmware.join("acpi/tables/FACP")) {
        Ok(description) if can_power_off(&description) => RebootMode::RB_POWER_OFF,
        Ok(_) | Err(_) => RebootMode::RB_AUTOBOOT,
    }
}

/// Whether this Fixed ACPI Description Table (ACPI 6.5, 5.2.9) describes a machine that can: one without the
/// classic hardware needs both sleep registers for it.
fn can_power_off(description: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = at.checked_add(length).and_then(|end| description.get(at..end)).unwrap_or_default();
        bytes.iter().rev().fold(0_u64, |number, byte| number.wrapping_shl(8) | u64::from(*byte))
    };
    let is_reduced = number(FLAGS, 4) & HARDWARE_REDUCED != 0;
    !is_reduced || [SLEEP_CONTROL, SLEEP_STATUS].iter().all(|at| number(*at, 8) != 0)
}

const EVERYBODY: Pid = Pid::from_raw(-1);
const ANYBODY: Pid = Pid::from_raw(-1);
const PAUSE: Duration = Duration::from_millis(5);
/// What is killed ends at once, save what waits for a disk that does not answer.
const LAST_WAIT: Duration = Duration::from_secs(2);

const FIRMWARE: &str = "/sys/firmware";
const FLAGS: usize = 112;
const HARDWARE_REDUCED: u64 = 1 << 20;
/// Where the addresses of the two registers stand.
const SLEEP_CONTROL: usize = 248;
const SLEEP_STATUS: usize = 260;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_sleep_registers_and_classic_hardware_cannot_power_off() {
        let mut description = vec![0_u8; 276];
        assert!(can_power_off(&description), "classic hardware");
        description[114] = 0x10;
        assert!(!can_power_off(&description), "as Firecracker's");
        description[248] = 1;
        assert!(!can_power_off(&description), "half of it");
        description[267] = 1;
        assert!(can_power_off(&description), "as Cloud Hypervisor's");
        assert!(can_power_off(&description[..100]), "one of the first version");
    }
}
