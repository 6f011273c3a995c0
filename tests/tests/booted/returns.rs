//! What a host is after it was switched off, and after its state was put back, damaged or taken away.

use miosa_tests::boot::Access;
use miosa_tests::program::eventually;
use miosa_tests::{Machine, Published};
use serde_json::json;

#[test]
fn a_host_that_boots_while_the_control_plane_is_down_serves_what_it_had() {
    let mut machine = Machine::with_packages();
    {
        let control = machine.control_plane();
        let host = control.enroll("h1");
        control.place(&host, "acme", "sbx-1", &json!({"GREETING": "hello"}));
    }
    machine.run("systemctl disable --quiet miosa-control.service");
    machine.reboot();
    assert_eq!(machine.property("miosa-control.service", "ActiveState"), "inactive");
    let sandbox = eventually("the resource's folder is there", || {
        machine.path("/run/miosa/resources/sbx-1/miosa.sock").exists().then(|| machine.sandbox("sbx-1"))
    });
    assert_eq!(sandbox.resolve().json()["env"]["GREETING"], "hello");
    let status = status(&machine);
    let held = (&status["ready"], &status["source"], &status["confirmed"]);
    assert_eq!(held, (&json!(true), &json!("cache"), &json!(false)), "{status}");
    assert!(
        machine.run("miosad status").contains("not since this start"),
        "{}",
        machine.run("miosad status")
    );

    // And once the control plane is back, it is confirmed without another word.
    machine.run("systemctl start miosa-control.service");
    eventually("the host is confirmed", || (self::status(&machine)["confirmed"] == true).then_some(()));
    assert_eq!(sandbox.resolve().json()["env"]["GREETING"], "hello");
}

#[test]
fn a_host_that_lost_power_comes_up_with_what_it_acknowledged() {
    let mut host = Published::holding(&["sbx-1"]);
    for version in 2..=6 {
        host.publish(&[("acme", "sbx-1")]);
        assert_eq!(host.version, version);
        host.machine.pull_the_plug();
        host.machine.switch_on();
        host.serves(&[("acme", "sbx-1")]);
        assert_eq!(host.status()["alarms"], json!({}));
    }
}

#[test]
fn a_state_directory_put_back_from_a_copy_is_served_and_shown_as_unconfirmed() {
    let mut host = Published::holding(&["sbx-1"]);
    host.machine.run("cp -a /var/lib/miosa /root/copy");
    for _ in 0..3 {
        host.publish(&[("acme", "sbx-1")]);
    }
    assert_eq!(host.status()["confirmed"], true);
    host.machine
        .run("systemctl stop miosad.service && rm -rf /var/lib/miosa && cp -a /root/copy /var/lib/miosa");
    host.machine.run("systemctl start miosad.service");
    host.serves_at(1, &[("acme", "sbx-1")]);
    assert_eq!(host.status()["confirmed"], false);
    // What the publisher holds to be there does not fit any more, and a full update heals it.
    host.publish(&[("acme", "sbx-1")]);
    assert_eq!(host.status()["confirmed"], true);
}

#[test]
fn a_host_whose_state_was_deleted_serves_nothing_old_and_is_enrolled_anew() {
    let host = Published::holding(&["sbx-1"]);
    let old = host.publisher.full_for(1, &[("acme", "sbx-1")]);
    host.machine.run("systemctl stop miosad.service && find /var/lib/miosa -mindepth 1 -delete");
    // The unit's condition: no failure, and no restart for ever.
    host.machine.run("systemctl start miosad.service");
    assert_eq!(host.machine.property("miosad.service", "ActiveState"), "inactive");
    assert_eq!(host.machine.property("miosad.service", "ConditionResult"), "no");

    let mut anew = Published::enrolled(host.machine);
    let refused = anew.offer(&old);
    assert_ne!(refused.status, 200, "an update to the former key: {}", refused.json());
    assert!(anew.socket("sbx-1").request("GET", "/v1/resolve", &[], b"").is_err());
    anew.publish(&[("acme", "sbx-1")]);
}

