//! What `verify` prints: facts that the signer vouches for, counts of what is inside, and the verdict.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use miosa_injector::Change;
use miosa_snapshot::{Digest, KeyId, Kind, Signer, Statement, TrustDocument, Verified};
use serde::Serialize;

use crate::intake::{Accepted, Claim, Claimed, Refused, Rehearsal};
use crate::moment::{apart, rfc3339};

/// Everything about one file.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `update`, `trust`, or `unknown`: it says nothing of itself that is known here.
    what: &'static str,
    /// What `sha256sum` prints for the file.
    digest: Digest,
    bytes: usize,
    /// What the update says; none: it is not properly signed and sealed for this host.
    update: Option<Update>,
    /// What the trust document says, whoever signed it.
    trust: Option<TrustFacts>,
    /// What this host holds.
    held: Held,
    /// Whether it would be accepted now, on top of that.
    acceptable: bool,
    /// What would be done: `replace`, `extend`, `refresh`, `follow` or `unchanged`.
    verdict: Option<&'static str>,
    refusal: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Update {
    host_id: String,
    kind: &'static str,
    epoch: u64,
    version: u64,
    from: Option<u64>,
    prev: Option<Digest>,
    signer: KeyId,
    issued_at: When,
    expires_at: When,
    serve_until: When,
    /// None: the payload can't be read.
    put: Option<Counts>,
    delete: Option<Counts>,
    /// The tenants of what is put.
    tenants: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct TrustFacts {
    version: u64,
    epoch: u64,
    threshold: u32,
    roots: Vec<KeyId>,
    signers: Vec<SignerFacts>,
    expires_at: When,
}

#[derive(Debug, Serialize)]
struct SignerFacts {
    key_id: KeyId,
    expires_at: When,
    /// None: it may speak for all.
    tenants: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Held {
    trust_version: Option<u64>,
    epoch: Option<u64>,
    version: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Counts {
    env: usize,
    profiles: usize,
    resources: usize,
    runs: usize,
}

#[derive(Debug, Serialize)]
struct When {
    unix_ms: u64,
    time: String,
    from_now: String,
}

#[derive(Debug, Serialize)]
struct Told {
    /// The number of the check in `docs/snapshot-format.md`.
    check: Option<&'static str>,
    name: &'static str,
    message: String,
}

impl Report {
    pub(super) fn new(
        bytes: &[u8],
        claim: Option<Claim>,
        rehearsal: &mut Rehearsal,
        verdict: &Result<Accepted, Refused>,
        now_ms: u64,
    ) -> Self {
        let said = claim.and_then(|claim| rehearsal.claimed(claim, bytes));
        let held = rehearsal.held();
        Self {
            what: match claim {
                Some(Claim::Update) => "update",
                Some(Claim::Trust) => "trust",
                None => "unknown",
            },
            digest: Digest::of(bytes),
            bytes: bytes.len(),
            update: match &said {
                Some(Claimed::Update(update)) => Some(Update::of(update, now_ms)),
                Some(Claimed::Trust(_)) | None => None,
            },
            trust: match &said {
                Some(Claimed::Trust(document)) => Some(TrustFacts::of(document, now_ms)),
                Some(Claimed::Update(_)) | None => None,
            },
            held: Held {
                trust_version: rehearsal.trust_version(),
                epoch: held.map(|(epoch, _)| epoch),
                version: held.map(|(_, version)| version),
            },
            acceptable: verdict.is_ok(),
            verdict: verdict.as_ref().ok().map(|accepted| accepted.verdict),
            refusal: verdict.as_ref().err().map(|refused| Told {
                check: refused.check(),
                name: refused.name(),
                message: rehearsal.explained(refused),
            }),
        }
    }

    /// A fact a line.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        let mut fact = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{name:<14}{value}");
        };
        let kind = self.update.as_ref().map_or(String::new(), |update| format!("{} ", update.kind));
        fact("file", format!("{kind}{}, {} bytes", self.word_for_what(), self.bytes));
        fact("digest", self.digest.to_string());
        if let Some(update) = &self.update {
            update.tell(&mut fact);
        }
        if let Some(trust) = &self.trust {
            trust.tell(&mut fact);
        }
        fact("held", self.held.words());
        match (&self.refusal, self.verdict) {
            (Some(Told { check, name, message }), _) => {
                let check = check.map_or(String::new(), |check| format!("{check} "));
                fact("verdict", format!("refused: {check}{name}: {message}"));
            }
            (None, Some("unchanged")) => fact("verdict", "accepted already: nothing would change".to_owned()),
            (None, verdict) => fact("verdict", format!("acceptable ({})", verdict.unwrap_or_default())),
        }
        text
    }

    fn word_for_what(&self) -> &'static str {
        match self.what {
            "trust" => "trust document",
            "unknown" => "neither an update nor a trust document",
            other => other,
        }
    }
}

