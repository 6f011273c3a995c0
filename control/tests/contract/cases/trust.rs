//! Trust documents: what hosts are sent when they change, and what is published when there is nothing
//! to sign with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miosa_snapshot::{Held, KeyId, Kind};
use serde_json::{Value, json};

use super::open;
use crate::control::Control;
use crate::host::{Host, Stream, platform, sandbox};

#[tokio::test]
async fn an_open_stream_gets_the_new_document_and_a_full_update_under_it() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    let before = host.follow_state(&mut stream).await;
    rotate(&control, 2, &["--revoke-signer", "all"]);
    let after = take_document_and_state(&mut host, &mut stream).await;
    assert_ne!(after.signer, before.signer);
    assert_eq!((after.epoch, after.kind, after.version), (2, Kind::Full, before.version + 1));

    // Without need, nothing is taken back: the former signer stays listed, and so does the epoch.
    rotate(&control, 3, &["--new-signer"]);
    let renewed = take_document_and_state(&mut host, &mut stream).await;
    assert_eq!((renewed.epoch, signers(&host)), (2, vec![after.signer, renewed.signer]));
    rotate(&control, 4, &["--revoke-signer", &after.signer.to_string()[..8]]);
    let last = take_document_and_state(&mut host, &mut stream).await;
    assert_eq!((last.epoch, last.signer, signers(&host)), (3, renewed.signer, vec![renewed.signer]));

    // And the stream goes on as ever.
    let platform = platform(&control);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
}

#[tokio::test]
async fn a_host_that_was_away_gets_the_documents_that_it_lacks_in_order() {
    let Some(control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    drop(stream);
    rotate(&control, 2, &["--new-signer"]);
    rotate(&control, 3, &["--revoke-signer", "all"]);
    rotate(&control, 4, &["--raise-epoch"]);
    let mut stream = host.connect().await;
    let mut taken = Vec::new();
    loop {
        let (kind, envelope) = stream.envelope().await;
        if kind == "trust" {
            host.take_trust(&envelope);
            taken.push(host.trust.version());
            continue;
        }
        let statement = host.accept(&envelope);
        host.report(None).await;
        if statement.epoch == 3 {
            assert_eq!(statement.kind, Kind::Full);
            break;
        }
    }
    assert_eq!(taken, [2, 3, 4]);
    // It has them now, and is not sent them again.
    let mut stream = host.connect().await;
    assert_eq!(stream.envelope().await.0, "update");
    // One that has lost them begins anew.
    let mut stream = host.connect_for_everything().await;
    for _version in 1..=4 {
        assert_eq!(stream.envelope().await.0, "trust");
    }
    assert_eq!(stream.envelope().await.0, "update");
}

#[tokio::test]
async fn a_document_that_was_published_while_nobody_served_reaches_every_host() {
    let Some(mut control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    control.stop().await;
    rotate(&control, 2, &["--revoke-signer", "all"]);
    control.serve().await;
    let mut stream = host.connect().await;
    let after = take_document_and_state(&mut host, &mut stream).await;
    assert_eq!((after.epoch, after.kind), (2, Kind::Full));
}

#[tokio::test]
async fn a_host_enrolls_with_the_document_that_its_token_names_and_follows_from_there() {
    let Some(control) = open().await else { return };
    rotate(&control, 2, &[]);
    let join = control.run(&["host", "create", "--name", "h1"]);
    let pinned = control.run(&["host", "create", "--name", "h2"]);
    assert_eq!(join.split_once('.').unwrap().1, pinned.split_once('.').unwrap().1);
    let mut host = Host::enroll(&control, "h3").await;
    assert_eq!(host.trust.version(), 2);
    rotate(&control, 3, &["--revoke-signer", "all"]);
    let mut stream = host.connect_for_everything().await;
    assert_eq!(stream.envelope().await.0, "trust");
    while host.follow_state(&mut stream).await.epoch < 2 {}
    assert_eq!(host.trust.version(), 3);
}

#[tokio::test]
async fn replicas_hear_of_a_document_from_each_other() {
    let Some(control) = open().await else { return };
    let Some(replica) = control.replica().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut other = Host::enroll(&control, "h2").await;
    other.client.socket = replica.socket();
    let (mut stream, mut there) = (host.connect().await, other.connect().await);
    host.follow_state(&mut stream).await;
    other.follow_state(&mut there).await;
    rotate(&control, 2, &["--revoke-signer", "all"]);
    assert_eq!(take_document_and_state(&mut host, &mut stream).await.epoch, 2);
    assert_eq!(take_document_and_state(&mut other, &mut there).await.epoch, 2);
}

#[tokio::test]
async fn nothing_is_signed_under_an_expired_document_or_by_an_expired_signer() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let mut version = 1;
    for (flags, told) in [
        (&["--expires-in", "4s"][..], "trust document 2 expired at "),
        (&["--revoke-signer", "all", "--signer-expires-in", "4s"], "every signer that is online here has expired"),
    ] {
        version += 1;
        rotate(&control, version, flags);
        let issued = take_document_and_state(&mut host, &mut stream).await;
        tokio::time::sleep(Duration::from_millis(4100)).await;
        assert!(issued.version > 1);
        let resource = format!("sbx-{version}");
        platform.post("/platform/v1/resources", sandbox(&resource, "acme", &host)).send().await.data(201);
        await_error(&control, &host, told).await;
        assert!(String::from_utf8_lossy(&control.output(&["trust", "show"]).stderr).contains(" expired at "));
        version += 1;
        rotate(&control, version, &[]);
        let id = resource.parse().unwrap();
        host.follow_until(&mut stream, |records| records.resources.contains_key(&id)).await;
        assert_eq!(host.trust.version(), u64::from(version));
    }
}

#[tokio::test]
async fn a_signer_for_some_tenants_signs_for_no_others() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    rotate(&control, 2, &["--revoke-signer", "all", "--tenants", "acme,other"]);
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    platform.post("/platform/v1/resources", sandbox("sbx-2", "beta", &host)).send().await.data(201);
    await_error(&control, &host, "may speak for tenant beta").await;
    // One that speaks for all comes first, however many others are newer.
    rotate(&control, 3, &["--new-signer"]);
    rotate(&control, 4, &["--new-signer", "--tenants", "acme"]);
    host.follow_until(&mut stream, |records| records.resources.len() == 2).await;
}

