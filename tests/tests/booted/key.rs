//! The host's key, encrypted to the machine instead of in a file.

use miosa_tests::Published;

#[test]
fn a_host_key_can_be_encrypted_to_the_machine_and_its_file_erased() {
    let mut host = Published::holding(&["sbx-1"]);
    assert_eq!(host.status()["host_key"], "file");
    // As the unit says.
    host.machine.run(
        "mkdir -p -m 0700 /etc/credstore.encrypted && systemd-creds encrypt --with-key=host \
         --name=miosad.host-key /var/lib/miosa/host.key /etc/credstore.encrypted/miosad.host-key \
         && systemctl restart miosad && miosad status && shred -u /var/lib/miosa/host.key",
    );
    assert_eq!(host.status()["host_key"], "credential");
    host.publish(&[("acme", "sbx-1")]);
    host.machine.reboot();
    host.serves(&[("acme", "sbx-1")]);
    host.publish(&[("acme", "sbx-1")]);
    let found = host.machine.run("find /var/lib/miosa /etc/miosa -name '*key*' 2>/dev/null; true");
    assert_eq!(found, "", "a key in the clear");
}
