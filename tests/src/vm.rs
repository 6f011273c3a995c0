//! Virtual machines in QEMU, without hardware support: a stock Debian kernel, a disk with `miosa-exec` as
//! its `init=`, a serial console, and vsock to a daemon on this host. Needs root.

mod disk;
mod parts;
mod vsock;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{Program, eventually};
use parts::Parts;

pub use disk::Disk;
pub use vsock::Vsock;

/// A virtual machine that is on. It is switched off, as by pulling the plug, on drop.
pub struct Vm {
    // In the order in which they are to end.
    qemu: Program,
    _vsock: Option<Vsock>,
    disk: Disk,
    folder: TempDir,
}

/// What is left of one that went off by itself.
pub struct Off {
    /// Everything that was on its console, in lines.
    pub console: Vec<String>,
    /// Its disk.
    pub disk: Disk,
}

impl Vm {
    /// Boots a machine; `line` is what follows on the kernel's command line, from its variables and further
    /// options to `--` and the arguments of its first process.
    ///
    /// # Panics
    /// When this host lacks what it takes.
    #[must_use]
    pub fn boot(disk: Disk, vsock: Option<Vsock>, line: &str) -> Self {
        let parts = Parts::at_hand();
        let folder = tempfile::Builder::new().prefix("miosa-vm-").tempdir().expect("a scratch folder");
        let mut command = parts.qemu();
        command.args(["-accel", "tcg", "-cpu", "max", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.args([
            "-m",
            MEMORY,
            "-object",
            &format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"),
        ]);
        command.args(["-machine", "pc,memory-backend=memory"]);
        command.arg("-kernel").arg(parts.kernel());
        command.args(["-append", &format!("{ALWAYS} {line}")]);
        // A kernel of Debian can't read other disks without modules.
        command.args(["-drive", &format!("id=disk,if=none,format=raw,file={}", disk.image().display())]);
        command.args(["-device", "nvme,serial=disk,drive=disk"]);
        command.args(["-serial", &format!("file:{}", folder.path().join(CONSOLE).display())]);
        let monitor = folder.path().join(MONITOR);
        command.args(["-monitor", &format!("unix:{},server=on,wait=off", monitor.display())]);
        if let Some(vsock) = &vsock {
            command.args(["-chardev", &format!("socket,id=vsock,path={}", vsock.device().display())]);
            command.args(["-device", "vhost-user-vsock-pci,chardev=vsock"]);
        }
        let qemu = Program::start("qemu", guarded(&command), &folder.path().join("qemu.log"));
        Self { qemu, _vsock: vsock, disk, folder }
    }

    /// Everything that has been on its console.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(self.folder.path().join(CONSOLE)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Waits until a text is on its console.
    ///
    /// # Panics
    /// When it is not within a minute, or the machine goes off before.
    pub fn says(&mut self, text: &str) {
        eventually(&format!("the machine says {text}"), || {
            let is_on = self.qemu.is_running();
            let found = self.console().contains(text);
            assert!(is_on || found, "it is off, without {text}:\n{}{}", self.console(), self.qemu.output());
            found.then_some(())
        });
    }

    /// Presses Ctrl-Alt-Del, by which a monitor asks a machine to end.
    ///
    /// # Panics
    /// When the monitor does not answer.
    pub fn press_ctrl_alt_del(&self) {
        let path = self.folder.path().join(MONITOR);
        let mut monitor = UnixStream::connect(path).expect("connect to the monitor");
        monitor.set_read_timeout(Some(Duration::from_secs(60))).expect("set a limit");
        await_prompt(&mut monitor);
        monitor.write_all(b"sendkey ctrl-alt-delete\n").expect("send a command");
        await_prompt(&mut monitor);
    }

    /// Waits until it is off by itself, and not by a panic of its kernel.
    ///
    /// # Panics
    /// When it is not within a minute, or its kernel panics.
    #[must_use]
    pub fn goes_off(mut self) -> Off {
        eventually("the machine is off", || (!self.qemu.is_running()).then_some(()));
        let console = self.console();
        let is_off = console.contains("reboot: Power down") || console.contains("reboot: Restarting system");
        assert!(is_off && !console.contains("Kernel panic"), "{console}{}", self.qemu.output());
        Off { console: console.lines().map(str::to_owned).collect(), disk: self.disk }
    }
}

impl Off {
    /// The lines of `miosa-exec`.
    #[must_use]
    pub fn told(&self) -> Vec<&str> {
        self.console.iter().filter_map(|line| line.strip_prefix("miosa-exec: ")).collect()
    }

    /// Whether this is a line of its console.
    #[must_use]
    pub fn said(&self, line: &str) -> bool {
        self.console.iter().any(|said| said == line)
    }
}

/// Should the test end without a word, what it started ends with it.
fn guarded(command: &Command) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    guarded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    guarded
}

fn await_prompt(monitor: &mut UnixStream) {
    let mut said = Vec::new();
    while !said.ends_with(b"(qemu) ") {
        let mut byte = [0];
        monitor.read_exact(&mut byte).expect("a prompt of the monitor");
        said.extend(byte);
    }
}

const MEMORY: &str = "192M";
/// A panic ends the machine; see `goes_off`.
const ALWAYS: &str = "console=ttyS0 quiet panic=-1 root=/dev/nvme0n1 rootfstype=ext4 init=/miosa-exec";
const CONSOLE: &str = "console";
const MONITOR: &str = "monitor";
