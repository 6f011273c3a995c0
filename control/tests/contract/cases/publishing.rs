//! From a change to what a host holds.

use std::time::Duration;

use miosa_injector::Records;
use miosa_snapshot::{Held, Kind};
use serde_json::{Value, json};

use super::open;
use crate::host::{Host, any_digest, id_of, platform, sandbox};

#[tokio::test]
async fn a_host_is_sent_what_its_resources_need_and_no_more() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let (acme, other) = (control.tenant("acme"), control.tenant("other"));
    let mut host = Host::enroll(&control, "h1").await;
    let elsewhere = Host::enroll(&control, "h2").await;
    let set = async |tenant: &crate::client::Client, body: Value| {
        id_of(&tenant.post("/api/v1/runtime-env", body).send().await)
    };
    let mine = set(&acme, json!({"scope": "tenant", "name": "MINE", "value": "v1"})).await;
    let ws =
        set(&acme, json!({"scope": "workspace", "workspace_id": "w1", "name": "WS", "value": "v"})).await;
    set(&acme, json!({"scope": "workspace", "workspace_id": "w2", "name": "WS", "value": "v"})).await;
    set(&acme, json!({"scope": "tenant", "name": "VM", "target": "computer", "value": "v"})).await;
    set(&other, json!({"scope": "tenant", "name": "THEIRS", "value": "v"})).await;
    let profile = json!({"name": "p", "runtime": "custom", "is_default": true, "env": {"MODEL": "m"}});
    let profile = id_of(&acme.post("/api/v1/agent-runtime-profiles", profile).send().await);
    let unused = json!({"name": "q", "runtime": "custom"});
    acme.post("/api/v1/agent-runtime-profiles", unused).send().await.data(201);

    let mut body = sandbox("sbx-1", "acme", &host);
    body["workspace_id"] = json!("w1");
    body["env"] = json!({"OWN": "o"});
    platform.post("/platform/v1/resources", body).send().await.data(201);
    platform.post("/platform/v1/resources", sandbox("sbx-2", "other", &elsewhere)).send().await.data(201);
    let run = json!({"instruction": "go", "env": {"RUN": "r"}});
    let run = id_of(&platform.post("/platform/v1/resources/sbx-1/runs", run).send().await);

    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.runs.is_empty()).await;
    let records = host.state.records();
    let ids = |ids: &mut dyn Iterator<Item = String>| {
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    };
    let mut expected = vec![mine, ws];
    expected.sort();
    assert_eq!(ids(&mut records.variables.keys().map(ToString::to_string)), expected);
    assert_eq!(ids(&mut records.profiles.keys().map(ToString::to_string)), [profile]);
    assert_eq!(ids(&mut records.resources.keys().map(ToString::to_string)), ["sbx-1"]);
    assert_eq!(ids(&mut records.runs.keys().map(ToString::to_string)), [run]);
    assert_eq!(host.env_of("sbx-1", "OWN").as_deref(), Some("o"));
    let values: Vec<_> = records.variables.values().map(|variable| variable.value.expose()).collect();
    assert!(values.contains(&"v1"), "values arrive in plain inside the seal");
}

