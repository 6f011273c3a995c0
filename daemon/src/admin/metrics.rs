//! The same facts as the status, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::StatusReport;
use crate::ledger::{DoorFacts, Facts};

/// The metrics, with labels from fixed sets only.
pub(super) fn text(status: &StatusReport, facts: &Facts) -> String {
    let mut page = Page::default();
    page.gauge(
        "miosad_ready",
        "Whether a verified snapshot is held and may be resolved",
        u64::from(status.ready),
    );
    page.gauge("miosad_stale", "Whether the snapshot is past its expires_at", u64::from(status.stale));
    if let (Some(epoch), Some(version), Some(age)) = (status.epoch, status.version, status.age_seconds) {
        page.gauge("miosad_snapshot_epoch", "Epoch of the snapshot", epoch);
        page.gauge("miosad_snapshot_version", "Version of the snapshot", version);
        page.gauge("miosad_snapshot_age_seconds", "Since the control plane confirmed the snapshot", age);
    }
    page.gauge(
        "miosad_confirmed",
        "Whether the snapshot was confirmed by an update or heartbeat since the start",
        u64::from(status.confirmed),
    );
    page.gauge("miosad_need_full", "Whether a full update is needed", u64::from(status.need_full));
    page.gauge("miosad_increments", "Updates on top of the last full one", status.increments.count);
    page.gauge("miosad_resources", "Resources of the snapshot", count(status.resources));
    page.gauge("miosad_sockets_failed", "Resources without a socket", count(status.sockets_failed));
    page.gauge(
        "miosad_tampered",
        "Resources and directories whose sockets were changed by somebody else",
        count(status.tampered.len()),
    );
    page.gauge("miosad_set_aside_files", "Kept files that did not verify", count(status.set_aside.len()));
    page.counters(
        "miosad_accepted_total",
        "Updates and trust documents accepted",
        "verdict",
        &facts.accepted,
    );
    page.counters(
        "miosad_refused_total",
        "Updates, trust documents and kept files refused",
        "reason",
        &facts.refused,
    );
    page.gauge("miosad_evidence_files", "Envelopes that contradict each other", count(status.evidence.len()));
    page.gauge(
        "miosad_drop_watched",
        "Whether the drop directory is usable and watched",
        u64::from(status.drop.state == "watched"),
    );
    page.gauge(
        "miosad_configuration_in_force",
        "Whether all of the configuration file as it is now is in force",
        u64::from(status.configuration.state == "in_force"),
    );
    page.gauge(
        "miosad_drop_left_files",
        "What is in the drop directory and not taken",
        status.drop.left_count,
    );
    page.doors(&status.doors);
    page.counters("miosad_alarms_total", "What needs an operator", "alarm", &facts.alarms);
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, counts: &BTreeMap<&'static str, u64>) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} counter\n"));
        for (value, count) in counts {
            self.line(format_args!("{name}{{{label}=\"{value}\"}} {count}\n"));
        }
    }

    fn doors(&mut self, doors: &BTreeMap<String, DoorFacts>) {
        let name = "miosad_offers_total";
        self.line(format_args!("# HELP {name} What came by each door\n# TYPE {name} counter\n"));
        for (door, DoorFacts { accepted, refused, .. }) in doors {
            self.line(format_args!("{name}{{door=\"{door}\",result=\"accepted\"}} {accepted}\n"));
            self.line(format_args!("{name}{{door=\"{door}\",result=\"refused\"}} {refused}\n"));
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = self.0.write_fmt(text);
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
