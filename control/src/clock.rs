//! The only place that reads the wall clock, and the one form in which times are shown.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: unix milliseconds, as stored in every time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millis(pub(crate) i64);

impl Millis {
    /// The wall clock now; a clock set before 1970 reads as 1970.
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// This time moved by so many milliseconds.
    pub(crate) fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// The same for `miosa-snapshot`, which counts unsigned.
    pub(crate) fn unsigned(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// The time that `miosa-snapshot` counts so.
    pub(crate) fn from_unsigned(milliseconds: u64) -> Self {
        Self(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }

    /// RFC 3339 in UTC with whole seconds, as the API reference shows times.
    pub(crate) fn rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp(self.0.div_euclid(MILLIS_PER_SECOND))
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_else(|| EPOCH.to_owned())
    }
}

const MILLIS_PER_SECOND: i64 = 1000;
const EPOCH: &str = "1970-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_the_reference_shows_them() {
        assert_eq!(Millis(1_781_532_000_123).rfc3339(), "2026-06-15T14:00:00Z");
        assert_eq!(Millis(0).rfc3339(), EPOCH);
        assert_eq!(Millis(i64::MAX).rfc3339(), EPOCH);
    }
}