#[tokio::test]
async fn each_change_is_a_version_and_what_changes_nothing_is_none() {
    let Some(control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    assert_eq!((host.version(), host.state.records().resources.len()), (1, 0), "an empty state is one too");

    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    host.follow_state(&mut stream).await;
    let variable = json!({"scope": "tenant", "name": "A", "value": "1"});
    let variable = id_of(&tenant.post("/api/v1/runtime-env", variable).send().await);
    host.follow_state(&mut stream).await;
    assert_eq!(host.version(), 3);

    // The same again, what no host is told, and what is for another workspace.
    let path = format!("/api/v1/runtime-env/{variable}");
    tenant.patch(&path, json!({"value": "1"})).send().await.data(200);
    tenant.patch(&path, json!({"metadata": {"note": "x"}})).send().await.data(200);
    let far = json!({"scope": "workspace", "workspace_id": "w9", "name": "A", "value": "2"});
    tenant.post("/api/v1/runtime-env", far).send().await.data(201);
    assert!(stream.is_silent(Duration::from_millis(1500)).await);

    tenant.patch(&path, json!({"value": "2"})).send().await.data(200);
    host.follow_state(&mut stream).await;
    assert_eq!(host.version(), 4);
    tenant.delete(&path).send().await;
    host.follow_state(&mut stream).await;
    assert!(host.state.records().variables.is_empty());
    platform.delete("/platform/v1/resources/sbx-1").send().await;
    host.follow_state(&mut stream).await;
    assert!(host.state.records().resources.is_empty());
    assert_eq!(host.version(), 6);
}

#[tokio::test]
async fn a_disabled_variable_is_sent_without_its_value() {
    let Some(control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let off = json!({"scope": "tenant", "name": "A", "value": "hidden", "enabled": false});
    tenant.post("/api/v1/runtime-env", off).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.variables.is_empty()).await;
    let variable = host.state.records().variables.values().next().unwrap();
    assert_eq!((variable.enabled, variable.value.expose()), (false, ""));
}

#[tokio::test]
async fn a_host_that_comes_again_is_sent_only_what_it_lacks() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.resources.is_empty()).await;
    drop(stream);

    let mut stream = host.connect().await;
    let statement = host.follow(&mut stream).await;
    assert!(matches!(statement.kind, Kind::Heartbeat { .. }), "{statement:?}");
    drop(stream);

    platform.delete("/platform/v1/resources/sbx-1").send().await;
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.is_empty()).await;
    drop(stream);

    // Even after it has accepted heartbeats that are newer than the stored update.
    let mut stream = host.connect().await;
    host.follow(&mut stream).await;
    let before = host.held.unwrap();
    host.lose_state();
    let mut stream = host.connect().await;
    let statement = host.follow(&mut stream).await;
    assert_eq!((statement.kind, statement.version), (Kind::Full, before.version));
    assert!(statement.times.issued_at >= before.times.issued_at, "a host refuses what was issued earlier");
}

#[tokio::test]
async fn versions_outlive_a_restart() {
    let Some(mut control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| !records.resources.is_empty()).await;
    let version = host.version();
    assert_eq!(control.stop().await, Some(0));
    stream.ended().await;

    control.serve().await;
    let mut stream = host.connect().await;
    let statement = host.follow(&mut stream).await;
    assert!(matches!(statement.kind, Kind::Heartbeat { .. }), "{statement:?}");
    assert_eq!(host.version(), version);
    platform.patch("/platform/v1/resources/sbx-1", json!({"env": {"A": "1"}})).send().await.data(200);
    assert_eq!(host.follow_state(&mut stream).await.version, version + 1);
}

