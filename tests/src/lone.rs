//! A host without a control plane: `miosad serve` on folders of its own, fed by hand. What happens to
//! its folders and its process is the test's business.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_encoding::BASE64;
use serde_json::Value;

use crate::http::{Answer, Endpoint};
use crate::program::{Program, command, eventually};
use crate::publisher::{Publisher, RESOURCES, version_of};

/// The host. Its daemon ends with it.
pub struct LoneHost {
    serve: Option<Program>,
    folder: PathBuf,
}

/// Where a host is, as its own sockets say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version that every resource resolves to; none: nothing is served.
    pub version: Option<u64>,
    /// Past this it is stale, which is what a heartbeat moves.
    pub expires_at: Option<u64>,
    /// The version of the trust document.
    pub trust_version: Option<u64>,
}

impl LoneHost {
    /// Enrolls a host in a folder with a publisher's first trust document.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn enroll(folder: &Path, publisher: &mut Publisher) -> Self {
        std::fs::create_dir_all(folder).expect("make a folder");
        let host = Self::at(folder);
        let trust = folder.join("trust.json");
        std::fs::write(&trust, publisher.trust(1)).expect("write the trust document");
        let trust = trust.to_str().expect("a path of text");
        let enrolled = host.run(&["enroll", "--host-id", "host_1", "--trust", trust]);
        assert!(enrolled.status.success(), "{enrolled:?}");
        publisher.seal_to(&BASE64.decode(enrolled.stdout.trim_ascii()).expect("base64"));
        host
    }

    /// The host whose folders are here.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { serve: None, folder: folder.to_owned() }
    }

    /// Its state folder.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.folder.join("state").join(name)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes its state folder a copy of this one.
    ///
    /// # Panics
    /// When it can't be copied.
    pub fn put_state(&self, image: &Path) {
        let state = self.folder.join("state");
        if state.exists() {
            std::fs::remove_dir_all(&state).expect("remove the state");
        }
        copy(image, &state);
    }

    /// `miosad` with its folders.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command("miosad");
        self.equip(&mut command);
        command.args(args);
        command
    }

    /// Gives a command its folders.
    pub fn equip(&self, command: &mut Command) {
        command.env("MIOSAD_STATE_DIR", self.folder.join("state"));
        command.env("MIOSAD_RUNTIME_DIR", self.folder.join("run"));
    }

    /// Runs `miosad` to its end.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("run miosad")
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&mut self) {
        self.start_as(self.command(&["serve"]));
    }

    /// The same with another command.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_as(&mut self, command: Command) {
        assert!(self.comes_up(command), "the daemon did not come up: {}", self.log());
    }

    /// Whether the daemon answers, or ends before it does.
    ///
    /// # Panics
    /// When it does neither.
    pub fn comes_up(&mut self, command: Command) -> bool {
        let _former = std::fs::remove_file(self.path("serve.log"));
        let mut serve = Program::start("miosad serve", command, &self.path("serve.log"));
        let up = eventually("the daemon answers or ends", || {
            let answers = self.admin().request("GET", "/healthz", &[], b"").is_ok();
            (answers || !serve.is_running()).then_some(answers)
        });
        self.serve = up.then_some(serve);
        up
    }

    /// What the daemon that was started last has printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("serve.log")).unwrap_or_default()
    }

    /// The daemon.
    ///
    /// # Panics
    /// When there is none.
    pub fn serve(&mut self) -> &mut Program {
        self.serve.as_mut().expect("a running daemon")
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.serve.as_ref().expect("a running daemon").pid()
    }

    /// Hands over the daemon, if there is one.
    pub fn take(&mut self) -> Option<Program> {
        self.serve.take()
    }

    /// Kills the daemon, if it still runs.
    pub fn kill(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            serve.kill();
        }
    }

    /// Stops the daemon as a service manager does.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        let status = self.serve.take().expect("a running daemon").stop();
        assert!(status.success(), "miosad serve ended with {status}");
    }

    /// Offers an update.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn push(&self, update: &[u8]) -> io::Result<Answer> {
        self.intake().request("PUT", "/v1/updates", &[], update)
    }

    /// Offers a trust document.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn push_trust(&self, document: &[u8]) -> io::Result<Answer> {
        self.intake().request("PUT", "/v1/trust", &[], document)
    }

    /// What the intake socket says is held.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn position(&self) -> Value {
        self.intake().request("GET", "/v1/position", &[], b"").expect("a position").json()
    }

    /// The daemon's status.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn status(&self) -> Value {
        self.admin().request("GET", "/v1/status", &[], b"").expect("a status").json()
    }

    /// An answer of the admin socket.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn ask(&self, target: &str) -> Answer {
        self.admin().request("GET", target, &[], b"").expect("an answer of the admin socket")
    }

    /// What a resource is answered.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn resolve(&self, resource: &str) -> Answer {
        let socket = Endpoint::Unix(self.path("run/resources").join(resource).join("miosa.sock"));
        socket.request("GET", "/v1/resolve", &[], b"").expect("an answer on the resource's socket")
    }

    /// Where the host is.
    ///
    /// # Panics
    /// When what it serves is a mixture, or its sockets do not agree.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let status = self.status();
        let position = self.position();
        let version = position["version"].as_u64();
        assert_eq!(status["version"].as_u64(), version, "{status}");
        if let Some(version) = version {
            for resource in RESOURCES {
                let answer = self.resolve(resource);
                assert_eq!(answer.status, 200, "{}", answer.json());
                assert_eq!(version_of(&answer.json()), version, "{resource}");
            }
        }
        let trust_version = status["trust_version"].as_u64();
        Standing { version, expires_at: status["expires_at"].as_u64(), trust_version }
    }

    fn admin(&self) -> Endpoint {
        Endpoint::Unix(self.path("run/admin.sock"))
    }

    fn intake(&self) -> Endpoint {
        Endpoint::Unix(self.path("run/intake.sock"))
    }
}

/// Copies a folder with all in it.
///
/// # Panics
/// When it can't be copied.
pub fn copy(from: &Path, to: &Path) {
    let mode = std::fs::metadata(from).expect("the folder").permissions();
    std::fs::create_dir_all(to).expect("make a folder");
    std::fs::set_permissions(to, mode).expect("set its mode");
    for entry in std::fs::read_dir(from).expect("read a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("its type").is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy a file");
        }
    }
}
