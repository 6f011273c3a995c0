//! The machine's console: where our lines and those of the command go.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::patience::Patience;
use crate::sys;

/// Opens the console as those of the standard descriptors that are closed; without one, nothing takes its
/// place. The kernel opens all three if it finds /dev/console in the initial root.
pub(super) fn open_missing() {
    let console = || {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        open(CONSOLE, flags, Mode::empty()).or_else(|_none| open(NOTHING, flags, Mode::empty()))
    };
    // A new descriptor has the lowest number that is free.
    while let Ok(descriptor) = console() {
        if descriptor.as_raw_fd() > STANDARD {
            break;
        }
        let _left_open = descriptor.into_raw_fd();
    }
}

/// Gives a serial line time for what was written last. One that nobody reads must not keep a machine.
pub(super) fn drain() {
    for _ in 0..TRIES {
        if sys::unsent_bytes(STANDARD).unwrap_or(0) == 0 {
            break;
        }
        Patience::deaf().sleep(PAUSE);
    }
}

const CONSOLE: &str = "/dev/console";
const NOTHING: &str = "/dev/null";
/// The highest of the standard descriptors: standard error.
const STANDARD: i32 = 2;
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);
