//! Machines booted for real: systemd as PID 1 of namespaces of its own, on a Debian root file system and a
//! disk that outlives a reboot. Needs root and a cgroup hierarchy of version 2; what a machine starts ends
//! with it.

mod cgroup;
mod console;
mod control;
mod disk;
mod packages;
mod published;
mod root_fs;
mod sandbox;
mod view;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::http::Endpoint;
use crate::program::{Program, eventually};

pub use control::ControlPlane;
pub use disk::Disk;
pub use packages::{Package, packages};
pub use published::Published;
pub use root_fs::{kept, lock, remove, root_fs};
pub use sandbox::{Heard, Insistent, Sandbox};
pub use view::Access;

/// A booted machine. It is switched off, as by pulling the plug, on drop.
pub struct Machine {
    disk: Disk,
    running: Option<Running>,
}

/// What there is while it is on.
struct Running {
    // In the order in which they are to end.
    program: Program,
    console: console::Console,
    _cgroup: cgroup::Cgroup,
    pid: i32,
}

impl Machine {
    /// Boots a machine on a disk of its own with nothing but Debian on it.
    ///
    /// # Panics
    /// When this machine can't do that, or it does not come up.
    #[must_use]
    pub fn bare() -> Self {
        Self::on(Disk::bare())
    }

    /// Boots a machine that has our packages.
    ///
    /// # Panics
    /// When this machine can't do that, or it does not come up.
    #[must_use]
    pub fn with_packages() -> Self {
        Self::on(Disk::with_packages())
    }

    /// Boots a machine on a disk.
    ///
    /// # Panics
    /// When this machine can't do that, or it does not come up.
    #[must_use]
    pub fn on(disk: Disk) -> Self {
        let mut machine = Self { disk, running: None };
        machine.switch_on();
        machine
    }

    /// Boots it on the disk that it had.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn switch_on(&mut self) {
        let cgroup = cgroup::Cgroup::new();
        let console = console::Console::open(&self.disk.path("console.log"));
        let _former = std::fs::remove_file(self.disk.path("pid"));
        let mut command = Command::new("setpriv");
        // Should the test end without a word, the machine ends with it.
        command.args(["--pdeathsig", "KILL", "/bin/bash", BECOME_A_MACHINE]).arg(cgroup.path());
        command.arg(self.disk.layers()).arg(self.disk.path("")).arg(console.terminal());
        let mut program = Program::start("a machine", command, &self.disk.path("machine.log"));
        let pid = eventually("the machine starts", || {
            assert!(program.is_running(), "it did not: {}", program.output());
            std::fs::read_to_string(self.disk.path("pid")).ok()?.trim().parse().ok()
        });
        self.running = Some(Running { program, console, _cgroup: cgroup, pid });
        eventually("the machine is up", || {
            let state = self.attempt("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            assert!(self.is_on(), "it is off again");
            assert_ne!(state, "degraded", "{}", self.run("systemctl --failed --no-pager"));
            (state == "running").then_some(())
        });
    }

    /// Shuts it down in order, as an operator does.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn power_off(&mut self) {
        let _answer = self.attempt("systemctl poweroff");
        eventually("the machine is off", || (!self.is_on()).then_some(()));
        self.running = None;
    }

    /// Off at once, with nobody told.
    pub fn pull_the_plug(&mut self) {
        self.running = None;
    }

    /// Shuts it down in order and boots it again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn reboot(&mut self) {
        self.power_off();
        self.switch_on();
    }

    /// Runs a line of shell on it, as root; what it prints, trimmed.
    ///
    /// # Panics
    /// When it fails, or takes more than a minute.
    pub fn run(&self, line: &str) -> String {
        let output = self.attempt(line);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{line}` ended with {}: {stdout}{stderr}", output.status);
        stdout.trim().to_owned()
    }

    /// Runs a line of shell on it, as root, however that ends.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn attempt(&self, line: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60", "nsenter", "--target", &self.pid().to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
        command.args(["/usr/bin/env", "-i", "--chdir=/", PATH, "LC_ALL=C.UTF-8", "/bin/sh", "-c", line]);
        command.stdin(Stdio::null()).output().expect("run a command on the machine")
    }

    /// The way to a file of it from outside.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid())).join(path.trim_start_matches('/'))
    }

    /// A Unix socket of it.
    #[must_use]
    pub fn socket(&self, path: &str) -> Endpoint {
        Endpoint::Unix(self.path(path))
    }

    /// A port of its loopback interface.
    #[must_use]
    pub fn port(&self, port: u16) -> Endpoint {
        Endpoint::Netns { netns: PathBuf::from(format!("/proc/{}/ns/net", self.pid())), port }
    }

    /// What a unit has logged since the machine was switched on.
    ///
    /// # Panics
    /// When the journal can't be read.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        self.run(&format!("journalctl --boot --no-pager --output=cat --unit={unit}"))
    }

    /// A property of a unit.
    ///
    /// # Panics
    /// When systemd does not know it.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// The main process of a unit, as the machine counts.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn main_pid(&self, unit: &str) -> u32 {
        let pid = self.property(unit, "MainPID").parse().expect("a pid");
        assert_ne!(pid, 0, "{unit} does not run: {}", self.journal(unit));
        pid
    }

    /// Gives a unit further settings, and has systemd read them.
    ///
    /// # Panics
    /// When that fails.
    pub fn set(&self, unit: &str, section: &str) {
        let folder = format!("/etc/systemd/system/{unit}.d");
        self.run(&format!("mkdir -p {folder} && cat >{folder}/50-test.conf <<'END'\n{section}\nEND\n"));
        self.run("systemctl daemon-reload");
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// PID 1, as the outside counts.
    fn pid(&self) -> i32 {
        self.running.as_ref().expect("a machine that is on").pid
    }

    fn is_on(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.program.is_running())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        if std::thread::panicking() {
            let journal = self.attempt("journalctl --boot --no-pager --output=short-monotonic --lines=60");
            let journal = String::from_utf8_lossy(&journal.stdout).into_owned();
            eprintln!("--- the console:\n{}", running.console.tail());
            eprintln!("--- the journal:\n{journal}");
        }
    }
}

const BECOME_A_MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot/machine.sh");
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
