//! The conformance vectors that no clock decides, through `miosad serve` and its sockets: one daemon a
//! case, on the clock of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use data_encoding::{BASE64, HEXLOWER};
use miosa_tests::vectors::{self, Case, FloorRead, Keys, Outcome, Restart, Standing, Step};
use miosa_tests::world::files_below;
use miosa_tests::{Answer, LoneHost};
use serde_json::{Value, json};

#[test]
fn conformance_vectors_come_to_the_same_in_the_running_daemon() {
    let (cases, keys) = (cases(), keys());
    assert!(cases.len() > 400, "only {} cases can be run by any clock", cases.len());
    let differences = Mutex::new(Vec::new());
    let left = Mutex::new(cases.iter());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no panic").next();
                    let Some((folder, case)) = next else { return };
                    let found = run(folder, case, &keys);
                    let found = found.into_iter().map(|found| format!("{}: {found}", folder.display()));
                    differences.lock().expect("no panic").extend(found);
                }
            });
        }
    });
    let differences = differences.into_inner().expect("no panic");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// The differences between what a daemon does and what a case states.
fn run(folder: &Path, case: &Case, keys: &Keys) -> Vec<String> {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut host = enrolled(folder, case, keys, scratch.path());
    host.start();
    let mut differences = Vec::new();
    let mut compare = |what: String, found: String, stated: String| {
        if found != stated {
            differences.push(format!("{what}: {found} where it states {stated}"));
        }
    };
    let bytes = |name: &str| fs::read(folder.join(name)).expect("a file of the case");
    for (number, step) in case.steps.iter().enumerate() {
        let (found, stated) = match step {
            Step::Trust { trust, outcome, .. } => {
                let answer = host.push_trust(&bytes(trust)).expect("an answer");
                // It does not say whether a document was news.
                let stated =
                    if let Outcome::Accept(_) = outcome { "taken".to_owned() } else { said(outcome) };
                (of_answer(&answer, |_| "taken".to_owned()), stated)
            }
            Step::Update { update, outcome, .. } => {
                let answer = host.push(&bytes(update)).expect("an answer");
                let verdict = |body: &Value| body["verdict"].as_str().expect("a verdict").to_owned();
                (of_answer(&answer, verdict), said(outcome))
            }
            Step::Restart { restart, outcome, .. } => {
                host.stop();
                put_on_disk(&host, folder, restart);
                host.start();
                let is_served = host.position()["version"].is_u64();
                let stated = matches!(outcome, Outcome::Accept(word) if word == "served");
                (is_served.to_string(), stated.to_string())
            }
        };
        compare(format!("step {}", number + 1), found, stated);
    }
    let mut position = host.position();
    // Increments that outweigh a tiny full update are a reason to ask for another one, not a verdict.
    if position["need_full_because"] == "large_increments" {
        position["need_full"] = json!(false);
    }
    let held = case.end.held.as_ref();
    let trust = case.end.trust.as_ref().map(|trust| trust.version);
    let stated = json!({
        "epoch": held.map(|held| held.epoch), "version": held.map(|held| held.version),
        "digest": held.map(|held| &held.state), "trust_version": trust,
        "need_full": case.end.standing != Standing::Good,
    });
    let members = ["epoch", "version", "digest", "trust_version", "need_full"];
    let found: Value =
        members.map(|member| (member.to_owned(), position[member].clone())).into_iter().collect();
    compare("end".to_owned(), found.to_string(), stated.to_string());
    differences
}

/// A host that has taken the first document, with the key that the vectors are sealed to.
fn enrolled(folder: &Path, case: &Case, keys: &Keys, scratch: &Path) -> LoneHost {
    let host = LoneHost::at(scratch);
    let trust = folder.join("trust-1.json");
    let args = ["enroll", "--host-id", &case.host.id, "--trust", trust.to_str().expect("a path of text")];
    let enrolled = host.run(&args);
    assert!(enrolled.status.success(), "{}: {enrolled:?}", folder.display());
    let key = &keys.x25519[&case.host.key];
    let private = HEXLOWER.decode(key.private.as_bytes()).expect("hexadecimal");
    fs::write(host.state("host.key"), format!("{}\n", BASE64.encode(&private))).expect("write the key");
    let place = host.state("host.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&place).expect("host.json")).expect("JSON");
    let text = |member: &Value| member.as_str().expect("text").to_owned();
    let (name, pin) = (text(&file["name"]), text(&file["trust"]));
    assert_eq!(pin, case.pin);
    let sum = format!("{}\n{name}\n{pin}\n{}\n", case.host.id, key.public);
    file["key"] = json!(key.public);
    file["check"] = json!(miosa_snapshot::Digest::of(sum.as_bytes()).to_string());
    fs::write(place, file.to_string()).expect("write host.json");
    host
}

/// Makes of what the host has kept what the step says that it has.
fn put_on_disk(host: &LoneHost, folder: &Path, restart: &Restart) {
    let bytes = |name: &String| fs::read(folder.join(name)).expect("a file of the case");
    let kept: Vec<_> = restart.trust.iter().map(bytes).collect();
    for path in files_below(&host.state("trust")) {
        if !kept.contains(&fs::read(&path).expect("a document")) {
            fs::remove_file(path).expect("remove a document");
        }
    }
    for path in files_below(&host.state("cache")) {
        fs::remove_file(path).expect("remove an update");
    }
    for (place, update) in restart.updates.iter().enumerate() {
        let path = host.state("cache").join(format!("update-0000000000000000-{place:016}.json"));
        fs::write(path, bytes(&update.update)).expect("write an update");
    }
    if restart.floor == FloorRead::Lost {
        for copy in ["floor.a", "floor.b"] {
            fs::write(host.state(copy), "?").expect("write a floor");
        }
    }
}

fn of_answer(answer: &Answer, accepted: impl Fn(&Value) -> String) -> String {
    let body = answer.json();
    if answer.status == 200 {
        return accepted(&body);
    }
    let message = body["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}"));
    message.split_once(':').map_or(message, |(name, _)| name).to_owned()
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accept(word) => word.clone(),
        Outcome::Refuse(refuse) => {
            let check = refuse.check.as_ref().map(|check| format!("{check} "));
            format!("{}{}", check.unwrap_or_default(), refuse.name)
        }
    }
}

/// Those that begin with the pinned document, which enrolling asks for, and that no clock decides. What
/// is too large is refused by the socket before it is an update.
fn cases() -> Vec<(PathBuf, Case)> {
    let files = files_below(&vectors::folder());
    let cases = files.into_iter().filter(|path| path.ends_with("case.json"));
    let read = |path: PathBuf| {
        let case: Case = serde_json::from_slice(&fs::read(&path).expect("a case")).expect("a case");
        (path.parent().expect("a folder").to_owned(), case)
    };
    let fits = |case: &Case| {
        let begins = |step: &Step| matches!(step, Step::Trust { outcome: Outcome::Accept(_), .. });
        let is_padded = |step: &Step| {
            matches!(step, Step::Trust { pad_to: Some(_), .. } | Step::Update { pad_to: Some(_), .. })
        };
        case.any_clock && begins(&case.steps[0]) && !case.steps.iter().any(is_padded)
    };
    cases.map(read).filter(|(_, case)| fits(case)).collect()
}

fn keys() -> Keys {
    let keys = fs::read(vectors::folder().join("keys.json")).expect("keys.json");
    serde_json::from_slice(&keys).expect("keys")
}
