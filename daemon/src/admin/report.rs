//! What the admin socket tells, as its readers see it.

use std::collections::BTreeMap;

use miosa_injector::model::{Resource, ResourceId};
use miosa_snapshot::{Age, Digest};
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::cache::SetAside;
use crate::dropped::DropReport;
use crate::generation::Source;
use crate::hygiene::Memory;
use crate::intake::{Increments, Position};
use crate::ledger::{DoorFacts, LastRefusal};
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
    /// Past this it is stale.
    pub(crate) expires_at: Option<u64>,
    /// Past this it is no longer served.
    pub(crate) serve_until: Option<u64>,
    /// What stands on top of the last full update.
    pub(crate) increments: Increments,
    /// How many resources it has.
    pub(crate) resources: usize,
    /// How many of them have no socket; `/v1/resources` says why.
    pub(crate) sockets_failed: usize,
    /// What was changed in the directories of the sockets by somebody else.
    pub(crate) tampered: Vec<Tampered>,
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
    /// What needs an operator, by name.
    pub(crate) alarms: BTreeMap<String, u64>,
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

impl Admin {
    /// How the daemon fares.
    pub(super) fn status(&self) -> StatusReport {
        let boot_ms = self.shared.clock.boot_ms();
        let generation = self.shared.current.generation();
        let unservable = self.unservable();
        let generation = generation.as_deref();
        let content = generation.map(|generation| &generation.content);
        let aged = generation.map(|generation| generation.freshness.at(boot_ms));
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
            epoch: content.map(|content| content.epoch),
            version: content.map(|content| content.version),
            digest: content.map(|content| content.digest),
            source: generation.map(|generation| generation.source.as_str().to_owned()),
            confirmed: generation.is_some_and(|generation| generation.source == Source::Update),
            age_seconds: aged.map(|aged| aged.seconds),
            stale: aged.is_some_and(|aged| aged.age != Age::Fresh),
            expires_at: times.map(|times| times.expires_at),
            serve_until: times.map(|times| times.serve_until),
            increments: facts.increments,
            resources: content.map_or(0, |content| content.state.records().resources.len()),
            tampered: facts.tampered.values().cloned().collect(),
            sockets_failed: self.sockets.borrow().values().filter(|served| served.is_err()).count(),
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

fn owned(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
