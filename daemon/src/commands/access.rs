//! `miosad access`: who resolved what, and when, as the access log has it. It asks nobody: the log is
//! there whether `serve` runs or not.

use std::str::FromStr;

use super::{CommandError, show, words};
use crate::access::{self, AccessReport, Record};
use crate::cli::Access;
use crate::clock::Clock;
use crate::moment;
use crate::settings::Settings;

/// A moment that an operator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So many seconds ago.
    Ago(u64),
    /// At this time, in Unix milliseconds.
    At(u64),
}

/// What was written in the place of a moment.
#[derive(Debug, thiserror::Error)]
#[error("it takes 30s, 15m, 2h, 7d, or a time like 2027-01-15T08:00:00Z")]
pub struct NoMoment;

/// Prints the records of the access log.
///
/// # Errors
/// When the log can't be read: it belongs to the user that `serve` runs as.
pub fn access(settings: &Settings, what: &Access) -> Result<(), CommandError> {
    let mut report = access::read(&settings.state.access())?;
    let since = what.since.map_or(0, |since| since.unix_ms(Clock::System.now().unix_ms));
    report.records.retain(|record| {
        record.is_since(since) && what.id.as_ref().is_none_or(|id| record.resource == id.as_str())
    });
    show(what.print, &report, in_words)
}

impl Since {
    fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(seconds) => now_ms.saturating_sub(seconds.saturating_mul(1_000)),
            Self::At(unix_ms) => unix_ms,
        }
    }
}

impl FromStr for Since {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Some(unix_ms) = moment::parse(text) {
            return Ok(Self::At(unix_ms));
        }
        let unit = text.chars().last().ok_or(NoMoment)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(NoMoment),
        };
        let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or(NoMoment)?;
        count.checked_mul(seconds).map(Self::Ago).ok_or(NoMoment)
    }
}

fn in_words(report: &AccessReport) -> String {
    let AccessReport { records, unreadable_lines } = report;
    let mut text = if records.is_empty() {
        "nobody asked for anything, as far as the access log goes back\n".to_owned()
    } else {
        let heading = ["LAST", "RESOURCE", "RUN", "VERSION", "ASKED", "BY", "GIVEN"].map(str::to_owned);
        words::columns([heading].into_iter().chain(records.iter().map(row)))
    };
    if *unreadable_lines > 0 {
        text.push_str(&format!("{unreadable_lines} lines can't be read: torn by a crash, or changed\n"));
    }
    text
}

fn row(record: &Record) -> [String; 7] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        record.last.clone(),
        record.resource.clone(),
        or_none(record.run.clone()),
        or_none(record.version.map(|version| version.to_string())),
        record.asked.to_string(),
        by(record),
        given(record),
    ]
}

fn by(record: &Record) -> String {
    let mut peers = record.peers.iter().rev();
    let Some(last) = peers.next() else { return "-".to_owned() };
    let others = match (peers.len(), record.more_peers) {
        (0, 0) => String::new(),
        (1, 0) => " and another".to_owned(),
        (named, 0) => format!(" and {named} others"),
        (named, _) => format!(" and more than {named} others"),
    };
    format!("pid {} uid {}{others}", last.pid, last.uid)
}

fn given(record: &Record) -> String {
    if record.content.is_some() {
        return format!("{} variables", record.variables);
    }
    let codes: Vec<_> = record.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
    format!("nothing: {}", codes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now = 1_800_000_000_000;
        let at = |text: &str| text.parse::<Since>().unwrap().unix_ms(now);
        assert_eq!(at("2027-01-15T08:00:00Z"), now);
        assert_eq!(["30s", "15m", "2h", "1d"].map(at), [30, 900, 7_200, 86_400].map(|ago| now - ago * 1_000));
        assert_eq!(at("99999999999999999s"), 0);
        for bad in ["", "m", "1", "1w", "-1h", "1.5h", "1mm", "yesterday", "99999999999999999999s", "2h30m"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }
}
