//! The host's key, encrypted to the machine instead of in a file.

use std::fs;

use miosa_tests::Published;
use miosa_tests::world::files_below;

#[test]
fn a_host_key_can_be_encrypted_to_the_machine_and_its_file_erased() {
    let mut host = Published::holding(&["sbx-1"]);
    assert_eq!(host.status()["host_key"], "file");
    let key = fs::read(host.machine.path("/var/lib/miosa/host.key")).unwrap();
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
    for file in files_below(&host.machine.path("/var/lib/miosa")) {
        let bytes = fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&bytes, key.trim_ascii()).is_none(), "the key in {}", file.display());
    }
    assert!(!host.machine.path("/var/lib/miosa/host.key").exists());
}
