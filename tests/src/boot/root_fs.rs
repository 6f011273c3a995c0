//! The root file system that every machine begins with: Debian 12 with systemd, made once and kept in the
//! build directory. Whatever a machine writes goes to a disk of its own, never here.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root file system's folder; made first where it is not there yet, which takes a minute or two.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn root_fs() -> PathBuf {
    let path = kept("rootfs");
    let _one_at_a_time = lock("rootfs.lock");
    if fs::read_to_string(path.join(RECIPE)).is_ok_and(|made| made == recipe()) {
        return path;
    }
    let unfinished = kept("rootfs.new");
    remove(&unfinished);
    debootstrap(&unfinished);
    quieten(&unfinished);
    fs::write(unfinished.join(RECIPE), recipe()).expect("write how it was made");
    remove(&path);
    fs::rename(&unfinished, &path).expect("put the root file system in place");
    path
}

/// A path in the build directory, where what is costly to make is kept.
///
/// # Panics
/// When the build directory can't be made.
#[must_use]
pub fn kept(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").join("target");
    fs::create_dir_all(&target).expect("make the build directory");
    target.join(name)
}

/// Waits until no other process of the tests holds this lock; it ends with what is returned.
///
/// # Panics
/// When it can't be had.
#[must_use]
pub fn lock(name: &str) -> File {
    let file = File::create(kept(name)).expect("make a lock");
    file.lock().expect("take a lock");
    file
}

/// Removes a folder, if there is one.
///
/// # Panics
/// When it can't be removed.
pub fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap_or_else(|error| panic!("remove {}: {error}", folder.display()));
    }
}

fn debootstrap(folder: &Path) {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]);
    let made = command.arg(folder).args(mirror()).output();
    let made =
        made.unwrap_or_else(|error| panic!("run debootstrap ({error}): tests/requirements.sh installs it"));
    let said = String::from_utf8_lossy(&made.stdout);
    let tail: Vec<&str> = said.lines().rev().take(10).collect();
    assert!(made.status.success(), "debootstrap ended with {}; its last lines first: {tail:#?}", made.status);
}

/// Where this machine's own packages come from, when it is a Debian of the same release; without it,
/// debootstrap knows the usual place.
fn mirror() -> Option<String> {
    let format = "$(ORIGIN) $(CODENAME) $(REPO_URI)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .ok()?;
    let lines = String::from_utf8(output.stdout).ok()?;
    let wanted = format!("Debian {SUITE} ");
    lines.lines().find_map(|line| line.strip_prefix(&wanted)).map(str::to_owned)
}

/// Nothing runs on the machines that the tests did not ask for.
fn quieten(root: &Path) {
    for unit in UNWANTED {
        let path = root.join("etc/systemd/system").join(unit);
        symlink("/dev/null", &path).unwrap_or_else(|error| panic!("mask {unit}: {error}"));
    }
}

/// One that was made otherwise is made anew.
fn recipe() -> String {
    format!("{SUITE} {PACKAGES} {UNWANTED:?}")
}

/// Where it stands in the root file system.
const RECIPE: &str = "etc/how-this-was-made";

const SUITE: &str = "bookworm";
/// What a machine needs to boot, what the tests run on it, and what our packages recommend.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,iproute2,ca-certificates";

/// A getty hangs up the console, and systemd with it; settings of the kernel are not the machine's; what
/// timers start would be in the way.
const UNWANTED: [&str; 10] = [
    "getty.target",
    "console-getty.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
];
