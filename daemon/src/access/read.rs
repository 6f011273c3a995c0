//! Reading the access log: the lines of a record come together, and so do the records of one content
//! that several processes or versions made. A line that is torn is passed over, and counted.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::content::Source;
use super::files::NAMES;
use super::line::{Line, Of, Peer};
use crate::disk::{self, DiskError};
use crate::moment;

/// What the files say.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AccessReport {
    /// The one asked for last stands last.
    pub(crate) records: Vec<Record>,
    /// Lines that could not be read: each may have been a record.
    pub(crate) unreadable_lines: u64,
}

/// One content of a resource or run and how it was asked for; or the refusals of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// When it was asked for first.
    pub(crate) first: String,
    /// And last.
    pub(crate) last: String,
    /// Whose resource it is.
    pub(crate) tenant: String,
    /// The resource.
    pub(crate) resource: String,
    /// The run, when one was asked for.
    pub(crate) run: Option<String>,
    /// A name for the content; none for refusals.
    pub(crate) content: Option<String>,
    /// The epoch of the snapshot it was last resolved from.
    pub(crate) epoch: Option<u64>,
    /// The version of that snapshot.
    pub(crate) version: Option<u64>,
    /// How many requests there were.
    pub(crate) asked: u64,
    /// How many of them were told that they have it already.
    pub(crate) unchanged: u64,
    /// How many were refused, by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Who asked: the first few distinct ones.
    pub(crate) peers: Vec<Peer>,
    /// Connections of others.
    pub(crate) more_peers: u64,
    /// How many variables it has.
    pub(crate) variables: u64,
    /// Where they come from; a record with very many does not name all.
    pub(crate) sources: Vec<Source>,
    #[serde(skip)]
    last_unix_ms: u64,
}

