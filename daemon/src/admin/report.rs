//! What the admin socket tells, as its readers see it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use miosa_injector::model::{Resource, ResourceId};
use miosa_injector::protocol::Explanation;
use miosa_snapshot::{Age, Digest};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::process::Process;
use crate::alarms;
use crate::cache::SetAside;
use crate::dropped::DropReport;
use crate::generation::Source;
use crate::hygiene::Memory;
use crate::intake::{Increments, Position};
use crate::ledger::{DoorFacts, LastRefusal, LinkWord, Raised, TrustTimes};
use crate::manager::KeeperReport;
use crate::settings::Limits;
use crate::socket::tampering::Tampered;

/// The body of `GET /v1/status`. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// Who this host is.
    pub(crate) host_id: String,
    /// What people call it.
    pub(crate) name: String,
    /// The version of this program.
    pub(crate) agent: String,
    /// Whether a verified snapshot is held and may be resolved.
    pub(crate) ready: bool,
    /// Why not: `not_ready`, `snapshot_expired` or `signer_revoked`.
    pub(crate) not_ready_because: Option<String>,
    /// Whether a full update is needed.
    pub(crate) need_full: bool,
    /// Why: `not_ready`, `no_trust` or `signer_revoked`, where nothing else helps; `many_increments` or
    /// `large_increments`, while what is held is served and extended.
    pub(crate) need_full_because: Option<String>,
    /// The version of the trust document.
    pub(crate) trust_version: Option<u64>,
    /// Until when it and its signers count.
    pub(crate) trust: Option<TrustTimes>,
    /// The snapshot's lineage of versions.
    pub(crate) epoch: Option<u64>,
    /// The snapshot's version.
    pub(crate) version: Option<u64>,
    /// The digest of the envelope that made it.
    pub(crate) digest: Option<Digest>,
    /// How it came here: `cache` or `update`.
    pub(crate) source: Option<String>,
    /// Whether any update or heartbeat was accepted since this start. Until then nothing tells a state
    /// directory that was put back from a backup from one that is current.
    pub(crate) confirmed: bool,
    /// Seconds since the control plane last said that it is current.
    pub(crate) age_seconds: Option<u64>,
    /// Whether that is longer ago than it should be.
    pub(crate) stale: bool,
    /// When the control plane last said that it is current, by the control plane's clock.
    pub(crate) issued_at: Option<u64>,
    /// Past this it is stale.
    pub(crate) expires_at: Option<u64>,
    /// Past this it is no longer served.
    pub(crate) serve_until: Option<u64>,
    /// What stands on top of the last full update.
    pub(crate) increments: Increments,
    /// How many resources it has.
    pub(crate) resources: usize,
    /// How many of them have a socket.
    pub(crate) sockets_served: usize,
    /// How many of them have no socket; `/v1/resources` says why.
    pub(crate) sockets_failed: usize,
    /// What was changed in the directories of the sockets by somebody else.
    pub(crate) tampered: Vec<Tampered>,
    /// Which listeners outlive a restart.
    pub(crate) listeners: Listeners,
    /// How many clients wait for their resource to change.
    #[serde(default)]
    pub(crate) watches: u64,
    /// Updates and trust documents accepted since the start, by what was done.
    pub(crate) accepted: BTreeMap<String, u64>,
    /// Those refused, by the name of the refusal.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The last refusal.
    pub(crate) last_refusal: Option<LastRefusal>,
    /// What came by each door: `socket` and `drop`.
    pub(crate) doors: BTreeMap<String, DoorFacts>,
    /// How the drop directory fares.
    pub(crate) drop: DropReport,
    /// How the configuration stands.
    pub(crate) configuration: crate::reload::ConfigurationReport,
    /// Files in the evidence directory: envelopes that contradict each other.
    pub(crate) evidence: Vec<String>,
    /// Files that did not verify and were set aside.
    pub(crate) set_aside: Vec<SetAside>,
    /// Where the host's private key was found: `credential` or `file`.
    pub(crate) host_key: String,
    /// Whether all memory of `serve` is kept from swap devices.
    pub(crate) memory_locked: bool,
    /// What `miosad link` said of itself.
    pub(crate) link: Option<LinkWord>,
    /// The limits in force, by their names in the configuration file.
    pub(crate) limits: BTreeMap<String, u64>,
    /// The process of `serve`.
    pub(crate) process: Process,
    /// The host's clock.
    pub(crate) now: u64,
    /// How often an operator was called since the start, by the name of the alarm.
    pub(crate) alarms: BTreeMap<String, u64>,
    /// When, why, and what to do about each of them; the last first.
    pub(crate) raised: Vec<RaisedAlarm>,
}

