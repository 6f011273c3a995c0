//! The trust document and its signers: until when they count. Where the root keys are can't be seen from
//! a host: `miosa-control trust show` says that.

use miosa_snapshot::KeyId;

use super::finding::Finding;
use super::patient::Patient;
use crate::failure::in_one_line;
use crate::floor::Floors;
use crate::host::HostFile;
use crate::ledger::{SignerTimes, TrustTimes};
use crate::moment::apart;
use crate::trust_store::TrustStore;

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    match Held::by(patient) {
        Held::Known(version, times) => judge(version, &times, patient.now.unix_ms),
        Held::Nothing(says) => vec![Finding::fail(
            TRUST,
            says,
            "nothing is accepted without one: see the line `link`, or `miosad push` the documents from the pinned one on",
        )],
        Held::Unseen => vec![Finding::unseen(TRUST, "the trust documents can't be looked at")],
    }
}

/// The trust document in force.
enum Held {
    Known(u64, TrustTimes),
    Nothing(String),
    Unseen,
}

impl Held {
    /// As the daemon says, else as a start would find it.
    fn by(patient: &Patient) -> Self {
        if let Some(status) = patient.told() {
            return match (status.trust_version, &status.trust) {
                (Some(version), Some(times)) => Self::Known(version, times.clone()),
                _ => Self::Nothing("the daemon holds no trust document".to_owned()),
            };
        }
        let state = &patient.settings.state;
        let Ok(host) = HostFile::load(state) else { return Self::Unseen };
        let looked = match TrustStore::look(state.trust(), host.trust) {
            Ok((store, _broken)) => store,
            Err(error) if error.is_denied() => return Self::Unseen,
            Err(error) => return Self::Nothing(in_one_line(&error)),
        };
        let followed = Floors::new(state.floors()).read().mark.map_or(0, |mark| mark.trust);
        match looked.trust() {
            None => Self::Nothing(format!("no trust document in {}", state.trust().display())),
            Some(trust) if trust.version() < followed => Self::Nothing(format!(
                "the trust documents kept end at version {}, and this host has followed version {followed}",
                trust.version()
            )),
            Some(trust) => Self::Known(trust.version(), TrustTimes::of(trust)),
        }
    }
}

fn judge(version: u64, times: &TrustTimes, now: u64) -> Vec<Finding> {
    let when = |at: u64| apart(at, now);
    let mut findings = Vec::new();
    let document = format!("document version {version}");
    if times.expires_at <= now {
        let says = format!("{document} expired {}: no update is accepted", when(times.expires_at));
        findings.push(Finding::fail(TRUST, says, RENEW));
    } else if is_soon(times.expires_at, now) {
        findings.push(Finding::warn(TRUST, format!("{document} expires {}", when(times.expires_at)), RENEW));
    }
    let (expired, valid): (Vec<_>, Vec<_>) =
        times.signers.iter().partition(|signer| signer.expires_at <= now);
    if valid.is_empty() {
        let says = format!("all signers of {document} have expired: no update is accepted");
        findings.push(Finding::fail(TRUST, says, ROTATE));
    }
    let lasting = valid.iter().filter(|signer| !is_soon(signer.expires_at, now)).count();
    if lasting == 0 && !valid.is_empty() {
        let soon: Vec<String> = valid.iter().map(|signer| told(signer, now)).collect();
        findings.push(Finding::warn(TRUST, format!("no signer lasts: {}", soon.join(", ")), ROTATE));
    }
    if findings.is_empty() {
        let signers = match (valid.len(), expired.len()) {
            (1, 0) => "1 signer".to_owned(),
            (valid, 0) => format!("{valid} signers"),
            (valid, expired) => format!("{valid} signers, {expired} more expired"),
        };
        let first = valid.iter().map(|signer| signer.expires_at).min().unwrap_or(times.expires_at);
        let says = format!(
            "{document} expires {}; {signers}, the first expires {}",
            when(times.expires_at),
            when(first)
        );
        findings.push(Finding::ok(TRUST, says));
    }
    findings
}

fn told(SignerTimes { key_id, expires_at }: &SignerTimes, now: u64) -> String {
    format!("{} expires {}", short(*key_id), apart(*expires_at, now))
}

fn short(key_id: KeyId) -> String {
    key_id.to_string().chars().take(12).collect()
}

fn is_soon(at: u64, now: u64) -> bool {
    at.saturating_sub(now) < SOON_MS
}

const TRUST: &str = "trust";
const RENEW: &str = "have the roots sign the next version: `miosa-control trust rotate`; docs/trust.md";
const ROTATE: &str = "name a new signer: `miosa-control trust rotate`; docs/trust.md";

/// 30 days.
const SOON_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;
    const TEN_DAYS_AGO: u64 = NOW - 10 * DAY;

    fn times(document: u64, signers: &[u64]) -> TrustTimes {
        let key_id = "0".repeat(64).parse().unwrap();
        let signer = |days: &u64| SignerTimes { key_id, expires_at: day(*days) };
        TrustTimes { expires_at: day(document), signers: signers.iter().map(signer).collect() }
    }

    /// Days count from ten days ago.
    fn day(number: u64) -> u64 {
        TEN_DAYS_AGO.saturating_add(number.saturating_mul(DAY))
    }

    fn found(document: u64, signers: &[u64]) -> Vec<(Verdict, String)> {
        let findings = judge(3, &times(document, signers), NOW);
        findings.into_iter().map(|finding| (finding.verdict, finding.says)).collect()
    }

    #[test]
    fn it_warns_thirty_days_before_an_expiry_and_fails_after_it() {
        assert_eq!(found(100, &[60])[0].0, Verdict::Ok);
        assert_eq!(found(39, &[60]), [(Verdict::Warn, "document version 3 expires in 29 days".to_owned())]);
        assert_eq!(found(5, &[60])[0].0, Verdict::Fail);
        assert_eq!(found(5, &[60])[0].1, "document version 3 expired 5 days ago: no update is accepted");
        let soon = "no signer lasts: 000000000000 expires in 2 days";
        assert_eq!(found(100, &[12]), [(Verdict::Warn, soon.to_owned())]);
        let expired = "all signers of document version 3 have expired: no update is accepted";
        assert_eq!(found(100, &[1, 2]), [(Verdict::Fail, expired.to_owned())]);
    }

    #[test]
    fn one_signer_that_lasts_is_enough() {
        let (verdict, says) = &found(100, &[1, 12, 90])[0];
        assert_eq!(*verdict, Verdict::Ok);
        assert_eq!(
            says,
            "document version 3 expires in 90 days; 2 signers, 1 more expired, the first expires in 2 days"
        );
    }
}
