//! A host: directories of its own, the real program on them, and a publisher that it trusts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use miosa_injector::Records;
use miosa_snapshot::HostPublicKey;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http::{self, Answer, Client};
use crate::publisher::{Publisher, resources};

/// A host whose `serve` may be running.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    pub(crate) publisher: Publisher,
    serve: Option<Running>,
}

/// A program that ends with the test.
pub(crate) struct Running(Child);

impl Host {
    /// Enrolled with a trust document, not yet serving.
    pub(crate) fn enrolled() -> Self {
        let directory = tempfile::Builder::new().prefix("miosad-").tempdir().unwrap();
        let publisher = Publisher::new("host_1", now_ms());
        write(&directory.path().join("trust.json"), &publisher.trust(1));
        let mut host = Self { directory, publisher, serve: None };
        let trust = host.path("trust.json");
        let enrolled = host.run(&["enroll", "--host-id", "host_1", "--trust", trust.to_str().unwrap()]);
        assert!(enrolled.status.success(), "{enrolled:?}");
        let public = BASE64.decode(enrolled.stdout.trim_ascii()).unwrap();
        let public = HostPublicKey::from_bytes(&public).unwrap();
        host.publisher = host.publisher.seal_to(&public);
        host
    }

    /// Enrolled and serving, with nothing to serve yet.
    pub(crate) fn serving() -> Self {
        let mut host = Self::enrolled();
        host.start();
        host
    }

    /// Serving version 1 of these resources: (id, tenant, greeting).
    pub(crate) fn with(of: &[(&str, &str, &str)]) -> Self {
        let host = Self::serving();
        host.publish(1, resources(of));
        host
    }

    /// Not enrolled: empty directories.
    pub(crate) fn blank() -> Self {
        let directory = tempfile::Builder::new().prefix("miosad-").tempdir().unwrap();
        Self { directory, publisher: Publisher::new("host_1", now_ms()), serve: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    pub(crate) fn admin(&self) -> PathBuf {
        self.path("run/admin.sock")
    }

    pub(crate) fn intake(&self) -> PathBuf {
        self.path("run/intake.sock")
    }

    pub(crate) fn socket(&self, resource: &str) -> PathBuf {
        self.path("run/resources").join(resource).join("miosa.sock")
    }

    /// The program with this host's directories.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_miosad"));
        command
            .env_clear()
            .env("MIOSAD_STATE_DIR", self.path("state"))
            .env("MIOSAD_RUNTIME_DIR", self.path("run"))
            .env("MIOSAD_LOG_LEVEL", "trace")
            .args(arguments)
            .stdin(Stdio::null());
        let config = self.path("miosad.toml");
        if config.exists() {
            command.env("MIOSAD_CONFIG", config);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn configure(&self, text: &str) {
        write(&self.path("miosad.toml"), text.as_bytes());
    }

    /// Starts a command that keeps running; its log goes to `NAME.log`.
    pub(crate) fn spawn(&self, name: &str) -> Running {
        let log = self.path(&format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        Running(self.command(&[name]).stderr(log).spawn().unwrap())
    }

    /// Starts `serve` and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.serve = Some(self.spawn("serve"));
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        eventually("serve answers", || {
            Client::connect(&self.admin()).is_ok_and(|mut c| c.get("/healthz", &[]).is_ok())
        });
    }

    /// The same after a line of shell.
    pub(crate) fn start_with(&mut self, shell: &str) {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell} && exec \"$0\" serve")).arg(env!("CARGO_BIN_EXE_miosad"));
        command.env_clear().envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let log = File::options().create(true).append(true).open(self.path("serve.log")).unwrap();
        self.serve = Some(Running(command.stdin(Stdio::null()).stderr(log).spawn().unwrap()));
        self.wait_until_it_answers();
    }

    /// Stops `serve` as a service manager does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.serve.take().unwrap().end(Signal::SIGTERM)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.serve.is_some()
    }

    /// Ends `serve` as a crash does.
    pub(crate) fn kill(&mut self) {
        self.serve.take().unwrap().end(Signal::SIGKILL);
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Has these records accepted.
    pub(crate) fn publish(&self, version: u64, records: Records) -> Vec<u8> {
        let update = self.publisher.full(version, records);
        let answer = self.offer(&update);
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        update
    }

    /// Offers an update at the intake socket.
    pub(crate) fn offer(&self, update: &[u8]) -> Answer {
        Client::connect(&self.intake()).unwrap().request("PUT", "/v1/updates", &[], update).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        http::get(&self.admin(), "/v1/status").json()
    }

    /// What a resource is greeted with, once its socket is there.
    pub(crate) fn greeting(&self, resource: &str) -> String {
        let waited = http::get(&self.admin(), &format!("/v1/resources/{resource}?wait=20"));
        assert_eq!(waited.json()["served"], true, "{}", String::from_utf8_lossy(&waited.body));
        let answer = http::get(&self.socket(resource), "/v1/resolve");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["env"]["GREETING"].as_str().unwrap().to_owned()
    }

    /// The process of `serve`.
    pub(crate) fn pid(&self) -> Pid {
        self.serve.as_ref().unwrap().pid()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap()
    }
}

impl Running {
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.0.wait().unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Waits for a condition, and fails when it takes too long.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = now() + Duration::from_secs(20);
    while !condition() {
        assert!(now() < deadline, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "tests publish at the real time")]
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "deadlines of tests are real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "files of tests, or state that is damaged on purpose")]
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