#[tokio::test]
async fn what_changed_while_control_was_down_is_found_at_its_start() {
    let Some(mut control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    control.stop().await;
    // Nothing but the command line works now; what it does concerns hosts only when they are revoked.
    control.run(&["host", "revoke", &host.id]);
    control.serve().await;
    let refused = host.client.get("/host/v1/updates").send().await;
    assert_eq!(refused.error(401), "UNAUTHORIZED");
    let shown = platform.get(&format!("/platform/v1/hosts/{}", host.id)).send().await.data(200);
    assert_eq!(shown["status"], json!("revoked"));
}

#[tokio::test]
async fn a_write_that_waits_says_whether_the_host_has_it() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let resources = "/platform/v1/resources";

    let offline = platform.post(&format!("{resources}?wait=0"), sandbox("sbx-1", "acme", &host)).send().await;
    assert_eq!(offline.data(201)["id"], json!("sbx-1"));
    assert_eq!(offline.header("miosa-applied"), Some("no; reason=offline"));

    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    let lagging = platform.post(&format!("{resources}?wait=0"), sandbox("sbx-2", "acme", &host)).send().await;
    assert_eq!(lagging.header("miosa-applied"), Some("no; reason=lagging"));
    host.follow_until(&mut stream, |records| records.resources.len() == 2).await;

    let path = format!("{resources}/sbx-1");
    let waiting = {
        let (platform, path) = (platform.clone(), format!("{path}?wait=20"));
        tokio::spawn(async move { platform.patch(&path, json!({"env": {"A": "1"}})).send().await })
    };
    host.follow_state(&mut stream).await;
    let applied = waiting.await.unwrap();
    assert_eq!(applied.header("miosa-applied"), Some("yes"));
    assert_eq!(applied.data(200)["env"], json!({"A": {"preview": "***"}}));
    // What changes nothing for the host is applied already.
    let applied = platform.patch(&format!("{path}?wait=20"), json!({"env": {"A": "1"}})).send().await;
    assert_eq!(applied.header("miosa-applied"), Some("yes"));

    let waiting = {
        let (platform, path) = (platform.clone(), format!("{path}?wait=2"));
        tokio::spawn(async move { platform.delete(&path).send().await })
    };
    stream.update().await;
    host.report(Some("wrong_host")).await;
    let refused = waiting.await.unwrap();
    assert_eq!(refused.json(), json!({"ok": true, "id": "sbx-1"}));
    assert_eq!(refused.header("miosa-applied"), Some("no; reason=refused"));
    let silent = platform.delete(&format!("{resources}/sbx-2")).send().await;
    assert_eq!(silent.header("miosa-applied"), None, "only who asks is told");
}

#[tokio::test]
async fn a_host_hears_three_times_while_its_state_is_fresh() {
    let Some(mut control) = open().await else { return };
    control.stop().await;
    control.serve_with(&["--fresh-for", "3s", "--serve-for", "60s"]).await;
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    let full = host.follow_state(&mut stream).await;
    assert_eq!(full.times.expires_at - full.times.issued_at, 3_000);
    assert_eq!(full.times.serve_until - full.times.issued_at, 60_000);
    let mut before = full;
    for _beat in 0..3 {
        let beat = host.follow(&mut stream).await;
        assert!(matches!(beat.kind, Kind::Heartbeat { .. }), "{beat:?}");
        let apart = beat.times.issued_at - before.times.issued_at;
        assert!((500..2_500).contains(&apart), "{apart} ms");
        before = beat;
    }
    // A host that does not have what it was sent is sent it again instead, newly issued.
    let lost = host.held.take();
    host.report(None).await;
    let again = host.follow(&mut stream).await;
    assert_eq!((again.kind, again.version), (Kind::Full, lost.unwrap().version));
    host.report(None).await;
    assert!(matches!(host.follow(&mut stream).await.kind, Kind::Heartbeat { .. }));
}

#[tokio::test]
async fn a_host_that_reports_to_another_replica_hears_that_it_is_current_all_the_same() {
    let Some(mut control) = open().await else { return };
    control.stop().await;
    control.serve_with(&["--fresh-for", "3s"]).await;
    let Some(replica) = control.replica().await else { return };
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.client.socket = replica.socket();
    host.follow_state(&mut stream).await;
    for _beat in 0..3 {
        let beat = host.follow(&mut stream).await;
        assert!(matches!(beat.kind, Kind::Heartbeat { .. }), "{beat:?}");
    }
}

