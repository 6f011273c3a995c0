//! `promtool`, which checks metrics and alert rules as Prometheus reads them. Where it is not installed,
//! it is taken out of its Debian package, since installing that would start a server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A command with it.
///
/// # Panics
/// When it can't be had.
#[must_use]
pub fn promtool(args: &[&str]) -> Command {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(FOUND.get_or_init(find));
    command.args(args).stdin(Stdio::piped());
    command
}

fn find() -> PathBuf {
    let installed = PathBuf::from("promtool");
    if works(&installed) {
        return installed;
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/promtool");
    let unpacked = tools.join("usr/bin/promtool");
    if !works(&unpacked) {
        fetch(&tools);
    }
    assert!(works(&unpacked), "promtool is not there: install it, or let apt-get download prometheus");
    unpacked
}

fn works(program: &Path) -> bool {
    let run = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

fn fetch(tools: &Path) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let download =
        || run(Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(&folder));
    if !download().status.success() {
        run(Command::new("apt-get").args(["-qq", "update"]));
        assert!(download().status.success(), "apt-get download prometheus failed");
    }
    let packages = std::fs::read_dir(&folder).expect("read the folder");
    let package = packages.filter_map(Result::ok).map(|entry| entry.path()).next().expect("a package");
    std::fs::create_dir_all(tools).expect("make a folder");
    let unpacked = run(Command::new("dpkg").arg("-x").arg(package).arg(tools));
    assert!(unpacked.status.success(), "{unpacked:?}");
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}
