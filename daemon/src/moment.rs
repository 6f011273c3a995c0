//! Times for people: RFC 3339, and how far apart two are. What follows from a time is decided
//! elsewhere.

use miosa_snapshot::MAX_NUMBER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time, in Unix milliseconds, as RFC 3339 in UTC. The largest number means never.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    if unix_ms >= MAX_NUMBER {
        return "never".to_owned();
    }
    let nanos = i128::from(unix_ms).saturating_mul(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    // Years of five digits are not RFC 3339.
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms after 1970"))
}

/// The time that RFC 3339 text tells, in Unix milliseconds; none for what is no such text.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// How far a time is from now: `3 min ago`, `in 12 days`, `now`.
pub(crate) fn apart(unix_ms: u64, now_ms: u64) -> String {
    match unix_ms.abs_diff(now_ms) / 1_000 {
        _ if unix_ms >= MAX_NUMBER => "never".to_owned(),
        0 => "now".to_owned(),
        seconds if unix_ms < now_ms => format!("{} ago", span(seconds)),
        seconds => format!("in {}", span(seconds)),
    }
}

/// A span of time in a fitting unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(rfc3339(1_800_000_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(rfc3339(1_800_000_000_123), "2027-01-15T08:00:00.123Z");
        assert_eq!(parse("2027-01-15T08:00:00.123Z"), Some(1_800_000_000_123));
        assert_eq!(parse("2027-01-15T09:00:00+01:00"), Some(1_800_000_000_000));
        assert_eq!([parse("never"), parse("2027-01-15"), parse("1969-01-01T00:00:00Z")], [None; 3]);
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(MAX_NUMBER), "never");
        assert_eq!(rfc3339(MAX_NUMBER - 1), format!("{} ms after 1970", MAX_NUMBER - 1));
    }

    #[test]
    fn spans_are_told_in_a_fitting_unit() {
        let told = [5, 119, 120, 7_199, 7_200, 172_800, 63_072_000].map(span);
        assert_eq!(told, ["5 s", "119 s", "2 min", "119 min", "2 h", "2 days", "2 years"]);
        assert_eq!(apart(1_000, 61_000), "60 s ago");
        assert_eq!(apart(61_000, 1_000), "in 60 s");
        assert_eq!(apart(1_000, 1_999), "now");
        assert_eq!(apart(MAX_NUMBER, 5), "never");
    }
}
