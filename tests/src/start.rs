//! One start of the shim from the outside: it ends, or it is ended; and what may be said of how.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a program to its end. Output goes to files, so that what it left running keeps nobody waiting.
///
/// # Panics
/// When it can't be started, or has not ended by itself within a minute.
pub fn ended(command: &mut Command) -> Ended {
    let [mut stdout, mut stderr] = [(), ()].map(|()| tempfile::tempfile().expect("a file"));
    let copy = |file: &File| Stdio::from(file.try_clone().expect("share a file"));
    command.stdin(Stdio::null()).stdout(copy(&stdout)).stderr(copy(&stderr));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for it") {
            break status;
        }
        if Instant::now() > deadline {
            let _gone = child.kill();
            let _status = child.wait();
            panic!("{command:?} did not end within a minute; it said: {}", text(&mut stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ended { status, stdout: text(&mut stdout), stderr: text(&mut stderr) }
}

impl Ended {
    /// The exit status; 128 and the number of a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        let signal = || 128 + self.status.signal().expect("an exit or a signal");
        self.status.code().unwrap_or_else(signal)
    }

    /// The shim did not start the command: the one line that says why, without the program's name.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    #[must_use]
    pub fn why_not(&self) -> &str {
        assert_eq!((self.code(), self.stdout.as_str()), (125, ""), "{self:?}");
        self.the_line()
    }

    /// The one line on stderr, without the program's name.
    ///
    /// # Panics
    /// When there is none, or more.
    #[track_caller]
    #[must_use]
    pub fn the_line(&self) -> &str {
        let line = self.stderr.strip_prefix("miosa-exec: ").and_then(|rest| rest.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("no line of the shim: {self:?}"));
        assert!(!line.contains('\n'), "more than a line: {self:?}");
        line
    }

    /// The command ran, was content, and nothing was said beside it; what it printed.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    #[must_use]
    pub fn prints(&self) -> &str {
        assert_eq!((self.code(), self.stderr.as_str()), (0, ""), "{self:?}");
        &self.stdout
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read a file");
    String::from_utf8_lossy(&bytes).into_owned()
}
