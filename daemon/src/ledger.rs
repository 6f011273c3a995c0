//! What happened since the start, for operators: counts and the last words, names and never values.
//! Written by the intake, read by the admin socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miosa_snapshot::{KeyId, Signer, Trust};
use serde::{Deserialize, Serialize};

use crate::cache::SetAside;
use crate::dropped::DropReport;
use crate::intake::Increments;
use crate::reload::ConfigurationReport;
use crate::socket::tampering::TamperReport;
use crate::traffic::Traffic;

/// The facts, shared.
#[derive(Default)]
pub(crate) struct Ledger {
    facts: Mutex<Facts>,
    traffic: Traffic,
}

/// The facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Updates accepted, by verdict.
    pub(crate) accepted: BTreeMap<&'static str, u64>,
    /// Updates and trust documents refused, by name.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// The last of them.
    pub(crate) last_refusal: Option<LastRefusal>,
    /// How often an operator was called, by the name of the alarm.
    pub(crate) alarms: BTreeMap<&'static str, u64>,
    /// When and why; for each of them.
    pub(crate) raised: BTreeMap<&'static str, Raised>,
    /// What is other than it was made.
    pub(crate) tampered: Arc<TamperReport>,
    /// Files that were set aside, in this run and before.
    pub(crate) set_aside: Vec<SetAside>,
    /// The version of the trust document, if one is held.
    pub(crate) trust_version: Option<u64>,
    /// Until when it and its signers count.
    pub(crate) trust: Option<TrustTimes>,
    /// What `miosad link` said of itself.
    pub(crate) link: Option<LinkWord>,
    /// What came by each door.
    pub(crate) doors: BTreeMap<String, DoorFacts>,
    /// How the drop directory fares.
    pub(crate) drop: DropReport,
    /// How the configuration stands.
    pub(crate) configuration: ConfigurationReport,
    /// What stands on top of the last full update.
    pub(crate) increments: Increments,
    /// Listeners that the service manager has no room to keep over a restart.
    pub(crate) unkept: usize,
    /// The files that prove an equivocation, in this run and before.
    pub(crate) evidence: Vec<String>,
}

/// An alarm in time. Times are Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Raised {
    /// When it was raised first since the start.
    pub(crate) first_at: u64,
    /// And last.
    pub(crate) last_at: u64,
    /// What was said then.
    pub(crate) message: String,
}

/// Until when a trust document counts, and the signers that it names. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrustTimes {
    /// The document's own expiry.
    pub(crate) expires_at: u64,
    /// Its signers.
    pub(crate) signers: Vec<SignerTimes>,
}

/// One signer of a trust document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignerTimes {
    /// The signer.
    pub(crate) key_id: KeyId,
    /// Past this nothing new of it is accepted.
    pub(crate) expires_at: u64,
}

/// What `miosad link` says of itself whenever it looks. Only its word: nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkWord {
    /// `connected`, or why not: one of a fixed set.
    pub(crate) state: String,
    /// When it was heard last, in Unix milliseconds.
    pub(crate) at: u64,
}

/// What came by one door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoorFacts {
    /// Updates and trust documents accepted.
    pub(crate) accepted: u64,
    /// And refused.
    pub(crate) refused: u64,
    /// The last of either.
    pub(crate) last: Option<DoorEvent>,
}

/// What became of one offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoorEvent {
    /// The name of the file, where there was one.
    pub(crate) file: Option<String>,
    /// The verdict, or the name of the refusal.
    pub(crate) result: String,
    /// When, in Unix milliseconds.
    pub(crate) at: u64,
}

/// A refusal with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastRefusal {
    /// Its name.
    pub(crate) code: String,
    /// The number of the check, where it has one.
    pub(crate) check: Option<String>,
    /// Its reason, and what to do about it.
    pub(crate) message: String,
    /// When, in Unix milliseconds.
    pub(crate) at: u64,
}

impl Ledger {
    /// The facts as they are now.
    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub(crate) fn count_accepted(&self, verdict: &'static str) {
        count(&mut self.lock().accepted, verdict);
    }

    pub(crate) fn count_refused(&self, code: &'static str, refusal: LastRefusal) {
        let mut facts = self.lock();
        count(&mut facts.refused, code);
        facts.last_refusal = Some(refusal);
    }

    /// What came by a door, and whether it was accepted.
    pub(crate) fn count_at(&self, door: &'static str, is_accepted: bool, event: DoorEvent) {
        let mut facts = self.lock();
        let door = facts.doors.entry(door.to_owned()).or_default();
        let counter = if is_accepted { &mut door.accepted } else { &mut door.refused };
        *counter = counter.saturating_add(1);
        door.last = Some(event);
    }

    pub(crate) fn count_alarm(&self, alarm: &'static str, message: &str, at: u64) {
        let mut facts = self.lock();
        count(&mut facts.alarms, alarm);
        let raised =
            facts.raised.entry(alarm).or_insert_with(|| Raised { first_at: at, ..Raised::default() });
        raised.last_at = at;
        raised.message = message.chars().take(MESSAGE_CHARS).collect();
    }

    pub(crate) fn set_set_aside(&self, files: Vec<SetAside>) {
        self.lock().set_aside = files;
    }

    pub(crate) fn tampered(&self) -> Arc<TamperReport> {
        Arc::clone(&self.lock().tampered)
    }

    pub(crate) fn set_tampered(&self, report: TamperReport) {
        self.lock().tampered = Arc::new(report);
    }

    pub(crate) fn set_drop(&self, report: DropReport) {
        self.lock().drop = report;
    }

    pub(crate) fn set_configuration(&self, report: ConfigurationReport) {
        self.lock().configuration = report;
    }

    pub(crate) fn set_increments(&self, increments: Increments) {
        self.lock().increments = increments;
    }

    pub(crate) fn set_unkept(&self, listeners: usize) {
        self.lock().unkept = listeners;
    }

    pub(crate) fn set_evidence(&self, files: Vec<String>) {
        self.lock().evidence = files;
    }

    pub(crate) fn set_trust(&self, trust: Option<&Trust>) {
        let mut facts = self.lock();
        facts.trust_version = trust.map(Trust::version);
        facts.trust = trust.map(TrustTimes::of);
    }

    pub(crate) fn set_link(&self, word: LinkWord) {
        self.lock().link = Some(word);
    }

    /// What went over the sockets.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrustTimes {
    pub(crate) fn of(trust: &Trust) -> Self {
        let signers = trust.document().signers.iter();
        let times =
            |signer: &Signer| SignerTimes { key_id: signer.key.key_id(), expires_at: signer.expires_at };
        Self { expires_at: trust.expires_at(), signers: signers.map(times).collect() }
    }
}

impl DoorEvent {
    pub(crate) fn new(file: Option<&str>, result: &'static str, at: u64) -> Self {
        Self { file: file.map(str::to_owned), result: result.to_owned(), at }
    }
}

fn count(counts: &mut BTreeMap<&'static str, u64>, name: &'static str) {
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(1);
}

/// Of what an alarm said; the log has the whole.
const MESSAGE_CHARS: usize = 1_000;
