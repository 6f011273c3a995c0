//! What a host has come to, told from the verdicts that a case states: it verifies and judges nothing.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::Value;

use super::case::{Age, End, Floor, Held, Numbers, Records, Standing, TrustHeld};
use super::keys::sha256;
use super::update::Offer;

/// A host as it would be.
#[derive(Default)]
pub(super) struct Model {
    trust: Option<TrustHeld>,
    held: Option<Held>,
    records: BTreeMap<&'static str, BTreeMap<String, Value>>,
    is_revoked: bool,
    floor: Option<Numbers>,
    is_floor_lost: bool,
    now: u64,
}

impl Model {
    pub(super) fn trusts(&mut self, bytes: &[u8]) {
        let envelope: Value = serde_json::from_slice(bytes).expect("an envelope");
        let payload = BASE64.decode(text(&envelope["payload"]).as_bytes()).expect("base64");
        let document: Value = serde_json::from_slice(&payload).expect("a document");
        let (version, epoch) = (number(&document["version"]), number(&document["epoch"]));
        self.trust = Some(TrustHeld { version, epoch, digest: sha256(bytes) });
    }

    /// No document that the host has kept counts: it had come to a later one.
    pub(super) fn distrusts(&mut self) {
        self.trust = None;
    }

    pub(super) fn at(&mut self, now: u64) {
        self.now = now;
    }

    pub(super) fn takes(&mut self, offer: &Offer, word: &str) {
        let statement = offer.statement.as_ref().expect("a statement to accept");
        let statement: Value = serde_json::from_str(statement).expect("a statement");
        let digest = sha256(&offer.bytes);
        match word {
            "unchanged" => return,
            "refresh" => {}
            "replace" => {
                self.records.clear();
                self.apply(&statement["payload"]);
            }
            "extend" => self.apply(&statement["payload"]),
            other => panic!("{other} is no word for an accepted update"),
        }
        let state = match (word, &self.held) {
            ("refresh", Some(held)) => held.state.clone(),
            _ => digest.clone(),
        };
        let (epoch, version) = (number(&statement["epoch"]), number(&statement["version"]));
        let issued_at = number(&statement["issued_at"]);
        let (expires_at, serve_until) = (number(&statement["expires_at"]), number(&statement["serve_until"]));
        self.held = Some(Held { epoch, version, state, last: digest, issued_at, expires_at, serve_until });
        self.is_revoked = false;
    }

    /// The floor comes to what is held.
    pub(super) fn raises_floor(&mut self) {
        let Some(held) = &self.held else { return };
        let Held { epoch, version, issued_at, .. } = *held;
        let floor = if self.is_floor_lost { Numbers::default() } else { self.floor.unwrap_or_default() };
        let (old, new) = ((floor.epoch, floor.version), (epoch, version));
        let issued_at = if floor.epoch == epoch { floor.issued_at.max(issued_at) } else { issued_at };
        if new >= old {
            self.floor = Some(Numbers { epoch, version, issued_at });
        }
        self.is_floor_lost = false;
    }

    pub(super) fn loses_floor(&mut self) {
        self.is_floor_lost = true;
    }

    pub(super) fn revoked(&mut self) {
        self.is_revoked = true;
    }

    pub(super) fn reinstated(&mut self) {
        self.is_revoked = false;
    }

    pub(super) fn forgets(&mut self) {
        self.held = None;
        self.is_revoked = false;
        self.records.clear();
    }

    pub(super) fn end(&self) -> End {
        let standing = match (&self.held, self.is_revoked) {
            (None, _) => Standing::Nothing,
            (Some(_), true) => Standing::SignerRevoked,
            (Some(_), false) => Standing::Good,
        };
        let held = self.held.clone().filter(|_| standing == Standing::Good);
        End {
            trust: self.trust.clone(),
            standing,
            age: held.as_ref().map(|held| self.age(held)),
            records: held.as_ref().map(|_| self.state()),
            held,
            floor: if self.is_floor_lost {
                Floor::Lost("lost".to_owned())
            } else {
                Floor::At(self.floor.unwrap_or_default())
            },
        }
    }

    fn age(&self, held: &Held) -> Age {
        if self.now <= held.expires_at {
            Age::Fresh
        } else if self.now <= held.serve_until {
            Age::Stale
        } else {
            Age::Expired
        }
    }

    fn state(&self) -> Records {
        let ids = |kind| self.records.get(kind).into_iter().flatten().map(|(id, _)| id.clone()).collect();
        let env = self.records.get("env").into_iter().flatten();
        Records {
            env: env.map(|(id, record)| (id.clone(), text(&record["value"]).to_owned())).collect(),
            profiles: ids("profiles"),
            resources: ids("resources"),
            runs: ids("runs"),
        }
    }

    fn apply(&mut self, payload: &Value) {
        for kind in ["env", "profiles", "resources", "runs"] {
            let records = self.records.entry(kind).or_default();
            for id in payload["delete"][kind].as_array().expect("ids") {
                records.remove(text(id));
            }
            for record in payload["put"][kind].as_array().expect("records") {
                records.insert(text(&record["id"]).to_owned(), record.clone());
            }
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
