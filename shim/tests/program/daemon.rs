//! A stand-in for miosad: a Unix socket whose answers a test writes down, true ones and lies.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon that listens until it is dropped, in a directory of its own.
pub(crate) struct Daemon {
    dir: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Gives every request this resolution.
    pub(crate) fn resolving(more: Value) -> Self {
        let answer = http(200, &resolution(more).to_string());
        Self::new(move |_, connection| say(connection, &answer))
    }

    /// Gives every request these bytes, and hangs up.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |_, connection| say(connection, &bytes))
    }

    /// Lets the test say what happens on each connection, counted from 0, once the request is read.
    pub(crate) fn new(turn: impl FnMut(usize, &mut UnixStream) + Send + 'static) -> Self {
        let dir = open_dir();
        Self::listening(dir, turn)
    }

    /// As [`Daemon::new`], in a directory that is there already.
    pub(crate) fn listening(
        dir: TempDir,
        mut turn: impl FnMut(usize, &mut UnixStream) + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(socket_in(&dir)).expect("bind the socket");
        open_to_all(&socket_in(&dir), 0o666);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, done) = (Arc::clone(&requests), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for (count, connection) in listener.incoming().enumerate() {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                let mut connection = connection.expect("accept");
                let request = read_request(&mut connection);
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                turn(count, &mut connection);
            }
        });
        Self { dir, requests, ended, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.dir)
    }

    /// The directory of its socket, free for the test's own files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The requests so far, head and all.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread; it may also be stuck in a turn that ends with its connection.
        drop(UnixStream::connect(self.socket()));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A resolution with nothing in it but what is given.
pub(crate) fn resolution(more: Value) -> Value {
    let mut answer = json!({
        "resource_id": "sbx-1", "run_id": null, "snapshot_version": 7, "stale": false, "age_seconds": 3,
        "env": {}, "delivery": {}, "files": [], "cwd": null, "command": null, "command_source": null,
        "command_error": null, "profile": null,
    });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    answer
}

/// An answer as miosad writes it.
pub(crate) fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "content-type: application/json";
    format!("HTTP/1.1 {status} x\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// A refusal as miosad writes it.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Vec<u8> {
    http(status, &json!({"error": {"code": code, "message": message}}).to_string())
}

/// Writes, and minds no reader that has gone.
pub(crate) fn say(connection: &mut UnixStream, bytes: &[u8]) {
    drop(connection.write_all(bytes));
}

/// Says nothing until the other end gives up.
pub(crate) fn wait_for_the_end(connection: &mut UnixStream) {
    let mut rest = Vec::new();
    drop(connection.read_to_end(&mut rest));
}

/// A directory that every user of the machine can enter, as the one in a sandbox.
pub(crate) fn open_dir() -> TempDir {
    let dir = tempfile::tempdir().expect("make a directory");
    open_to_all(dir.path(), 0o755);
    dir
}

/// Sets the mode of a file of the test.
pub(crate) fn open_to_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set a mode");
}

fn socket_in(dir: &TempDir) -> PathBuf {
    dir.path().join("miosa.sock")
}

fn read_request(connection: &mut UnixStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => request.extend_from_slice(&byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}
