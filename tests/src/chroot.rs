//! A Debian in which packages can be installed without a running service manager, in a mount namespace of
//! its own: what is written there is kept in memory, and ends with the test. Needs root.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::boot::root_fs;
use crate::program::{Program, eventually};

/// The Debian.
pub struct Chroot {
    keeper: Program,
    _folder: TempDir,
}

impl Chroot {
    /// A fresh one.
    ///
    /// # Panics
    /// When it can't be laid out.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = r#"cd "$2" && mount -t tmpfs tmpfs . && mkdir upper work root \
            && mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" overlay root \
            && mount -t proc proc root/proc && mount --rbind /dev root/dev && mount -t tmpfs tmpfs root/run \
            && exec chroot root /bin/sh -c 'echo inside && exec sleep infinity'"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "chroot"]);
        command.arg(root_fs()).arg(folder.path());
        let keeper = Program::start("the chroot", command, &folder.path().join("log"));
        // Not before: what were run in its namespace until then would be run on this machine itself.
        eventually("the chroot is there", || keeper.output().contains("inside").then_some(()));
        Self { keeper, _folder: folder }
    }

    /// What a shell line there prints, its errors included.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, line: &str) -> String {
        let output = self.attempt(&format!("exec 2>&1; {line}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {text}");
        text
    }

    /// How a shell line fares there.
    ///
    /// # Panics
    /// When no shell can be started.
    #[must_use]
    pub fn attempt(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--root", "--wd", "--target"]).arg(self.keeper.pid().to_string());
        command.args(["--", "/bin/sh", "-c", line]).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DEBIAN_FRONTEND", "noninteractive").output().expect("enter the chroot")
    }

    /// The way from outside to a file there.
    #[must_use]
    pub fn path(&self, absolute: &str) -> PathBuf {
        root_of(&self.keeper).join(absolute.trim_start_matches('/'))
    }
}

impl Default for Chroot {
    fn default() -> Self {
        Self::new()
    }
}

fn root_of(keeper: &Program) -> PathBuf {
    Path::new("/proc").join(keeper.pid().to_string()).join("root")
}