/// Reads the files of a directory. None are no records.
pub(crate) fn read(directory: &Path) -> Result<AccessReport, DiskError> {
    // The newest first: a file that becomes the former one meanwhile is read twice rather than never.
    let mut texts = Vec::new();
    for name in NAMES {
        match disk::read(&directory.join(name), LARGEST_FILE) {
            Ok(text) => texts.push(text),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(report(texts.iter().rev().map(|text| text.as_slice())))
}

impl Record {
    /// Whether it was asked for at this time or later.
    pub(crate) fn is_since(&self, unix_ms: u64) -> bool {
        self.last_unix_ms >= unix_ms
    }
}

/// The oldest text comes first.
fn report<'a>(texts: impl Iterator<Item = &'a [u8]>) -> AccessReport {
    let mut unreadable_lines = 0_u64;
    let mut records: BTreeMap<String, (Option<Of>, Line)> = BTreeMap::new();
    for line in texts.flat_map(|text| text.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty()) {
        let Ok(mut line) = serde_json::from_slice::<Line>(line) else {
            unreadable_lines = unreadable_lines.saturating_add(1);
            continue;
        };
        let of = line.of.take();
        let known = records.remove(&line.record).and_then(|(of, _)| of);
        records.insert(line.record.clone(), (of.or(known), line));
    }
    let mut merged: BTreeMap<_, Record> = BTreeMap::new();
    let mut told: Vec<_> = records.into_values().filter_map(|(of, line)| Some(record(of?, line))).collect();
    told.sort_by_key(|record| record.last_unix_ms);
    for record in told {
        let Record { tenant, resource, run, content, .. } = &record;
        let key = (tenant.clone(), resource.clone(), run.clone(), content.clone());
        match merged.remove(&key) {
            Some(earlier) => merged.insert(key, join(earlier, record)),
            None => merged.insert(key, record),
        };
    }
    let mut records: Vec<Record> = merged.into_values().collect();
    records.sort_by_key(|record| record.last_unix_ms);
    AccessReport { records, unreadable_lines }
}

fn record(of: Of, line: Line) -> Record {
    Record {
        last_unix_ms: moment::parse(&line.last).unwrap_or_default(),
        first: line.first,
        last: line.last,
        tenant: of.tenant,
        resource: of.resource,
        run: of.run,
        content: of.content,
        epoch: of.epoch,
        version: of.version,
        asked: line.asked,
        unchanged: line.unchanged,
        refused: line.refused,
        peers: line.peers,
        more_peers: line.more_peers,
        variables: of.variables,
        sources: of.sources.unwrap_or_default(),
    }
}

/// The same content, asked for in another process's time or at another version.
fn join(earlier: Record, later: Record) -> Record {
    let mut joined = Record {
        first: if moment::parse(&earlier.first) < moment::parse(&later.first) {
            earlier.first
        } else {
            later.first.clone()
        },
        asked: earlier.asked.saturating_add(later.asked),
        unchanged: earlier.unchanged.saturating_add(later.unchanged),
        more_peers: earlier.more_peers.saturating_add(later.more_peers),
        peers: earlier.peers,
        ..later.clone()
    };
    // Who came last stands last.
    joined.peers.retain(|peer| !later.peers.contains(peer));
    joined.peers.extend(later.peers);
    for (code, count) in earlier.refused {
        let sum = joined.refused.entry(code).or_default();
        *sum = sum.saturating_add(count);
    }
    joined
}

/// More than any setting allows.
const LARGEST_FILE: usize = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &str, of: &str, last: u32, asked: u32) -> String {
        format!(
            r#"{{"record":"{record}","first":"2027-01-15T08:00:00Z","last":"2027-01-15T08:00:{last:02}Z",
            "asked":{asked},"unchanged":0,"peers":[{{"pid":1,"uid":0,"gid":0}}],"more_peers":0{of}}}"#
        )
        .replace('\n', " ")
    }

    fn of(resource: &str, content: &str) -> String {
        format!(
            r#","of":{{"tenant":"t1","resource":"{resource}","run":null,"content":"{content}","epoch":1,
            "version":7,"variables":1,"sources":[{{"layer":"resource","record":"r","names":["A"]}}]}}"#
        )
        .replace('\n', " ")
    }

    fn read_lines(files: &[&[String]]) -> AccessReport {
        let texts: Vec<String> = files.iter().map(|lines| lines.join("\n")).collect();
        report(texts.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn of_the_lines_of_one_record_the_last_holds() {
        let report = read_lines(&[&[line("p-1", &of("sbx-1", "c"), 1, 1), line("p-1", "", 9, 1_000)]]);
        assert_eq!(report.records.len(), 1);
        assert_eq!(
            (report.records[0].asked, report.records[0].last.as_str()),
            (1_000, "2027-01-15T08:00:09Z")
        );
        assert_eq!(report.records[0].sources[0].names, ["A"]);
    }

    #[test]
    fn records_of_one_content_come_together_and_others_do_not() {
        let report = read_lines(&[
            &[line("p-1", &of("sbx-1", "c"), 1, 10), line("p-2", &of("sbx-1", "d"), 2, 5)],
            &[line("q-1", &of("sbx-1", "c"), 3, 7), line("q-2", &of("sbx-2", "c"), 4, 1)],
        ]);
        let told: Vec<_> = report
            .records
            .iter()
            .map(|record| (record.resource.as_str(), record.content.as_deref().unwrap(), record.asked))
            .collect();
        assert_eq!(told, [("sbx-1", "d", 5), ("sbx-1", "c", 17), ("sbx-2", "c", 1)]);
        assert_eq!(report.records[1].peers.len(), 1);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_counted() {
        let whole = line("p-1", &of("sbx-1", "c"), 1, 1);
        let torn = whole[..whole.len() - 9].to_owned();
        let report = read_lines(&[&[torn, whole]]);
        assert_eq!((report.records.len(), report.unreadable_lines), (1, 1));
    }

    #[test]
    fn a_record_whose_beginning_is_in_no_file_any_more_is_left_out() {
        assert_eq!(read_lines(&[&[line("p-1", "", 1, 1)]]), AccessReport::default());
    }
}
