//! One sandbox can change nothing outside it, and sees nothing of another.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use miosa_tests::World;
use serde_json::json;

#[test]
fn another_uid_inside_the_mounted_folder_can_connect_and_change_nothing() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"A": "1"}}));
    // The world's folder is private; what a runtime bind-mounts is reachable all the same.
    let script = r#"set -u
        mount -t tmpfs tmpfs /mnt && mkdir /mnt/miosa && mount --bind "$1" /mnt/miosa
        mount -o remount,bind,ro,nosuid,nodev,noexec /mnt/miosa
        setpriv --reuid=65534 --regid=65534 --clear-groups -- /bin/sh -uc '
            curl -s --unix-socket /mnt/miosa/miosa.sock http://miosa/v1/resolve | grep -q "\"A\":\"1\"" && echo connected
            cd /mnt/miosa
            rm -f miosa.sock 2>/dev/null && echo removed
            mv miosa.sock other 2>/dev/null && echo renamed
            ln miosa.sock other 2>/dev/null && echo linked
            ln -s /etc/passwd other 2>/dev/null && echo symlinked
            chmod 600 miosa.sock 2>/dev/null && echo chmodded
            chmod 777 . 2>/dev/null && echo opened
            touch other 2>/dev/null && echo created
            mkdir other 2>/dev/null && echo made
            mknod other p 2>/dev/null && echo piped
            true'"#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "sandbox"])
        .arg(host.resource_dir("sbx-1"))
        .output()
        .expect("run unshare");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "connected\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(host.env("sbx-1", "A").as_deref(), Some("1"));
}

#[test]
fn root_inside_the_mounted_folder_can_change_nothing_either() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let script = r#"mount -t tmpfs tmpfs /mnt && mkdir /mnt/miosa && mount --bind "$1" /mnt/miosa
        mount -o remount,bind,ro,nosuid,nodev,noexec /mnt/miosa && cd /mnt/miosa
        # As a sandbox runtime starts it: without the capability to mount.
        exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin -- /bin/sh -c '
            rm -f miosa.sock 2>/dev/null && echo removed
            mv miosa.sock other 2>/dev/null && echo renamed
            chmod 600 miosa.sock 2>/dev/null && echo chmodded
            touch other 2>/dev/null && echo created
            mount -o remount,rw /mnt/miosa 2>/dev/null && echo remounted
            true'"#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "sandbox"])
        .arg(host.resource_dir("sbx-1"))
        .output()
        .expect("run unshare");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(host.ask("sbx-1", "/v1/resolve").status, 200);
}

#[test]
fn every_path_of_the_host_has_the_mode_it_was_promised() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let run = host.runtime_dir();
    assert_eq!(mode(&run), 0o750);
    assert_eq!(mode(&run.join("resources")), 0o700);
    assert_eq!(mode(&host.resource_dir("sbx-1")), 0o755);
    assert_eq!(mode(&host.resource_dir("sbx-1").join("miosa.sock")), 0o666);
    assert_eq!(mode(&run.join("admin.sock")), 0o660);
    assert_eq!(mode(&run.join("intake.sock")), 0o660);
    assert_eq!(mode(&host.state_dir().join("host.key")), 0o600);
    assert_eq!(mode(&host.state_dir().join("link.json")), 0o600);
}

#[test]
fn resources_of_two_tenants_on_one_host_see_only_their_own() {
    let world = World::start();
    let (acme, rival) = (world.tenant("acme"), world.tenant("rival"));
    let host = world.host("h1");
    acme.set("SHARED_NAME", "of acme", json!({}));
    rival.set("SHARED_NAME", "of rival", json!({}));
    rival.set("ONLY_RIVAL", "secret", json!({}));
    host.place(&acme, "sbx-a", json!({"workspace_id": "ws"}));
    host.place(&rival, "sbx-r", json!({"workspace_id": "ws"}));
    assert_eq!(host.env("sbx-a", "SHARED_NAME").as_deref(), Some("of acme"));
    assert_eq!(host.env("sbx-r", "SHARED_NAME").as_deref(), Some("of rival"));
    assert_eq!(host.env("sbx-a", "ONLY_RIVAL"), None);
    let run = host.start_run("sbx-r", json!({}));
    assert_eq!(host.ask("sbx-a", &format!("/v1/resolve?run={run}")).status, 404);
}

#[test]
fn removing_a_resource_closes_the_connections_it_had() {
    use std::io::{Read, Write};
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let mut held =
        std::os::unix::net::UnixStream::connect(host.resource_dir("sbx-1").join("miosa.sock")).unwrap();
    let request = b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";
    held.write_all(request).unwrap();
    let mut head = [0_u8; 12];
    held.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let removed = world.platform("DELETE", "resources/sbx-1?wait=20", json!(null));
    assert_eq!(removed.header("miosa-applied"), Some("yes"));
    held.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    // Ends with end of file or a reset, and not with a time-out; a further request is not answered.
    let ended = held.read_to_end(&mut rest);
    assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{ended:?}");
    let answered = held.write_all(request).is_ok() && held.read(&mut head).is_ok_and(|count| count > 0);
    assert!(!answered, "a connection outlived its resource");
}
