//! What removing and purging the packages leaves behind.

use miosa_tests::Published;

#[test]
fn a_removed_package_leaves_the_enrollment_and_installing_it_again_is_all_it_takes() {
    let host = Published::holding(&["sbx-1"]);
    host.machine.run("apt-get remove --yes -qq miosad");
    assert_eq!(host.machine.run("pgrep --list-name miosad || true"), "");
    assert!(host.machine.path("/var/lib/miosa/host.key").exists());
    host.machine.install(&miosa_tests::boot::packages());
    host.serves(&[("acme", "sbx-1")]);
}

#[test]
fn a_purged_package_leaves_no_key_no_value_and_nothing_running() {
    let host = Published::holding(&["sbx-1"]);
    host.machine.run("apt-get purge --yes -qq miosad miosa-exec miosa-control");
    assert_eq!(host.machine.run("pgrep --list-name miosa || true"), "");
    let left =
        host.machine.run("ls -d /var/lib/miosa* /run/miosa* /etc/miosa* /usr/bin/miosa* 2>/dev/null; true");
    assert_eq!(left, "");
    let units =
        host.machine.run("systemctl list-unit-files --no-legend 'miosa*'; systemctl --failed --no-legend");
    assert_eq!(units, "");
}