/// An alarm, with all that an operator needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaisedAlarm {
    /// Its name.
    pub(crate) alarm: String,
    /// How often it was raised since the start.
    pub(crate) count: u64,
    /// When first.
    pub(crate) first_at: u64,
    /// When last.
    pub(crate) last_at: u64,
    /// What it stands for.
    pub(crate) meaning: String,
    /// What was said last.
    pub(crate) message: String,
    /// What to do.
    pub(crate) action: String,
}

/// Listeners, and whether the service manager keeps them while the daemon restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listeners {
    /// How many it keeps.
    pub(crate) kept: usize,
    /// How many it has room for; 0: there is no service manager that keeps any.
    pub(crate) room: usize,
    /// How many of the resources' found no room: whoever connects to one during a restart is refused.
    pub(crate) unkept: usize,
}

/// The body of `GET /v1/resources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResourceList {
    /// All of them, by id.
    pub(crate) resources: Vec<ResourceLine>,
}

/// One resource; also the body of `GET /v1/resources/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResourceLine {
    /// Its id.
    pub(crate) id: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its tenant.
    pub(crate) tenant_id: String,
    /// Its workspace.
    pub(crate) workspace_id: Option<String>,
    /// Its project.
    pub(crate) project_id: Option<String>,
    /// The runs on it.
    pub(crate) runs: Vec<String>,
    /// The path of its socket, whose directory is what a sandbox mounts.
    pub(crate) socket: String,
    /// Whether the socket takes connections.
    pub(crate) served: bool,
    /// Why not.
    pub(crate) error: Option<String>,
    /// What somebody else changed in the socket's directory.
    pub(crate) tampered: Option<Tampered>,
}

/// The body of `GET /v1/resources/{id}/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// Why the resource's own socket refuses to resolve it at present.
    pub(crate) refused: Option<RefusedNow>,
    /// What is held, be it served or not.
    #[serde(flatten)]
    pub(crate) explanation: Explanation,
}

/// Why nothing is resolved at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedNow {
    /// `snapshot_expired` or `signer_revoked`.
    pub(crate) code: String,
    /// The same for people.
    pub(crate) message: String,
}

