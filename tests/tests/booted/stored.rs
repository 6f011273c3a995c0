//! Which stored listeners a daemon takes over at its start, what becomes of the others, and how many there
//! is room for.

use std::fs;
use std::io::ErrorKind;

use miosa_tests::Published;
use miosa_tests::program::eventually;

#[test]
fn listeners_of_resources_that_changed_meanwhile_are_closed_and_no_longer_stored() {
    let first = [("acme", "stays"), ("acme", "goes"), ("acme", "moves")];
    let later = [("acme", "stays"), ("rival", "moves"), ("rival", "comes")];
    let mut host = Published::holding(&["stays", "goes", "moves"]);
    host.machine.run("cp -a /var/lib/miosa /root/first");
    host.publish(&later);
    // A version later, in which `moves` is another tenant's; and back to the first, with nothing stored.
    host.machine.run(
        "systemctl stop miosad.service && mv /var/lib/miosa /root/later \
         && mv /root/first /var/lib/miosa && systemctl start miosad.service",
    );
    host.version = 1;
    host.serves(&first);
    let [stays, goes, moves] = ["stays", "goes", "moves"].map(|id| host.machine.sandbox(id));
    let inode = |id: &str| host.machine.run(&format!("stat --format=%i /run/miosa/resources/{id}"));
    let before = [inode("stays"), inode("moves")];

    // What is stored and what is held do not fit: the one changes while nobody looks after the other.
    host.machine.set(
        UNIT,
        "[Service]\nExecStartPre=+/bin/sh -c 'find /var/lib/miosa -mindepth 1 -delete; cp -a /root/later/. /var/lib/miosa'",
    );
    host.machine.run("systemctl restart miosad.service");
    host.serves_at(2, &later);

    assert_eq!(host.kept(), HOME + later.len());
    assert_eq!(stays.resolve().json()["snapshot_version"], 2);
    for (name, former) in [("goes", &goes), ("moves", &moves)] {
        let refused = former.ask("/v1/resolve").expect_err(name).kind();
        assert!(matches!(refused, ErrorKind::ConnectionRefused | ErrorKind::NotFound), "{name}: {refused}");
    }
    assert_eq!(inode("stays"), before[0]);
    assert_ne!(inode("moves"), before[1], "the next tenant has the former one's directory");
    assert_eq!(host.machine.run("ls /run/miosa/resources | xargs"), "comes moves stays");
    let next = host.machine.sandbox("moves").resolve().json();
    assert_eq!(next["env"]["MIOSA_TENANT_ID"], "rival");
}

#[test]
fn an_update_that_came_while_the_daemon_was_down_counts_before_anybody_is_answered_wrongly() {
    let mut host = Published::holding(&["stays", "goes"]);
    let stays = host.machine.sandbox("stays");
    host.machine.set(UNIT, "[Service]\nRestartSec=3s");
    let client = stays.insist();
    client.hears_more();
    host.machine.run("systemctl kill --signal=KILL miosad.service");
    let later = [("acme", "stays"), ("acme", "comes")];
    let update = host.publisher.full_for(2, &later);
    host.drop_update(&update);
    host.serves_at(2, &later);
    client.hears_more();
    let heard = client.end();
    heard.was_served_throughout();
    drop(stays);
    host.version = 2;
    eventually("what is gone is no longer stored", || (host.kept() == HOME + later.len()).then_some(()));
    assert_eq!(host.machine.run("ls /run/miosa/resources | xargs"), "comes stays");
}

