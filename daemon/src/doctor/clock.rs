//! The wall clock, against what others say of the time. Whether it is set by NTP shows in a file only
//! where systemd-timesyncd does that; elsewhere nothing is said of it.

use std::path::Path;

use super::finding::Finding;
use super::patient::Patient;
use crate::floor::Floors;
use crate::moment::{apart, rfc3339, span};

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let now = patient.now.unix_ms;
    let synchronized =
        if Path::new(SYNCHRONIZED).exists() { ", synchronized by systemd-timesyncd" } else { "" };
    let Some(newest) = newest_issued_at(patient) else {
        let says = format!("{}{synchronized}; nothing is known to compare it with", rfc3339(now));
        return vec![Finding::unseen(CLOCK, says)];
    };
    let behind = newest.saturating_sub(now) / 1_000;
    let ahead = ahead_by(patient) / 1_000;
    vec![if behind > REFUSED_SECONDS {
        Finding::fail(
            CLOCK,
            format!("{} behind: updates are refused as from the future", span(behind)),
            SET_IT,
        )
    } else if behind > TOLERATED_SECONDS {
        Finding::warn(CLOCK, format!("at least {} behind the control plane's", span(behind)), SET_IT)
    } else if ahead > AHEAD_SECONDS {
        let says =
            format!("up to {} ahead: the last update was accepted that long after it was made", span(ahead));
        Finding::warn(CLOCK, says, "set it, keep it set by NTP; if it is right, find out what delays updates")
    } else {
        let says = format!(
            "{}{synchronized}; the control plane's newest word is of {}",
            rfc3339(now),
            apart(newest.min(now), now)
        );
        Finding::ok(CLOCK, says)
    }]
}

/// By the control plane's clock.
fn newest_issued_at(patient: &Patient) -> Option<u64> {
    let told = patient.told().and_then(|status| status.issued_at);
    let floor = Floors::new(patient.settings.state.floors()).read().mark;
    let noted = floor.map(|mark| mark.floor.issued_at).filter(|issued_at| *issued_at > 0);
    told.max(noted)
}

/// How long after it was made the last update that came by a door was accepted, in milliseconds: that is
/// its way here and how far the clock is ahead.
fn ahead_by(patient: &Patient) -> u64 {
    let Some(status) = patient.told().filter(|status| status.confirmed) else { return 0 };
    let news = |result: &str| matches!(result, "replace" | "extend" | "refresh");
    let last = status.doors.values().filter_map(|door| door.last.as_ref()).max_by_key(|event| event.at);
    match (last, status.issued_at) {
        (Some(event), Some(issued_at)) if news(&event.result) => event.at.saturating_sub(issued_at),
        _ => 0,
    }
}

const CLOCK: &str = "clock";
const SET_IT: &str = "set it and keep it set by NTP: `timedatectl set-ntp true`";
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// What U13 of docs/snapshot-format.md lets pass.
const REFUSED_SECONDS: u64 = miosa_snapshot::MAX_CLOCK_LEAD_MS / 1_000;
const TOLERATED_SECONDS: u64 = 5;
const AHEAD_SECONDS: u64 = 300;
