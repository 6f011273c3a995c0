//! Programs under test: where they are, how they run with a log of their own, how they end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running program whose output goes to a file. Ended on drop.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    log: PathBuf,
}

/// A program of this project.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("MIOSA_BIN_DIR").map_or_else(default_dir, PathBuf::from);
    let path = dir.join(name);
    assert!(path.exists(), "{} is not there: run `make build`, or set MIOSA_BIN_DIR", path.display());
    path
}

/// A command for a program of this project, with a clean environment.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Waits until something is so.
///
/// # Panics
/// When it is not within a minute.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Program {
    /// Starts a command; its output is appended to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("open the log");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("share the log")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { child, name: name.to_owned(), log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Everything it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || self.child.try_wait().ok().flatten())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _status = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _gone = kill(Pid::from_raw(self.pid()), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(30).collect();
            eprintln!("--- the last lines of {}:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn default_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist")
}
