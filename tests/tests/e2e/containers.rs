//! The shim and the mounted folder under sandbox runtimes that others wrote.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use miosa_tests::program::binary;
use miosa_tests::{Host, World};
use serde_json::{Value, json};

#[test]
fn an_oci_image_with_nothing_but_the_shim_and_an_agent_starts_under_runc() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let run = host
        .start_run("sbx-1", json!({"command": ["/miosa-exec", "--print", "env", "--reveal"], "cwd": "/"}));
    let bundle = world.path("bundle");
    make_bundle(&bundle, &host, json!(["PATH=/", format!("MIOSA_RUN_ID={run}"), "IMAGE=kept"]));
    let id = format!("miosa-test-{}", std::process::id());
    let output = Command::new("runc")
        .args(["--root"])
        .arg(world.path("runc"))
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(&id)
        .output()
        .expect("run runc");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("HELLO='from miosa'") || text.contains("HELLO=from miosa"), "{text}");
    assert!(text.contains("MIOSA_RESOURCE_ID") && text.contains("IMAGE"), "{text}");
}

#[test]
fn the_shim_is_pid_1_under_bubblewrap() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let output = Command::new("bwrap")
        .args([
            "--unshare-pid",
            "--as-pid-1",
            "--die-with-parent",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
        ])
        .args(["--tmpfs", "/run", "--dir", "/run/miosa", "--ro-bind"])
        .arg(host.resource_dir("sbx-1"))
        .arg("/run/miosa")
        .arg("--ro-bind")
        .arg(binary("miosa-exec"))
        .args(["/run/miosa-exec", "/run/miosa-exec", "--", "/bin/sh", "-c", "echo $$ $HELLO"])
        .output()
        .expect("run bwrap");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1 from miosa\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_same_image_starts_under_gvisor_which_asks_for_leave_to_use_sockets_of_the_host() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let run = host
        .start_run("sbx-1", json!({"command": ["/miosa-exec", "--print", "env", "--reveal"], "cwd": "/"}));
    let bundle = world.path("bundle");
    make_bundle(&bundle, &host, json!(["PATH=/", format!("MIOSA_RUN_ID={run}"), "MIOSA_EXEC_WAIT=0"]));
    let started = |flags: &[&str]| {
        let runsc = Command::new("runsc")
            .arg("--root")
            .arg(world.path("runsc"))
            .args(["--platform=ptrace", "--network=none", "--ignore-cgroups"])
            .args(flags)
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(format!("miosa-test-{}-{}", std::process::id(), flags.len()))
            .output()
            .expect("run runsc");
        let said = [runsc.stdout, runsc.stderr].concat();
        (runsc.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (succeeded, said) = started(&["--host-uds=open"]);
    assert!(succeeded && said.contains("HELLO='from miosa'"), "{said}");
    let (succeeded, said) = started(&[]);
    assert!(!succeeded && said.contains("cannot connect to /run/miosa/miosa.sock"), "{said}");
}

#[test]
fn a_machine_of_systemd_nspawn_starts_by_the_shim() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let root = world.path("machine");
    for folder in ["usr", "proc", "dev", "sys", "run", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy(binary("miosa-exec"), root.join("miosa-exec")).unwrap();
    let output = Command::new("systemd-nspawn")
        .args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "--pipe"])
        .arg(format!("--directory={}", root.display()))
        .arg(format!("--bind-ro={}:/run/miosa", host.resource_dir("sbx-1").display()))
        .args(["/miosa-exec", "--cwd=/", "--", "/miosa-exec", "--print", "env", "--reveal"])
        .stdin(Stdio::null())
        .output()
        .expect("run systemd-nspawn");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("HELLO='from miosa'"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A virtual machine's monitor runs as a user of its own, in a folder that it may write, and connects to
/// `<uds_path>_PORT` there when its guest connects to a port of the host.
#[test]
fn a_link_beside_the_socket_of_a_virtual_machine_leads_to_the_resources_socket() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let script = r#"
        mount -t tmpfs -o mode=755 tmpfs "$JAIL"
        mkdir "$JAIL/miosa" && install -d -o 65534 -g 65534 "$JAIL/vm"
        mount --bind "$HOME_OF_RESOURCE" "$JAIL/miosa"
        mount -o remount,bind,ro,nosuid,nodev,noexec "$JAIL/miosa"
        ln -s ../miosa/miosa.sock "$JAIL/vm/v.sock_7007"
        exec setpriv --reuid 65534 --regid 65534 --clear-groups             curl -sS --unix-socket "$JAIL/vm/v.sock_7007" http://miosa/v1/resolve"#;
    let jail = Path::new("/mnt");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", script])
        .env("JAIL", jail)
        .env("HOME_OF_RESOURCE", host.resource_dir("sbx-1"))
        .output()
        .expect("run unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"HELLO\":\"from miosa\""), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// An image of one file, run by a user that is not root, with the folder mounted as documented.
fn make_bundle(bundle: &Path, host: &Host<'_>, env: Value) {
    let root = bundle.join("rootfs");
    for folder in ["proc", "dev", "run/miosa"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy(binary("miosa-exec"), root.join("miosa-exec")).unwrap();
    // The user of the container is nobody in particular: it must reach its root through our folder.
    for folder in [bundle.parent().unwrap(), bundle, &root] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mount = json!({
        "destination": "/run/miosa", "type": "bind", "source": host.resource_dir("sbx-1"),
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"]
    });
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 1000, "gid": 1000}, "args": ["/miosa-exec", "--"], "env": env, "cwd": "/",
            "noNewPrivileges": true, "capabilities": {}
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, mount],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]}
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
}
