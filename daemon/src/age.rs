//! How old what is served is. Age is counted on the boot-time clock from the moment of acceptance, so
//! that a step of the wall clock expires nothing; and the time it starts from is never before the
//! newest time a signer has vouched for, so that a wrong clock at boot makes nothing younger.

use std::time::Duration;

use miosa_snapshot::{Age, Times};

use crate::clock::Now;

/// The times of what is served, tied to a moment on the boot-time clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    times: Times,
    accepted_unix_ms: u64,
    accepted_boot_ms: u64,
}

/// An age at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aged {
    /// Fresh, stale or expired.
    pub(crate) age: Age,
    /// Seconds since the signer last said that it is current.
    pub(crate) seconds: u64,
}

impl Freshness {
    /// The times of an update accepted, or taken from the cache, `now`. `newest_issued_at` is the
    /// newest time that any update of this epoch accepted by this host was issued at.
    pub(crate) fn new(times: Times, now: Now, newest_issued_at: u64) -> Self {
        let accepted_unix_ms = now.unix_ms.max(newest_issued_at).max(times.issued_at);
        Self { times, accepted_unix_ms, accepted_boot_ms: now.boot_ms }
    }

    /// The age when the boot-time clock shows `boot_ms`.
    pub(crate) fn at(&self, boot_ms: u64) -> Aged {
        let passed = boot_ms.saturating_sub(self.accepted_boot_ms);
        let now = self.accepted_unix_ms.saturating_add(passed);
        let seconds = now.saturating_sub(self.times.issued_at) / 1_000;
        Aged { age: self.times.age_at(now), seconds }
    }

    /// How long it is until it is expired when the boot-time clock shows `boot_ms`.
    pub(crate) fn lasts(&self, boot_ms: u64) -> Duration {
        let passed = boot_ms.saturating_sub(self.accepted_boot_ms);
        let now = self.accepted_unix_ms.saturating_add(passed);
        Duration::from_millis(self.times.serve_until.saturating_sub(now).saturating_add(1))
    }

    /// The times themselves.
    pub(crate) fn times(&self) -> Times {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::stepped::Hands;

    const ISSUED: u64 = 1_800_000_000_000;
    const TIMES: Times =
        Times { issued_at: ISSUED, expires_at: ISSUED + 900_000, serve_until: ISSUED + 3_600_000 };

    fn aged(age: Age, seconds: u64) -> Aged {
        Aged { age, seconds }
    }

    #[test]
    fn it_grows_stale_and_then_expires() {
        let (clock, hands) = Hands::at(ISSUED + 2_000);
        let freshness = Freshness::new(TIMES, clock.now(), 0);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Fresh, 2));
        hands.pass(898_000);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Fresh, 900));
        hands.pass(1);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Stale, 900));
        let lasts = freshness.lasts(clock.boot_ms());
        assert_eq!(lasts, Duration::from_millis(2_700_000));
        hands.pass(2_699_999);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Stale, 3_600));
        hands.pass(1);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Expired, 3_600));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing() {
        let (clock, hands) = Hands::at(ISSUED);
        let freshness = Freshness::new(TIMES, clock.now(), 0);
        let ten_years = 315_360_000_000;
        hands.step_wall_to(ISSUED + ten_years);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Fresh, 0));
        hands.step_wall_to(0);
        hands.pass(5_000);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Fresh, 5));
    }

    #[test]
    fn a_clock_at_1970_makes_nothing_younger_than_the_newest_issue_seen() {
        let (clock, _hands) = Hands::at(0);
        let newest = ISSUED + 1_000_000;
        let freshness = Freshness::new(TIMES, clock.now(), newest);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Stale, 1_000));
    }

    #[test]
    fn an_update_issued_a_little_ahead_of_the_clock_has_no_negative_age() {
        let (clock, hands) = Hands::at(ISSUED - 30_000);
        let freshness = Freshness::new(TIMES, clock.now(), 0);
        hands.pass(1_000);
        assert_eq!(freshness.at(clock.boot_ms()), aged(Age::Fresh, 1));
    }
}
