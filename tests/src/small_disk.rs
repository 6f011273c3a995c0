//! A small file system for one host's state, in a mount namespace of its own: it can be filled and made
//! read-only without anything else noticing. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lone::LoneHost;
use crate::program::{Program, eventually};

/// The file system, and the process that keeps its namespace.
pub struct SmallDisk {
    keeper: Program,
    state: PathBuf,
}

impl SmallDisk {
    /// A file system of that many KiB over the host's state folder, with what is in that now.
    ///
    /// # Panics
    /// When it can't be mounted.
    #[must_use]
    pub fn under(host: &LoneHost, kib: usize) -> Self {
        let state = host.state("").canonicalize().expect("the state folder");
        let script = r#"cd "$1" && mkdir "$1.disk" && mount -t tmpfs -o "size=$2k,mode=700" tmpfs "$1.disk" \
            && cp -a . "$1.disk" && mount --move "$1.disk" "$1" && echo mounted && exec sleep infinity"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "disk"]);
        command.arg(&state).arg(kib.to_string());
        let keeper = Program::start("the disk", command, &host.path("disk.log"));
        eventually("the disk is mounted", || keeper.output().contains("mounted").then_some(()));
        Self { keeper, state }
    }

    /// The command where the disk is mounted.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = self.nsenter();
        inside.arg(command.get_program()).args(command.get_args());
        inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// The way to a file on it from outside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.pid()));
        root.join(self.state.strip_prefix("/").expect("an absolute path")).join(name)
    }

    /// Leaves no byte free, until what is returned is removed.
    ///
    /// # Panics
    /// When it can't be filled.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let filler = self.path("filler");
        let mut file = fs::File::create(&filler).expect("make a file");
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("an endless disk");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        filler
    }

    /// Mounts it anew: `ro` or `rw`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn remount(&self, how: &str) {
        let mut mount = self.nsenter();
        mount.args(["mount", "-o", &format!("remount,{how}")]).arg(&self.state);
        assert!(mount.stdin(Stdio::null()).status().expect("run mount").success(), "remount {how}");
    }

    fn nsenter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keeper.pid().to_string(), "--mount", "--"]);
        command
    }
}

/// The names of the files below a folder that begin as those do that are being written.
///
/// # Panics
/// When a folder can't be read.
#[must_use]
pub fn half_written(folder: &Path) -> Vec<PathBuf> {
    let mut files = crate::world::files_below(folder);
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-")));
    files
}
