//! A variable says in its metadata how it is delivered: from the tenant's request to what a sandbox is
//! answered.

use miosa_tests::program::eventually;
use miosa_tests::{Host, World};
use serde_json::{Value, json};

#[test]
fn a_delivery_reaches_the_resource_and_goes_when_it_is_taken_back() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let key = tenant.set("KEY", "the secret", json!({"metadata": {"deliver": "file", "provider": "x"}}));
    tenant.set("TOKEN", "another", json!({"metadata": {"deliver": "fd"}}));
    tenant.set("PLAIN", "no secret", json!({"metadata": {"provider": "x"}}));
    host.place(&tenant, "sbx-1", json!({}));
    let resolved = host.resolve("sbx-1");
    assert_eq!(resolved["delivery"], json!({"KEY": "file", "TOKEN": "fd"}));
    assert_eq!(resolved["env"]["KEY"], "the secret");

    let before = tag(&host);
    let change = json!({"metadata": {"deliver": "env", "provider": "x"}});
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{key}"), change).status, 200);
    await_delivery(&host, &json!({"TOKEN": "fd"}));
    assert_eq!(host.env("sbx-1", "KEY").as_deref(), Some("the secret"), "and stays what it is");
    let after = tag(&host);
    assert_ne!(before, after, "a delivery is content");

    let change = json!({"metadata": {"deliver": "file"}});
    assert_eq!(tenant.call("PUT", &format!("runtime-env/{key}"), change).status, 200);
    await_delivery(&host, &json!({"KEY": "file", "TOKEN": "fd"}));
    assert_eq!(tag(&host), before);
}

#[test]
fn whoever_overrides_a_variable_decides_how_it_is_delivered() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    for name in ["OF_RESOURCE", "OF_RUN", "OF_TENANT"] {
        tenant.set(name, "of the tenant", json!({"metadata": {"deliver": "file"}}));
    }
    host.place(&tenant, "sbx-1", json!({"env": {"OF_RESOURCE": "its own"}}));
    let run = host.start_run("sbx-1", json!({"env": {"OF_RUN": "its own"}}));
    assert_eq!(host.resolve("sbx-1")["delivery"], json!({"OF_RUN": "file", "OF_TENANT": "file"}));
    let resolved = host.ask("sbx-1", &format!("/v1/resolve?run={run}")).json();
    assert_eq!(resolved["delivery"], json!({"OF_TENANT": "file"}));

    let said = |explanation: &Value, name: &str| {
        let variables = explanation["variables"].as_array().unwrap().iter();
        variables.clone().find(|variable| variable["name"] == name).unwrap()["delivery"].clone()
    };
    let by_host = host.ask("sbx-1", &format!("/v1/explain?run={run}")).json();
    let by_control = world.platform("GET", &format!("resources/sbx-1/explain?run={run}"), json!(null)).json();
    for explanation in [&by_host, &by_control["data"]] {
        assert_eq!(said(explanation, "OF_TENANT"), "file", "{explanation}");
        assert_eq!(said(explanation, "OF_RUN"), json!(null), "{explanation}");
    }
    let table = host.run(&["explain", "sbx-1", "--run", &run]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.matches("delivered as file").count(), 1, "{table}");
}

#[test]
fn who_watches_hears_of_another_delivery() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let key = tenant.set("KEY", "the secret", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let target = format!("/v1/watch?etag={}&timeout=60", tag(&host).trim_matches('"'));
    let change = json!({"metadata": {"deliver": "file"}});
    assert_eq!(tenant.call("PATCH", &format!("runtime-env/{key}"), change).status, 200);
    let heard = host.ask("sbx-1", &target);
    assert_eq!((heard.status, &heard.json()["delivery"]), (200, &json!({"KEY": "file"})));
}

#[test]
fn a_delivery_outlives_a_restart_of_the_daemon() {
    let world = World::start();
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("KEY", "the secret", json!({"metadata": {"deliver": "fd"}}));
    host.place(&tenant, "sbx-1", json!({}));
    let before = tag(&host);
    host.stop_link();
    host.stop_serve();
    host.start_serve();
    await_delivery(&host, &json!({"KEY": "fd"}));
    assert_eq!(tag(&host), before);
}

fn tag(host: &Host<'_>) -> String {
    host.ask("sbx-1", "/v1/resolve").header("etag").unwrap().to_owned()
}

fn await_delivery(host: &Host<'_>, delivery: &Value) {
    eventually(&format!("the delivery is {delivery}"), || {
        let answer = host.socket("sbx-1").request("GET", "/v1/resolve", &[], b"").ok()?;
        (answer.status == 200 && answer.json()["delivery"] == *delivery).then_some(())
    });
}
