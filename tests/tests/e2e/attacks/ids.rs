//! Ids that would be paths, or would be taken for another: refused at every door, and nothing is made of
//! them on any disk.

use std::fs;

use miosa_tests::World;
use serde_json::json;

use super::Site;

#[test]
fn no_id_that_could_leave_its_folder_comes_in_by_the_platform_api() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    for id in bad_ids() {
        let body = json!({"id": id, "tenant_id": tenant.id, "host_id": host.id, "kind": "sandbox"});
        let refused = world.platform("POST", "resources", body);
        assert_eq!(refused.status, 422, "{id:?}: {}", refused.json());
    }
    let longest = "x".repeat(64);
    for id in [longest.as_str(), "0-_x"] {
        host.place(&tenant, id, json!({}));
    }
    let made = fs::read_dir(host.runtime_dir().join("resources")).unwrap();
    let mut made: Vec<_> = made.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, ["0-_x", &longest]);
}

#[test]
fn nor_by_an_update_of_a_publisher_that_checks_nothing() {
    let site = Site::serving(&[("rival", "bystander")]);
    let before = below(&site);
    for id in bad_ids() {
        let answer = site.host.push(&site.publisher.full_for(2, &[("acme", &id)])).unwrap();
        assert_eq!(answer.status, 422, "{id:?}: {}", answer.json());
        assert_eq!(answer.json()["error"]["code"], "malformed_payload", "{id:?}: {}", answer.json());
    }
    let twice = [("acme", "twice"), ("rival", "twice")];
    let answer = site.host.push(&site.publisher.full_for(2, &twice)).unwrap();
    assert_eq!(answer.status, 422, "one id, two tenants: {}", answer.json());
    assert_eq!(below(&site), before);
    assert_eq!(site.tenant_at("bystander"), "rival");
    site.publish(2, &[("acme", &"x".repeat(64))]);
}

#[test]
fn nor_is_one_looked_up_by_the_admin_api_or_the_command_line() {
    let site = Site::serving(&[("acme", "sbx-1")]);
    for id in ["..", ".", "...", "%2e%2e", "SBX-1", ".aside-sbx-1.0", "sbx-1%00", "sbx%2d1", &"x".repeat(65)]
    {
        for path in ["", "/explain"] {
            let answer = site.host.ask(&format!("/v1/resources/{id}{path}"));
            assert_eq!(answer.status, 400, "{id}: {}", answer.json());
        }
    }
    for id in [
        "../sbx-1",
        "sbx-1/../sbx-1",
        "SBX-1",
        "sbx-1?run=x",
        "sbx-1 HTTP/1.1\r\nHost: y\r\n\r\n",
        "ѕbx-1",
        "",
    ] {
        let output = site.host.run(&["explain", "--", id]);
        assert!(!output.status.success(), "{id:?}: {output:?}");
    }
}

/// The kernel's addresses have room for 107 bytes; `unix(7)`.
#[test]
fn a_socket_path_of_107_bytes_is_served_and_one_of_108_is_told() {
    let mut site = Site::enrolled_below("a-host-with-a-longer-path");
    site.host.start();
    let taken = site.socket("x").as_os_str().len() - 1;
    let fits = "x".repeat(107 - taken);
    let longer = format!("{fits}x");
    site.publish(2, &[("acme", &fits), ("acme", &longer), ("rival", "bystander")]);
    assert_eq!(site.socket(&fits).as_os_str().len(), 107);
    assert_eq!(site.tenant_at(&fits), "acme");
    let line = site.host.ask(&format!("/v1/resources/{longer}")).json();
    assert_eq!(line["served"], false);
    assert!(line["error"].as_str().unwrap().contains("use a shorter --runtime-dir"), "{line}");
    assert_eq!(site.tenant_at("bystander"), "rival");
    site.publish(3, &[("rival", "bystander")]);
    assert!(!site.home(&longer).exists() && !site.home(&fits).exists());
}

fn bad_ids() -> Vec<String> {
    let ids = [
        "",
        ".",
        "..",
        "../x",
        "/x",
        "x/",
        "a/b",
        "a/../b",
        "\u{0}",
        "a\u{0}b",
        "a\n",
        " a",
        "a ",
        "a.b",
        ".a",
        ".aside-x.0",
        "-a",
        "_a",
        "A",
        "sBx",
        "é",
        "ѕbx",
        "ａ",
        "a\u{200b}b",
        "a\u{202e}b",
        "%2e%2e",
        "a\\b",
        "~",
        "*",
        "a:b",
    ];
    let mut ids = ids.map(str::to_owned).to_vec();
    ids.push("x".repeat(65));
    ids.push("x".repeat(100_000));
    ids
}

/// Everything in the runtime directory, by name.
fn below(site: &Site) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![site.host.path("run")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                folders.push(path.clone());
            }
            names.push(path.display().to_string());
        }
    }
    names.sort_unstable();
    names
}
