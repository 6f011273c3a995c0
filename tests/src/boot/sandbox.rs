//! A sandbox on a machine: a mount namespace in which a resource's folder is bound read-only, made before
//! whatever the test does to the daemon; and a client in it that never lets off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Machine;
use crate::http::{Answer, Endpoint};
use crate::program::{Program, eventually};

/// A running sandbox. It must end before its machine is switched off.
pub struct Sandbox<'a> {
    keeper: Program,
    _machine: &'a Machine,
}

/// A client that opens a connection every millisecond and asks on each what to start with.
pub struct Insistent {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    connecting: JoinHandle<Heard>,
    reading: JoinHandle<Heard>,
}

/// What such a client met.
#[derive(Debug, Default)]
pub struct Heard {
    /// How many answers came.
    pub answers: usize,
    /// Connections that could not be made, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Connections that ended without an answer, and whose request was sent again.
    pub cut: usize,
    /// Answers other than a resolution, by what they say.
    pub strange: BTreeMap<String, usize>,
    /// The versions that were answered.
    pub versions: BTreeSet<u64>,
    /// The longest that one waited.
    pub longest: Duration,
}

impl Machine {
    /// Starts a sandbox with a resource's folder in it, as runtimes mount it.
    ///
    /// # Panics
    /// When the folder can't be mounted.
    #[must_use]
    pub fn sandbox(&self, resource: &str) -> Sandbox<'_> {
        let script = r#"mount --bind "/run/miosa/resources/$1" /run/miosa \
            && mount -o remount,bind,ro,nosuid,nodev,noexec /run/miosa && echo mounted && exec sleep infinity"#;
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "nsenter",
            "--target",
            &self.pid().to_string(),
            "--mount",
            "--wd=/",
        ]);
        command.args(["--", "unshare", "--mount", "--propagation", "private", "--"]);
        command.args(["/usr/bin/env", "--chdir=/", "/bin/sh", "-c", script, "sandbox", resource]);
        let log = self.disk.path(&format!("sandbox-{resource}.log"));
        let _former = fs::remove_file(&log);
        let mut keeper = Program::start("a sandbox", command, &log);
        eventually("the sandbox runs", || {
            assert!(keeper.is_running(), "no sandbox: {}", keeper.output());
            keeper.output().contains("mounted").then_some(())
        });
        Sandbox { keeper, _machine: self }
    }
}

impl Sandbox<'_> {
    /// The socket in it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/miosa/miosa.sock", self.keeper.pid()))
    }

    /// Asks what to start with.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn resolve(&self) -> Answer {
        self.ask("/v1/resolve").expect("an answer in the sandbox")
    }

    /// Asks for anything.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, target: &str) -> std::io::Result<Answer> {
        Endpoint::Unix(self.socket()).request("GET", target, &[], b"")
    }

    /// Runs a line of shell in it.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args([
            "60",
            "nsenter",
            "--target",
            &self.keeper.pid().to_string(),
            "--mount",
            "--wd=/",
            "--",
        ]);
        command.args(["/usr/bin/env", "-i", "--chdir=/", super::PATH, "/bin/sh", "-c", line]);
        command.output().expect("run a command in the sandbox")
    }

    /// Starts to ask without a pause, until told to end.
    #[must_use]
    pub fn insist(&self) -> Insistent {
        allow_many_connections();
        let socket = self.socket();
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (send, receive) = mpsc::channel();
        let connecting = spawn({
            let (socket, stop) = (socket.clone(), Arc::clone(&stop));
            move || connect_again_and_again(&socket, &stop, &send)
        });
        let reading = spawn({
            let answered = Arc::clone(&answered);
            move || read_each(&socket, &receive, &answered)
        });
        Insistent { stop, answered, connecting, reading }
    }
}

impl Insistent {
    /// Waits until some hundred more were answered.
    ///
    /// # Panics
    /// When they are not within a minute.
    pub fn hears_more(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("the client is answered", || {
            (self.answered.load(Ordering::Relaxed) > before + 200).then_some(())
        });
    }

    /// No further connection; waits for the answers on those that were made.
    ///
    /// # Panics
    /// When the client did.
    #[must_use]
    pub fn end(self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        let connecting = self.connecting.join().expect("the connecting half");
        Heard { refused: connecting.refused, ..self.reading.join().expect("the reading half") }
    }
}

impl Heard {
    /// None was refused, each was answered with what the host holds, and soon enough.
    ///
    /// # Panics
    /// When it was not so.
    pub fn was_served_throughout(&self) {
        let clean = self.refused.is_empty() && self.strange.is_empty() && self.answers > 200;
        assert!(clean && self.longest < Duration::from_secs(30), "{self:#?}");
    }
}

fn connect_again_and_again(
    socket: &Path,
    stop: &AtomicBool,
    send: &mpsc::Sender<(Instant, UnixStream)>,
) -> Heard {
    let mut heard = Heard::default();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        match ask(socket) {
            Ok(stream) => send.send((start, stream)).expect("the reading half"),
            Err(error) => *heard.refused.entry(error.to_string()).or_default() += 1,
        }
        sleep(Duration::from_millis(1));
    }
    heard
}

fn read_each(
    socket: &Path,
    receive: &mpsc::Receiver<(Instant, UnixStream)>,
    answered: &AtomicUsize,
) -> Heard {
    let mut heard = Heard::default();
    while let Ok((start, stream)) = receive.recv() {
        let mut answer = whole_answer(stream);
        while answer.is_none() && start.elapsed() < PATIENCE {
            heard.cut += 1;
            answer = ask(socket).ok().and_then(whole_answer);
        }
        match answer.as_deref().map(version) {
            Some(Ok(version)) => drop(heard.versions.insert(version)),
            Some(Err(strange)) => *heard.strange.entry(strange).or_default() += 1,
            None => *heard.strange.entry("no answer, however often".to_owned()).or_default() += 1,
        }
        heard.answers += 1;
        heard.longest = heard.longest.max(start.elapsed());
        answered.fetch_add(1, Ordering::Relaxed);
    }
    heard
}

/// Connects and asks at once: the kernel takes both for a listener that nobody serves just now.
fn ask(socket: &Path) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    // Whoever ends in between cuts it, which shows in the answer.
    let _cut = stream.write_all(b"GET /v1/resolve HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    Ok(stream)
}

/// None when the connection was cut before the answer's end.
fn whole_answer(mut stream: UnixStream) -> Option<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.ends_with(b"}").then_some(answer)
}

/// The version that an answer is of, or what else it says.
fn version(answer: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match json["snapshot_version"].as_u64() {
        Some(version) if head.starts_with("HTTP/1.1 200") => Ok(version),
        _ => Err(text.chars().take(300).collect()),
    }
}

/// Each that waits is a descriptor of this process.
fn allow_many_connections() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit on descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raise the limit on descriptors");
}

const PATIENCE: Duration = Duration::from_secs(30);
