//! The language of the cases: a host, what happens to it, and what must come of that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::case::{Case, FloorRead, Host, Kept, Outcome, Refuse, Restart, Step};
use super::keys::sha256;
use super::model::Model;
use super::update::{Offer, T0};

/// A case in the making.
pub(super) struct Story {
    kind: &'static str,
    name: String,
    about: String,
    pin: String,
    steps: Vec<Step>,
    files: BTreeMap<String, Vec<u8>>,
    model: Model,
    any_clock: bool,
    now: u64,
    host_id: &'static str,
}

/// What must come of a step: a word, or a check with our own name for the reason.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Accept(&'static str),
    Refuse(&'static str, &'static str),
}

pub(super) use Verdict::{Accept, Refuse as Fail};

/// An update that a host has kept, and what must come of it.
pub(super) type KeptUpdate = (Offer, Verdict);

impl Story {
    /// A host that has taken nothing yet.
    pub(super) fn new(kind: &'static str, name: &str, about: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            about: about.to_owned(),
            pin: String::new(),
            steps: Vec::new(),
            files: BTreeMap::new(),
            model: Model::default(),
            any_clock: true,
            now: T0,
            host_id: "host_1",
        }
    }

    /// Its verdicts are of certain times.
    pub(super) fn timed(mut self) -> Self {
        self.any_clock = false;
        self
    }

    /// The clock from here on.
    pub(super) fn at(mut self, now: u64) -> Self {
        self.now = now;
        self.timed()
    }

    /// Its id is another.
    pub(super) fn called(mut self, host_id: &'static str) -> Self {
        self.host_id = host_id;
        self
    }

    /// It knows this document by its digest, and takes it.
    pub(super) fn pins(self, document: &[u8]) -> Self {
        self.knows(document).trusts(document, Accept("pin"))
    }

    /// It knows this document by its digest.
    pub(super) fn knows(mut self, document: &[u8]) -> Self {
        self.pin = sha256(document);
        self
    }

    /// It is offered a trust document.
    pub(super) fn trusts(self, document: &[u8], verdict: Verdict) -> Self {
        self.trusts_padded(document, None, verdict)
    }

    /// It is offered a trust document with spaces after it.
    pub(super) fn trusts_padded(mut self, document: &[u8], pad_to: Option<usize>, verdict: Verdict) -> Self {
        let trust = self.file("trust", document);
        if let Accept("pin" | "follow") = verdict {
            self.model.trusts(document);
        }
        self.steps.push(Step::Trust { trust, pad_to, outcome: verdict.into() });
        self
    }

    /// It follows a document under which what it holds rests on a signer that may not speak any more.
    pub(super) fn revoked_by(self, document: &[u8]) -> Self {
        let mut story = self.trusts(document, Accept("follow"));
        story.model.revoked();
        story
    }

    /// It follows a document under which what it holds may be served again.
    pub(super) fn reinstated_by(self, document: &[u8]) -> Self {
        let mut story = self.trusts(document, Accept("follow"));
        story.model.reinstated();
        story
    }

    /// It is offered an update.
    pub(super) fn takes(self, update: impl Into<Offer>, verdict: Verdict) -> Self {
        self.takes_padded(update, None, verdict)
    }

    /// It is offered an update with spaces after it.
    pub(super) fn takes_padded(
        mut self,
        update: impl Into<Offer>,
        pad_to: Option<usize>,
        verdict: Verdict,
    ) -> Self {
        let offer = update.into();
        let (update, now) = (self.file("update", &offer.bytes), self.now);
        self.model.at(now);
        if let Accept(word) = verdict {
            self.model.takes(&offer, word);
            self.model.raises_floor();
        }
        self.steps.push(Step::Update { update, pad_to, now, outcome: verdict.into() });
        self
    }

    /// It starts again with all its trust documents and its floor, and serves what comes of the rest.
    pub(super) fn restarts(
        self,
        trust: &[&[u8]],
        updates: impl IntoIterator<Item = KeptUpdate>,
        verdict: Verdict,
    ) -> Self {
        self.restarts_with(trust, updates, FloorRead::Kept, verdict)
    }

    /// The same, and the floor can't be read.
    pub(super) fn restarts_without_floor(
        self,
        trust: &[&[u8]],
        updates: impl IntoIterator<Item = KeptUpdate>,
        verdict: Verdict,
    ) -> Self {
        self.restarts_with(trust, updates, FloorRead::Lost, verdict)
    }

    /// It starts again without the document that it had come to: nothing counts until that is back.
    pub(super) fn restarts_short_of(mut self, trust: &[&[u8]]) -> Self {
        self.model.distrusts();
        self.restarts(trust, [], Accept("nothing"))
    }

    fn restarts_with(
        mut self,
        trust: &[&[u8]],
        updates: impl IntoIterator<Item = KeptUpdate>,
        floor: FloorRead,
        verdict: Verdict,
    ) -> Self {
        let trust = trust.iter().map(|document| self.file("trust", document)).collect();
        self.model.forgets();
        self.model.at(self.now);
        let mut kept = Vec::new();
        for (offer, verdict) in updates {
            if let Accept(word) = verdict {
                self.model.takes(&offer, word);
            }
            kept.push(Kept { update: self.file("update", &offer.bytes), outcome: verdict.into() });
        }
        if floor == FloorRead::Lost {
            self.model.loses_floor();
        }
        match verdict {
            Accept("served") => self.model.raises_floor(),
            _ => self.model.forgets(),
        }
        let restart = Restart { trust, updates: kept, floor };
        self.steps.push(Step::Restart { restart, now: self.now, outcome: verdict.into() });
        self
    }

    pub(super) fn folder(&self) -> PathBuf {
        let fails = self.steps.iter().any(Step::is_refused);
        assert_eq!(fails, self.name.ends_with("_fail"), "the name of {}", self.name);
        let well_named =
            self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(well_named, "{}", self.name);
        PathBuf::from(self.kind).join(&self.name)
    }

    pub(super) fn files(self) -> BTreeMap<String, Vec<u8>> {
        let case = Case {
            about: self.about,
            host: Host { id: self.host_id.to_owned(), key: "host_1".to_owned() },
            pin: self.pin,
            any_clock: self.any_clock,
            steps: self.steps,
            end: self.model.end(),
        };
        let mut files = self.files;
        files.insert("case.json".to_owned(), text_of(&case));
        files
    }

    /// The name of the file with these bytes, which is a new one if there is none yet.
    fn file(&mut self, what: &str, bytes: &[u8]) -> String {
        let mut count = 1;
        loop {
            let name = format!("{what}-{count}.json");
            match self.files.get(&name) {
                Some(known) if known == bytes => return name,
                Some(_) => count += 1,
                None => {
                    self.files.insert(name.clone(), bytes.to_vec());
                    return name;
                }
            }
        }
    }
}

