//! The daemon itself: its configuration, whether it serves, what it called for, its version, its limits.

use std::fs;

use super::finding::Finding;
use super::patient::{Patient, Silence};
use crate::admin::{RaisedAlarm, limits_by_name};
use crate::generation::Unservable;
use crate::moment::{apart, span};
use crate::reload::ConfigurationReport;

/// The configuration file, alone and against what is in force.
pub(super) fn configuration(patient: &Patient) -> Vec<Finding> {
    let settings = &patient.settings;
    if let Some(problem) = &patient.misconfigured {
        let action = "mend that line; a running daemon goes on with what it has, and a start is refused";
        return vec![Finding::fail(CONFIGURATION, problem, action)];
    }
    let file = settings.file().display();
    if let Some(found) = patient.told().and_then(|status| in_force(&status.configuration)) {
        return vec![found];
    }
    if let Some(status) = patient.told() {
        let waiting = &status.configuration.needs_restart;
        if !waiting.is_empty() {
            let says = format!("{file}: {} hold after a restart only", waiting.join(", "));
            let action = "`systemctl restart miosad` puts them in force; no connection is refused meanwhile";
            return vec![Finding::warn(CONFIGURATION, says, action)];
        }
        let written = limits_by_name(&settings.limits);
        let differs = |(name, value): (&String, &u64)| {
            let running = status.limits.get(name).filter(|running| *running != value)?;
            Some(format!("limits.{name} is {running} in the running daemon and {value} here"))
        };
        let differing: Vec<String> = written.iter().filter_map(differs).collect();
        if !differing.is_empty() {
            let says = format!("{file}: {}", differing.join(", "));
            return vec![Finding::warn(CONFIGURATION, says, "`systemctl reload miosad` puts it in force")];
        }
    }
    vec![Finding::ok(
        CONFIGURATION,
        if settings.has_file() {
            format!("{file} is well formed")
        } else {
            format!("the defaults: no {file}")
        },
    )]
}

/// What the daemon says of the file, where it has not all of it in force.
fn in_force(report: &ConfigurationReport) -> Option<Finding> {
    let ConfigurationReport { file, problem, needs_restart, .. } = report;
    if let Some(problem) = problem {
        let says = format!("the running daemon refuses {file}: {problem}");
        return Some(Finding::fail(CONFIGURATION, says, "mend that; it goes on with what it has until then"));
    }
    let keys = needs_restart.join(", ");
    let says = format!("{file} is newer than what is in force: {keys}");
    (!needs_restart.is_empty()).then(|| {
        Finding::warn(CONFIGURATION, says, "`systemctl restart miosad`; no connection is refused meanwhile")
    })
}

/// Whether it runs and serves.
pub(super) fn daemon(patient: &Patient) -> Vec<Finding> {
    let status = match &patient.status {
        Ok(status) => status,
        Err(silence) => return vec![unheard(patient, silence)],
    };
    let now = patient.now.unix_ms;
    let since = status.process.started_at.map_or(String::new(), |at| format!(", started {}", apart(at, now)));
    let running = format!("process {}{since}", status.process.pid);
    if let Some(reason) = status.not_ready_because.as_deref() {
        let action = what_to_do_when(reason);
        return vec![Finding::fail(DAEMON, format!("{running}, resolves nothing: {reason}"), action)];
    }
    let position = status.epoch.zip(status.version);
    let holds =
        position.map_or(String::new(), |(epoch, version)| format!(", epoch {epoch}, version {version}"));
    let age = status.age_seconds.map_or(String::new(), |age| format!(", confirmed {} ago", span(age)));
    let says = format!("{running}{holds}{age}");
    vec![match (status.stale, status.confirmed) {
        (true, _) => Finding::warn(
            DAEMON,
            format!("{says}: stale{}", served_until(patient)),
            "see the line `link`: nothing was heard from the control plane in time",
        ),
        (false, false) => Finding::warn(
            DAEMON,
            format!("{says}; nothing was accepted since this start"),
            "see the line `link`: until an update or heartbeat comes, this may be an earlier copy",
        ),
        (false, true) => Finding::ok(DAEMON, says),
    }]
}

/// What to do while nothing is resolved.
fn what_to_do_when(reason: &str) -> &'static str {
    match reason {
        _ if reason == Unservable::NotReady.code() => {
            "it waits for a full update: see the lines `trust` and `link`, or `miosad push` one"
        }
        _ if reason == Unservable::SignerRevoked.code() => {
            "it waits for a full update by a signer that may still speak: see the line `link`, or publish one"
        }
        _ => "see the line `link`: it serves again with the first update or heartbeat",
    }
}

