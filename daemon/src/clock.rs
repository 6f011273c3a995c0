//! Every clock the daemon reads: the wall clock, and the boot-time clock that no step and no suspend
//! can turn back. Nothing else reads a clock; what to conclude from one is `age`'s business.

use nix::time::{ClockId, clock_gettime};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Unix time in milliseconds, as the wall clock has it: may be wrong, may step.
    pub(crate) unix_ms: u64,
    /// Milliseconds since boot, time asleep included: only ever grows while the machine is up.
    pub(crate) boot_ms: u64,
}

/// Where readings come from.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// The machine's own clocks.
    System,
    /// Clocks that a test moves by hand.
    #[cfg(any(test, fuzzing))]
    Stepped(std::sync::Arc<stepped::Hands>),
}

impl Clock {
    /// Reads both clocks.
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::System => {
                Now { unix_ms: read(ClockId::CLOCK_REALTIME), boot_ms: read(ClockId::CLOCK_BOOTTIME) }
            }
            #[cfg(any(test, fuzzing))]
            Self::Stepped(hands) => hands.now(),
        }
    }

    /// Reads the boot-time clock only: this is on the path of every answer.
    pub(crate) fn boot_ms(&self) -> u64 {
        match self {
            Self::System => read(ClockId::CLOCK_BOOTTIME),
            #[cfg(any(test, fuzzing))]
            Self::Stepped(hands) => hands.now().boot_ms,
        }
    }
}

/// A clock in milliseconds. Both clocks exist on every Linux this runs on, and neither is negative
/// but for a wall clock set before 1970, which then counts as 1970.
fn read(id: ClockId) -> u64 {
    let Ok(time) = clock_gettime(id) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1_000).saturating_add(millis)
}

#[cfg(any(test, fuzzing))]
pub(crate) mod stepped {
    //! Clocks for tests.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Clock, Now};

    /// The hands of a stepped clock.
    #[derive(Debug)]
    pub(crate) struct Hands {
        unix_ms: AtomicU64,
        boot_ms: AtomicU64,
    }

    impl Hands {
        /// A clock that shows `unix_ms`, on a machine up for a minute.
        pub(crate) fn at(unix_ms: u64) -> (Clock, Arc<Self>) {
            let hands = Arc::new(Self { unix_ms: AtomicU64::new(unix_ms), boot_ms: AtomicU64::new(60_000) });
            (Clock::Stepped(Arc::clone(&hands)), hands)
        }

        /// Lets time pass on both clocks.
        pub(crate) fn pass(&self, milliseconds: u64) {
            self.unix_ms.fetch_add(milliseconds, Ordering::Relaxed);
            self.boot_ms.fetch_add(milliseconds, Ordering::Relaxed);
        }

        /// Sets the wall clock only, as an operator or NTP would.
        pub(crate) fn step_wall_to(&self, unix_ms: u64) {
            self.unix_ms.store(unix_ms, Ordering::Relaxed);
        }

        pub(super) fn now(&self) -> Now {
            Now {
                unix_ms: self.unix_ms.load(Ordering::Relaxed),
                boot_ms: self.boot_ms.load(Ordering::Relaxed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clocks_show_a_plausible_time() {
        let now = Clock::System.now();
        assert!(now.unix_ms > 1_700_000_000_000, "{now:?}");
        assert!(now.boot_ms > 0 && now.boot_ms < now.unix_ms, "{now:?}");
    }
}
