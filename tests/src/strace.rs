//! One fault at one system call of a running program, by `strace`: the program is the one that is
//! shipped, and the fault is there exactly once. Attaching needs root, as the daemon lets nobody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lone::LoneHost;
use crate::program::eventually;

/// What happens at the `nth` call of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The name of the call.
    pub call: String,
    /// Counted from 1.
    pub nth: usize,
    /// What happens there.
    pub effect: Effect,
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The program is killed before the call is made.
    Kill,
    /// The call is not made and returns this error.
    Error(&'static str),
}

/// A thread that is being watched.
#[derive(Debug)]
pub struct Watch {
    strace: Child,
    thread: PathBuf,
    log: PathBuf,
}

/// What a thread called, one line a call, as `strace` writes them.
#[derive(Debug, Clone, Default)]
pub struct Calls(Vec<String>);

impl Watch {
    /// Watches one thread of a process from here on, with at most one fault.
    ///
    /// # Panics
    /// When there is no such thread, or it can't be watched.
    #[must_use]
    pub fn thread(pid: i32, name: &str, fault: Option<&Fault>, scratch: &Path) -> Self {
        let (log, words) = (scratch.join("calls"), scratch.join("strace"));
        let _former = fs::remove_file(&log);
        let mut command = command(fault, &log);
        let thread = thread_id(pid, name);
        command.args(["-p", &thread.to_string()]);
        let stderr = File::create(&words).expect("make a file");
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
        let strace = strace.expect("start strace");
        eventually("strace is attached", || {
            let words = fs::read_to_string(&words).ok()?;
            assert!(!words.contains("ptrace("), "{words}");
            words.contains(" attached").then_some(())
        });
        Self { strace, thread: PathBuf::from(format!("/proc/{pid}/task/{thread}")), log }
    }

    /// Lets go of the thread once it waits for work or is gone; what it has called since.
    ///
    /// # Panics
    /// When it works on and on, or `strace` does not end.
    #[must_use]
    pub fn end(mut self) -> Calls {
        eventually("the thread has nothing to do", || {
            let Ok(stat) = fs::read_to_string(self.thread.join("stat")) else { return Some(()) };
            // The name in it may hold anything, but ends with the last parenthesis; `proc(5)`.
            let state = stat.rsplit(") ").next()?.chars().next()?;
            "SZX".contains(state).then_some(())
        });
        // Gone already when its thread is.
        let _gone = kill(Pid::from_raw(i32::try_from(self.strace.id()).expect("a pid")), Signal::SIGTERM);
        let _status = self.strace.wait().expect("strace ends");
        Calls::read(&self.log)
    }
}

/// Makes a command run under `strace` from its beginning, with at most one fault.
#[must_use]
pub fn from_the_start(program: &Command, fault: Option<&Fault>, log: &Path) -> Command {
    let mut command = command(fault, log);
    command.arg("-f").arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Kills a daemon that runs under `strace`, which ends with it.
///
/// # Panics
/// When it does not end.
pub fn kill_traced(host: &mut LoneHost) {
    let Some(mut strace) = host.take() else { return };
    let id = strace.pid();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        let _gone = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
    eventually("strace ends with its program", || (!strace.is_running()).then_some(()));
}

impl Calls {
    /// The calls written in a file so far.
    #[must_use]
    pub fn read(log: &Path) -> Self {
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Self(text.lines().filter(|line| line.contains('(')).map(str::to_owned).collect())
    }

    /// Those in which a path is named.
    #[must_use]
    pub fn about(&self, path: &str) -> Self {
        Self(self.0.iter().filter(|line| line.contains(path)).cloned().collect())
    }

    /// The kinds of calls there were.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<String> {
        self.0.iter().filter_map(|line| name(line)).map(str::to_owned).collect()
    }

    /// How many calls of one kind there were.
    #[must_use]
    pub fn count(&self, call: &str) -> usize {
        self.0.iter().filter(|line| name(line) == Some(call)).count()
    }

    /// The call that was made to fail, if one was.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        self.0.iter().find(|line| line.contains("(INJECTED)")).map(String::as_str)
    }
}

fn command(fault: Option<&Fault>, log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-y", "-s", "256", "-e", "trace=%file,%desc,%network", "-e", "signal=none", "-o"]).arg(log);
    if let Some(Fault { call, nth, effect }) = fault {
        let effect = match effect {
            Effect::Kill => "signal=KILL".to_owned(),
            Effect::Error(error) => format!("error={error}"),
        };
        command.args(["-e", &format!("inject={call}:{effect}:when={nth}")]);
    }
    command
}

/// The name of the call. With several threads each line begins with the thread's id.
fn name(line: &str) -> Option<&str> {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, _) = call.split_once('(')?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_name.then_some(name)
}

/// A thread gives itself its name, so it may have none yet.
fn thread_id(pid: i32, name: &str) -> i32 {
    eventually(&format!("there is a thread {name}"), || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
        ids.find(|id: &i32| {
            let found = fs::read_to_string(format!("/proc/{pid}/task/{id}/comm"));
            found.is_ok_and(|found| found.trim_end() == name)
        })
    })
}
