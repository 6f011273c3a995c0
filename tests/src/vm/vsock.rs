//! The host's side of vsock, as docs/operations.md has it for monitors such as Firecracker: an unprivileged
//! process with a folder of its own, the resource's folder mounted beside that, and a link named after the
//! port between them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{guarded, parts};
use crate::program::{Program, eventually};

/// The device behind the vsock of one machine.
pub struct Vsock {
    program: Program,
    jail: TempDir,
}

impl Vsock {
    /// Leads port 7007 to the socket in this folder of a resource.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn to(resource: &Path) -> Self {
        let jail = tempfile::Builder::new().prefix("miosa-jail-").tempdir().expect("a scratch folder");
        fs::set_permissions(jail.path(), Permissions::from_mode(0o755)).expect("open the jail");
        for folder in ["miosa", "vm"] {
            fs::create_dir(jail.path().join(folder)).expect("make a folder");
        }
        chown(jail.path().join("vm"), Some(NOBODY), Some(NOBODY)).expect("give a folder away");
        symlink("../miosa/miosa.sock", jail.path().join("vm/v.sock_7007")).expect("link to the socket");
        // From here, since the folders above the tool's own may be closed to it.
        let device = jail.path().join("device");
        fs::copy(parts::vsock_device(), &device).expect("copy the device");
        let script = r#"mount --bind "$1" "$2/miosa" && mount -o remount,bind,ro,nosuid,nodev,noexec "$2/miosa"
            exec setpriv --reuid "$3" --regid "$3" --clear-groups --pdeathsig KILL -- \
            "$4" --vm "guest-cid=3,socket=$2/vm/device.sock,uds-path=$2/vm/v.sock""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "vsock"]);
        command.arg(resource).arg(jail.path()).arg(NOBODY.to_string()).arg(device);
        let log = jail.path().join("log");
        let program = Program::start("vhost-device-vsock", guarded(&command), &log);
        let mut vsock = Self { program, jail };
        eventually("the vsock device listens", || {
            assert!(vsock.program.is_running(), "it does not: {}", vsock.program.output());
            vsock.device().exists().then_some(())
        });
        vsock
    }

    /// The socket by which QEMU uses it.
    pub(super) fn device(&self) -> PathBuf {
        self.jail.path().join("vm/device.sock")
    }
}

const NOBODY: u32 = 65534;
