//! Small changes to a large state: they arrive alone, last, and are gathered up before they are many.

use miosa_tests::program::eventually;
use miosa_tests::{Host, Tenant, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

#[test]
fn one_of_two_thousand_variables_changes_and_a_small_update_brings_it() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let ids = set_many(&tenant, 2_000);
    host.place(&tenant, "sbx-1", json!({}));
    let [full] = &updates(&host)[..] else { panic!("one update: {:?}", updates(&host)) };
    assert!(*full > 400_000, "{full}");

    change(&tenant, &ids[1_234], "new");
    host.await_env("sbx-1", "V1234", Some("new"));
    let [_, increment] = updates(&host)[..] else { panic!("two updates: {:?}", updates(&host)) };
    assert!(increment < 4_000, "{increment} bytes for one variable");
    let said = host.link().output();
    assert!(
        !said.contains("status not accepted"),
        "from the first word on, which asks for everything: {said}"
    );

    // Both ends go on where they were.
    host.stop_serve();
    host.start_serve();
    assert_eq!(host.env("sbx-1", "V1234").as_deref(), Some("new"), "from what was kept");
    world.stop_control();
    world.start_control(&[]);
    let version = host.status()["version"].clone();
    eventually("the host is linked again", || heard_of(&world, &host).then_some(()));
    assert_eq!(host.status()["version"], version, "nothing is sent again");
    change(&tenant, &ids[0], "newer");
    host.await_env("sbx-1", "V0", Some("newer"));
    change(&tenant, &ids[1], "newest");
    host.await_env("sbx-1", "V1", Some("newest"));
    assert!(updates(&host).last().is_some_and(|size| *size < 4_000), "{:?}", updates(&host));
    assert_eq!(host.env("sbx-1", "V1234").as_deref(), Some("new"));

    let deleted = tenant.call("DELETE", &format!("runtime-env/{}", ids[2]), json!(null));
    assert_eq!(deleted.status, 200);
    host.await_env("sbx-1", "V2", None);
    host.stop_serve();
    host.start_serve();
    let resolved = host.resolve("sbx-1");
    let count = resolved["env"].as_object().unwrap().keys().filter(|name| name.starts_with('V')).count();
    assert_eq!(count, 1_999);
    assert_eq!((&resolved["env"]["V0"], &resolved["env"]["V1999"]), (&json!("newer"), &json!(value(1_999))));
}

#[test]
fn three_hundred_changes_leave_few_files_and_the_right_values_whatever_is_killed_between() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    let ids = set_many(&tenant, 400);
    host.place(&tenant, "sbx-1", json!({}));
    let mut most = 0;
    for (round, id) in ids.iter().enumerate().take(300) {
        change(&tenant, id, &format!("r{round}"));
        match round % 100 {
            // In the middle of making and sending it, as the case may be.
            50 => {
                let _gone = kill(Pid::from_raw(world.control_pid()), Signal::SIGKILL);
                eventually("the control plane is gone", || {
                    world.endpoint().request("GET", "/", &[], b"").is_err().then_some(())
                });
                world.start_control(&[]);
            }
            70 => {
                host.serve().kill();
                host.start_serve();
            }
            _ => {}
        }
        host.await_env("sbx-1", &format!("V{round}"), Some(&format!("r{round}")));
        most = most.max(updates(&host).len());
    }
    host.await_env("sbx-1", "V299", Some("r299"));
    assert!((10..=60).contains(&most), "{most} files at one time");
    let accepted = &host.status()["accepted"];
    assert!(accepted["extend"].as_u64() > accepted["replace"].as_u64(), "{accepted}");
    assert_eq!(host.status()["alarms"], json!({}), "{}", host.status());
    for _restarted in 0..2 {
        let env = &host.resolve("sbx-1")["env"];
        for number in 0..400 {
            let expected = if number < 300 { format!("r{number}") } else { value(number) };
            assert_eq!(env[format!("V{number}")], json!(expected));
        }
        host.stop_serve();
        host.start_serve();
    }
}

/// Variables `V0`, `V1`, …; their ids.
fn set_many(tenant: &Tenant<'_>, count: usize) -> Vec<String> {
    (0..count).map(|number| tenant.set(&format!("V{number}"), &value(number), json!({}))).collect()
}

fn value(number: usize) -> String {
    format!("{number:060}")
}

fn change(tenant: &Tenant<'_>, id: &str, value: &str) {
    let answer = tenant.call("PATCH", &format!("runtime-env/{id}"), json!({ "value": value }));
    assert_eq!(answer.status, 200, "{}", answer.json());
}

/// The sizes of the updates that a host keeps, in the order of their versions.
fn updates(host: &Host<'_>) -> Vec<u64> {
    let entries = std::fs::read_dir(host.state_dir().join("cache")).unwrap();
    let mut updates: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("update-")))
        // Any of them may be removed at this moment.
        .filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len())))
        .collect();
    updates.sort();
    updates.into_iter().map(|(_, size)| size).collect()
}

/// Whether a control plane that was just started has heard from a host.
fn heard_of(world: &World, host: &Host<'_>) -> bool {
    let shown = world.platform("GET", &format!("hosts/{}", host.id), json!(null)).json();
    shown["data"]["connected"] == json!(true)
}