#[test]
fn what_a_newer_release_left_is_neither_served_nor_lost_after_a_downgrade() {
    let host = Published::holding(&["sbx-1"]);
    let sandbox = host.machine.sandbox("sbx-1");
    // As a release would leave it that knows another seal and another floor.
    let newer = "cd /var/lib/miosa && sed -i 's/update\\.v1+/update.v2+/' cache/update-* \
        && sed -i 's/\"format\":1/\"format\":2/' $(find . -name 'floor*' -type f)";
    host.machine.run(&format!("systemctl stop miosad.service && {newer}"));
    let sum =
        |folder: &str| host.machine.run(&format!("cat /var/lib/miosa/cache/{folder}update-* | sha256sum"));
    let kept = sum("");
    host.machine.run("systemctl start miosad.service");
    host.await_intake();
    assert!(sandbox.ask("/v1/resolve").is_err(), "nothing says which resources there are");
    assert_eq!(sum("quarantine/"), kept);
    assert_eq!(host.status()["need_full"], true);
    let update = host.publisher.full_for(2, &[("acme", "sbx-1")]);
    assert_eq!(host.offer(&update).status, 200);
    host.serves_at(2, &[("acme", "sbx-1")]);
    assert_eq!(sandbox.resolve().status, 200, "by the folder that was mounted before");
}

#[test]
fn a_state_that_can_not_be_written_goes_on_being_served_and_takes_in_nothing() {
    let mut host = Published::holding(&["sbx-1"]);
    let main = host.machine.main_pid("miosad.service");
    host.machine.remount(main, "/var/lib/miosa", Access::Read);
    let update = host.publisher.full_for(2, &[("acme", "sbx-1")]);
    let refused = host.offer(&update);
    assert!(refused.status >= 500, "{}", refused.json());
    host.serves_at(1, &[("acme", "sbx-1")]);
    assert_eq!(host.machine.main_pid("miosad.service"), main, "it is no reason to end");
    host.machine.remount(main, "/var/lib/miosa", Access::ReadAndWrite);
    eventually("it is taken in", || (host.offer(&update).status == 200).then_some(()));
    host.version = 2;
    host.serves(&[("acme", "sbx-1")]);
}

#[test]
fn a_state_of_another_owner_or_open_to_others_is_refused_and_never_made_right_silently() {
    let host = Published::holding(&["sbx-1"]);
    let sandbox = host.machine.sandbox("sbx-1");
    for (harm, mend) in [
        ("chown root:root /var/lib/miosa/cache", "chown miosad:miosa /var/lib/miosa/cache"),
        ("chown root:root /var/lib/miosa/host.key", "chown miosad:miosa /var/lib/miosa/host.key"),
        ("chmod 0644 /var/lib/miosa/host.key", "chmod 0600 /var/lib/miosa/host.key"),
    ] {
        let (path, before) = (harm.rsplit(' ').next().expect("a path"), host.machine.run(LISTING));
        host.machine.run(harm);
        let harmed = host.machine.run(LISTING);
        host.machine.run("systemctl restart miosad.service || true");
        let journal = host.machine.journal("miosad.service");
        let last = journal.lines().last().unwrap_or_default();
        assert!(last.contains(path) && last.contains("00"), "not what is wrong, and the mode to set: {last}");
        assert_eq!(host.machine.run(LISTING), harmed, "{path} was changed back");
        host.machine.run(mend);
        assert_eq!(host.machine.run(LISTING), before);
        // It never gives up, and whoever waits meanwhile is answered.
        assert_eq!(sandbox.resolve().status, 200, "{harm}");
    }
}

fn status(machine: &Machine) -> serde_json::Value {
    let admin = machine.socket("/run/miosa/admin.sock");
    admin.request("GET", "/v1/status", &[], b"").expect("an answer of the admin socket").json()
}

const LISTING: &str =
    "stat --format='%n %a %U:%G' /var/lib/miosa /var/lib/miosa/cache /var/lib/miosa/host.key";
