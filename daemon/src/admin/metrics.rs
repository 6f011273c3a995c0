//! The same facts as the status, in the text format of Prometheus, with what was counted on the sockets.
//!
//! Every label is of a fixed set. A resource is never one: each would be a series of its own in whatever
//! stores them, one more for every sandbox that ever was, and its id would say who works when.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write as _};

use super::StatusReport;
use crate::ledger::{DoorFacts, Facts};
use crate::link::word;
use crate::traffic::{Outcome, Sort, Traffic};

/// The metrics.
pub(super) fn text(status: &StatusReport, facts: &Facts, traffic: &Traffic) -> String {
    let mut page = Page::default();
    page.build(&status.agent);
    page.snapshot(status);
    page.trust(status);
    page.resources(status);
    page.intake(status, facts);
    page.link(status);
    page.alarms(facts);
    page.traffic(traffic);
    page.process(status);
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn build(&mut self, agent: &str) {
        let version = agent.rsplit(' ').next().unwrap_or_default();
        self.head("miosad_build_info", "gauge", "The version of this program");
        self.line(format_args!("miosad_build_info{{version=\"{version}\"}} 1\n"));
    }

    fn snapshot(&mut self, status: &StatusReport) {
        self.gauge("miosad_ready", "Whether a verified snapshot is held and may be resolved", status.ready);
        self.gauge("miosad_stale", "Whether the snapshot is past its expires_at", status.stale);
        if let (Some(epoch), Some(version), Some(age)) = (status.epoch, status.version, status.age_seconds) {
            self.gauge("miosad_snapshot_epoch", "Epoch of the snapshot", epoch);
            self.gauge("miosad_snapshot_version", "Version of the snapshot", version);
            self.gauge("miosad_snapshot_age_seconds", "Since the control plane confirmed the snapshot", age);
        }
        for (name, help, at) in [
            (
                "miosad_snapshot_issued_timestamp_seconds",
                "When the control plane confirmed the snapshot, by its own clock",
                status.issued_at,
            ),
            ("miosad_snapshot_expires_timestamp_seconds", "When the snapshot is stale", status.expires_at),
            (
                "miosad_snapshot_serve_until_timestamp_seconds",
                "When the snapshot is no longer served",
                status.serve_until,
            ),
        ] {
            self.time(name, help, at);
        }
        self.gauge(
            "miosad_confirmed",
            "Whether the snapshot was confirmed by an update or heartbeat since the start",
            status.confirmed,
        );
        self.gauge("miosad_need_full", "Whether a full update is needed", status.need_full);
        self.gauge("miosad_increments", "Updates on top of the last full one", status.increments.count);
        self.gauge("miosad_set_aside_files", "Kept files that did not verify", count(status.set_aside.len()));
        let evidence = "Envelopes that contradict each other";
        self.gauge("miosad_evidence_files", evidence, count(status.evidence.len()));
    }

    fn trust(&mut self, status: &StatusReport) {
        if let Some(version) = status.trust_version {
            self.gauge("miosad_trust_version", "Version of the trust document", version);
        }
        let Some(trust) = &status.trust else { return };
        let help = "When the trust document expires, and no update is accepted any more";
        self.time("miosad_trust_expires_timestamp_seconds", help, Some(trust.expires_at));
        let last = trust.signers.iter().map(|signer| signer.expires_at).max();
        let help = "When the last of the signers expires, and no update is accepted any more";
        self.time("miosad_signers_expire_timestamp_seconds", help, last);
    }

    fn resources(&mut self, status: &StatusReport) {
        self.gauge("miosad_resources", "Resources of the snapshot", count(status.resources));
        self.gauge("miosad_sockets_served", "Resources with a socket", count(status.sockets_served));
        self.gauge("miosad_sockets_failed", "Resources without a socket", count(status.sockets_failed));
        self.gauge(
            "miosad_tampered",
            "Resources and directories whose sockets were changed by somebody else",
            count(status.tampered.len()),
        );
        let listeners = &status.listeners;
        let help = "Listeners that the service manager keeps over a restart";
        self.gauge("miosad_listeners_kept", help, count(listeners.kept));
        let help = "Listeners that it has room for; 0 without one";
        self.gauge("miosad_listeners_room", help, count(listeners.room));
        let help = "Listeners without room, whose clients are refused during a restart";
        self.gauge("miosad_listeners_unkept", help, count(listeners.unkept));
        self.gauge("miosad_watches", "Clients that wait for their resource to change", status.watches);
    }

    fn intake(&mut self, status: &StatusReport, facts: &Facts) {
        let accepted = "Updates and trust documents accepted";
        self.counters("miosad_accepted_total", accepted, "verdict", &facts.accepted);
        let refused = "Updates, trust documents and kept files refused";
        self.counters("miosad_refused_total", refused, "reason", &facts.refused);
        let last = status.last_refusal.as_ref().map(|last| last.at);
        self.time("miosad_last_refusal_timestamp_seconds", "When something was refused last", last);
        self.gauge(
            "miosad_drop_watched",
            "Whether the drop directory is usable and watched",
            status.drop.state == "watched",
        );
        self.gauge(
            "miosad_configuration_in_force",
            "Whether all of the configuration file as it is now is in force",
            status.configuration.state == "in_force",
        );
        let left = "What is in the drop directory and not taken";
        self.gauge("miosad_drop_left_files", left, status.drop.left_count);
        let name = "miosad_offers_total";
        self.head(name, "counter", "What came by each door");
        for (door, DoorFacts { accepted, refused, .. }) in &status.doors {
            self.line(format_args!("{name}{{door=\"{door}\",result=\"accepted\"}} {accepted}\n"));
            self.line(format_args!("{name}{{door=\"{door}\",result=\"refused\"}} {refused}\n"));
        }
    }

    fn link(&mut self, status: &StatusReport) {
        let heard = status.link.as_ref();
        let name = "miosad_link_state";
        self.head(name, "gauge", "What the link said of itself last: 1 for one of the states");
        for state in word::WORDS {
            let is_so = u64::from(heard.is_some_and(|heard| heard.state == state));
            self.line(format_args!("{name}{{state=\"{state}\"}} {is_so}\n"));
        }
        let at = heard.map(|heard| heard.at);
        self.time("miosad_link_heard_timestamp_seconds", "When the link was heard last", at);
    }

    fn alarms(&mut self, facts: &Facts) {
        self.counters("miosad_alarms_total", "How often an operator was called", "alarm", &facts.alarms);
        let name = "miosad_alarm_raised_timestamp_seconds";
        self.head(name, "gauge", "When each alarm was raised last");
        for (alarm, raised) in &facts.raised {
            let at = Seconds(raised.last_at);
            self.line(format_args!("{name}{{alarm=\"{alarm}\"}} {at}\n"));
        }
    }

    fn traffic(&mut self, traffic: &Traffic) {
        let name = "miosad_answers_total";
        self.head(name, "counter", "Answers by the sort of socket and the HTTP status");
        for (sort, word) in Sort::ALL {
            for (code, count) in traffic.on(sort).answers() {
                self.line(format_args!("{name}{{socket=\"{word}\",code=\"{code}\"}} {count}\n"));
            }
        }
        self.latencies(traffic);
        let name = "miosad_connections";
        self.head(name, "gauge", "Open connections");
        for (sort, word) in Sort::ALL {
            self.line(format_args!("{name}{{socket=\"{word}\"}} {}\n", traffic.on(sort).connections()));
        }
        let name = "miosad_connections_opened_total";
        self.head(name, "counter", "Connections accepted");
        for (sort, word) in Sort::ALL {
            self.line(format_args!("{name}{{socket=\"{word}\"}} {}\n", traffic.on(sort).opened()));
        }
        let name = "miosad_connections_timed_out_total";
        self.head(name, "counter", "Connections ended for asking nothing, or reading nothing, for too long");
        for (sort, word) in Sort::ALL {
            self.line(format_args!("{name}{{socket=\"{word}\"}} {}\n", traffic.on(sort).timed_out()));
        }
        let name = "miosad_accept_failures_total";
        self.head(name, "counter", "Connections not accepted for want of descriptors or memory");
        self.line(format_args!("{name} {}\n", traffic.accept_failures()));
    }

    /// Of the resources' sockets: nobody waits for the others.
    fn latencies(&mut self, traffic: &Traffic) {
        let name = "miosad_answer_duration_seconds";
        let help = "From a request's head on a resource's socket to the beginning of its answer, less what a watch waits";
        self.head(name, "histogram", help);
        for (outcome, word) in Outcome::ALL {
            let latency = traffic.on(Sort::Resource).latency(outcome);
            let mut all = 0;
            for (bound, count) in latency.cumulative() {
                self.line(format_args!("{name}_bucket{{outcome=\"{word}\",le=\"{bound}\"}} {count}\n"));
                all = count;
            }
            let sum = latency.sum();
            let (seconds, nanos) = (sum.as_secs(), sum.subsec_nanos());
            self.line(format_args!("{name}_sum{{outcome=\"{word}\"}} {seconds}.{nanos:09}\n"));
            self.line(format_args!("{name}_count{{outcome=\"{word}\"}} {all}\n"));
        }
    }

    fn process(&mut self, status: &StatusReport) {
        let help = "Whether all memory is kept from swap devices";
        self.gauge("miosad_memory_locked", help, status.memory_locked);
        let watchdog = sd_notify::watchdog_enabled().unwrap_or_default();
        let help = "How long the event loop may stand still before the service manager ends it; 0: for ever";
        self.gauge("miosad_watchdog_seconds", help, watchdog.as_secs());
        let process = &status.process;
        for (name, help, value) in [
            ("process_open_fds", "Open descriptors", process.descriptors),
            ("process_max_fds", "How many may be open", process.max_descriptors),
            ("process_resident_memory_bytes", "Memory that is occupied", process.resident_bytes),
        ] {
            if let Some(value) = value {
                self.gauge(name, help, value);
            }
        }
        self.time("process_start_time_seconds", "When the process was started", process.started_at);
        if let Some(cpu_ms) = process.cpu_ms {
            let name = "process_cpu_seconds_total";
            self.head(name, "counter", "Processor time used");
            self.line(format_args!("{name} {}\n", Seconds(cpu_ms)));
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<u64>) {
        self.head(name, "gauge", help);
        self.line(format_args!("{name} {}\n", value.into()));
    }

    /// A time in Unix milliseconds; one that is not known is left out.
    fn time(&mut self, name: &str, help: &str, at: Option<u64>) {
        if let Some(at) = at {
            self.head(name, "gauge", help);
            self.line(format_args!("{name} {}\n", Seconds(at)));
        }
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, counts: &BTreeMap<&'static str, u64>) {
        self.head(name, "counter", help);
        for (value, count) in counts {
            self.line(format_args!("{name}{{{label}=\"{value}\"}} {count}\n"));
        }
    }

    fn head(&mut self, name: &str, sort: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {sort}\n"));
    }

    fn line(&mut self, text: Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = self.0.write_fmt(text);
    }
}

/// Milliseconds, as Prometheus has all times.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
