//! One behaviour on one init in one place: how the init is started there, and how what it starts is watched.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use miosa_tests::program::binary;
use tempfile::TempDir;

use crate::process::Process;
use crate::served::Served;
use crate::table::{Init, Place};
use crate::terminal::Terminal;

/// What a check finds: nothing to say, or what is not as promised.
pub type Outcome = Result<(), String>;

/// The init, the place, and how long to wait for what may never come.
pub struct Trial {
    pub init: Init,
    pub place: Place,
    pub patience: Duration,
    folder: TempDir,
    served: Option<Served>,
}

/// How to start it.
pub struct Start<'a> {
    trial: &'a Trial,
    before: String,
    launcher: Vec<String>,
    ours: Vec<String>,
    environment: Vec<(String, String)>,
    socket: Option<PathBuf>,
    bare: bool,
    input: Stdio,
}

/// An init that was started, gone with all below it on drop.
pub struct Started {
    outer: Child,
    program: &'static str,
    place: Place,
    patience: Duration,
    lines: Option<Receiver<String>>,
    log: PathBuf,
}

impl Trial {
    pub fn new(init: Init, place: Place, patience: Duration) -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-inits-").tempdir().expect("a scratch folder");
        let served = init.is_ours().then(Served::get);
        Self { init, place, patience, folder, served }
    }

    /// A path of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a command under the init, its output in a pipe.
    pub fn run(&self, command: &[&str]) -> Started {
        self.start().run(command)
    }

    pub fn start(&self) -> Start<'_> {
        Start {
            trial: self,
            before: String::new(),
            launcher: Vec::new(),
            ours: vec!["--init".to_owned()],
            environment: Vec::new(),
            socket: None,
            bare: false,
            input: Stdio::null(),
        }
    }

    /// The socket of the daemon that answers ours.
    pub fn socket(&self) -> PathBuf {
        self.served.as_ref().expect("a trial of ours").socket()
    }

    pub fn eventually<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> Result<T, String> {
        within(self.patience, what, check)
    }
}

impl Start<'_> {
    /// Lines of a shell that becomes the init afterwards.
    pub fn before(mut self, lines: &str) -> Self {
        self.before = format!("{lines}\n");
        self
    }

    /// A program that becomes the init, or starts it.
    pub fn through(mut self, launcher: &[&str]) -> Self {
        self.launcher.extend(launcher.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Options that ours alone knows.
    pub fn ours(mut self, options: &[&str]) -> Self {
        self.ours.extend(options.iter().map(|word| (*word).to_owned()));
        self
    }

    /// No init at all.
    pub fn without(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Ours without `--init`.
    pub fn without_staying(mut self) -> Self {
        self.ours.retain(|option| option != "--init");
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ours asks at another socket.
    pub fn socket(mut self, socket: &Path) -> Self {
        self.socket = Some(socket.to_owned());
        self
    }

    pub fn input(mut self, input: impl Into<Stdio>) -> Self {
        self.input = input.into();
        self
    }

    pub fn run(mut self, command: &[&str]) -> Started {
        let input = std::mem::replace(&mut self.input, Stdio::null());
        let mut outer = self.command(command);
        outer.stdin(input).stdout(Stdio::piped());
        let (mut started, output) = self.spawn(outer);
        let output = output.expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        started.lines = Some(lines);
        started
    }

    /// Starts it on a terminal of its own. Whose session that becomes is the launcher's business.
    pub fn on_a_terminal(self, command: &[&str]) -> (Started, Terminal) {
        let (terminal, end) = Terminal::open(self.trial.patience);
        let mut outer = self.command(command);
        outer.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap());
        let (started, _) = self.spawn_with(outer, Some(end));
        (started, terminal)
    }

    /// An interactive shell on a terminal that knows the init with its arguments as `$INIT`.
    pub fn by_a_shell(self) -> (Started, Terminal) {
        let init = self.words().join(" ");
        let (terminal, end) = Terminal::open(self.trial.patience);
        let shell = ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"];
        let mut outer = self.namespace();
        outer.arg(WITNESS).arg("shelter").args(shell).env("INIT", init);
        outer.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap());
        let (started, _) = self.spawn_with(outer, Some(end));
        (started, terminal)
    }

    fn command(&self, command: &[&str]) -> Command {
        let mut outer = self.namespace();
        if self.trial.place == Place::Ordinary {
            outer.args([WITNESS, "shelter"]);
        }
        outer.args(["sh", "-c", &format!("{}exec \"$@\"", self.before), "sh"]);
        outer.args(&self.launcher).args(self.words()).args(command);
        outer
    }

    /// All that is started ends with the first process of the namespace, and that with the one outside.
    fn namespace(&self) -> Command {
        let mut outer = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            outer.args(["--user", "--map-root-user"]);
        }
        outer.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        outer.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").env("PS1", PROMPT);
        outer.envs(self.environment.iter().map(|(name, value)| (name, value)));
        outer
    }

    fn words(&self) -> Vec<String> {
        if self.bare {
            return Vec::new();
        }
        if !self.trial.init.is_ours() {
            return self.trial.init.words().iter().map(|word| (*word).to_owned()).collect();
        }
        let program = binary("miosa-exec").canonicalize().unwrap();
        let socket = self.socket.clone().unwrap_or_else(|| self.trial.socket());
        let mut words = vec![text(&program), "--socket".to_owned(), text(&socket)];
        words.extend(self.ours.iter().cloned());
        words.push("--".to_owned());
        words
    }

    fn spawn(&self, outer: Command) -> (Started, Option<std::process::ChildStdout>) {
        self.spawn_with(outer, None)
    }

    fn spawn_with(
        &self,
        mut outer: Command,
        errors: Option<std::os::fd::OwnedFd>,
    ) -> (Started, Option<std::process::ChildStdout>) {
        let log = self.trial.path("stderr");
        match errors {
            Some(errors) => outer.stderr(errors),
            None => outer.stderr(File::options().create(true).append(true).open(&log).expect("open a log")),
        };
        outer.current_dir("/");
        let mut outer = outer.spawn().expect("run unshare");
        let output = outer.stdout.take();
        let Trial { init, place, patience, .. } = *self.trial;
        let program = init.program();
        (Started { outer, program, place, patience, lines: None, log }, output)
    }
}

