//! The signals of `--init`: which there are, what becomes of each, and how they are read. They are
//! blocked and wait in the kernel, so that none is lost before there is a process to pass it on to, and
//! none arrives in the middle of something.
//!
//! It sends none and starts nothing: see [`init`](crate::init).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;

use crate::failure::Failure;
use crate::sys::{self, Disposition};

/// All signals, held back from the time they were blocked.
pub(crate) struct Signals {
    descriptor: File,
    /// What was blocked when we were started.
    former_mask: u64,
    /// What was done with SIGCHLD when we were started.
    former_child: Disposition,
    /// Read already, for a process that is not there yet.
    kept: Vec<Received>,
}

/// A signal that was sent to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// Its number, 1 to 64.
    pub(crate) number: i32,
}

/// What becomes of a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Treatment {
    /// A child of ours has something to tell.
    Reap,
    /// It is meant for the job: to the command's whole process group.
    ToGroup,
    /// To the command alone.
    ToCommand,
    /// It is about a terminal that we use without asking, and nobody else's concern.
    Ignore,
    /// It arrives by itself, and does what it does: a fault of ours, or what the kernel lets nobody hold back.
    Leave,
}

/// What becomes of the signal with this number.
pub(crate) fn treatment(number: i32) -> Treatment {
    match number {
        libc::SIGCHLD => Treatment::Reap,
        libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM => Treatment::ToGroup,
        libc::SIGTSTP | libc::SIGCONT | libc::SIGWINCH => Treatment::ToGroup,
        libc::SIGTTIN | libc::SIGTTOU => Treatment::Ignore,
        libc::SIGKILL | libc::SIGSTOP => Treatment::Leave,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => Treatment::Leave,
        libc::SIGTRAP | libc::SIGSYS | libc::SIGABRT => Treatment::Leave,
        _ => Treatment::ToCommand,
    }
}

/// The number of a signal that has a name.
#[expect(clippy::as_conversions, reason = "the numbers are the enum's own")]
pub(crate) fn number(signal: Signal) -> i32 {
    signal as i32
}

impl Signals {
    /// Holds all signals back from here on.
    pub(crate) fn block() -> Result<Self, Failure> {
        let blocked = |error: Errno| Failure::own(format_args!("cannot hold signals back: {}", error.desc()));
        let former_mask = sys::block_signals(HELD).map_err(blocked)?;
        // Where it is ignored, as a careless parent leaves it, the kernel forgets how children ended.
        let former_child = sys::set_disposition(libc::SIGCHLD, Disposition::Default).map_err(blocked)?;
        let readable = |error: Errno| {
            Failure::own(format_args!("cannot open a descriptor for signals: {}", error.desc()))
        };
        let mut descriptor = sys::signal_descriptor(READ).map_err(readable)?;
        if descriptor.as_raw_fd() < FIRST_FREE {
            // A standard descriptor that was closed stays closed, and the command finds it so.
            let raw = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE)).map_err(readable)?;
            descriptor = sys::own_descriptor(raw);
        }
        Ok(Self { descriptor: File::from(descriptor), former_mask, former_child, kept: Vec::new() })
    }

    /// Can be read when a signal has come.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Those that have come, in the order the kernel tells them; none is an empty list. After many there
    /// may be more, which the descriptor shows.
    pub(crate) fn take(&mut self) -> Vec<Received> {
        let mut taken = std::mem::take(&mut self.kept);
        self.read(&mut taken);
        taken
    }

    /// While there is no command yet: a signal that asks it to end has come. It is taken; all others are
    /// kept for the command. One that was ignored when we were started, as `nohup` does, asks nothing.
    pub(crate) fn asked_to_stop(&mut self) -> Option<i32> {
        let mut came = Vec::new();
        while self.read(&mut came) == AT_ONCE {}
        let mut stop = None;
        for signal in came {
            let asks = stop.is_none() && STOPPING.contains(&signal.number) && !sys::is_ignored(signal.number);
            if asks {
                stop = Some(signal.number);
            } else {
                self.kept.push(signal);
            }
        }
        stop
    }

    /// In the process that becomes the command: everything is as we were started with.
    pub(crate) fn restore_in_child(&self) -> Result<(), Failure> {
        let restored =
            |error: Errno| Failure::own(format_args!("cannot let signals through: {}", error.desc()));
        if self.former_child != Disposition::Default {
            sys::set_disposition(libc::SIGCHLD, self.former_child).map_err(restored)?;
        }
        sys::block_signals(self.former_mask).map(drop).map_err(restored)
    }

    /// Reads once; how many there were.
    fn read(&mut self, into: &mut Vec<Received>) -> usize {
        let mut buffer = [0_u8; RECORD_BYTES * AT_ONCE];
        // Nothing is there, which is no error.
        let length = self.descriptor.read(&mut buffer).unwrap_or(0);
        let (records, _) = buffer.as_chunks::<RECORD_BYTES>();
        let came = records.iter().take(length / RECORD_BYTES);
        let before = into.len();
        into.extend(came.filter_map(|record| {
            let (number, _) = record.split_first_chunk()?;
            Some(Received { number: i32::from_ne_bytes(*number) })
        }));
        into.len().saturating_sub(before)
    }
}

/// The signals that are held back, a bit each, signal 1 the lowest.
const HELD: u64 = !(bit(libc::SIGKILL)
    | bit(libc::SIGSTOP)
    | bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGSYS)
    | bit(libc::SIGABRT));

/// Those that are read. The two others are held back so that we may use a terminal from the background:
/// tcsetpgrp(3).
const READ: u64 = HELD & !(bit(libc::SIGTTIN) | bit(libc::SIGTTOU));

const fn bit(number: i32) -> u64 {
    1_u64.rotate_left(number.unsigned_abs().wrapping_sub(1))
}

/// Those by which people and supervisors ask a program to end.
const STOPPING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];
/// Below are the standard descriptors.
const FIRST_FREE: i32 = 3;
/// `struct signalfd_siginfo`, which begins with the number: signalfd(2).
const RECORD_BYTES: usize = 128;
/// Mostly there is one.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(is_wanted: impl Fn(Treatment) -> bool) -> Vec<i32> {
        (1..=64).filter(|number| is_wanted(treatment(*number))).collect()
    }

    #[test]
    fn every_signal_has_one_treatment() {
        let of = |wanted| all(|treatment| treatment == wanted);
        assert_eq!(of(Treatment::Leave), [4, 5, 6, 7, 8, 9, 11, 19, 31]);
        assert_eq!(of(Treatment::Reap), [17]);
        assert_eq!(of(Treatment::Ignore), [21, 22]);
        assert_eq!(of(Treatment::ToGroup), [1, 2, 3, 15, 18, 20, 28]);
        assert_eq!(of(Treatment::ToCommand).len(), 64 - 9 - 1 - 2 - 7);
    }

    #[test]
    fn those_that_are_passed_on_are_those_that_are_held_back_and_read() {
        let bits = |numbers: Vec<i32>| numbers.into_iter().map(bit).fold(0, |mask, bit| mask | bit);
        assert_eq!(bits(all(|treatment| treatment != Treatment::Leave)), HELD);
        assert_eq!(bits(all(|of| of != Treatment::Leave && of != Treatment::Ignore)), READ);
    }
}
