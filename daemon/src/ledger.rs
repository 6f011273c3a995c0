//! What happened since the start, for operators: counts and the last words, names and never values.
//! Written by the intake, read by the admin socket.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::cache::SetAside;

/// The facts, shared.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Facts>);

/// The facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Updates accepted, by verdict.
    pub(crate) accepted: BTreeMap<&'static str, u64>,
    /// Updates and trust documents refused, by name.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// The last of them.
    pub(crate) last_refusal: Option<LastRefusal>,
    /// What needs an operator, by name.
    pub(crate) alarms: BTreeMap<&'static str, u64>,
    /// Files that were set aside, in this run and before.
    pub(crate) set_aside: Vec<SetAside>,
    /// The version of the trust document, if one is held.
    pub(crate) trust_version: Option<u64>,
}

/// A refusal with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastRefusal {
    /// Its name.
    pub(crate) code: String,
    /// Its reason.
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

    pub(crate) fn count_refused(&self, code: &'static str, message: String, at: u64) {
        let mut facts = self.lock();
        count(&mut facts.refused, code);
        facts.last_refusal = Some(LastRefusal { code: code.to_owned(), message, at });
    }

    pub(crate) fn count_alarm(&self, alarm: &'static str) {
        count(&mut self.lock().alarms, alarm);
    }

    pub(crate) fn set_set_aside(&self, files: Vec<SetAside>) {
        self.lock().set_aside = files;
    }

    pub(crate) fn set_trust_version(&self, version: Option<u64>) {
        self.lock().trust_version = version;
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counts: &mut BTreeMap<&'static str, u64>, name: &'static str) {
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(1);
}
