//! Reports in words, for people at a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use crate::admin::{Explained, RaisedAlarm, RefusedNow, ResourceLine, ResourceList, StatusReport};
use crate::dropped::LeftEntry;
use crate::ledger::DoorFacts;
use crate::link::word;
use crate::moment::{apart, span};
use crate::reload::ConfigurationReport;

/// The status, a fact a line.
pub(super) fn status(report: &StatusReport) -> String {
    let mut lines = Lines::default();
    let ago = |at: u64| apart(at, report.now);
    lines.fact("host", format!("{} ({})", report.host_id, report.name));
    let since = report.process.started_at.map_or(String::new(), |at| format!(", started {}", ago(at)));
    lines.fact("daemon", format!("{}, process {}{since}", report.agent, report.process.pid));
    let why = report.not_ready_because.as_deref();
    lines.fact("ready", why.map_or("yes".to_owned(), |reason| format!("no: {reason}")));
    if let (Some(epoch), Some(version)) = (report.epoch, report.version) {
        let source = match report.source.as_deref() {
            Some("cache") => ", from the cache",
            _ => "",
        };
        let increments = match report.increments.count {
            0 => String::new(),
            count => format!(", a full update and {count} on top of it"),
        };
        lines.fact("snapshot", format!("epoch {epoch}, version {version}{source}{increments}"));
    }
    if let Some(age) = report.age_seconds {
        let stale = if report.stale { " (stale: the control plane was not heard in time)" } else { "" };
        let since = match report.confirmed {
            true => "",
            false => ", and not since this start: it may be an earlier copy",
        };
        lines.fact("confirmed", format!("{} ago{stale}{since}", span(age)));
    }
    if let Some(reason) = &report.need_full_because {
        lines.fact("needs", needs(reason));
    }
    let expires = report.trust.as_ref().map_or(String::new(), |trust| {
        let signers = trust.signers.iter().map(|signer| signer.expires_at).max();
        let signers = signers.map_or(String::new(), |at| format!(", its last signer {}", ago(at)));
        format!(", expires {}{signers}", ago(trust.expires_at))
    });
    let trust =
        report.trust_version.map_or("none".to_owned(), |version| format!("version {version}{expires}"));
    lines.fact("trust", trust);
    let failed = match report.sockets_failed {
        0 => String::new(),
        count => format!(", {count} of them without a socket (see `miosad resources`)"),
    };
    lines.fact("resources", format!("{}, {} served{failed}", report.resources, report.sockets_served));
    if let Some(heard) = &report.link {
        let silent = report.now.saturating_sub(heard.at) / 1_000;
        let state = match heard.state.as_str() {
            word::CONNECTED if silent <= LOOKS_WITHIN_SECONDS => "connected".to_owned(),
            state => format!("{state}, heard {} (see `miosad doctor`)", ago(heard.at)),
        };
        lines.fact("link", state);
    }
    for tampered in &report.tampered {
        lines.fact("tampered", tampered.to_string());
    }
    lines.counts("accepted", &report.accepted);
    lines.counts("refused", &report.refused);
    if let Some(last) = &report.last_refusal {
        let check = last.check.as_ref().map_or(String::new(), |check| format!("{check} "));
        lines.fact("last refusal", format!("{}, {check}{}: {}", ago(last.at), last.code, last.message));
    }
    for (door, DoorFacts { accepted, refused, .. }) in &report.doors {
        lines.fact(&format!("by {door}"), format!("{accepted} accepted, {refused} refused"));
    }
    if let Some(problem) = &report.drop.problem {
        lines.fact("drop", format!("{}: {problem}", report.drop.state));
    }
    for LeftEntry { file, reason } in &report.drop.left {
        lines.fact("drop left", format!("{file} ({reason})"));
    }
    let ConfigurationReport { file, state, problem, needs_restart, .. } = &report.configuration;
    match (state.as_str(), problem) {
        ("refused", Some(problem)) => {
            lines.fact("configuration", format!("older than {file}, which is refused: {problem}"));
        }
        ("needs_restart", _) => {
            let keys = needs_restart.join(", ");
            lines.fact("configuration", format!("older than {file}: {keys} take a restart"));
        }
        _ => {}
    }
    for file in &report.evidence {
        lines.fact("evidence", file.clone());
    }
    for file in &report.set_aside {
        lines.fact("set aside", file.file.clone());
    }
    if !report.memory_locked {
        lines.fact("memory", "may be swapped out: `miosad serve` needs LimitMEMLOCK=infinity".to_owned());
    }
    for raised in &report.raised {
        lines.fact("alarm", alarm(raised, report.now));
    }
    lines.0
}

/// Why a resource starts with what it starts with; on top, that it does not at present.
pub(super) fn explained(explained: &Explained) -> String {
    let table = explained.explanation.table(width());
    match &explained.refused {
        None => table,
        Some(RefusedNow { code, message }) => {
            format!("NOT SERVED NOW: {message} ({code}); `miosad doctor` says what to do\n\n{table}")
        }
    }
}

/// What a shell says of its terminal; else the narrowest there is, or room enough where there is none.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.unwrap_or(if io::stdout().is_terminal() { 80 } else { 120 })
}