#[tokio::test]
async fn a_host_with_too_much_on_it_keeps_what_it_has_and_says_so() {
    let Some(mut control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    // A host that takes nothing is given up, and it takes long to make what is too large.
    let taking = tokio::spawn(async move { stream.ended().await });
    let env: Value = (0..8).map(|number| (format!("V{number}"), json!("x".repeat(120_000)))).collect();
    for number in 0..14 {
        let mut body = sandbox(&format!("sbx-{number}"), "acme", &host);
        body["env"] = env.clone();
        platform.post("/platform/v1/resources", body).send().await.data(201);
    }
    let path = "/platform/v1/resources/sbx-0";
    let refused = platform.patch(&format!("{path}?wait=30"), json!({"project_id": "p"})).send().await;
    assert_eq!(refused.header("miosa-applied"), Some("no; reason=refused"));
    let shown = platform.get(&format!("/platform/v1/hosts/{}", host.id)).send().await.data(200);
    assert_eq!((&shown["error"]["from"], &shown["connected"]), (&json!("control"), &json!(true)), "{shown}");

    // The last good state is sent and kept fresh, also by a process that did not publish it.
    taking.abort();
    control.stop().await;
    control.serve().await;
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    let mut stream = host.connect().await;
    let statement = host.follow(&mut stream).await;
    assert!(matches!(statement.kind, Kind::Heartbeat { .. }), "{statement:?}");

    for number in 1..14 {
        let path = format!("/platform/v1/resources/sbx-{number}");
        platform.delete(&path).send().await;
    }
    host.follow_until(&mut stream, |records| {
        records.resources.len() == 1
            && records.resources.values().all(|resource| resource.project_id.is_some())
    })
    .await;
    let shown = platform.get(&format!("/platform/v1/hosts/{}", host.id)).send().await.data(200);
    assert_eq!(shown["error"], Value::Null);
}

#[tokio::test]
async fn replicas_publish_each_version_once_and_answer_for_each_other() {
    let Some(control) = open().await else { return };
    let Some(replica) = control.replica().await else { return };
    let (here, there) = (platform(&control), platform(&replica));
    let mut host = Host::enroll(&control, "h1").await;
    // It is connected to the one and written to through the other.
    host.client.socket = replica.socket();
    let mut stream = host.connect().await;
    host.follow_state(&mut stream).await;
    for number in 0..10 {
        let body = sandbox(&format!("sbx-{number}"), "acme", &host);
        let client = if number % 2 == 0 { here.clone() } else { there.clone() };
        let write =
            tokio::spawn(async move { client.post("/platform/v1/resources?wait=20", body).send().await });
        host.follow_until(&mut stream, |records| records.resources.len() == number + 1).await;
        assert_eq!(write.await.unwrap().header("miosa-applied"), Some("yes"), "{number}");
    }
    assert_eq!(host.version(), 11);
    // It moves to the other one, and is up to date there.
    host.client.socket = control.socket();
    let mut stream = host.connect().await;
    assert!(matches!(host.follow(&mut stream).await.kind, Kind::Heartbeat { .. }));
}

#[tokio::test]
async fn many_changes_at_once_end_in_one_state() {
    let Some(control) = open().await else { return };
    let (platform, tenant) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    let writes: Vec<_> = (0..40)
        .map(|number| {
            let tenant = tenant.clone();
            let body = json!({"scope": "tenant", "name": format!("V{number}"), "value": number.to_string()});
            tokio::spawn(async move { tenant.post("/api/v1/runtime-env", body).send().await.data(201) })
        })
        .collect();
    while host.state.records().variables.len() < 40 {
        host.follow_state(&mut stream).await;
    }
    for write in writes {
        write.await.unwrap();
    }
    assert!(stream.is_silent(Duration::from_millis(1200)).await, "and then it rests");
}

#[tokio::test]
async fn a_tenant_that_is_too_large_for_a_host_costs_no_other_tenant() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    let env: Value = (0..8).map(|number| (format!("V{number}"), json!("x".repeat(120_000)))).collect();
    for number in 0..14 {
        let mut body = sandbox(&format!("sbx-{number}"), "acme", &host);
        body["env"] = env.clone();
        platform.post("/platform/v1/resources", body).send().await.data(201);
    }
    platform.post("/platform/v1/resources", sandbox("theirs", "other", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    let only_theirs = |records: &Records| records.resources.keys().all(|id| id.as_str() == "theirs");
    host.follow_until(&mut stream, |records| records.resources.len() == 1 && only_theirs(records)).await;
    let path = format!("/platform/v1/hosts/{}", host.id);
    let shown = platform.get(&path).send().await.data(200);
    assert!(shown["error"]["message"].as_str().unwrap().contains("acme"), "{shown}");

    for number in 1..14 {
        platform.delete(&format!("/platform/v1/resources/sbx-{number}")).send().await;
    }
    host.follow_until(&mut stream, |records| records.resources.len() == 2).await;
}

#[tokio::test]
async fn a_record_that_does_not_open_costs_what_it_reaches_and_no_more() {
    let Some(control) = open().await else { return };
    let (platform, acme) = (platform(&control), control.tenant("acme"));
    let (mut host, mut other) = (Host::enroll(&control, "h1").await, Host::enroll(&control, "h2").await);
    let set = async |name: &str, workspace: Option<&str>| {
        let scope = if workspace.is_some() { "workspace" } else { "tenant" };
        let body = json!({"scope": scope, "workspace_id": workspace, "name": name, "value": "hush-hush"});
        id_of(&acme.post("/api/v1/runtime-env", body).send().await)
    };
    let (broken, _) = (set("BROKEN", Some("w1")).await, set("WHOLE", None).await);
    let mut body = sandbox("reached", "acme", &host);
    body["workspace_id"] = json!("w1");
    for body in [
        body,
        sandbox("beside", "acme", &host),
        sandbox("theirs", "other", &host),
        sandbox("elsewhere", "acme", &other),
    ] {
        platform.post("/platform/v1/resources", body).send().await.data(201);
    }
    let (mut stream, mut other_stream) = (host.connect().await, other.connect().await);
    host.follow_until(&mut stream, |records| records.resources.len() == 3).await;

    control
        .sql(
            "UPDATE variables SET sealed = (SELECT sealed FROM variables WHERE name = 'WHOLE')
             WHERE name = 'BROKEN'",
        )
        .await;
    set("NEXT", None).await;
    let has_next = |records: &Records| records.variables.values().any(|held| held.name.as_str() == "NEXT");
    host.follow_until(&mut stream, has_next).await;
    other.follow_until(&mut other_stream, has_next).await;
    let left: Vec<_> = host.state.records().resources.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["beside", "theirs"]);
    let shown = async |host: &Host| {
        platform.get(&format!("/platform/v1/hosts/{}", host.id)).send().await.data(200)["error"].clone()
    };
    let error = shown(&host).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&broken) && message.contains("acme"), "{message}");
    assert_eq!(shown(&other).await, Value::Null);
    assert!(control.log().contains(&broken) && !control.log().contains("hush-hush"));
    let path = "/platform/v1/resources/beside";
    let waited = platform.patch(&format!("{path}?wait=1"), json!({"env": {"A": "1"}})).send().await;
    assert_eq!(waited.header("miosa-applied"), Some("no; reason=refused"), "not all of it is there");

    acme.delete(&format!("/api/v1/runtime-env/{broken}")).send().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 3).await;
    assert_eq!(shown(&host).await, Value::Null);
}