fn unheard(patient: &Patient, silence: &Silence) -> Finding {
    let socket = patient.settings.runtime.admin_socket();
    let socket = socket.display();
    match silence {
        Silence::NotRunning => Finding::fail(
            DAEMON,
            format!("not running: nothing listens on {socket}"),
            "`systemctl start miosad`; `journalctl -u miosad` says why it ended",
        ),
        Silence::Denied => Finding {
            action: Some("run `miosad doctor` as root or as a member of the group miosa".to_owned()),
            ..Finding::unseen(DAEMON, format!("{socket} may not be asked by this user"))
        },
        Silence::Odd(problem) => {
            Finding::fail(DAEMON, problem, "look at `journalctl -u miosad` and `systemctl status miosad`")
        }
    }
}

fn served_until(patient: &Patient) -> String {
    let until = patient.told().and_then(|status| status.serve_until);
    until.map_or(String::new(), |until| format!(", and served until {}", apart(until, patient.now.unix_ms)))
}

/// What it called for since it was started, the last first.
pub(super) fn alarms(patient: &Patient) -> Vec<Finding> {
    let Some(status) = patient.told() else { return Vec::new() };
    let now = patient.now.unix_ms;
    let line = |raised: &RaisedAlarm| {
        let RaisedAlarm { alarm, count, first_at, last_at, meaning, action, .. } = raised;
        let times = match count {
            1 => apart(*last_at, now),
            count => format!("{count} times, first {}, last {}", apart(*first_at, now), apart(*last_at, now)),
        };
        Finding::warn(ALARM, format!("{alarm} ({times}): {meaning}"), action.clone())
    };
    match status.raised.as_slice() {
        [] => vec![Finding::ok(ALARM, "none was raised since the start")],
        raised => raised.iter().map(line).collect(),
    }
}

/// Of this program, of the daemon and of the kernel.
pub(super) fn versions(patient: &Patient) -> Vec<Finding> {
    let this = concat!("miosad ", env!("CARGO_PKG_VERSION"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    if is_older(kernel, OLDEST_KERNEL) {
        let says = format!("Linux {kernel} is older than what this is made for");
        return vec![Finding::warn(VERSIONS, says, "run Linux 5.10 or later")];
    }
    match patient.told().map(|status| status.agent.as_str()) {
        Some(running) if running != this => vec![Finding::warn(
            VERSIONS,
            format!("the running daemon is {running}, and this program is {this}"),
            "`systemctl restart miosad`; no connection is refused meanwhile",
        )],
        _ => vec![Finding::ok(VERSIONS, format!("{this} on Linux {kernel}"))],
    }
}

fn is_older(release: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(of_major), Some(of_minor)) => (of_major, of_minor) < (major, minor),
        // A kernel that does not say is no reason to call anybody.
        _ => false,
    }
}

/// Descriptors, locked memory, and listeners that outlive a restart.
pub(super) fn limits(patient: &Patient) -> Vec<Finding> {
    let Some(status) = patient.told() else {
        return vec![Finding::untold(LIMITS, "of a daemon that does not run or may not be asked")];
    };
    let mut findings = Vec::new();
    if let (Some(open), Some(most)) = (status.process.descriptors, status.process.max_descriptors) {
        if open.saturating_mul(5) > most.saturating_mul(4) {
            let says = format!("{open} of {most} descriptors are open");
            findings.push(Finding::warn(LIMITS, says, "raise LimitNOFILE= of miosad.service and restart it"));
        } else {
            findings.push(Finding::ok(LIMITS, format!("{open} of {most} descriptors are open")));
        }
    }
    if !status.memory_locked {
        let says = "secrets may reach a swap device: memory is not locked";
        findings.push(Finding::warn(
            LIMITS,
            says,
            "set LimitMEMLOCK=infinity for miosad.service and restart it",
        ));
    }
    let listeners = &status.listeners;
    findings.push(match (listeners.room, listeners.unkept) {
        (0, _) => Finding::warn(
            LIMITS,
            "nobody keeps the listeners while the daemon restarts, so clients are refused for that time",
            "run it as miosad.service, with FileDescriptorStoreMax=",
        ),
        (room, 0) => {
            Finding::ok(LIMITS, format!("{} of {room} places for listeners are used", listeners.kept))
        }
        (room, unkept) => Finding::warn(
            LIMITS,
            format!(
                "{unkept} listeners found no room among {room}, so their clients are refused during a restart"
            ),
            "raise FileDescriptorStoreMax= of miosad.service (with systemd before 254, Environment=FDSTORE= too) and restart it",
        ),
    });
    findings
}

const CONFIGURATION: &str = "configuration";
const DAEMON: &str = "daemon";
const ALARM: &str = "alarm";
const VERSIONS: &str = "versions";
const LIMITS: &str = "limits";

/// Debian 11 has it; nothing older is tested.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        assert!(is_older("4.19.0-26-amd64", OLDEST_KERNEL));
        assert!(is_older("5.4.0", OLDEST_KERNEL));
        assert!(!is_older("5.10.0-8", OLDEST_KERNEL));
        assert!(!is_older("6.1.0-56-cloud-amd64", OLDEST_KERNEL));
        assert!(!is_older("", OLDEST_KERNEL));
    }
}
