//! The end of a machine: its processes, its disks, and which way it goes off.

use std::ops::Range;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::RebootMode;
use nix::sys::stat::{Mode, stat};
use nix::unistd::{read, sync};

use crate::patience::Patience;
use crate::sys;

/// Asks every process to end, and after `grace` no longer asks.
pub(super) fn end_processes(grace: Duration) {
    for (signal, time) in [(libc::SIGTERM, grace), (libc::SIGKILL, LAST_WAIT)] {
        // All but ourselves: kill(2). A stopped one hears it when it goes on.
        let _nobody = sys::send_signal(EVERYBODY, signal);
        let _nobody = sys::send_signal(EVERYBODY, libc::SIGCONT);
        if all_end_within(time) {
            return;
        }
    }
}

/// Every process is our child in the end, since orphans are given to us.
fn all_end_within(time: Duration) -> bool {
    let started = Instant::now();
    loop {
        while sys::child_news(None, libc::WEXITED | libc::WNOHANG).is_some() {}
        if sys::is_childless() {
            return true;
        }
        if started.elapsed() >= time {
            return false;
        }
        Patience::deaf().sleep(PAUSE);
    }
}

/// Puts everything on the disks, and takes the root's file system out of use. One that can't be, as in
/// memory, or as something is still written, is no worse off than before.
pub(super) fn settle_disks() {
    sync();
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let _in_use = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
}

/// By power-off where the machine can; else by a reset, at which a monitor ends that offers no other way
/// (Firecracker on x86). The kernel itself would only halt, and leave the monitor running for ever.
pub(super) fn way_off() -> RebootMode {
    if !cfg!(target_arch = "x86_64") || stat(FIRMWARE).is_err() {
        return RebootMode::RB_POWER_OFF;
    }
    let mut description = [0; DESCRIPTION_BYTES];
    match open(DESCRIPTION, OFlag::O_RDONLY, Mode::empty()).and_then(|file| read(file, &mut description)) {
        Ok(_length) if can_power_off(&description) => RebootMode::RB_POWER_OFF,
        Ok(_) | Err(_) => RebootMode::RB_AUTOBOOT,
    }
}

/// Whether this Fixed ACPI Description Table (ACPI 6.5, 5.2.9) describes a machine that can: one without the
/// classic hardware needs both sleep registers for it.
fn can_power_off(description: &[u8; DESCRIPTION_BYTES]) -> bool {
    let is_there = |address: Option<&[u8]>| address.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    let is_reduced = description[FLAGS_16_TO_23] & HARDWARE_REDUCED != 0;
    !is_reduced || (is_there(description.get(SLEEP_CONTROL)) && is_there(description.get(SLEEP_STATUS)))
}

const EVERYBODY: i32 = -1;
const PAUSE: Duration = Duration::from_millis(5);
/// What is killed ends at once, save what waits for a disk that does not answer.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// There whenever sysfs is.
const FIRMWARE: &str = "/sys/firmware";
/// There where the machine has ACPI.
const DESCRIPTION: &str = "/sys/firmware/acpi/tables/FACP";
/// Up to the end of the second register; the rest of a shorter one counts as zeros.
const DESCRIPTION_BYTES: usize = 268;
const FLAGS_16_TO_23: usize = 114;
/// Flag 20.
const HARDWARE_REDUCED: u8 = 1 << 4;
/// Where the addresses of the two registers stand.
const SLEEP_CONTROL: Range<usize> = 248..256;
const SLEEP_STATUS: Range<usize> = 260..268;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_sleep_registers_and_classic_hardware_cannot_power_off() {
        let mut description = [0_u8; DESCRIPTION_BYTES];
        assert!(can_power_off(&description), "classic hardware");
        description[114] = 0x10;
        assert!(!can_power_off(&description), "as Firecracker's");
        description[248] = 1;
        assert!(!can_power_off(&description), "half of it");
        description[267] = 1;
        assert!(can_power_off(&description), "as Cloud Hypervisor's");
    }
}
