//! The disk of a machine: what it writes, over a root file system that it shares with others. It outlives
//! a reboot, and ends with the test.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::cgroup;
use super::packages::installed;
use super::root_fs::{kept, root_fs};

/// The disk.
pub struct Disk {
    /// What lies below, the uppermost first.
    layers: Vec<PathBuf>,
    folder: TempDir,
}

impl Disk {
    /// With nothing but Debian on it.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn bare() -> Self {
        can_boot();
        Self::over(vec![root_fs()])
    }

    /// With our packages installed.
    ///
    /// # Panics
    /// When it can't be made, or there are no packages.
    #[must_use]
    pub fn with_packages() -> Self {
        can_boot();
        Self::over(vec![installed(), root_fs()])
    }

    fn over(layers: Vec<PathBuf>) -> Self {
        let machines = kept("machines");
        fs::create_dir_all(&machines).expect("make a folder");
        let folder = tempfile::Builder::new().prefix("m-").tempdir_in(machines).expect("a folder for a disk");
        for name in ["upper", "work", "root"] {
            fs::create_dir(folder.path().join(name)).expect("make a folder");
        }
        Self { layers, folder }
    }

    /// What lies below, as an overlay takes it.
    pub(super) fn layers(&self) -> OsString {
        let layers: Vec<&Path> = self.layers.iter().map(PathBuf::as_path).collect();
        layers.iter().map(|layer| layer.as_os_str()).collect::<Vec<_>>().join(":".as_ref())
    }

    /// A file beside the disk, which the machine does not see.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What was written on it, by the machine and by who laid it out.
    #[must_use]
    pub fn written(&self) -> PathBuf {
        self.path("upper")
    }
}

/// Before anything costly is made.
fn can_boot() {
    assert!(nix::unistd::geteuid().is_root(), "to boot a machine one must be root");
    let _mounted = cgroup::hierarchy();
}
