//! Changes to a large state: sent alone where that is enough, and with everything where it is not.

use std::time::Duration;

use miosa_snapshot::{Digest, Kind, Statement};
use serde_json::{Value, json};

use super::open;
use crate::client::Client;
use crate::control::Control;
use crate::host::{Host, Stream, platform, sandbox};

/// A host with a large state, all of which it holds.
struct Scene {
    platform: Client,
    tenant: Client,
    host: Host,
    stream: Stream,
    control: Control,
}

impl Scene {
    async fn open() -> Option<Self> {
        let control = open().await?;
        let (platform, tenant) = (platform(&control), control.tenant("acme"));
        let mut host = Host::enroll(&control, "h1").await;
        let mut body = sandbox("sbx-1", "acme", &host);
        let env = (0..8).map(|number| (format!("V{number}"), json!("x".repeat(8_000)))).collect();
        body.as_object_mut().unwrap().insert("env".to_owned(), env);
        platform.post("/platform/v1/resources", body).send().await.data(201);
        platform.post("/platform/v1/resources", sandbox("sbx-2", "acme", &host)).send().await.data(201);
        let mut stream = host.connect().await;
        host.follow_until(&mut stream, |records| records.resources.len() == 2).await;
        let mut scene = Self { platform, tenant, host, stream, control };
        // The state that it found issued may be one that this process does not remember.
        scene.change("0").await;
        Some(scene)
    }

    /// Changes a little, and gives what the host is sent for it.
    async fn change(&mut self, value: &str) -> Statement {
        self.write(value).await;
        self.host.follow_state(&mut self.stream).await
    }

    async fn write(&self, value: &str) {
        self.platform.patch(SMALL, json!({"env": {"SMALL": value}})).send().await.data(200);
    }

    /// The host goes away and comes back.
    async fn reconnect(&mut self) {
        self.stream = self.host.connect().await;
    }

    fn value(&self) -> String {
        self.host.env_of("sbx-2", "SMALL").unwrap()
    }

    fn held(&self) -> Digest {
        self.host.held.unwrap().state
    }
}

fn is_increment(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Incremental { .. })
}

fn is_heartbeat(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Heartbeat { .. })
}

#[tokio::test]
async fn a_small_change_to_a_large_state_is_sent_alone() {
    let Some(mut scene) = Scene::open().await else { return };
    let before = scene.host.held.unwrap();
    scene.write("1").await;
    let envelope = scene.stream.update().await;
    assert!(envelope.len() < 4_000, "{} bytes", envelope.len());
    let statement = scene.host.accept(&envelope);
    scene.host.report(None).await;
    assert_eq!(statement.kind, Kind::Incremental { from: before.version, prev: before.state });
    assert_eq!(scene.value(), "1");

    // What is put, what is gone, and what another scope brings along.
    let far = json!({"scope": "workspace", "workspace_id": "w1", "name": "FAR", "value": "far"});
    scene.tenant.post("/api/v1/runtime-env", far).send().await.data(201);
    scene.platform.patch(SMALL, json!({"workspace_id": "w1"})).send().await.data(200);
    assert!(is_increment(&scene.host.follow_state(&mut scene.stream).await));
    assert_eq!(scene.host.state.records().variables.len(), 1);
    let run = json!({"instruction": "go"});
    scene.platform.post(&format!("{SMALL}/runs"), run).send().await.data(201);
    assert!(is_increment(&scene.host.follow_state(&mut scene.stream).await));
    assert_eq!(scene.host.state.records().runs.len(), 1);
    scene.platform.delete(SMALL).send().await;
    assert!(is_increment(&scene.host.follow_state(&mut scene.stream).await));
    let records = scene.host.state.records();
    assert_eq!((records.resources.len(), records.variables.len(), records.runs.len()), (1, 0, 0));

    // It is the state that a full update would have set.
    let state = scene.host.state.clone();
    scene.host.lose_state();
    scene.reconnect().await;
    assert_eq!(scene.host.follow(&mut scene.stream).await.kind, Kind::Full);
    assert_eq!(scene.host.state, state);
}

#[tokio::test]
async fn a_change_of_most_of_a_state_is_sent_with_everything_and_so_is_one_to_a_small_state() {
    let Some(mut scene) = Scene::open().await else { return };
    let env: Value = (0..8).map(|number| (format!("V{number}"), json!("y".repeat(8_000)))).collect();
    scene.platform.patch("/platform/v1/resources/sbx-1", json!({"env": env})).send().await.data(200);
    assert_eq!(scene.host.follow_state(&mut scene.stream).await.kind, Kind::Full);
    assert!(is_increment(&scene.change("1").await), "and the next one goes on from there");
    scene.platform.delete("/platform/v1/resources/sbx-1").send().await;
    scene.host.follow_until(&mut scene.stream, |records| records.resources.len() == 1).await;
    assert_eq!(scene.change("2").await.kind, Kind::Full);
    assert_eq!(scene.change("3").await.kind, Kind::Full);
}

#[tokio::test]
async fn changes_in_quick_succession_are_sent_in_their_order() {
    let Some(mut scene) = Scene::open().await else { return };
    let version = scene.host.version();
    // The stream is not read from meanwhile.
    for number in 1..=20 {
        scene.write(&number.to_string()).await;
    }
    while scene.value() != "20" {
        let statement = scene.host.follow(&mut scene.stream).await;
        scene.host.report(None).await;
        assert!(is_increment(&statement), "{statement:?}");
    }
    assert!(scene.host.version() > version);
}

