//! The disk of a virtual machine: the root file system that an image is turned into, with the shim, a shell,
//! and an agent that the test wrote.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::parts::Parts;
use crate::program::binary;

/// A disk with a file system. It is gone on drop.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// A disk with this script of a shell as `/agent`, and the directories that an image has.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn with_agent(script: &str) -> Self {
        Self::make(script, &["dev", "proc", "sys", "run", "tmp", "work"])
    }

    /// As [`Disk::with_agent`], without the directories that file systems are mounted at.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn without_directories(script: &str) -> Self {
        Self::make(script, &["dev"])
    }

    fn make(script: &str, directories: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-disk-").tempdir().expect("a scratch folder");
        let root = folder.path().join("root");
        for directory in ["bin", "sbin", "modules"].iter().chain(directories) {
            fs::create_dir_all(root.join(directory)).expect("make a directory");
        }
        let shim = fs::read(binary("miosa-exec")).expect("read miosa-exec");
        let is_static = memchr::memmem::find(&shim, b"/ld-linux").is_none();
        assert!(is_static, "this miosa-exec needs a loader, which no machine has: run `make shim`");
        put(&root.join("miosa-exec"), &shim);
        put(&root.join("agent"), format!("#!/bin/sh\n{script}\n").as_bytes());
        put(&root.join("bin/busybox"), &fs::read(BUSYBOX).expect("tests/requirements.sh installs busybox"));
        for applet in APPLETS.split(' ') {
            symlink("busybox", root.join("bin").join(applet)).expect("link to busybox");
        }
        for module in Parts::at_hand().modules() {
            let name = module.file_name().expect("the name of a module");
            fs::copy(&module, root.join("modules").join(name)).expect("copy a module");
        }
        put(&root.join("sbin/modprobe"), MODPROBE.as_bytes());
        let disk = Self { folder };
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-t", "ext4", "-d"]).args([&root, &disk.image()]).args([SIZE]);
        run(command);
        fs::remove_dir_all(root).expect("remove what is on the disk now");
        disk
    }

    /// The file that is the disk.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// A file on the disk of a machine that is off.
    ///
    /// # Panics
    /// When the disk can't be read.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        let mut command = Command::new("debugfs");
        command.args(["-R", &format!("cat {path}")]).arg(self.image());
        run(command)
    }

    /// Whether nothing is left to be written after the machine went off: its file system was taken out of
    /// use in order.
    ///
    /// # Panics
    /// When the disk can't be read.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let mut command = Command::new("dumpe2fs");
        command.arg("-h").arg(self.image());
        !run(command).contains("needs_recovery")
    }
}

fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("write a file");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("make it executable");
}

fn run(mut command: Command) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let program = command.get_program().to_owned();
    let output = command.env("PATH", path).output();
    let output = output.unwrap_or_else(|error| {
        panic!("run {} ({error}): tests/requirements.sh installs it", program.display())
    });
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The static one.
const BUSYBOX: &str = "/bin/busybox";
const SIZE: &str = "24M";
const APPLETS: &str =
    "cat echo env grep ip kill ls mkdir mount pwd sed setsid sh sleep stat touch tr true wc";
/// The kernel runs this when somebody makes the first socket of vsock. Loaders of real machines know which
/// devices there are.
const MODPROBE: &str = "#!/bin/sh
[ \"$3\" = net-pf-40 ] || exit 1
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci vsock \\
    vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport
do
    /bin/busybox insmod /modules/$module.ko || exit 1
done
";
