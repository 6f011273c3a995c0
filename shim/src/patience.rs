//! Waiting, and nothing else: for a descriptor or for time to pass, until asked to stop. Before the command
//! exists this is the one place where the program sleeps.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::init;
use crate::signals::Signals;

/// Waits, and hears signals meanwhile if there is somebody who takes them.
pub(crate) struct Patience<'a> {
    signals: Option<&'a mut Signals>,
}

/// Why waiting is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// What was waited for has come to pass.
    Ready,
    /// It has not, and the time is over.
    Late,
    /// By this signal we were asked to stop.
    Stopped(i32),
}

impl<'a> Patience<'a> {
    /// Signals do what they do by themselves.
    pub(crate) fn deaf() -> Self {
        Self { signals: None }
    }

    /// Signals come by a descriptor.
    pub(crate) fn hearing(signals: &'a mut Signals) -> Self {
        Self { signals: Some(signals) }
    }

    /// Waits for this, at most until then.
    pub(crate) fn wait(&mut self, awaited: Option<(BorrowedFd<'_>, PollFlags)>, until: Instant) -> Woken {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (is_ready, is_signalled) = self.look(awaited, left);
            if is_signalled && let Some(signals) = &mut self.signals {
                init::bury_the_dead();
                if let Some(signal) = signals.asked_to_stop() {
                    return Woken::Stopped(signal);
                }
            }
            if is_ready {
                return Woken::Ready;
            }
            if left.is_zero() {
                return Woken::Late;
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn sleep(&mut self, time: Duration) -> Woken {
        let now = Instant::now();
        self.wait(None, now.checked_add(time).unwrap_or(now))
    }

    fn look(&self, awaited: Option<(BorrowedFd<'_>, PollFlags)>, left: Duration) -> (bool, bool) {
        let signals = self.signals.as_ref().map(|signals| (signals.descriptor(), PollFlags::POLLIN));
        let mut watched: [Option<PollFd<'_>>; 2] =
            [awaited, signals].map(|one| one.map(|(descriptor, flags)| PollFd::new(descriptor, flags)));
        let mut descriptors: Vec<PollFd<'_>> = watched.iter_mut().filter_map(Option::take).collect();
        // The kernel counts milliseconds: a part of one is waited for as a whole.
        let timeout = left.saturating_add(Duration::from_nanos(999_999));
        // What fails here is a signal that came in between, or a lack of memory that passes.
        let _again = poll(&mut descriptors, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX));
        let mut was_woken = descriptors.iter().map(|one| one.any().unwrap_or(true));
        let is_ready = awaited.is_some() && was_woken.next().unwrap_or(false);
        (is_ready, was_woken.next().unwrap_or(false))
    }
}