#[tokio::test]
async fn a_host_that_holds_something_else_is_sent_everything() {
    let Some(mut scene) = Scene::open().await else { return };
    // It was away for two changes.
    let (held, state) = (scene.host.held, scene.host.state.clone());
    scene.change("1").await;
    scene.change("2").await;
    (scene.host.held, scene.host.state) = (held, state);
    scene.reconnect().await;
    assert_eq!(scene.host.follow_state(&mut scene.stream).await.kind, Kind::Full);
    assert_eq!(scene.value(), "2");
    assert!(is_increment(&scene.change("3").await));
    // It has lost everything.
    scene.host.lose_state();
    scene.reconnect().await;
    assert_eq!(scene.host.follow_state(&mut scene.stream).await.kind, Kind::Full);
    assert!(is_increment(&scene.change("4").await));
}

#[tokio::test]
async fn a_host_that_comes_back_with_an_increment_is_current_and_hears_that_it_is() {
    let Some(mut scene) = Scene::open().await else { return };
    assert!(is_increment(&scene.change("1").await));
    let held = scene.held();
    scene.reconnect().await;
    assert!(is_heartbeat(&scene.host.follow(&mut scene.stream).await), "of what it holds");
    assert_eq!(scene.held(), held);
    assert!(is_increment(&scene.change("2").await), "and it goes on from there");

    // To a process that has issued nothing yet.
    assert_eq!(scene.control.stop().await, Some(0));
    scene.control.serve().await;
    scene.reconnect().await;
    assert!(is_heartbeat(&scene.host.follow(&mut scene.stream).await));
    let waited =
        scene.platform.patch(&format!("{SMALL}?wait=20"), json!({"env": {"SMALL": "2"}})).send().await;
    assert_eq!(waited.header("miosa-applied"), Some("yes"), "either form of a version is that version");
    // It does not remember what the state was made of.
    assert_eq!(scene.change("3").await.kind, Kind::Full);
    assert!(is_increment(&scene.change("4").await));
    assert_eq!(scene.value(), "4");
}

#[tokio::test]
async fn another_process_that_issues_a_version_or_takes_the_stream_breaks_nothing() {
    let Some(mut scene) = Scene::open().await else { return };
    let Some(replica) = scene.control.replica().await else { return };
    assert!(is_increment(&scene.change("1").await));
    // What the one has issued as an incremental update, the other knows.
    scene.host.client.socket = replica.socket();
    scene.reconnect().await;
    assert!(is_heartbeat(&scene.host.follow(&mut scene.stream).await));
    let client = Client { socket: replica.socket(), ..scene.platform.clone() };
    let mut increments = 0_u32;
    for number in 2..12 {
        let value = number.to_string();
        let writer = if number % 2 == 0 { &client } else { &scene.platform };
        writer.patch(SMALL, json!({"env": {"SMALL": value}})).send().await.data(200);
        while scene.value() != value {
            let statement = scene.host.follow_state(&mut scene.stream).await;
            increments += u32::from(is_increment(&statement));
        }
    }
    assert!(increments > 0, "whoever a host is connected to goes first");
    scene.host.client.socket = scene.control.socket();
    scene.reconnect().await;
    assert!(is_heartbeat(&scene.host.follow(&mut scene.stream).await));
    scene.change("end").await;
    assert_eq!(scene.value(), "end");
}

#[tokio::test]
async fn a_host_that_asks_for_everything_is_sent_it_once() {
    let Some(mut scene) = Scene::open().await else { return };
    assert!(is_increment(&scene.change("1").await));
    let (version, state) = (scene.host.version(), scene.host.state.clone());
    for _asked in 0..2 {
        scene.stream = scene.host.connect_for_everything().await;
        let statement = scene.host.follow_state(&mut scene.stream).await;
        assert_eq!((statement.kind, statement.version), (Kind::Full, version));
        assert_eq!(scene.host.state, state);
        assert!(scene.stream.is_silent(Duration::from_secs(1)).await);
        // After a heartbeat what was stored would be refused, so it is made anew.
        scene.reconnect().await;
        assert!(is_heartbeat(&scene.host.follow(&mut scene.stream).await));
    }
    assert!(is_increment(&scene.change("2").await));
    assert!(is_increment(&scene.change("3").await));
}

#[tokio::test]
async fn a_host_that_asks_for_everything_on_its_stream_is_sent_it_there_once() {
    let Some(mut scene) = Scene::open().await else { return };
    assert!(is_increment(&scene.change("1").await));
    let before = scene.host.held.unwrap();
    for _again in 0..2 {
        scene.host.ask_for_full().await;
    }
    let statement = scene.host.follow_state(&mut scene.stream).await;
    assert_eq!((statement.kind, statement.version), (Kind::Full, before.version));
    assert_ne!(scene.held(), before.state);
    assert!(is_increment(&scene.change("2").await), "and not once more");
}

#[tokio::test]
async fn everything_is_sent_before_increments_outweigh_it() {
    let Some(mut scene) = Scene::open().await else { return };
    let mut increments = 0_u32;
    for number in 0..60 {
        scene
            .platform
            .patch(SMALL, json!({"env": {"SMALL": format!("{number}-{}", "x".repeat(2_000))}}))
            .send()
            .await
            .data(200);
        if scene.host.follow_state(&mut scene.stream).await.kind == Kind::Full {
            assert!((4..40).contains(&increments), "{increments}");
            return;
        }
        increments += 1;
    }
    panic!("no full update among {increments}");
}

const SMALL: &str = "/platform/v1/resources/sbx-2";
