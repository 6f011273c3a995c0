//! A folder that is writable by mistake: an operator is told what was changed and what to do, and the
//! daemon goes no way that somebody else prepared.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use miosa_tests::program::eventually;
use serde_json::{Value, json};

use super::{Attacker, Site};

#[test]
fn each_way_to_replace_a_socket_in_a_writable_folder_is_told_once_with_what_to_do() {
    let resources: Vec<_> =
        WAYS.iter().map(|(id, ..)| ("acme", *id)).chain([("rival", "bystander")]).collect();
    let site = Site::serving(&resources);
    for (id, attempts, _) in WAYS {
        let came = Attacker::Root.attempts(&site.home(id), true, attempts);
        assert!(came.values().all(|came| came == "done"), "{id}: {came:?}");
    }
    let told = |status: &Value| {
        let tampered = status["tampered"].as_array().unwrap().clone();
        tampered.iter().map(|one| (text(&one["resource"]), one["found"].clone())).collect::<Vec<_>>()
    };
    let status = site.fresh_status();
    let mut expected: Vec<_> = WAYS.iter().map(|(id, _, found)| ((*id).to_owned(), *found)).collect();
    expected.sort_unstable();
    let found: Vec<_> =
        told(&status).into_iter().map(|(id, found)| (id, text(&found[0]["message"]))).collect();
    assert_eq!(
        found,
        expected.iter().map(|(id, found)| (id.clone(), (*found).to_owned())).collect::<Vec<_>>()
    );
    assert!(text(&status["tampered"][0]["advice"]).contains("mount the directory read-only"), "{status}");
    assert_eq!(status["alarms"]["socket_tampered"], WAYS.len());
    assert_eq!(
        site.fresh_status()["alarms"]["socket_tampered"],
        WAYS.len(),
        "told again though nothing changed"
    );

    let metrics = String::from_utf8(site.host.ask("/metrics").body).unwrap();
    assert!(metrics.contains(&format!("miosad_tampered {}\n", WAYS.len())), "{metrics}");
    let line = site.host.ask("/v1/resources/unlink").json();
    assert_eq!(line["tampered"]["found"][0]["what"], "socket_gone", "{line}");
    for (command, expected) in [("status", "resource unlink: "), ("resources", "tampered with")] {
        let printed = String::from_utf8(site.host.run(&[command]).stdout).unwrap();
        assert!(printed.contains(expected), "{printed}");
    }
    let log = site.host.log();
    assert_eq!(log.matches("alarm=\"socket_tampered\"").count(), WAYS.len(), "{log}");

    // It changes once more, and ends.
    fs::write(site.home("chmod").join("more"), "").unwrap();
    assert_eq!(site.fresh_status()["alarms"]["socket_tampered"], WAYS.len() + 1);
    site.publish(2, &[("rival", "bystander")]);
    let status = site.fresh_status();
    assert_eq!(status["tampered"], json!([]));
    assert_eq!(site.tenant_at("bystander"), "rival");
    site.publish(3, &resources);
    assert_eq!(site.fresh_status()["tampered"], json!([]), "placed anew, all is well");
    assert_eq!(site.tenant_at("unlink"), "acme");
}

#[test]
fn root_of_a_user_namespace_that_is_the_daemons_user_is_noticed_too() {
    let site = Site::serving(&[("acme", "sbx-1"), ("rival", "sbx-2")]);
    let came = Attacker::MappedRoot.attempts(&site.home("sbx-1"), true, &["symlink", "chmod_folder"]);
    assert!(came.values().all(|came| came == "done"), "{came:?}");
    let status = site.fresh_status();
    let found = &status["tampered"][0]["found"];
    assert_eq!(found[0]["message"], "the directory has mode 777, not 755", "{status}");
    assert_eq!(found[1]["message"], "a symbolic link is in the place of the socket", "{status}");
    assert_eq!(site.tenant_at("sbx-2"), "rival");
}

