//! How long to wait before the next try: at random between nothing and a bound that doubles ("full
//! jitter"), so that hosts that lost the control plane together do not come back together.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// The pauses of one link.
pub(crate) struct Backoff {
    bound: Duration,
    longest: Duration,
    random: SystemRandom,
}

impl Backoff {
    /// Pauses of at most `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { bound: FIRST, longest, random: SystemRandom::new() }
    }

    /// Pauses of at most `longest` from here on.
    pub(super) fn limit(&mut self, longest: Duration) {
        self.longest = longest;
        self.bound = self.bound.min(longest);
    }

    /// Something was achieved: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.bound = FIRST;
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.bound.mul_f64(self.fraction());
        self.bound = self.bound.saturating_mul(2).min(self.longest);
        pause
    }

    /// Between 0 and 1. Without randomness the whole bound is waited, which spreads nobody but harms
    /// nobody either.
    fn fraction(&self) -> f64 {
        let mut bytes = [0; 4];
        match self.random.fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
            Err(ring::error::Unspecified) => 1.0,
        }
    }
}

const FIRST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_below_a_bound_that_doubles_to_its_limit() {
        let longest = Duration::from_secs(30);
        let mut backoff = Backoff::new(longest);
        let mut bound = FIRST;
        for _ in 0..12 {
            assert!(backoff.next() <= bound);
            bound = (bound * 2).min(longest);
        }
        assert_eq!(backoff.bound, longest);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
        let pauses: Vec<_> = (0..8).map(|_| backoff.next()).collect();
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
