//! A change on the host reaches an agent in its machine.

use miosa_tests::World;
use miosa_tests::vm::{Disk, Vm, Vsock};
use serde_json::json;

#[test]
fn an_agent_is_restarted_with_the_new_value_and_not_because_the_daemon_was() {
    let world = World::start();
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    let variable = tenant.set("API_TOKEN", "the first", json!({}));
    host.place(&tenant, "vm-1", json!({}));

    let disk = Disk::with_agent(
        r#"echo "it is $API_TOKEN"; [ "$API_TOKEN" = "the last" ] || while :; do sleep 0.1; done"#,
    );
    let line = "-- --vm --wait 20 --on-change restart --settle 0 --socket vsock:2:7007 /agent";
    let mut vm = Vm::boot(disk, Some(Vsock::to(&host.resource_dir("vm-1"))), line);
    vm.says("it is the first");
    host.stop_serve();
    host.start_serve();
    let answer = tenant.call("PATCH", &format!("runtime-env/{variable}"), json!({"value": "the last"}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let off = vm.goes_off();
    let said = |line: &str| off.console.iter().filter(|said| *said == line).count();
    assert_eq!((said("it is the first"), said("it is the last")), (1, 1), "{:#?}", off.console);
    assert!(off.told().is_empty(), "{:#?}", off.console);
}