#[tokio::test]
async fn a_restored_database_publishes_nothing_before_its_epoch_is_raised() {
    let Some(mut control) = open().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let root = control.dir.path().join("root.pem");
    let id = control.run(&["trust", "root-key", "move", "--out", text(&root)]);
    assert!(id.len() == 64 && text_of(&control, &["trust", "show"]).contains("no root key is online here"));
    let backup = control.dir.path().join("backup.db");
    let is_sqlite = control.url.is_none();
    if is_sqlite {
        assert_eq!(control.run(&["backup", text(&backup)]), text(&backup));
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(backup.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!control.output(&["backup", text(&backup)]).status.success(), "a backup was written over");
    } else {
        assert!(text_of(&control, &["backup", text(&backup)]).contains("pg_dump"));
        assert!(text_of(&control, &["restore", text(&backup), "--no-later-trust"]).contains("pg_restore"));
    }
    // What the host takes from here on the backup knows nothing of.
    let platform = platform(&control);
    for number in 1..=3 {
        let body = sandbox(&format!("sbx-{number}"), "acme", &host);
        platform.post("/platform/v1/resources", body).send().await.data(201);
        host.follow_until(&mut stream, |records| records.resources.len() == number).await;
    }
    let ahead = host.version();
    drop(stream);
    control.stop().await;
    let draft = if is_sqlite {
        for file in ["control.db", "control.db-wal", "control.db-shm"] {
            let _may_be_gone = std::fs::remove_file(control.state_dir().join(file));
        }
        control.run(&["restore", text(&backup), "--no-later-trust"])
    } else {
        control.run(&["restore", "--no-later-trust"])
    };
    let draft = PathBuf::from(draft);
    control.serve().await;
    let mut stream = host.connect().await;
    await_error(&control, &host, "before the trust document is of epoch 2").await;
    assert!(stream.is_silent(Duration::from_millis(300)).await);

    control.run(&["trust", "sign", text(&draft), "--yes", "--root-key", text(&root)]);
    assert_eq!(control.run(&["trust", "publish", text(&draft)]), "2");
    let statement = take_document_and_state(&mut host, &mut stream).await;
    assert_eq!((statement.epoch, statement.kind), (2, Kind::Full));
    let kept = if is_sqlite { 0 } else { 3 };
    assert_eq!(host.state.records().resources.len(), kept, "after version {ahead}");
}

