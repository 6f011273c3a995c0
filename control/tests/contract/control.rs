//! The program under test, with a state directory of its own.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tempfile::TempDir;

use crate::backend::Backend;
use crate::client::Client;

/// A running control plane. Killed when dropped.
pub(crate) struct Control {
    pub(crate) dir: TempDir,
    pub(crate) url: Option<String>,
    server: Option<Child>,
}

impl Control {
    /// Starts one, and waits until it answers.
    pub(crate) async fn start(backend: Backend) -> Self {
        let mut control = Self::prepare(backend);
        control.serve().await;
        control
    }

    /// Everything but the server.
    pub(crate) fn prepare(backend: Backend) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), url: backend.url, server: None }
    }

    /// Starts the server at the most verbose log level.
    pub(crate) async fn serve(&mut self) {
        self.serve_with(&[]).await;
    }

    /// Another process on the same database, with the same master key; `None` where the database takes
    /// one process only.
    pub(crate) async fn replica(&self) -> Option<Self> {
        let backend = Backend { url: Some(self.url.clone()?) };
        let mut replica = Self::prepare(backend);
        std::fs::create_dir(replica.state_dir()).unwrap();
        std::fs::copy(self.state_dir().join("master.key"), replica.state_dir().join("master.key")).unwrap();
        replica.serve().await;
        Some(replica)
    }

    /// Starts the server with further flags.
    pub(crate) async fn serve_with(&mut self, flags: &[&str]) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let listen = format!("unix:{}", self.socket().display());
        let mut command = self.command(&["serve", "--log-level", "trace", "--listen", &listen]);
        command.args(flags);
        self.server = Some(command.stderr(log).stdout(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            let server = self.server.as_mut().unwrap();
            if let Some(status) = server.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "the server did not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the server as systemd would, and gives its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let mut server = self.server.take()?;
        signal(&server, "TERM");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = server.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server did not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs a command on the same state, and gives its standard output without the last line end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs a command on the same state, however it ends.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The program with its state named.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_miosa-control"));
        command.env_clear().env("MIOSA_CONTROL_STATE_DIR", self.state_dir()).args(arguments);
        if let Some(url) = &self.url {
            command.env("MIOSA_CONTROL_DATABASE", url);
        }
        command
    }

    /// Changes the database behind the server's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        sqlx::any::install_default_drivers();
        let file = || format!("sqlite:{}", self.state_dir().join("control.db").display());
        let url = self.url.clone().unwrap_or_else(file);
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A caller with a new write key of a tenant.
    #[track_caller]
    pub(crate) fn tenant(&self, tenant: &str) -> Client {
        self.client(&self.run(&["key", "create", "--tenant", tenant]))
    }

    /// A caller with a key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client { socket: self.socket(), key: Some(key.to_owned()) }
    }

    /// A caller without a key.
    pub(crate) fn stranger(&self) -> Client {
        Client { socket: self.socket(), key: None }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    /// What the server logged so far.
    pub(crate) fn log(&self) -> String {
        let mut log = String::new();
        std::fs::File::open(self.log_file()).unwrap().read_to_string(&mut log).unwrap();
        log
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _already_gone = server.kill();
            let _status = server.wait();
        }
    }
}

/// Sends a signal to the server.
pub(crate) fn signal(server: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &server.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
