//! What a resource is answered, and that nothing short of its removal stops that.

use crate::host::{Host, eventually, now_ms};
use crate::http::{self, Client};
use crate::publisher::{resource, resources, run};

#[test]
fn a_resource_gets_its_own_environment_and_nobody_elses() {
    let host = Host::with(&[("sbx-1", "t1", "one"), ("sbx-2", "t2", "two")]);
    let answer = http::get(&host.socket("sbx-1"), "/v1/resolve");
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = answer.json();
    assert_eq!(body["resource_id"], "sbx-1");
    assert_eq!(body["run_id"], serde_json::Value::Null);
    assert_eq!(body["snapshot_version"], 1);
    assert_eq!(body["stale"], false);
    assert_eq!(body["env"]["GREETING"], "one");
    assert_eq!(body["env"]["MIOSA_TENANT_ID"], "t1");
    assert_eq!(body["env"]["MIOSA_SNAPSHOT_VERSION"], "1");
    assert_eq!(host.greeting("sbx-2"), "two");
}

#[test]
fn it_keeps_answering_the_same_after_a_restart_and_after_a_crash() {
    let mut host = Host::with(&[("sbx-1", "t1", "kept")]);
    let etag = http::get(&host.socket("sbx-1"), "/v1/resolve").headers["etag"].clone();
    assert!(host.stop().success());
    host.start();
    assert_eq!(host.greeting("sbx-1"), "kept");
    assert_eq!(host.status()["source"], "cache");
    host.kill();
    host.start();
    let answer = http::get(&host.socket("sbx-1"), "/v1/resolve");
    assert_eq!(answer.headers["etag"], etag);
}

#[test]
fn an_etag_names_the_content_and_not_the_version() {
    let host = Host::with(&[("sbx-1", "t1", "one"), ("sbx-2", "t1", "two")]);
    let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
    let etag = client.get("/v1/resolve", &[]).unwrap().headers["etag"].clone();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let answer = client.get("/v1/resolve", &[("If-None-Match", &known)]).unwrap();
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.headers["etag"], etag);
    }
    host.publish(2, resources(&[("sbx-1", "t1", "one"), ("sbx-2", "t1", "changed")]));
    let answer = client.get("/v1/resolve", &[("If-None-Match", &etag)]).unwrap();
    assert_eq!(answer.status, 304);
    host.publish(3, resources(&[("sbx-1", "t1", "changed")]));
    let answer = client.get("/v1/resolve", &[("If-None-Match", &etag)]).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["env"]["GREETING"], "changed");
}

#[test]
fn a_run_is_resolved_by_its_resource_only() {
    let host = Host::serving();
    let mut records = resources(&[("sbx-1", "t1", "one"), ("sbx-2", "t1", "two")]);
    let mut on_one = run("run_1", "sbx-1");
    on_one.cwd = Some("/work".to_owned());
    records.runs.insert(on_one.id.clone(), on_one);
    host.publish(1, records);

    let answer = http::get(&host.socket("sbx-1"), "/v1/resolve?run=run_1").json();
    assert_eq!((&answer["run_id"], &answer["cwd"]), (&"run_1".into(), &"/work".into()));
    let mut client = Client::connect(&host.socket("sbx-2")).unwrap();
    let answer = client.get("/v1/resolve?run=run_1", &[]).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (404, "run_not_found"));
    let answer = client.get("/v1/resolve", &[]).unwrap();
    assert_eq!(answer.status, 200, "an error of what is asked for ends no connection");
}

#[test]
fn it_explains_without_a_value() {
    let host = Host::with(&[("sbx-1", "t1", "a-value-of-thirty-two-characters-or-more")]);
    for (socket, path) in
        [(host.socket("sbx-1"), "/v1/explain"), (host.admin(), "/v1/resources/sbx-1/explain")]
    {
        let answer = http::get(&socket, path);
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("GREETING") && text.contains("a-valu...more"), "{text}");
        assert!(!text.contains("thirty-two"), "{text}");
    }
    let shown = host.run(&["explain", "sbx-1"]);
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(table.contains("GREETING") && !table.contains("thirty-two"), "{table}");
    let refused = host.run(&["explain", "sbx-1", "--run", "run_9"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.starts_with("miosad: resource sbx-1 has no run run_9"), "{error}");
}

#[test]
fn an_environment_that_is_too_large_is_an_error_that_names_it() {
    let host = Host::serving();
    let mut records = resources(&[]);
    let big = "x".repeat(130_000);
    let names: Vec<String> = (0..9).map(|n| format!("BIG_{n}")).collect();
    let env: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), big.as_str())).collect();
    let resource = resource("sbx-1", "t1", &env);
    records.resources.insert(resource.id.clone(), resource);
    host.publish(1, records);
    let answer = http::get(&host.socket("sbx-1"), "/v1/resolve");
    assert_eq!((answer.status, answer.code().as_str()), (413, "env_too_large"));
}

#[test]
fn an_old_snapshot_is_stale_then_refused_until_a_heartbeat_comes() {
    let mut host = Host::serving();
    host.publisher.now_ms = now_ms();
    host.publisher.fresh_for_ms = 400;
    host.publisher.serve_for_ms = 1_500;
    let full = host.publish(1, resources(&[("sbx-1", "t1", "hello")]));
    eventually("it is stale", || {
        let answer = http::get(&host.socket("sbx-1"), "/v1/resolve");
        answer.status == 200 && answer.json()["stale"] == true
    });
    eventually("it is refused", || {
        http::get(&host.socket("sbx-1"), "/v1/resolve").code() == "snapshot_expired"
    });
    assert_eq!(http::get(&host.admin(), "/readyz").status, 503);
    assert_eq!(host.status()["not_ready_because"], "snapshot_expired");
    host.publisher.now_ms = now_ms();
    host.publisher.fresh_for_ms = 60_000;
    host.publisher.serve_for_ms = 60_000;
    assert_eq!(host.offer(&host.publisher.heartbeat(1, &full)).status, 200);
    assert_eq!(host.greeting("sbx-1"), "hello");
    assert_eq!(http::get(&host.admin(), "/readyz").status, 200);
}

#[test]
fn a_mistake_in_the_file_keeps_nobody_from_asking_a_daemon_that_serves() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    host.configure("[limits]\nidle_seconds = 0\n");
    for command in [&["status"][..], &["resources"], &["explain", "sbx-1"], &["access"]] {
        let asked = host.run(command);
        assert!(asked.status.success(), "{command:?}: {asked:?}");
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(said.contains("miosad.toml line 2, key limits.idle_seconds"), "{command:?}: {said}");
    }
    assert_eq!(host.run(&["serve"]).status.code(), Some(78));
}

#[test]
fn a_socket_that_is_open_while_nobody_answers_is_told_from_one_that_is_not_there() {
    let host = Host::enrolled();
    std::fs::create_dir_all(host.path("run")).unwrap();
    let _kept = std::os::unix::net::UnixListener::bind(host.admin()).unwrap();
    let asked = host.run(&["status"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("nobody answers on") && said.contains("journalctl -u miosad"), "{said}");
}
