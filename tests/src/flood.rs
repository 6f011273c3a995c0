//! Clients that do all they can to have a socket to themselves: what a hostile sandbox could send.
//! Each is one thread's work on one socket, bounded in time and in open connections.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::http::Endpoint;

/// A way to flood a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// New connections, each with a request, as fast as they are taken; no answer is read.
    Connections,
    /// A connection for each request, one after the other, as fast as they are answered.
    Reconnecting,
    /// Connections that ask nothing, as many as are taken, the oldest given up for new ones.
    HalfOpen,
    /// A hundred heads that never end, one byte at a time.
    SlowHeads,
    /// A hundred connections that ask on and on and read nothing.
    Unread,
    /// Sixteen connections, on each of which hundreds of requests come in one piece.
    Pipelined,
    /// Thirty-two connections with the largest heads that are taken.
    BigHeads,
    /// Requests that are refused with the end of the connection.
    Wrong,
    /// A hundred connections that ask as soon as they are answered.
    KeepAlive,
    /// Requests for the most laborious answer there is, a hundred at a time.
    Explain,
    /// Watches, as many as are taken, the oldest given up for new ones.
    Watches,
}

impl Flood {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connections,
        Self::Reconnecting,
        Self::HalfOpen,
        Self::SlowHeads,
        Self::Unread,
        Self::Pipelined,
        Self::BigHeads,
        Self::Wrong,
        Self::KeepAlive,
        Self::Explain,
        Self::Watches,
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flood| flood.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Reconnecting => "reconnecting",
            Self::HalfOpen => "half-open",
            Self::SlowHeads => "slow-heads",
            Self::Unread => "unread",
            Self::Pipelined => "pipelined",
            Self::BigHeads => "big-heads",
            Self::Wrong => "wrong",
            Self::KeepAlive => "keep-alive",
            Self::Explain => "explain",
            Self::Watches => "watches",
        }
    }

    /// Floods a socket for so long.
    pub fn run(self, socket: &Path, time: Duration) {
        let until = Instant::now() + time;
        match self {
            Self::Connections => connections(socket, until),
            Self::Reconnecting => reconnecting(socket, until),
            Self::HalfOpen => given_up(socket, until, b""),
            Self::Watches => given_up(socket, until, &watch(socket)),
            Self::SlowHeads => crowd(socket, until, 100, SLOW, 1, Reading::Never),
            Self::Unread => crowd(socket, until, 100, REQUEST, PIECE, Reading::Never),
            Self::Pipelined => crowd(socket, until, 16, REQUEST, PIECE, Reading::Always),
            Self::BigHeads => crowd(socket, until, 32, &big_head(), PIECE, Reading::BeforeAsking),
            Self::Wrong => crowd(socket, until, 100, WRONG, PIECE, Reading::BeforeAsking),
            Self::KeepAlive => crowd(socket, until, 100, REQUEST, PIECE, Reading::BeforeAsking),
            Self::Explain => crowd(socket, until, 100, EXPLAIN, PIECE, Reading::BeforeAsking),
        }
    }
}

/// When a client reads what it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Never,
    /// Whatever there is; it asks on without waiting.
    Always,
    /// It asks when it has been answered.
    BeforeAsking,
}

/// One connection of a crowd.
struct Client {
    stream: UnixStream,
    /// How much of what it repeats was sent.
    sent: usize,
    is_waiting: bool,
}

fn connections(socket: &Path, until: Instant) {
    while Instant::now() < until {
        match connect(socket) {
            Some(mut stream) => {
                let _too_late = stream.write(REQUEST);
            }
            None => pause(),
        }
    }
}

fn reconnecting(socket: &Path, until: Instant) {
    let mut answer = [0; PIECE];
    while Instant::now() < until {
        let Some(mut stream) = connect(socket) else {
            pause();
            continue;
        };
        let patient = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(PATIENCE)));
        if patient.and(stream.write_all(REQUEST)).is_ok() {
            let _answered_or_not = stream.read(&mut answer);
        }
    }
}

/// Many connections at once, on each of which `text` is sent once.
fn given_up(socket: &Path, until: Instant, text: &[u8]) {
    let mut open = std::collections::VecDeque::new();
    while Instant::now() < until {
        match connect(socket) {
            Some(mut stream) => {
                let _too_late = stream.write(text);
                open.push_back(stream);
            }
            None => pause(),
        }
        if open.len() > 300 {
            open.pop_front();
        }
    }
}

/// Many connections at once, on each of which `text` is sent over and over, `piece` bytes at a time.
fn crowd(socket: &Path, until: Instant, size: usize, text: &[u8], piece: usize, reading: Reading) {
    // Sent in one piece: as many whole requests as a buffer holds.
    let mut answer = vec![0; 64 * 1024];
    let repeat = if reading == Reading::BeforeAsking || piece == 1 { 1 } else { piece.div_ceil(text.len()) };
    let text = text.repeat(repeat);
    let mut clients: Vec<Option<Client>> = Vec::new();
    clients.resize_with(size, || None);
    while Instant::now() < until {
        let mut is_idle = true;
        for place in &mut clients {
            let Some(client) = place else {
                *place = connect(socket).map(|stream| Client { stream, sent: 0, is_waiting: false });
                continue;
            };
            match client.step(&text, piece, reading, &mut answer) {
                Some(got_anywhere) => is_idle &= !got_anywhere,
                None => *place = None,
            }
        }
        if is_idle {
            std::thread::yield_now();
        }
    }
}

impl Client {
    /// Sends and reads what goes without waiting; whether it got anywhere. None: the other side has
    /// closed.
    fn step(&mut self, text: &[u8], piece: usize, reading: Reading, answer: &mut [u8]) -> Option<bool> {
        let mut has_read = false;
        if reading != Reading::Never {
            match self.stream.read(answer) {
                Ok(0) => return None,
                Ok(_) => {
                    has_read = true;
                    self.is_waiting = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
        if reading == Reading::BeforeAsking && self.is_waiting {
            return Some(has_read);
        }
        let end = text.len().min(self.sent + piece);
        match self.stream.write(&text[self.sent..end]) {
            Ok(count) => {
                self.sent = (self.sent + count) % text.len();
                self.is_waiting = self.sent == 0;
                Some(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(has_read),
            Err(_) => None,
        }
    }
}

fn connect(socket: &Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn big_head() -> Vec<u8> {
    format!("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(7_900)).into_bytes()
}

/// A watch of what there is, so that it waits. Unless the socket answers, it is of something else.
fn watch(socket: &Path) -> Vec<u8> {
    let answer = Endpoint::Unix(socket.to_owned()).request("GET", "/v1/resolve", &[], b"");
    let tag = answer.ok().and_then(|answer| answer.header("etag").map(str::to_owned)).unwrap_or_default();
    format!("GET /v1/watch?timeout=300&etag={} HTTP/1.1\r\nHost: x\r\n\r\n", tag.trim_matches('"'))
        .into_bytes()
}

fn pause() {
    std::thread::sleep(Duration::from_micros(100));
}

/// The request for what a resource starts with.
pub const REQUEST: &[u8] = b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";

const EXPLAIN: &[u8] = b"GET /v1/explain HTTP/1.1\r\nHost: x\r\n\r\n";
const WRONG: &[u8] = b"POST /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";

/// A head without an end, of which a client sends what it likes.
const SLOW: &[u8] =
    b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\nX-Slow: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const PIECE: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);