#[tokio::test]
async fn a_host_whose_own_record_is_broken_keeps_no_other_from_its_state() {
    let Some(mut control) = open().await else { return };
    let platform = platform(&control);
    let (mut broken, mut host) = (Host::enroll(&control, "h1").await, Host::enroll(&control, "h2").await);
    let (mut broken_stream, mut stream) = (broken.connect().await, host.connect().await);
    broken.follow_state(&mut broken_stream).await;
    host.follow_state(&mut stream).await;
    for (id, host) in [("sbx-1", &broken), ("sbx-2", &host)] {
        platform.post("/platform/v1/resources", sandbox(id, "acme", host)).send().await.data(201);
    }
    broken.follow_until(&mut broken_stream, |records| records.resources.len() == 1).await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    control
        .sql(
            "UPDATE host_updates SET positions = 'nonsense'
             WHERE host_id = (SELECT id FROM hosts WHERE name = 'h1')",
        )
        .await;
    let variable = json!({"scope": "tenant", "name": "A", "value": "1"});
    control.tenant("acme").post("/api/v1/runtime-env", variable).send().await.data(201);
    host.follow_until(&mut stream, |records| records.variables.len() == 1).await;

    control.stop().await;
    control.serve().await;
    let mut stream = host.connect().await;
    platform.delete("/platform/v1/resources/sbx-2").send().await;
    host.follow_until(&mut stream, |records| records.resources.is_empty()).await;
    // Its turn may come later, since it is connected nowhere.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let shown = platform.get(&format!("/platform/v1/hosts/{}", broken.id)).send().await.data(200);
        if shown["error"]["from"] == json!("control") {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{shown}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_change_outlives_a_database_that_fails_for_a_moment() {
    let Some(control) = open().await else { return };
    let (platform, acme) = (platform(&control), control.tenant("acme"));
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    // Nothing is left to be found by looking for it from time to time.
    assert!(stream.is_silent(Duration::from_millis(1500)).await);
    control.sql("ALTER TABLE resources RENAME TO resources_away").await;
    let variable = json!({"scope": "tenant", "name": "A", "value": "1"});
    acme.post("/api/v1/runtime-env", variable).send().await.data(201);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !control.log().contains("cannot find a tenant's hosts") {
        assert!(tokio::time::Instant::now() < deadline, "the failure is noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    control.sql("ALTER TABLE resources_away RENAME TO resources").await;
    host.follow_until(&mut stream, |records| records.variables.len() == 1).await;
}

#[tokio::test]
async fn nobody_waits_for_a_revoked_host() {
    let Some(control) = open().await else { return };
    let (platform, acme) = (platform(&control), control.tenant("acme"));
    let (mut host, revoked) = (Host::enroll(&control, "h1").await, Host::enroll(&control, "h2").await);
    for (id, host) in [("sbx-1", &host), ("sbx-2", &revoked)] {
        platform.post("/platform/v1/resources", sandbox(id, "acme", host)).send().await.data(201);
    }
    control.run(&["host", "revoke", "h2"]);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    let variable = json!({"scope": "tenant", "name": "A", "value": "1"});
    let waiting =
        tokio::spawn(async move { acme.post("/api/v1/runtime-env?wait=20", variable).send().await });
    host.follow_until(&mut stream, |records| records.variables.len() == 1).await;
    assert_eq!(waiting.await.unwrap().header("miosa-applied"), Some("yes"));
}

#[tokio::test]
async fn another_update_of_the_same_version_does_not_count() {
    let Some(control) = open().await else { return };
    let platform = platform(&control);
    let mut host = Host::enroll(&control, "h1").await;
    platform.post("/platform/v1/resources", sandbox("sbx-1", "acme", &host)).send().await.data(201);
    let mut stream = host.connect().await;
    host.follow_until(&mut stream, |records| records.resources.len() == 1).await;
    drop(stream);

    let held = host.held.unwrap();
    host.held = Some(Held { state: any_digest(), ..held });
    let mut stream = host.connect().await;
    let path = "/platform/v1/resources/sbx-1?wait=1";
    let waited = platform.patch(path, json!({"skip_agent_runtime_profile": false})).send().await;
    assert_eq!(waited.header("miosa-applied"), Some("no; reason=lagging"));
    let statement = host.follow(&mut stream).await;
    assert_eq!((statement.kind, statement.version), (Kind::Full, held.version));
    host.report(None).await;
    let waited = platform.patch(path, json!({"skip_agent_runtime_profile": false})).send().await;
    assert_eq!(waited.header("miosa-applied"), Some("yes"));
}
