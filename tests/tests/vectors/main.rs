//! The conformance vectors against the crates `miosa-snapshot` and `miosa-injector`, put together as
//! the daemon's intake puts them together. The cases are listed from the folder, never by name.
#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

mod coverage;
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use miosa_tests::vectors::{self, Age, Case, End, Keys, Outcome, Step};
use miosa_tests::world::files_below;

use crate::host::{Host, Verdict};

#[test]
fn every_case_comes_to_what_it_states() {
    let keys = keys();
    let mut failures = Vec::new();
    for (folder, case) in cases() {
        for difference in run(&folder, &case, &keys).differences {
            failures.push(format!("{}: {difference}", folder.display()));
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_files_are_those_that_the_generator_makes() {
    let made = vectors::make();
    let found: BTreeMap<PathBuf, Vec<u8>> = files_below(&vectors::folder())
        .into_iter()
        .filter(|path| path.file_name() != Some("README.md".as_ref()))
        .map(|path| (path.strip_prefix(vectors::folder()).unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<BTreeSet<_>>();
    let apart: Vec<_> = names(&made).symmetric_difference(&names(&found)).cloned().collect();
    assert!(apart.is_empty(), "`make vectors` makes other files: {apart:?}");
    let others: Vec<_> = made.iter().filter(|(name, bytes)| found.get(*name) != Some(*bytes)).collect();
    let others: Vec<_> = others.into_iter().map(|(name, _)| name).collect();
    assert!(others.is_empty(), "`make vectors` makes other bytes of {others:?}");
}

#[test]
fn every_file_of_a_case_is_read_by_it() {
    for (folder, case) in cases() {
        let mut read = BTreeSet::from(["case.json".to_owned()]);
        for step in &case.steps {
            match step {
                Step::Trust { trust, .. } => drop(read.insert(trust.clone())),
                Step::Update { update, .. } => drop(read.insert(update.clone())),
                Step::Restart { restart, .. } => {
                    read.extend(restart.trust.iter().cloned());
                    read.extend(restart.updates.iter().map(|kept| kept.update.clone()));
                }
            }
        }
        let found =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(found.collect::<BTreeSet<_>>(), read, "{}", folder.display());
    }
}

#[test]
fn a_case_is_called_a_failure_exactly_if_something_in_it_is_refused_and_most_are() {
    let (mut all, mut failures) = (0, 0);
    for (folder, case) in cases() {
        let refused = outcomes(&case).iter().any(|outcome| matches!(outcome, Outcome::Refuse(_)));
        assert_eq!(refused, folder.to_str().unwrap().ends_with("_fail"), "{}", folder.display());
        all += 1;
        failures += usize::from(refused);
    }
    assert!(all >= 70 && failures * 10 >= all * 6, "{failures} of {all} are failures");
}

#[test]
fn every_check_of_the_document_has_a_case() {
    let stated: BTreeSet<(String, String)> = cases()
        .iter()
        .flat_map(|(_, case)| outcomes(case))
        .filter_map(|outcome| match outcome {
            Outcome::Refuse(refuse) => Some((refuse.check?, refuse.name)),
            // J1 refuses nothing.
            Outcome::Accept(word) => (word == "unchanged").then(|| ("J1".to_owned(), String::new())),
        })
        .collect();
    let documented = coverage::checks_of_the_document();
    assert_eq!(stated, documented);
}

#[test]
fn every_error_of_the_two_crates_has_a_case() {
    let keys = keys();
    let met: BTreeSet<String> =
        cases().iter().flat_map(|(folder, case)| run(folder, case, &keys).reasons).collect();
    let missing: Vec<_> = coverage::reasons().into_iter().filter(|reason| !met.contains(*reason)).collect();
    assert!(missing.is_empty(), "no case ends in {missing:?}");
}

#[test]
fn every_verdict_has_a_case() {
    let words: BTreeSet<String> = cases()
        .iter()
        .flat_map(|(_, case)| outcomes(case))
        .filter_map(|outcome| match outcome {
            Outcome::Accept(word) => Some(word),
            Outcome::Refuse(_) => None,
        })
        .collect();
    let all = ["extend", "follow", "nothing", "pin", "refresh", "replace", "served", "unchanged"];
    assert_eq!(words, all.map(str::to_owned).into());
    let ages: BTreeSet<String> =
        cases().iter().filter_map(|(_, case)| case.end.age).map(|age| format!("{age:?}")).collect();
    assert_eq!(ages, [Age::Fresh, Age::Stale, Age::Expired].map(|age| format!("{age:?}")).into());
}

/// What came of a case.
struct Outcomes {
    differences: Vec<String>,
    reasons: BTreeSet<String>,
}

fn run(folder: &Path, case: &Case, keys: &Keys) -> Outcomes {
    let mut host = Host::new(case, keys);
    let mut found = Outcomes { differences: Vec::new(), reasons: BTreeSet::new() };
    let mut now = 0;
    for (number, step) in case.steps.iter().enumerate() {
        let mut compare = |what: &str, verdict: Verdict, expected: &Outcome| {
            if let Outcome::Refuse(refuse) = &verdict {
                found.reasons.insert(refuse.because.clone());
            }
            if verdict != *expected {
                let step = number + 1;
                found
                    .differences
                    .push(format!("step {step}{what}: {verdict:?} where it states {expected:?}"));
            }
        };
        match step {
            Step::Trust { trust, pad_to, outcome } => {
                compare("", host.offer_trust(&bytes(folder, trust, *pad_to)), outcome);
            }
            Step::Update { update, pad_to, now: at, outcome } => {
                now = *at;
                compare("", host.offer_update(&bytes(folder, update, *pad_to), now), outcome);
            }
            Step::Restart { restart, now: at, outcome } => {
                now = *at;
                let trust: Vec<_> = restart.trust.iter().map(|name| bytes(folder, name, None)).collect();
                let updates: Vec<_> =
                    restart.updates.iter().map(|kept| bytes(folder, &kept.update, None)).collect();
                let (verdicts, verdict) = host.restart(&trust, &updates, restart.floor, now);
                for (kept, verdict) in restart.updates.iter().zip(verdicts) {
                    compare(&format!(", {}", kept.update), verdict, &kept.outcome);
                }
                compare("", verdict, outcome);
            }
        }
    }
    let end: End = host.end(now);
    if end != case.end {
        found.differences.push(format!("the end is\n    {end:?} where it states\n    {:?}", case.end));
    }
    found
}

fn outcomes(case: &Case) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for step in &case.steps {
        match step {
            Step::Trust { outcome, .. } | Step::Update { outcome, .. } => outcomes.push(outcome.clone()),
            Step::Restart { restart, outcome, .. } => {
                outcomes.extend(restart.updates.iter().map(|kept| kept.outcome.clone()));
                outcomes.push(outcome.clone());
            }
        }
    }
    outcomes
}

fn cases() -> Vec<(PathBuf, Case)> {
    let files = files_below(&vectors::folder());
    let cases = files.into_iter().filter(|path| path.file_name() == Some("case.json".as_ref()));
    let read = |path: PathBuf| {
        let case = serde_json::from_slice(&fs::read(&path).unwrap());
        let case = case.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.parent().unwrap().to_owned(), case)
    };
    cases.map(read).collect()
}

fn keys() -> Keys {
    serde_json::from_slice(&fs::read(vectors::folder().join("keys.json")).unwrap()).unwrap()
}

fn bytes(folder: &Path, name: &str, pad_to: Option<usize>) -> Vec<u8> {
    let mut bytes = fs::read(folder.join(name)).unwrap();
    if let Some(length) = pad_to {
        bytes.resize(length, b' ');
    }
    bytes
}