#[tokio::test]
async fn a_host_that_went_back_is_told_of_and_served() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let (old, old_state) = (host.held, host.state.clone());
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    let path = format!("/platform/v1/hosts/{}", host.id);
    let shown = platform.get(&path).send().await.data(200);
    assert_eq!((&shown["regressed"], &shown["trust_version"]), (&Value::Null, &json!(1)), "{shown}");
    let newest = host.version();

    host.go_back_to(old, old_state);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    let shown = platform.get(&path).send().await.data(200);
    let Held { epoch, version, .. } = old.unwrap();
    assert_eq!(shown["regressed"]["count"], 1, "{shown}");
    assert_eq!(shown["regressed"]["from"], json!({"epoch": 1, "version": newest}));
    assert_eq!(shown["regressed"]["to"], json!({"epoch": epoch, "version": version}));
    assert!(control.log().contains("host_regressed"));
    // Where it stands now is no step back.
    drop(host.connect().await);
    let shown = platform.get(&path).send().await.data(200);
    assert_eq!(shown["regressed"]["count"], 1, "{shown}");
}

#[tokio::test]
async fn a_host_with_a_later_document_than_the_database_is_an_error() {
    let Some(control) = open().await else { return };
    let host = Host::enroll(&control, "h1").await;
    let stream = host.open("?trust_version=7").await;
    await_error(&control, &host, "a later trust document than this database").await;
    assert!(control.log().contains("trust_ahead_of_control"));
    drop(stream);
}

#[tokio::test]
async fn of_two_documents_of_one_version_the_first_is_published() {
    let Some(control) = open().await else { return };
    let folder = control.dir.path();
    let (one, other) = (folder.join("one.json"), folder.join("other.json"));
    for draft in [&one, &other] {
        assert_eq!(control.run(&["trust", "rotate", "--new-signer", "--out", text(draft)]), text(draft));
        assert!(!control.output(&["trust", "rotate", "--out", text(draft)]).status.success());
    }
    assert_eq!(control.run(&["trust", "publish", text(&one)]), "2");
    assert_eq!(control.run(&["trust", "publish", text(&one)]), "2");
    assert!(text_of(&control, &["trust", "publish", text(&other)]).contains("another trust document of version 2"));
    // The signer of the draft that came to nothing is forgotten.
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    let statement = host.follow_state(&mut stream).await;
    assert_eq!(signers(&host).last(), Some(&statement.signer));
}

/// The next two lines: a trust document, and right behind it a state, which is reported.
async fn take_document_and_state(host: &mut Host, stream: &mut Stream) -> miosa_snapshot::Statement {
    let (kind, document) = stream.envelope().await;
    assert_eq!(kind, "trust");
    host.take_trust(&document);
    let (kind, update) = stream.envelope().await;
    assert_eq!(kind, "update");
    let statement = host.accept(&update);
    host.report(None).await;
    statement
}

/// The signers that a host knows, in the order of the document.
fn signers(host: &Host) -> Vec<KeyId> {
    host.trust.document().signers.iter().map(|signer| signer.key.key_id()).collect()
}

#[track_caller]
fn rotate(control: &Control, version: u32, flags: &[&str]) {
    assert_eq!(control.run(&[&["trust", "rotate"], flags].concat()), version.to_string());
}

/// What a command says to people.
fn text_of(control: &Control, arguments: &[&str]) -> String {
    String::from_utf8(control.output(arguments).stderr).unwrap()
}

/// Waits until the host is shown with an error that says so.
async fn await_error(control: &Control, host: &Host, told: &str) {
    let platform = platform(control);
    let path = format!("/platform/v1/hosts/{}", host.id);
    let mut shown = Value::Null;
    for _attempt in 0..1000 {
        shown = platform.get(&path).send().await.data(200);
        if shown.pointer("/error/message").and_then(Value::as_str).is_some_and(|message| message.contains(told)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not told: {told}: {shown}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