#[test]
fn a_socket_of_somebody_else_in_the_place_of_a_stored_one_is_not_served() {
    let host = Published::holding(&["sbx-1"]);
    let home = "/run/miosa/resources/sbx-1";
    // As somebody could to whom the folder was given writable by mistake.
    host.machine.run("systemctl kill --signal=KILL miosad.service");
    host.machine.run(&format!("mv {home}/miosa.sock {home}/other && cp -a {home}/other {home}/miosa.sock"));
    eventually("it is served again", || {
        let answer = host.socket("sbx-1").request("GET", "/v1/resolve", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
    assert_eq!(host.kept(), HOME + 1);
}

#[test]
fn one_resource_more_than_can_be_stored_is_served_all_the_same_and_said_loudly() {
    let ids: Vec<String> = (1..=5).map(|number| format!("sbx-{number}")).collect();
    let resources: Vec<(&str, &str)> = ids.iter().map(|id| ("acme", id.as_str())).collect();
    let mut host = with_room_for(HOME + 4);
    host.publish(&resources[..4]);
    assert_eq!((host.kept(), alarms(&host)), (HOME + 4, 0));
    host.publish(&resources);
    assert_eq!((host.kept(), alarms(&host)), (HOME + 4, 1));
    for _ in 0..2 {
        host.machine.run("systemctl restart miosad.service");
        host.serves(&resources);
        assert_eq!((host.kept(), alarms(&host)), (HOME + 4, 1));
    }
    // Once there is room, nothing is left to complain about.
    host.publish(&resources[1..]);
    assert_eq!(host.status()["listeners"]["unkept"], 0);
    host.machine.run("systemctl restart miosad.service");
    host.serves(&resources[1..]);
    assert_eq!((host.kept(), alarms(&host)), (HOME + 4, 0));
}

#[test]
fn a_full_store_makes_room_for_the_next_resources() {
    let mut host = with_room_for(HOME + 8);
    for round in 1..=4 {
        let ids: Vec<String> = (1..=8).map(|number| format!("sbx-{round}-{number}")).collect();
        let resources: Vec<(&str, &str)> = ids.iter().map(|id| ("acme", id.as_str())).collect();
        host.publish(&resources);
        eventually("each is stored", || (host.kept() == HOME + 8).then_some(()));
        host.machine.run("systemctl restart miosad.service");
        host.serves(&resources);
        assert_eq!(host.machine.run(ADOPTED), (HOME + 8).to_string(), "round {round}");
    }
}

#[test]
fn as_many_as_the_unit_says_are_stored_and_one_more_is_served() {
    let ids: Vec<String> = (0..=MOST - HOME).map(|number| format!("sbx-{number}")).collect();
    let resources: Vec<(&str, &str)> = ids.iter().map(|id| ("acme", id.as_str())).collect();
    let mut host = Published::enrolled(miosa_tests::Machine::with_packages());
    host.publish(&resources[1..]);
    eventually("each is stored", || (host.kept() == MOST).then_some(()));
    assert_eq!(alarms(&host), 0);
    host.publish(&resources);
    assert_eq!(alarms(&host), 1);
    let sandbox = host.machine.sandbox("sbx-7");
    let client = sandbox.insist();
    host.machine.run("systemctl restart miosad.service");
    host.serves(&resources);
    client.hears_more();
    client.end().was_served_throughout();
    assert_eq!((host.kept(), host.machine.run(ADOPTED)), (MOST, MOST.to_string()));
}

#[test]
fn nothing_is_stored_for_a_daemon_that_was_stopped() {
    let host = Published::holding(&["sbx-1"]);
    host.machine.run("systemctl stop miosad.service");
    assert_eq!(host.kept(), 0);
    let refused = host.socket("sbx-1").request("GET", "/v1/resolve", &[], b"").expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(
        fs::metadata(host.machine.path("/run/miosa/resources/sbx-1")).is_ok(),
        "mounts would be stranded"
    );
    host.machine.run("systemctl start miosad.service");
    host.serves(&[("acme", "sbx-1")]);
}

/// A host that may store so many listeners, and is told so as systemd 254 and later do.
fn with_room_for(count: usize) -> Published {
    let machine = miosa_tests::Machine::with_packages();
    machine.set(UNIT, &format!("[Service]\nFileDescriptorStoreMax={count}\nEnvironment=FDSTORE={count}"));
    Published::enrolled(machine)
}

fn alarms(host: &Published) -> u64 {
    host.status()["alarms"]["listeners_not_kept"].as_u64().unwrap_or(0)
}

const UNIT: &str = "miosad.service";
/// The admin socket and the intake socket.
const HOME: usize = 2;
/// `FileDescriptorStoreMax=` of the unit.
const MOST: usize = 4_096;
/// How many listeners the daemon found at its last start.
const ADOPTED: &str = "journalctl --boot --no-pager --output=cat --unit=miosad.service \
    | sed -n 's/.*event=\"started\".*handed_over=\\([0-9]*\\).*/\\1/p' | tail -1";
