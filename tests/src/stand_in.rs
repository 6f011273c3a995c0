//! A stand-in for miosad: a socket whose answers a test writes down, true ones and lies. For what the real
//! daemon never does, and for what it does too seldom to wait for.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};

use nix::sys::socket::{Shutdown, shutdown};
use serde_json::{Value, json};

/// It serves one connection after the other until it is dropped, which leaves its socket behind, as a daemon
/// that was killed does.
pub struct StandIn {
    listener: UnixListener,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Gives every request these bytes, and hangs up.
    ///
    /// # Panics
    /// When it can't listen there.
    #[must_use]
    pub fn saying(socket: &Path, bytes: Vec<u8>) -> Self {
        Self::answering(socket, move |_, connection| say(connection, &bytes))
    }

    /// Lets the test say what happens on each connection, counted from 0, once the request is read.
    ///
    /// # Panics
    /// When it can't listen there.
    #[must_use]
    pub fn answering(socket: &Path, mut turn: impl FnMut(usize, &mut UnixStream) + Send + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut stand_in = Self::accepting(socket, move |count, connection| {
            let request = hear(connection);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            turn(count, connection);
        });
        stand_in.requests = requests;
        stand_in
    }

    /// As [`StandIn::answering`], with nothing read yet.
    ///
    /// # Panics
    /// When it can't listen there.
    #[must_use]
    pub fn accepting(socket: &Path, mut turn: impl FnMut(usize, &mut UnixStream) + Send + 'static) -> Self {
        // What a former one left there.
        let _former = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("listen");
        std::fs::set_permissions(socket, PermissionsExt::from_mode(0o666)).expect("let everybody connect");
        let accepting = listener.try_clone().expect("share the listener");
        let thread = spawn(move || {
            for (count, connection) in accepting.incoming().enumerate() {
                let Ok(mut connection) = connection else { break };
                turn(count, &mut connection);
            }
        });
        Self { listener, requests: Arc::default(), thread: Some(thread) }
    }

    /// The heads of the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Wakes the thread, be the socket's file there or not.
        let _ended = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A resolution with nothing in it but what is given.
#[must_use]
pub fn resolution(more: Value) -> Value {
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
#[must_use]
pub fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A resolution as miosad answers it.
#[must_use]
pub fn resolved(more: Value) -> Vec<u8> {
    answer(200, resolution(more).to_string().as_bytes())
}

/// A refusal as miosad writes it.
#[must_use]
pub fn refusal(status: u16, code: &str, message: &str) -> Vec<u8> {
    answer(status, json!({"error": {"code": code, "message": message}}).to_string().as_bytes())
}

/// Writes, and minds no reader that has gone.
pub fn say(connection: &mut UnixStream, bytes: &[u8]) {
    let _gone = connection.write_all(bytes);
}

/// Says nothing until the other end gives up.
pub fn wait_for_the_end(connection: &mut UnixStream) {
    let _rest = connection.read_to_end(&mut Vec::new());
}

/// Reads a request's head.
pub fn hear(connection: &mut UnixStream) -> String {
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