impl Update {
    fn of(update: &Verified, now_ms: u64) -> Self {
        let Statement { host_id, signer, epoch, version, kind, times } = update.statement();
        let (word, from, prev) = match *kind {
            Kind::Full => ("full", None, None),
            Kind::Incremental { from, prev } => ("incremental", Some(from), Some(prev)),
            Kind::Heartbeat { from, prev } => ("heartbeat", Some(from), Some(prev)),
        };
        let change = match kind {
            Kind::Heartbeat { .. } => None,
            Kind::Full | Kind::Incremental { .. } => Change::decode(update.payload()).ok(),
        };
        Self {
            host_id: host_id.to_string(),
            kind: word,
            epoch: *epoch,
            version: *version,
            from,
            prev,
            signer: *signer,
            issued_at: When::of(times.issued_at, now_ms),
            expires_at: When::of(times.expires_at, now_ms),
            serve_until: When::of(times.serve_until, now_ms),
            put: change.as_ref().map(|Change { put, .. }| Counts {
                env: put.variables.len(),
                profiles: put.profiles.len(),
                resources: put.resources.len(),
                runs: put.runs.len(),
            }),
            delete: change.as_ref().map(|Change { delete, .. }| Counts {
                env: delete.variables.len(),
                profiles: delete.profiles.len(),
                resources: delete.resources.len(),
                runs: delete.runs.len(),
            }),
            tenants: change.iter().flat_map(tenants).collect(),
        }
    }

    fn tell(&self, fact: &mut impl FnMut(&str, String)) {
        fact("host", self.host_id.clone());
        fact("position", format!("epoch {}, version {}", self.epoch, self.version));
        if let (Some(from), Some(prev)) = (self.from, self.prev) {
            fact("on top of", format!("version {from}, {prev}"));
        }
        fact("signer", self.signer.to_string());
        fact("issued", self.issued_at.words());
        fact("expires", self.expires_at.words());
        fact("served until", self.serve_until.words());
        for (name, counts) in [("puts", &self.put), ("deletes", &self.delete)] {
            if let Some(counts) = counts {
                fact(name, counts.words());
            }
        }
        if !self.tenants.is_empty() {
            fact("tenants", listed(&self.tenants));
        }
    }
}

impl TrustFacts {
    fn of(document: &TrustDocument, now_ms: u64) -> Self {
        let TrustDocument { version, epoch, threshold, roots, signers, expires_at } = document;
        Self {
            version: *version,
            epoch: *epoch,
            threshold: *threshold,
            roots: roots.iter().map(miosa_snapshot::VerifyingKey::key_id).collect(),
            signers: signers.iter().map(|signer| SignerFacts::of(signer, now_ms)).collect(),
            expires_at: When::of(*expires_at, now_ms),
        }
    }

    fn tell(&self, fact: &mut impl FnMut(&str, String)) {
        fact("version", self.version.to_string());
        fact("epoch", self.epoch.to_string());
        fact("expires", self.expires_at.words());
        for root in &self.roots {
            fact("root", format!("{root} (of {} it takes {})", self.roots.len(), self.threshold));
        }
        for SignerFacts { key_id, expires_at, tenants } in &self.signers {
            let tenants = match tenants {
                None => "all tenants".to_owned(),
                Some(tenants) => format!("tenants {}", listed(tenants)),
            };
            fact("signer", format!("{key_id} for {tenants}, expires {}", expires_at.words()));
        }
    }
}

impl SignerFacts {
    fn of(signer: &Signer, now_ms: u64) -> Self {
        Self {
            key_id: signer.key.key_id(),
            expires_at: When::of(signer.expires_at, now_ms),
            tenants: signer.tenants.clone(),
        }
    }
}

impl Held {
    fn words(&self) -> String {
        let trust =
            self.trust_version.map_or("no trust document".to_owned(), |v| format!("trust version {v}"));
        match (self.epoch, self.version) {
            (Some(epoch), Some(version)) => format!("epoch {epoch}, version {version}, {trust}"),
            _ => format!("no snapshot, {trust}"),
        }
    }
}

impl Counts {
    fn words(&self) -> String {
        let Self { env, profiles, resources, runs } = self;
        let counts = [(env, "variable"), (profiles, "profile"), (resources, "resource"), (runs, "run")];
        let told =
            counts.map(|(count, noun)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }));
        told.join(", ")
    }
}

impl When {
    fn of(unix_ms: u64, now_ms: u64) -> Self {
        Self { unix_ms, time: rfc3339(unix_ms), from_now: apart(unix_ms, now_ms) }
    }

    fn words(&self) -> String {
        if self.time == self.from_now {
            return self.time.clone();
        }
        format!("{} ({})", self.time, self.from_now)
    }
}

/// The number and the name of a refusal.
pub(super) fn named(refused: &Refused) -> String {
    match refused.check() {
        Some(check) => format!("{check} {}", refused.name()),
        None => refused.name().to_owned(),
    }
}

fn tenants(change: &Change) -> BTreeSet<String> {
    let put = &change.put;
    let variables = put.variables.values().map(|record| &record.tenant_id);
    let profiles = put.profiles.values().map(|record| &record.tenant_id);
    let resources = put.resources.values().map(|record| &record.tenant_id);
    variables.chain(profiles).chain(resources).map(ToString::to_string).collect()
}

/// The first of them, and how many more.
fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

const SHOWN: usize = 8;