fn alarm(raised: &RaisedAlarm, now: u64) -> String {
    let RaisedAlarm { alarm, count, first_at, last_at, message, action, .. } = raised;
    let times = match count {
        1 => apart(*last_at, now),
        count => format!("{count} times, first {}, last {}", apart(*first_at, now), apart(*last_at, now)),
    };
    // What was said may say itself what to do.
    let action = if message.contains(action) { String::new() } else { format!("; {action}") };
    format!("{alarm} ({times}): {message}{action}")
}

fn needs(reason: &str) -> String {
    match reason {
        "no_trust" => "a trust document and a full update".to_owned(),
        "many_increments" => "a full update soon: many were put on top of the last one".to_owned(),
        "large_increments" => {
            "a full update soon: what was put on top of the last one outweighs it".to_owned()
        }
        _ => "a full update".to_owned(),
    }
}

/// The resources, one a line.
pub(super) fn resources(list: &ResourceList) -> String {
    if list.resources.is_empty() {
        return "no resources on this host".to_owned();
    }
    let heading = ["RESOURCE", "KIND", "TENANT", "RUNS", "SOCKET"].map(str::to_owned);
    columns([heading].into_iter().chain(list.resources.iter().map(row)))
}

/// Rows in columns, the last as wide as it likes.
pub(super) fn columns<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
            let last = column.saturating_add(1) == row.len();
            // Writing to a String cannot fail.
            let _infallible = if last { writeln!(text, "{cell}") } else { write!(text, "{cell:width$}  ") };
        }
    }
    text
}

fn row(resource: &ResourceLine) -> [String; 5] {
    let socket = match (&resource.error, resource.served) {
        (Some(error), _) => format!("none: {error}"),
        (None, true) if resource.tampered.is_some() => {
            format!("{} (tampered with: see `miosad status`)", resource.socket)
        }
        (None, true) => resource.socket.clone(),
        (None, false) => "not yet".to_owned(),
    };
    let runs = if resource.runs.is_empty() { "-".to_owned() } else { resource.runs.join(",") };
    [resource.id.clone(), resource.kind.clone(), resource.tenant_id.clone(), runs, socket]
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn fact(&mut self, name: &str, value: String) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.0, "{name:<14}{value}");
    }

    fn counts(&mut self, name: &str, counts: &BTreeMap<String, u64>) {
        if !counts.is_empty() {
            let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            self.fact(name, counts.join(", "));
        }
    }
}

/// The link looks every 2 seconds while it is connected.
const LOOKS_WITHIN_SECONDS: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_with_its_times_its_reason_and_what_to_do() {
        let mut raised = RaisedAlarm {
            alarm: "disk_full".to_owned(),
            count: 1,
            first_at: 0,
            last_at: 0,
            meaning: String::new(),
            message: "cannot write /x".to_owned(),
            action: "free some space".to_owned(),
        };
        assert_eq!(alarm(&raised, 600_000), "disk_full (10 min ago): cannot write /x; free some space");
        raised.count = 3;
        raised.last_at = 540_000;
        raised.message = "the disk is full: free some space".to_owned();
        let told = "disk_full (3 times, first 10 min ago, last 60 s ago): the disk is full: free some space";
        assert_eq!(alarm(&raised, 600_000), told);
    }

    #[test]
    fn an_explanation_begins_with_a_refusal_if_there_is_one() {
        let mut held = Explained {
            refused: None,
            explanation: serde_json::from_value(serde_json::json!({
                "resource_id": "sbx-1", "kind": "sandbox", "run_id": null, "snapshot_version": 7,
                "profile": {"id": null, "name": null, "runtime": null, "reason": "no default applies"},
                "variables": [], "ignored": [], "cwd": null,
                "command": {"argv": null, "source": null, "error": null},
            }))
            .unwrap(),
        };
        assert!(explained(&held).starts_with("sandbox sbx-1, snapshot 7\n"));
        held.refused = Some(RefusedNow {
            code: "signer_revoked".to_owned(),
            message: "the signer was revoked".to_owned(),
        });
        let told = "NOT SERVED NOW: the signer was revoked (signer_revoked); `miosad doctor` says what to do\n\nsandbox";
        assert!(explained(&held).starts_with(told), "{}", explained(&held));
    }

    #[test]
    fn resources_stand_in_columns() {
        let line = |id: &str, runs: &[&str]| ResourceLine {
            id: id.to_owned(),
            kind: "sandbox".to_owned(),
            tenant_id: "t1".to_owned(),
            workspace_id: None,
            project_id: None,
            runs: runs.iter().map(|&run| run.to_owned()).collect(),
            socket: "/s".to_owned(),
            served: true,
            error: None,
            tampered: None,
        };
        let list = ResourceList { resources: vec![line("sbx-1", &["r1", "r2"]), line("sandbox-long", &[])] };
        let expected = "RESOURCE      KIND     TENANT  RUNS   SOCKET\n\
                        sbx-1         sandbox  t1      r1,r2  /s\n\
                        sandbox-long  sandbox  t1      -      /s\n";
        assert_eq!(resources(&list), expected);
        assert_eq!(resources(&ResourceList { resources: vec![] }), "no resources on this host");
    }
}
