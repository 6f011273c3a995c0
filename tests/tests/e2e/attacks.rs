//! The sockets under attack, from inside a sandbox and from beside it: what is refused, what is told to an
//! operator, and that nobody else notices.

mod descriptors;
mod ids;
mod inside;
mod stale;
mod traps;
mod writable;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use miosa_tests::lone::LoneHost;
use miosa_tests::program::eventually;
use miosa_tests::publisher::Publisher;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host with resources of the tenants that a test wants.
struct Site {
    host: LoneHost,
    publisher: Publisher,
    _folder: TempDir,
}

/// Who attacks, in a sandbox that has a resource's folder at /run/miosa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attacker {
    /// Root of a user namespace, mapped to root of the host: the user of the daemon here.
    MappedRoot,
    /// Root of a user namespace that is nobody outside.
    MappedNobody,
    /// Root of the host, as runtimes start it: without the capability to mount.
    Root,
    /// Nobody.
    Nobody,
}

impl Site {
    /// A daemon that serves these: (tenant, id).
    fn serving(resources: &[(&str, &str)]) -> Self {
        let mut site = Self::enrolled();
        site.host.start();
        site.publish(1, resources);
        site
    }

    fn enrolled() -> Self {
        Self::enrolled_below("")
    }

    /// In a folder that makes its paths longer.
    fn enrolled_below(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-").tempdir().unwrap();
        let mut publisher = Publisher::new("host_1");
        let host = LoneHost::enroll(&folder.path().join(name), &mut publisher);
        Self { host, publisher, _folder: folder }
    }

    fn publish(&self, version: u64, resources: &[(&str, &str)]) {
        let answer = self.host.push(&self.publisher.full_for(version, resources)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    }

    fn home(&self, id: &str) -> PathBuf {
        self.host.path("run/resources").join(id)
    }

    fn socket(&self, id: &str) -> PathBuf {
        self.home(id).join("miosa.sock")
    }

    /// Whose a resource is, as its own socket says it.
    fn tenant_at(&self, id: &str) -> Value {
        let answer = self.host.resolve(id);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["env"]["MIOSA_TENANT_ID"].clone()
    }

    /// Nothing was noticed, and there is nothing to notice.
    fn assert_undisturbed(&self, resources: &[(&str, &str)]) {
        for (tenant, id) in resources {
            assert_eq!(self.tenant_at(id), *tenant);
        }
        let status = self.fresh_status();
        assert_eq!((&status["alarms"], &status["tampered"]), (&json!({}), &json!([])), "{}", self.host.log());
    }

    /// A status that tells of what is on disk now.
    fn fresh_status(&self) -> Value {
        let before = std::time::Instant::now();
        let recent = std::time::Duration::from_millis(1_100);
        eventually("a look that began after the attack", || (before.elapsed() > recent).then_some(()));
        self.host.status()
    }
}

impl Attacker {
    const ALL: [Self; 4] = [Self::MappedRoot, Self::MappedNobody, Self::Root, Self::Nobody];

    /// What comes of some attempts of tests/attacks/inside.py; of all, if none is named.
    fn attempts(self, home: &Path, is_writable: bool, attempts: &[&str]) -> BTreeMap<String, String> {
        let mut command = self.command(home, is_writable);
        command.args(["python3", "-c", INSIDE]).args(attempts);
        outcomes(command)
    }

    /// A sandbox, to which what runs in it is still to be added.
    fn command(self, home: &Path, is_writable: bool) -> Command {
        let mut command = Command::new("unshare");
        command.env("PATH", SYSTEM_PATH);
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-euc", MOUNT, "sandbox"]);
        command.arg(home).arg(if is_writable { "rw" } else { "ro" });
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        let own_root = ["unshare", "--user", "--map-root-user", "--mount", "--"];
        match self {
            Self::MappedRoot => command.args(own_root),
            Self::MappedNobody => command.args(nobody).args(own_root),
            Self::Root => command.args(["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]),
            Self::Nobody => command.args(nobody),
        };
        command
    }
}

fn outcomes(mut command: Command) -> BTreeMap<String, String> {
    let output = command.output().expect("run a sandbox");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// What is tried in there.
const INSIDE: &str = include_str!("../../attacks/inside.py");

/// As a sandbox runtime mounts the folder.
const MOUNT: &str = r#"home=$1 mode=$2; shift 2
mount -t tmpfs tmpfs /run && mkdir /run/miosa && mount --bind "$home" /run/miosa
mount -t tmpfs -o mode=1777 tmpfs /tmp
[ "$mode" = rw ] || mount -o remount,bind,ro,nosuid,nodev,noexec /run/miosa
exec "$@""#;

/// Programs that every user may run.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
