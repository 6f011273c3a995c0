//! What virtual machines are made of: QEMU, a kernel with its modules, and the other end of vsock. The two
//! packages are unpacked and never installed: that kernel would be this host's next one, and QEMU may stand
//! against what is here. They are kept in the build directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::boot::{kept, lock, remove};

/// They are at hand.
pub(super) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Finds them; the first time they are fetched.
    pub(super) fn at_hand() -> Self {
        if cfg!(not(target_arch = "x86_64")) {
            panic!("virtual machines are tried on x86-64 only");
        }
        let folder = kept("vm-parts");
        let _one_at_a_time = lock("vm-parts.lock");
        if fs::read_to_string(folder.join(RECIPE)).is_ok_and(|made| made == recipe()) {
            return Self { folder };
        }
        let unfinished = kept("vm-parts.new");
        remove(&unfinished);
        fetch(&unfinished);
        fs::write(unfinished.join(RECIPE), recipe()).expect("write how they were made");
        remove(&folder);
        fs::rename(&unfinished, &folder).expect("put the parts in place");
        Self { folder }
    }

    /// QEMU for machines of our own kind.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new(self.folder.join("usr/bin/qemu-system-x86_64"));
        let libraries =
            ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| self.folder.join(path));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).expect("paths without a colon"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.folder.join(data));
        }
        command
    }

    /// The kernel's image.
    pub(super) fn kernel(&self) -> PathBuf {
        only_in(&self.folder.join("boot"), "vmlinuz-")
    }

    /// The kernel's modules that lead to vsock.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        let folder = only_in(&self.folder.join("lib/modules"), "").join("kernel");
        MODULES.iter().map(|name| folder.join(name).with_extension("ko")).collect()
    }
}

/// The program that is the host's side of vsock.
///
/// # Panics
/// When it is not here.
pub(super) fn vsock_device() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").join(".tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(tools)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(VSOCK_DEVICE))
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{VSOCK_DEVICE} is not here: `make {VSOCK_DEVICE}` builds it"))
}

fn fetch(folder: &Path) {
    let debs = folder.join("debs");
    fs::create_dir_all(debs.join("partial")).expect("make a folder");
    if download(&debs).is_err() {
        // It may never have looked which packages there are.
        let _result = apt(&["apt-get", "update"], &debs);
        download(&debs).unwrap_or_else(|error| {
            panic!("{QEMU} and {KERNEL} can't be downloaded, packages of Debian 12 that machines are made of: {error}")
        });
    }
    for entry in fs::read_dir(&debs).expect("read the folder") {
        let package = entry.expect("an entry").path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            let unpacked = Command::new("dpkg").arg("-x").args([&package, folder]).status();
            assert!(unpacked.is_ok_and(|status| status.success()), "unpack {}", package.display());
        }
    }
    remove(&debs);
}

fn download(debs: &Path) -> Result<(), String> {
    let kernel = kernel_package(debs).ok_or("there is no such kernel")?;
    apt(&["apt-get", "download", &kernel], debs)?;
    apt(&DOWNLOAD, debs).map(drop)
}

/// The package that this one stands for today.
fn kernel_package(debs: &Path) -> Option<String> {
    let depends = apt(&["apt-cache", "depends", KERNEL], debs).ok()?;
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    packages.find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn apt(words: &[&str], debs: &Path) -> Result<String, String> {
    let (program, arguments) = words.split_first().expect("a program");
    let mut command = Command::new(program);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", debs.display()));
    // apt's own user may not enter a build directory, and need not.
    command.args(["-o", "APT::Sandbox::User=root"]).args(arguments).current_dir(debs);
    let output = command.output().map_err(|error| format!("run {program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What there is in a folder that begins so.
fn only_in(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(folder).expect("read a folder").map(|entry| entry.expect("an entry").path());
    let begins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    entries.into_iter().find(begins).unwrap_or_else(|| panic!("no {prefix} in {}", folder.display()))
}

/// Those that were fetched otherwise are fetched anew.
fn recipe() -> String {
    format!("{KERNEL} {QEMU}")
}

const RECIPE: &str = "how-these-were-made";
const KERNEL: &str = "linux-image-cloud-amd64";
const QEMU: &str = "qemu-system-x86";
/// With what it needs and is not here. Nothing is removed or installed by it.
const DOWNLOAD: [&str; 7] =
    ["apt-get", "install", "--yes", "--download-only", "--reinstall", "--no-install-recommends", QEMU];
const VSOCK_DEVICE: &str = "vhost-device-vsock";
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/vmw_vsock/vsock",
    "net/vmw_vsock/vmw_vsock_virtio_transport_common",
    "net/vmw_vsock/vmw_vsock_virtio_transport",
];