#[test]
fn another_user_than_the_daemons_can_change_nothing_in_a_writable_folder() {
    let resources = [("acme", "sbx-1"), ("rival", "sbx-2")];
    let site = Site::serving(&resources);
    let attempts = [
        "unlink",
        "rename_over",
        "rename_away",
        "bind_beside",
        "chmod",
        "chmod_folder",
        "chown",
        "hard_link",
        "symlink",
        "file",
        "fifo",
        "folder",
        "unnamed_file",
        "times",
    ];
    for attacker in [Attacker::Nobody, Attacker::MappedNobody] {
        for (name, came) in attacker.attempts(&site.home("sbx-1"), true, &attempts) {
            assert!(matches!(came.as_str(), "EACCES" | "EPERM" | "EINVAL"), "{attacker:?}: {name}: {came}");
        }
        site.assert_undisturbed(&resources);
    }
}

#[test]
fn after_tampering_a_restart_goes_through_nothing_foreign_and_follows_no_link() {
    let ids = ["given-away", "linked", "socket-given-away", "emptied", "bystander"];
    let mut site = Site::serving(&ids.map(|id| ("acme", id)));
    let elsewhere = site.host.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    chown(site.home("given-away"), Some(4_711), None).unwrap();
    fs::remove_file(site.socket("linked")).unwrap();
    symlink(elsewhere.join("made-by-the-daemon"), site.socket("linked")).unwrap();
    chown(site.socket("socket-given-away"), Some(4_711), None).unwrap();
    fs::remove_file(site.socket("emptied")).unwrap();
    let seen =
        |path: &Path| fs::symlink_metadata(path).map(|there| (there.ino(), there.uid(), there.mode())).ok();
    let before = ["given-away", "linked", "socket-given-away"]
        .map(|id| (seen(&site.home(id)), seen(&site.socket(id))));

    site.host.kill();
    site.host.start();
    let after = ["given-away", "linked", "socket-given-away"]
        .map(|id| (seen(&site.home(id)), seen(&site.socket(id))));
    assert_eq!(before, after, "nothing of it was touched");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    for (id, error) in [
        ("given-away", Some("belongs to another user")),
        ("linked", Some("no socket of this user")),
        ("socket-given-away", Some("no socket of this user")),
        ("emptied", None),
        ("bystander", None),
    ] {
        let line = site.host.ask(&format!("/v1/resources/{id}")).json();
        assert_eq!(line["served"], error.is_none(), "{line}");
        assert!(text(&line["error"]).contains(error.unwrap_or_default()), "{line}");
    }
    assert_eq!(site.tenant_at("emptied"), "acme");
    assert_eq!(site.host.status()["sockets_failed"], 3);
}

#[test]
fn the_removal_of_the_runtime_directory_or_of_the_folder_of_all_folders_is_told() {
    for (gone, told) in [("run/resources", "run/resources"), ("run", "run")] {
        let mut site = Site::serving(&[("acme", "sbx-1")]);
        fs::remove_dir_all(site.host.path(gone)).unwrap();
        // Nobody can ask any more, once the admin socket is gone; the log is left, within a look.
        let path = format!("{}: the directory is gone", site.host.path(told).display());
        eventually("it is told", || site.host.log().contains(&path).then_some(()));
        assert!(site.host.log().contains("restart miosad"), "{}", site.host.log());
        site.host.kill();
        site.host.start();
        assert_eq!(site.tenant_at("sbx-1"), "acme");
        site.assert_undisturbed(&[("acme", "sbx-1")]);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A resource for each way, how it is done, and what is told first.
const WAYS: [(&str, &[&str], &str); 9] = [
    ("unlink", &["unlink"], "the socket is gone"),
    ("rename-over", &["rename_over"], "another socket is in the place of the socket"),
    ("rename-away", &["rename_away"], "the socket is gone"),
    ("bind", &["bind_beside"], "holds a socket named \"beside\""),
    ("chmod", &["chmod"], "the socket has mode 600, not 666"),
    ("chown", &["chown"], "the socket belongs to user 1000, not 0"),
    ("hard-link", &["hard_link"], "the socket has 2 names"),
    ("symlink", &["symlink"], "a symbolic link is in the place of the socket"),
    (
        "planted",
        &["symlink_beside"],
        "holds a symbolic link to \"/var/run/docker.sock\" named \"docker.sock\"",
    ),
];
