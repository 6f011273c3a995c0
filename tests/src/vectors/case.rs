//! A case as `case.json` has it; `tests/vectors/README.md` says what each member means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// One sentence for people.
    pub about: String,
    /// The host under test.
    pub host: Host,
    /// The digest of its first trust document, in hexadecimal.
    pub pin: String,
    /// Whether a later clock gives the same verdicts.
    pub any_clock: bool,
    /// What happens to it.
    pub steps: Vec<Step>,
    /// What it has come to.
    pub end: End,
}

/// The host under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its id.
    pub id: String,
    /// The name of its key.
    pub key: String,
}

/// What happens to a host, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A trust document is offered.
    Trust {
        /// The file.
        trust: String,
        /// The length that spaces make up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pad_to: Option<usize>,
        /// What must come of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// An update is offered.
    Update {
        /// The file.
        update: String,
        /// The length that spaces make up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pad_to: Option<usize>,
        /// The clock, in Unix milliseconds.
        now: u64,
        /// What must come of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// The host starts again.
    Restart {
        /// With what.
        restart: Restart,
        /// The clock, in Unix milliseconds.
        now: u64,
        /// What must come of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
}

/// What must come of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is accepted, with this word.
    Accept(String),
    /// It is refused.
    Refuse(Refuse),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// The number of the check.
    pub check: Option<String>,
    /// The name of the refusal.
    pub name: String,
    /// The reason as our crates name it.
    pub because: String,
}

/// What a host has when it starts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Its trust documents.
    pub trust: Vec<String>,
    /// Its updates.
    pub updates: Vec<Kept>,
    /// Its floor.
    pub floor: FloorRead,
}

/// An update that a host has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The file.
    pub update: String,
    /// What must come of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Whether a floor can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloorRead {
    /// As it was.
    Kept,
    /// It can't.
    Lost,
}

/// What a host has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The trust document that counts.
    pub trust: Option<TrustHeld>,
    /// Whether a state is held and may be served.
    pub standing: Standing,
    /// The position.
    pub held: Option<Held>,
    /// How old the state is.
    pub age: Option<Age>,
    /// The floor.
    pub floor: Floor,
    /// The state.
    pub records: Option<Records>,
}

/// A trust document that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustHeld {
    /// Its version.
    pub version: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The digest of its envelope.
    pub digest: String,
}

/// Whether a state is held and may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Both.
    Good,
    /// Held, and not served.
    SignerRevoked,
    /// Neither.
    Nothing,
}

/// A position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The lineage of versions.
    pub epoch: u64,
    /// The version.
    pub version: u64,
    /// The digest of the envelope that made the state.
    pub state: String,
    /// The digest of the envelope accepted last.
    pub last: String,
    /// Of that one.
    pub issued_at: u64,
    /// Of that one.
    pub expires_at: u64,
    /// Of that one.
    pub serve_until: u64,
}

/// How old a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Age {
    /// Not past `expires_at`.
    Fresh,
    /// Past that, and not past `serve_until`.
    Stale,
    /// Past both.
    Expired,
}

/// A floor, or the text `lost`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Floor {
    /// One that can be read.
    At(Numbers),
    /// `lost`.
    Lost(String),
}

/// The numbers of a floor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// The lineage of versions.
    pub epoch: u64,
    /// The highest version in it.
    pub version: u64,
    /// The newest time of issue in it.
    pub issued_at: u64,
}

/// A state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// The values of its variables, by id.
    pub env: BTreeMap<String, String>,
    /// The ids of its profiles.
    pub profiles: Vec<String>,
    /// The ids of its resources.
    pub resources: Vec<String>,
    /// The ids of its runs.
    pub runs: Vec<String>,
}
