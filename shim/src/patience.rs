//! Waiting, and nothing else: for descriptors or for time to pass; and before the command exists, until asked to
//! stop.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::init;
use crate::signals::Signals;

/// Waits, and hears signals meanwhile if there is somebody who takes them.
pub(crate) struct Patience<'a> {
    signals: Option<&'a mut Signals>,
}

/// A descriptor, and what is waited for on it.
pub(crate) type Awaited<'a> = (BorrowedFd<'a>, PollFlags);

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
    pub(crate) fn wait(&mut self, awaited: Option<Awaited<'_>>, until: Instant) -> Woken {
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

    fn look(&self, awaited: Option<Awaited<'_>>, left: Duration) -> (bool, bool) {
        let signals = self.signals.as_ref().map(|signals| (signals.descriptor(), PollFlags::POLLIN));
        await_either(awaited, signals, Some(left))
    }
}

/// Sleeps until one of the two is ready, or the time is over, if it ever is; which of them are.
pub(crate) fn await_either(
    one: Option<Awaited<'_>>,
    other: Option<Awaited<'_>>,
    time: Option<Duration>,
) -> (bool, bool) {
    let watched = [one, other].into_iter().flatten();
    let mut watched: Vec<PollFd<'_>> =
        watched.map(|(descriptor, flags)| PollFd::new(descriptor, flags)).collect();
    // The kernel counts milliseconds: a part of one is waited for as a whole.
    let timeout = time.map(|time| time.saturating_add(Duration::from_nanos(999_999)));
    let timeout = timeout.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
    // What fails here is a signal that came in between, a stop, or a lack of memory that passes.
    let _again = poll(&mut watched, timeout);
    let mut is_ready = watched.iter().map(|one| one.any().unwrap_or(true));
    let mut next = |one: Option<Awaited<'_>>| one.is_some() && is_ready.next().unwrap_or(false);
    (next(one), next(other))
}