/// One line a member and a step, so that a case reads like its table.
fn text_of(case: &Case) -> Vec<u8> {
    let Case { about, host, pin, any_clock, steps, end } = case;
    let steps: Vec<_> = steps.iter().map(|step| format!("\n    {}", json(step))).collect();
    let members = [
        format!("\"about\": {}", json(about)),
        format!("\"host\": {}", json(host)),
        format!("\"pin\": {}", json(pin)),
        format!("\"any_clock\": {}", json(any_clock)),
        format!("\"steps\": [{}\n  ]", steps.join(",")),
        format!("\"end\": {}", json(end)),
    ];
    format!("{{\n  {}\n}}\n", members.join(",\n  ")).into_bytes()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

impl Step {
    fn is_refused(&self) -> bool {
        let (outcome, kept): (_, &[Kept]) = match self {
            Self::Trust { outcome, .. } | Self::Update { outcome, .. } => (outcome, &[]),
            Self::Restart { outcome, restart, .. } => (outcome, &restart.updates),
        };
        let mut outcomes = kept.iter().map(|kept| &kept.outcome).chain([outcome]);
        outcomes.any(|outcome| matches!(outcome, Outcome::Refuse(_)))
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Accept(word) => Self::Accept(word.to_owned()),
            Fail(check, because) => Self::Refuse(Refuse {
                check: (check != "no_trust").then(|| check.to_owned()),
                name: name_of(check).to_owned(),
                because: because.to_owned(),
            }),
        }
    }
}

/// The names of the refusals, as the tables of the document have them.
fn name_of(check: &str) -> &'static str {
    let (_, name) = NAMES.iter().find(|(known, _)| *known == check).expect("a check of the document");
    name
}

const NAMES: [(&str, &str); 41] = [
    ("E1", "oversize"),
    ("E2", "malformed_envelope"),
    ("E3", "wrong_payload_type"),
    ("E4", "wrong_signature_count"),
    ("E5", "bad_encoding"),
    ("E6", "duplicate_signature"),
    ("U1", "malformed_body"),
    ("U2", "wrong_host"),
    ("U3", "unknown_signer"),
    ("U4", "bad_signature"),
    ("U5", "undecryptable"),
    ("U6", "malformed_statement"),
    ("U7", "host_mismatch"),
    ("U8", "signer_mismatch"),
    ("U9", "epoch_above_trust"),
    ("U10", "trust_expired"),
    ("U11", "signer_expired"),
    ("U12", "expired"),
    ("U13", "from_the_future"),
    ("J2", "stale_version"),
    ("J3", "below_floor"),
    ("J4", "floor_lost"),
    ("J5", "wrong_base"),
    ("J6", "equivocation"),
    ("J7", "issued_backwards"),
    ("P1", "malformed_payload"),
    ("P2", "entry_too_long"),
    ("P3", "record_twice"),
    ("P4", "full_deletes"),
    ("P5", "run_without_resource"),
    ("P6", "signer_scope"),
    ("T1", "pin_mismatch"),
    ("T2", "not_signed_by_held_roots"),
    ("T3", "malformed_trust"),
    ("T4", "not_signed_by_own_roots"),
    ("T5", "stale_trust"),
    ("T6", "trust_equivocation"),
    ("T7", "trust_version_skipped"),
    ("T8", "epoch_lowered"),
    // Not numbered in the document, and refused all the same.
    ("no_trust", "no_trust"),
    ("signer_revoked", "signer_revoked"),
];