impl Started {
    /// The init, once it is that.
    pub fn init(&self) -> Result<Process, String> {
        self.eventually("the init runs", || {
            let first = *self.outer().children().ok()?.first()?;
            let init = match self.place {
                Place::Pid1 => first,
                Place::Ordinary => *first.children().ok()?.first()?,
            };
            (init.program().ok()? == self.program).then_some(init)
        })
    }

    /// The command that the init started, once it runs.
    pub fn child(&self) -> Result<Process, String> {
        let init = self.init()?;
        self.eventually("the command runs", || {
            let running = |child: &Process| child.program().is_ok_and(|program| program != self.program);
            init.children().ok()?.into_iter().find(running)
        })
    }

    /// The process that is PID 1 in there.
    pub fn first(&self) -> Result<Process, String> {
        self.eventually("a namespace", || self.outer().children().ok()?.first().copied())
    }

    /// The next line that is printed.
    pub fn line(&self) -> Result<String, String> {
        let lines = self.lines.as_ref().expect("an output");
        lines.recv_timeout(self.patience).map_err(|error| format!("no line: {error}; {}", self.errors()))
    }

    /// Takes the next line, which must be this one.
    pub fn says(&self, expected: &str) -> Outcome {
        let line = self.line().map_err(|error| format!("{error} where {expected:?} is expected"))?;
        same("the next line", &line.as_str(), &expected)
    }

    /// Takes as many lines, in whatever order.
    pub fn says_all(&self, expected: &[&str]) -> Outcome {
        let mut lines = Vec::new();
        for _ in expected {
            lines.push(self.line().map_err(|error| format!("{error}; after {lines:?} of {expected:?}"))?);
        }
        lines.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        same("the next lines", &lines, &expected.iter().map(|line| (*line).to_owned()).collect())
    }

    /// How the init ends.
    pub fn status(&mut self) -> Result<i32, String> {
        let (patience, errors) = (self.patience, self.errors());
        let outer = &mut self.outer;
        let status = within(patience, "the init ends", || outer.try_wait().expect("wait"));
        status?.code().ok_or_else(|| format!("killed; {errors}"))
    }

    /// The init ends with this status.
    pub fn ends_with(&mut self, expected: i32) -> Outcome {
        let status = self.status()?;
        let errors = self.errors();
        same(&format!("its status ({errors})"), &status, &expected)
    }

    /// What was printed as an error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn eventually<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> Result<T, String> {
        within(self.patience, what, check).map_err(|error| format!("{error}; {}", self.errors()))
    }

    /// Comes to be as promised; what is not, if it does not.
    pub fn settles(&self, check: impl Fn() -> Outcome) -> Outcome {
        let mut last = Ok(());
        let settled = self.eventually("it settles", || {
            last = check();
            last.is_ok().then_some(())
        });
        last.and(settled)
    }

    /// A process somewhere below that runs this.
    pub fn below(&self, program: &str) -> Result<Process, String> {
        self.eventually(program, || {
            let mut left = self.outer().children().ok()?;
            while let Some(process) = left.pop() {
                if process.program().is_ok_and(|found| found == program) {
                    return Some(process);
                }
                left.extend(process.children().unwrap_or_default());
            }
            None
        })
    }

    /// The process that became the command where there is no init, or none that stays.
    pub fn command(&self, program: &str) -> Result<Process, String> {
        self.eventually("the command runs", || {
            let first = self.first().ok()?;
            let command = match self.place {
                Place::Pid1 => first,
                Place::Ordinary => *first.children().ok()?.first()?,
            };
            (command.program().ok()? == program).then_some(command)
        })
    }

    fn outer(&self) -> Process {
        Process(i32::try_from(self.outer.id()).unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ended = self.outer.kill();
        let _status = self.outer.wait();
    }
}

/// Not as promised, unless the two are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    let told = || format!("{what}: {found:?} where {expected:?} is expected");
    if found == expected { Ok(()) } else { Err(told()) }
}

/// Not as promised, unless it is so.
pub fn so(holds: bool, otherwise: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.to_string()) }
}

fn within<T>(patience: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("not in time: {what}"));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

/// What runs under the inits.
pub const WITNESS: &str = env!("CARGO_BIN_EXE_witness");

/// What an interactive shell shows when it is ready.
pub const PROMPT: &str = "prompt> ";
