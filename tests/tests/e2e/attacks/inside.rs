//! A folder that is mounted as documented: each of the ways to replace the socket in it is refused, whoever
//! tries.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use super::{Attacker, INSIDE, SYSTEM_PATH, Site, outcomes};

#[test]
fn no_way_to_replace_a_socket_from_inside_a_read_only_folder_works_for_anybody() {
    let site = Site::serving(&RESOURCES);
    for attacker in Attacker::ALL {
        let came = attacker.attempts(&site.home("sbx-1"), false, &[]);
        let (mounts, files) = parted(came);
        assert_eq!(files, read_only(), "{attacker:?}");
        let expected = match attacker {
            Attacker::MappedRoot | Attacker::MappedNobody => MOUNTS_IN_OWN_NAMESPACE,
            Attacker::Root | Attacker::Nobody => MOUNTS_WITHOUT_PRIVILEGE,
        };
        assert_eq!(mounts, owned(&expected), "{attacker:?}");
        site.assert_undisturbed(&RESOURCES);
    }
}

#[test]
fn nor_for_root_under_runc() {
    let site = Site::serving(&RESOURCES);
    let bundle = site.host.path("bundle");
    let root = bundle.join("rootfs");
    for folder in ["proc", "dev", "tmp", "usr", "etc", "run/miosa"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let bind = |from: &str, to: &str| {
        json!({"destination": to, "type": "bind", "source": from,
               "options": ["bind", "ro", "nosuid", "nodev"]})
    };
    let home = site.home("sbx-1");
    let kept =
        ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETUID", "CAP_NET_BIND_SERVICE"];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["python3", "-c", INSIDE], "cwd": "/",
            "env": [format!("PATH={SYSTEM_PATH}")],
            "capabilities": {"bounding": kept, "effective": kept, "permitted": kept}
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            bind("/usr", "/usr"),
            {"destination": "/run/miosa", "type": "bind", "source": home,
             "options": ["bind", "ro", "nosuid", "nodev", "noexec"]}
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]}
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let mut command = Command::new("runc");
    command.arg("--root").arg(site.host.path("runc")).args(["run", "--bundle"]).arg(&bundle);
    command.arg(format!("miosa-attack-{}", std::process::id()));
    let (mounts, files) = parted(outcomes(command));
    assert_eq!(files, read_only());
    assert_eq!(mounts, owned(&MOUNTS_WITHOUT_PRIVILEGE));
    site.assert_undisturbed(&RESOURCES);
}

#[test]
fn nor_under_bubblewrap_once_its_capabilities_are_dropped() {
    let site = Site::serving(&RESOURCES);
    let (mounts, files) = parted(outcomes(bubblewrap(&site, &["--cap-drop", "ALL"], &[])));
    assert_eq!(files, read_only());
    assert_eq!(mounts, owned(&MOUNTS_WITHOUT_PRIVILEGE));
    site.assert_undisturbed(&RESOURCES);
}

/// Root starts bubblewrap, which mounts in the very namespace of the sandbox and leaves it the capability to
/// mount: what is mounted read-only can be made writable from inside. Why docs/security.md asks to drop it.
#[test]
fn a_sandbox_that_may_mount_in_the_namespace_of_its_own_mounts_can_undo_them_and_is_noticed() {
    let site = Site::serving(&RESOURCES);
    let came = outcomes(bubblewrap(&site, &[], &["unlink", "remount", "unlink"]));
    assert_eq!(came["remount"], "done");
    let status = site.fresh_status();
    assert_eq!(status["tampered"][0]["resource"], "sbx-1");
    assert_eq!(status["tampered"][0]["found"][0]["what"], "socket_gone");
    assert_eq!(site.tenant_at("sbx-2"), "rival");
}

#[test]
fn an_overmount_harms_only_who_mounts() {
    let site = Site::serving(&RESOURCES);
    let home = site.home("sbx-1");
    let came = Attacker::MappedRoot.attempts(&home, false, &["overmount", "file", "unlink", "bind_beside"]);
    assert_eq!((came["overmount"].as_str(), came["file"].as_str()), ("done", "done"), "{came:?}");
    assert_eq!(came["unlink"], "ENOENT", "it has made itself blind");
    site.assert_undisturbed(&RESOURCES);
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 1);
}

/// What a sandbox is: the folder, and what is tried in it.
fn bubblewrap(site: &Site, options: &[&str], attempts: &[&str]) -> Command {
    let mut command = Command::new("bwrap");
    command.env("PATH", SYSTEM_PATH);
    command.args(["--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--die-with-parent"]);
    command.args(options).args([
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",
    ]);
    command.args(["--tmpfs", "/run", "--dir", "/run/miosa", "--ro-bind"]);
    command.arg(site.home("sbx-1")).args(["/run/miosa", "--", "python3", "-c", INSIDE]).args(attempts);
    command
}

/// The attempts with mounts, and the others.
fn parted(came: BTreeMap<String, String>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    came.into_iter().partition(|(name, _)| MOUNTS_WITHOUT_PRIVILEGE.iter().any(|(mount, _)| mount == name))
}

fn read_only() -> BTreeMap<String, String> {
    let names = [
        "unlink",
        "rename_over",
        "rename_away",
        "bind_beside",
        "chmod",
        "chmod_folder",
        "chown",
        "chown_folder",
        "hard_link",
        "symlink",
        "symlink_beside",
        "file",
        "fifo",
        "folder",
        "unnamed_file",
        "times",
        "attribute",
    ];
    let outside = ["rename_over_from_outside", "hard_link_outside"];
    let of = |names: &[&'static str], errno: &'static str| {
        names.iter().map(move |name| (*name, errno)).collect::<Vec<_>>()
    };
    owned(&[of(&names, "EROFS"), of(&outside, "EXDEV")].concat())
}

fn owned(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, came)| ((*name).to_owned(), (*came).to_owned())).collect()
}

/// Mounts that came from another user namespace are locked; `mount_namespaces(7)`.
const MOUNTS_IN_OWN_NAMESPACE: [(&str, &str); 5] = [
    ("remount", "EPERM"),
    ("remount_elsewhere", "EPERM"),
    ("unmount", "EINVAL"),
    ("unmount_lazily", "EINVAL"),
    ("overmount", "done"),
];

const MOUNTS_WITHOUT_PRIVILEGE: [(&str, &str); 5] = [
    ("remount", "EPERM"),
    ("remount_elsewhere", "EPERM"),
    ("unmount", "EPERM"),
    ("unmount_lazily", "EPERM"),
    ("overmount", "EPERM"),
];

const RESOURCES: [(&str, &str); 2] = [("acme", "sbx-1"), ("rival", "sbx-2")];
