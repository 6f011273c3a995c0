//! `miosad verify`: what a file is and whether it would be accepted, without a trace of having asked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::SystemTime;

use miosa_injector::Change;
use serde_json::Value;

use crate::host::{Host, now_ms, write};
use crate::publisher::{resources, run};

fn verify(host: &Host, bytes: &[u8]) -> (Option<i32>, String, String) {
    write(&host.path("file"), bytes);
    let Output { status, stdout, stderr } = host.run(&["verify", host.path("file").to_str().unwrap()]);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn verify_json(host: &Host, bytes: &[u8]) -> Value {
    write(&host.path("file"), bytes);
    let output = host.run(&["verify", "--json", host.path("file").to_str().unwrap()]);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every file below a directory with its bytes and its time.
fn image(directory: &Path) -> BTreeMap<std::path::PathBuf, (Vec<u8>, SystemTime)> {
    let mut image = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            image.insert(path.clone(), (Vec::new(), modified));
            image.extend(self::image(&path));
        } else {
            image.insert(path.clone(), (fs::read(&path).unwrap(), modified));
        }
    }
    image
}

#[test]
fn an_update_is_described_and_judged_without_a_value_or_a_trace() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    host.stop();
    let before = image(&host.state(""));
    let mut records = resources(&[("sbx-1", "t1", "secret-value"), ("sbx-2", "t2", "secret-value")]);
    let task = run("run-1", "sbx-1");
    records.runs.insert(task.id.clone(), task);
    let (code, said, error) = verify(&host, &host.publisher.full(2, records.clone()));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for line in [
        "file          full update, ",
        "host          host_1\n",
        "position      epoch 1, version 2\n",
        " ago)\nexpires       ",
        "(in 14 min)\nserved until  ",
        "puts          0 variables, 0 profiles, 2 resources, 1 run\n",
        "tenants       t1, t2\n",
        "held          epoch 1, version 1, trust version 1\n",
        "verdict       acceptable (replace)\n",
    ] {
        assert!(said.contains(line) || said.contains(&line.replace(" ago", "now")), "{line}: {said}");
    }
    assert!(!said.contains("secret-value"));
    let json = verify_json(&host, &host.publisher.full(2, records));
    assert_eq!(json["acceptable"], true);
    assert_eq!(json["update"]["put"]["resources"], 2);
    assert_eq!(json["refusal"], Value::Null);
    assert_eq!(image(&host.state("")), before);
}

#[test]
fn it_answers_the_same_while_serve_runs_and_the_update_is_not_taken() {
    let mut host = Host::serving();
    let one = host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    let two = host.publisher.incremental(2, 1, &one, &Change::default());
    let three = host.publisher.incremental(3, 2, &two, &Change::default());
    for _running_and_stopped in 0..2 {
        assert_eq!(verify_json(&host, &two)["verdict"], "extend");
        assert_eq!(verify_json(&host, &one)["verdict"], "unchanged");
        let json = verify_json(&host, &three);
        assert_eq!(json["refusal"]["check"], "J5");
        assert_eq!(json["update"]["from"], 2);
        if host.is_running() {
            assert_eq!(host.status()["version"], 1);
            assert_eq!(host.status()["refused"], serde_json::json!({}));
            host.stop();
        }
    }
}

#[test]
fn a_refusal_has_its_number_its_name_and_what_to_do() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    let other = Host::enrolled();
    let foreign = other.publisher.full(2, resources(&[]));
    host.publisher.now_ms = now_ms() - 10 * 366 * 24 * 60 * 60 * 1_000;
    let expired = host.publisher.full(2, resources(&[]));
    host.publisher.now_ms = now_ms() + 3 * 60 * 60 * 1_000;
    let future = host.publisher.full(2, resources(&[]));
    host.publisher.now_ms = now_ms();
    for (bytes, named, why) in [
        (&foreign, "U3 unknown_signer", "hand this host the newest trust document first"),
        (&expired, "U12 expired", "(10 years ago), and this host's clock says 20"),
        (&future, "U13 from_the_future", "if the clock is wrong, set it"),
        (&host.publisher.full(0, resources(&[])), "J2 stale_version", "older than the state that is held"),
        (&host.publisher.full(1, resources(&[])), "J6 equivocation", "evidence"),
        (
            &expired[..expired.len() / 2].to_vec(),
            "E2 malformed_envelope",
            "not the exact text of an envelope",
        ),
    ] {
        let (code, said, error) = verify(&host, bytes);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("verdict       refused: {named}: ")), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(error, format!("miosad: this host would not accept it: {named}\n"));
    }
    let (_, said, _) = verify(&host, &expired);
    assert!(said.contains("issued        20"), "what is expired is described all the same: {said}");
    assert!(host.status()["alarms"].as_object().unwrap().is_empty(), "asking raises no alarm");
}

#[test]
fn a_trust_document_is_described_and_judged() {
    let mut host = Host::serving();
    assert_eq!(verify_json(&host, &host.publisher.trust(1))["verdict"], "unchanged");
    host.publisher.change_signer();
    let (code, said, _) = verify(&host, &host.publisher.trust(2));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("file          trust document, "), "{said}");
    assert!(said.contains("version       2\n"), "{said}");
    assert!(said.contains(" for all tenants, expires never\n"), "{said}");
    assert!(said.contains("verdict       acceptable (follow)\n"), "{said}");
    let json = verify_json(&host, &host.publisher.trust(3));
    assert_eq!(json["refusal"]["check"], "T7");
    assert_eq!(json["trust"]["version"], 3);
    assert_eq!(host.status()["trust_version"], 1);
}

#[test]
fn a_machine_that_is_no_host_and_a_wrong_command_line_are_told_apart() {
    let blank = Host::blank();
    let (code, _, error) = verify(&blank, b"{}");
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("is not enrolled"), "{error}");
    assert_eq!(blank.run(&["verify"]).status.code(), Some(2));
    let missing = blank.run(&["verify", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
}
