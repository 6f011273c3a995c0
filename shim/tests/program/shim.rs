//! How the tests start `miosa-exec`, and what they may say about the outcome.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;

/// One start, in an environment that holds nothing but what the test puts there.
pub(crate) struct Shim {
    command: Command,
}

impl Shim {
    /// Asks this daemon.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self::alone().arg("--socket").arg(daemon.socket())
    }

    /// With no option at all.
    pub(crate) fn alone() -> Self {
        Self::started_by(Command::new(program()))
    }

    /// Started by other programs (`unshare …`, `sh -c …`), which get it as their last arguments.
    pub(crate) fn below(starter: &[&str], program: &Path) -> Self {
        let mut words = starter.iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(program);
        let mut shim = Self::started_by(command);
        shim.command.env("PATH", PATH);
        shim
    }

    fn started_by(mut command: Command) -> Self {
        command.env_clear().stdin(Stdio::null());
        Self { command }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// A variable that the image brings.
    pub(crate) fn image(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory that the image starts in.
    pub(crate) fn starting_in(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// For what only [`Command`] can say.
    pub(crate) fn configured(mut self, configure: impl FnOnce(&mut Command)) -> Self {
        configure(&mut self.command);
        self
    }

    /// Starts it and waits for the end, be it its own or that of the command it became.
    pub(crate) fn run(mut self) -> Outcome {
        let started = Instant::now();
        let output = self.command.output().expect("start miosa-exec");
        Outcome {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        }
    }
}

/// How a start ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    /// The command ran and was content; what it printed.
    #[track_caller]
    pub(crate) fn prints(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        String::from_utf8(self.stdout).expect("text on stdout")
    }

    /// Nothing ran: one line on stderr that begins so, this exit status, and nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, line: &str) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert!(self.stderr.starts_with(&format!("miosa-exec: {line}")), "{}", self.stderr);
        assert_eq!(self.stderr.matches('\n').count(), 1, "{}", self.stderr);
        assert!(self.stderr.ends_with('\n') && self.stdout.is_empty(), "{self:?}");
        self
    }
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    match shipped() {
        Some(shipped) => shipped,
        None => PathBuf::from(env!("CARGO_BIN_EXE_miosa-exec")),
    }
}

/// The file that people put into images, where it has been built.
pub(crate) fn shipped() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("MIOSA_BIN_DIR")?).join("miosa-exec");
    assert!(path.is_file(), "{} is not there: run `make build`", path.display());
    Some(path)
}

/// Says that a test did not try what its name promises, past the runner, which hides what tests print.
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or("a test"));
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Where the tests' own tools are.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
