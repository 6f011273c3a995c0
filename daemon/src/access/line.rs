//! One line of the log. The counts on it are all there were up to then, so that of the lines of one
//! record the last holds; what the record is about stands on its first line in each file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::content::Source;
use super::tally::{Counts, Id, Seldom, Subject};
use crate::moment::rfc3339;

/// A line to be written.
#[derive(Serialize)]
pub(super) struct NewLine<'a> {
    record: &'a str,
    first: String,
    last: String,
    asked: u64,
    unchanged: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: &'a BTreeMap<&'static str, u64>,
    peers: Vec<Peer>,
    more_peers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<NewOf<'a>>,
}

#[derive(Serialize)]
struct NewOf<'a> {
    tenant: &'a str,
    resource: &'a str,
    run: Option<&'a str>,
    content: Option<&'a str>,
    epoch: Option<u64>,
    version: Option<u64>,
    variables: u64,
    sources: Option<&'a RawValue>,
}

/// A line that was written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Line {
    pub(super) record: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) asked: u64,
    pub(super) unchanged: u64,
    #[serde(default)]
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) peers: Vec<Peer>,
    pub(super) more_peers: u64,
    pub(super) of: Option<Of>,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Of {
    pub(super) tenant: String,
    pub(super) resource: String,
    pub(super) run: Option<String>,
    pub(super) content: Option<String>,
    pub(super) epoch: Option<u64>,
    pub(super) version: Option<u64>,
    pub(super) variables: u64,
    pub(super) sources: Option<Vec<Source>>,
}

/// Who asked, as the kernel saw it connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// The process.
    pub(crate) pid: i32,
    /// Its user.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
}

/// What the counts of a tally come to on paper.
pub(super) struct Totals<'a> {
    pub(super) counts: Counts,
    pub(super) seldom: &'a Seldom,
    pub(super) first_unix_ms: u64,
    pub(super) last_unix_ms: u64,
}

impl<'a> NewLine<'a> {
    /// A line for a record that was told of in this file before.
    pub(super) fn again(record: &'a str, totals: &Totals<'a>) -> Self {
        let Totals { counts, seldom, first_unix_ms, last_unix_ms } = *totals;
        Self {
            record,
            first: rfc3339(first_unix_ms),
            last: rfc3339(last_unix_ms),
            asked: counts.asked,
            unchanged: counts.unchanged,
            refused: &seldom.codes,
            peers: seldom.peers.iter().map(|id| Peer::from(*id)).collect(),
            more_peers: seldom.more_peers,
            of: None,
        }
    }

    /// The same with what it is about; `name` is the content's.
    pub(super) fn in_full(self, of: &'a Subject, name: Option<&'a str>) -> Self {
        let of = match of {
            Subject::Content(content) => NewOf {
                tenant: content.tenant.as_str(),
                resource: content.resource.as_str(),
                run: content.run.as_ref().map(|run| run.as_str()),
                content: name,
                epoch: Some(content.epoch),
                version: Some(content.version),
                variables: content.variables,
                sources: Some(&content.sources),
            },
            Subject::Nothing { tenant, resource } => NewOf {
                tenant: tenant.as_str(),
                resource: resource.as_str(),
                run: None,
                content: None,
                epoch: None,
                version: None,
                variables: 0,
                sources: None,
            },
        };
        Self { of: Some(of), ..self }
    }

    /// Its bytes, with the end of the line.
    pub(super) fn bytes(&self) -> Vec<u8> {
        // Only a map with keys that are no strings could fail.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl From<Id> for Peer {
    fn from(Id { pid, uid, gid }: Id) -> Self {
        Self { pid, uid, gid }
    }
}
