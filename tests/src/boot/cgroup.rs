//! A cgroup for one machine, removed when it is off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The cgroup.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// An empty one.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = hierarchy().join(format!("miosa-boot-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    /// Its last processes may still be ending.
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_removed(&self.0) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Where the hierarchy of version 2 is mounted: alone, or beside those of version 1.
pub(super) fn hierarchy() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (path, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    });
    found.expect("to boot a machine, a cgroup hierarchy of version 2 must be mounted")
}

fn is_removed(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _still_busy = is_removed(&entry.path());
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}