impl Admin {
    /// How the daemon fares.
    pub(super) fn status(&self) -> StatusReport {
        let now = self.shared.clock.now();
        let generation = self.shared.current.generation();
        let unservable = self.unservable();
        let generation = generation.as_deref();
        let content = generation.map(|generation| &generation.content);
        let aged = generation.map(|generation| generation.freshness.at(now.boot_ms));
        let times = generation.map(|generation| generation.freshness.times());
        let position = Position::now(&self.host_id, &self.shared);
        let facts = self.shared.ledger.facts();
        StatusReport {
            host_id: self.host_id.to_string(),
            name: self.name.to_string(),
            agent: concat!("miosad ", env!("CARGO_PKG_VERSION")).to_owned(),
            ready: unservable.is_none(),
            not_ready_because: unservable.map(|reason| reason.code().to_owned()),
            need_full: position.need_full,
            need_full_because: position.need_full_because,
            trust_version: facts.trust_version,
            trust: facts.trust,
            epoch: content.map(|content| content.epoch),
            version: content.map(|content| content.version),
            digest: content.map(|content| content.digest),
            source: generation.map(|generation| generation.source.as_str().to_owned()),
            confirmed: generation.is_some_and(|generation| generation.source == Source::Update),
            age_seconds: aged.map(|aged| aged.seconds),
            stale: aged.is_some_and(|aged| aged.age != Age::Fresh),
            issued_at: times.map(|times| times.issued_at),
            expires_at: times.map(|times| times.expires_at),
            serve_until: times.map(|times| times.serve_until),
            increments: facts.increments,
            resources: content.map_or(0, |content| content.state.records().resources.len()),
            tampered: facts.tampered.values().cloned().collect(),
            sockets_served: self.sockets.borrow().values().filter(|served| served.is_ok()).count(),
            sockets_failed: self.sockets.borrow().values().filter(|served| served.is_err()).count(),
            listeners: {
                let KeeperReport { kept, room } = self.keeper.report();
                Listeners { kept, room, unkept: facts.unkept }
            },
            watches: self.shared.ledger.traffic().watches(),
            accepted: owned(facts.accepted),
            refused: owned(facts.refused),
            last_refusal: facts.last_refusal,
            doors: facts.doors,
            drop: facts.drop,
            configuration: facts.configuration,
            evidence: facts.evidence,
            set_aside: facts.set_aside,
            host_key: self.key_source.as_str().to_owned(),
            memory_locked: self.memory == Memory::Locked,
            link: facts.link,
            limits: limits_by_name(&self.limits.borrow()),
            process: Process::this(now),
            now: now.unix_ms,
            raised: raised(&facts.alarms, facts.raised),
            alarms: owned(facts.alarms),
        }
    }

    /// All resources of the held state.
    pub(super) fn resources(&self) -> ResourceList {
        let generation = self.shared.current.generation();
        let ids =
            generation.iter().flat_map(|generation| generation.content.state.records().resources.keys());
        ResourceList { resources: ids.filter_map(|id| self.resource_line(id)).collect() }
    }

    /// One resource of the held state.
    pub(super) fn resource_line(&self, id: &ResourceId) -> Option<ResourceLine> {
        let generation = self.shared.current.generation()?;
        let state = &generation.content.state;
        let Resource { tenant_id, workspace_id, project_id, kind, .. } = state.records().resources.get(id)?;
        let served = self.sockets.borrow().get(id).cloned();
        let home = self.runtime.home(id).display().to_string();
        Some(ResourceLine {
            id: id.to_string(),
            kind: kind.as_str().to_owned(),
            tenant_id: tenant_id.to_string(),
            workspace_id: workspace_id.as_ref().map(ToString::to_string),
            project_id: project_id.as_ref().map(ToString::to_string),
            runs: state.runs_on(id).map(ToString::to_string).collect(),
            socket: self.runtime.resource_socket(id).display().to_string(),
            served: matches!(served, Some(Ok(()))),
            error: served.and_then(Result::err),
            tampered: self.shared.ledger.tampered().get(&home).cloned(),
        })
    }
}

/// The last one first.
fn raised(counts: &BTreeMap<&'static str, u64>, raised: BTreeMap<&'static str, Raised>) -> Vec<RaisedAlarm> {
    let alarm = |(name, Raised { first_at, last_at, message }): (&'static str, Raised)| RaisedAlarm {
        alarm: name.to_owned(),
        count: counts.get(name).copied().unwrap_or_default(),
        first_at,
        last_at,
        meaning: alarms::meaning(name).to_owned(),
        message,
        action: alarms::action(name).to_owned(),
    };
    let mut raised: Vec<_> = raised.into_iter().map(alarm).collect();
    raised.sort_by_key(|alarm| Reverse(alarm.last_at));
    raised
}

/// Under the names that the section `[limits]` of a configuration file has.
pub(crate) fn limits_by_name(limits: &Limits) -> BTreeMap<String, u64> {
    let Limits { resource_connections, operator_connections, header_bytes, idle, write } = *limits;
    let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let named = [
        ("resource_connections", whole(resource_connections)),
        ("operator_connections", whole(operator_connections)),
        ("header_bytes", whole(header_bytes)),
        ("idle_seconds", idle.as_secs()),
        ("write_seconds", write.as_secs()),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn owned(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
