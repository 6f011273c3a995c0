//! One HTTP/1.1 GET over a socket that never blocks, with a limit on every size. When to wait is for others
//! to say. It knows nothing of what is asked, and trusts nothing of what is answered.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{self, MsgFlags};

use crate::address::{self, Address, Progress};

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names the content of the body, where the daemon says so.
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is none, in words for people.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may go away: the daemon is starting, restarting or busy.
    Passing(String),
    /// Asking again would give the same.
    Lasting(String),
}

/// A request on a connection of its own, up to its answer.
pub(crate) struct Exchange {
    connection: OwnedFd,
    step: Step,
    request: Vec<u8>,
    sent: usize,
    buffer: Vec<u8>,
    filled: usize,
    head: Option<Head>,
}

/// What is done next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Send,
    Receive,
}

struct Head {
    status: u16,
    etag: Option<String>,
    /// Bytes of the head itself.
    length: usize,
    /// Bytes of the body that follows.
    body: usize,
}

impl Trouble {
    /// What to tell.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Passing(text) | Self::Lasting(text) => text,
        }
    }
}

impl Exchange {
    /// Connects, and sends what can be sent at once.
    pub(crate) fn begin(address: &Address, target: &str) -> Result<Self, Trouble> {
        let (connection, progress) = address.connect().map_err(|error| unreachable(address, error))?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: miosa\r\nUser-Agent: miosa-exec/{}\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        let step = if progress == Progress::Connected { Step::Send } else { Step::Connect };
        let mut exchange = Self { request: request.into_bytes(), step, ..Self::receiving(connection) };
        exchange.send(address)?;
        Ok(exchange)
    }

    fn receiving(connection: OwnedFd) -> Self {
        Self {
            connection,
            step: Step::Receive,
            request: Vec::new(),
            sent: 0,
            buffer: Vec::new(),
            filled: 0,
            head: None,
        }
    }

    /// What to wait for before it can go on.
    pub(crate) fn awaits(&self) -> (BorrowedFd<'_>, PollFlags) {
        let awaits = if self.step == Step::Receive { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        (self.connection.as_fd(), awaits)
    }

    /// Does what can be done without waiting; the answer, once it is whole. To be called when what it
    /// awaits has come to pass: it counts on that.
    pub(crate) fn advance(&mut self, address: &Address) -> Result<Option<Answer>, Trouble> {
        if self.step == Step::Connect {
            address::outcome(&self.connection).map_err(|error| unreachable(address, error))?;
            self.step = Step::Send;
        }
        if self.step == Step::Send {
            self.send(address)?;
            return Ok(None);
        }
        self.receive(address)
    }

    /// What to tell when there is no more time.
    pub(crate) fn late(&self, address: &Address) -> Trouble {
        match self.step {
            Step::Connect => unreachable(address, Errno::ETIMEDOUT),
            Step::Send | Step::Receive => {
                Trouble::Passing(format!("miosad took the request on {address} and did not answer in time"))
            }
        }
    }

    /// A daemon that hangs up must not end us by SIGPIPE, which we leave as we found it.
    fn send(&mut self, address: &Address) -> Result<(), Trouble> {
        while self.step == Step::Send {
            let left = self.request.get(self.sent..).unwrap_or_default();
            if left.is_empty() {
                self.step = Step::Receive;
                break;
            }
            match socket::send(self.connection.as_raw_fd(), left, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(broken(address, error)),
            }
        }
        Ok(())
    }

    /// Reads at most what one answer may hold, as long as there is something.
    fn receive(&mut self, address: &Address) -> Result<Option<Answer>, Trouble> {
        let malformed = |why| malformed(address, why);
        loop {
            let most = match &self.head {
                Some(head) => head.length.saturating_add(head.body),
                None => MAX_HEAD,
            };
            if self.filled < most && !self.read_some(most, address)? {
                return Ok(None);
            }
            if self.head.is_none() {
                self.head = parse_head(self.received()).map_err(malformed)?;
                if self.head.is_none() && self.filled >= MAX_HEAD {
                    return Err(malformed(format!("its head is longer than {MAX_HEAD} bytes")));
                }
            }
            if let Some(head) = &self.head
                && self.filled >= head.length.saturating_add(head.body)
            {
                return Ok(self.take_answer());
            }
        }
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let Head { status, etag, length, body } = self.head.take()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.truncate(length.saturating_add(body));
        buffer.drain(..length);
        Some(Answer { status, etag, body: buffer })
    }

    fn received(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Whether there was something. The buffer grows with what has arrived, not with what was announced.
    fn read_some(&mut self, most: usize, address: &Address) -> Result<bool, Trouble> {
        if self.filled >= self.buffer.len() {
            let larger = self.filled.saturating_mul(2).max(FIRST_READ);
            self.buffer.resize(larger.min(most), 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match socket::recv(self.connection.as_raw_fd(), room, MsgFlags::empty()) {
            Ok(0) => Err(broken(address, Errno::ECONNRESET)),
            Ok(count) => {
                self.filled = self.filled.saturating_add(count);
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(broken(address, error)),
        }
    }
}

fn unreachable(address: &Address, error: Errno) -> Trouble {
    match (address, error) {
        (Address::Unix(path), Errno::ENOENT) => {
            let text = "is the host's directory mounted here, and is miosad running?";
            Trouble::Passing(format!("no socket at {}; {text}", path.display()))
        }
        (Address::Unix(path), Errno::ECONNREFUSED) => {
            let text = "is miosad running on the host, and is this its socket?";
            Trouble::Passing(format!("nothing listens on {}; {text}", path.display()))
        }
        (Address::Unix(path), Errno::EAGAIN | Errno::ECONNRESET | Errno::EINTR) => {
            Trouble::Passing(format!("miosad is too busy to take a connection on {}", path.display()))
        }
        // A host's side may not be there yet, or be on its way back.
        (
            Address::Vsock { .. },
            Errno::ECONNREFUSED
            | Errno::ECONNRESET
            | Errno::ETIMEDOUT
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENODEV
            | Errno::ENOTCONN
            | Errno::EPIPE
            | Errno::EINTR,
        ) => {
            let text = "does the host lead this port to miosad's socket?";
            Trouble::Passing(format!("nothing answers on {address} ({}); {text}", error.desc()))
        }
        (Address::Vsock { .. }, Errno::EAFNOSUPPORT) => {
            // Its driver may be loaded a moment later.
            Trouble::Passing(format!("cannot connect to {address}: this kernel has no vsock (yet)"))
        }
        (_, error) => {
            Trouble::Lasting(format!("cannot connect to {address}: {}{}", error.desc(), what_to_do(error)))
        }
    }
}

/// About what no time mends.
fn what_to_do(error: Errno) -> &'static str {
    if error == Errno::EMFILE || error == Errno::ENFILE {
        "; is the limit on open files too low (ulimit -n)?"
    } else if error == Errno::EACCES {
        "; may this user enter its directory, and write to it?"
    } else if error == Errno::EPERM {
        "; does a filter of system calls (seccomp) forbid sockets?"
    } else {
        ""
    }
}

/// Reads a head, once it is complete. Only a body with one announced length is taken: without it a
/// broken connection would look like the end. The error says what is wrong with it.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let (mut body, mut etag) = (None, None);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("it has a transfer encoding".to_owned());
        }
        if header.name.eq_ignore_ascii_case("content-length")
            && body.replace(content_length(header.value)?).is_some()
        {
            return Err("it has two lengths".to_owned());
        }
        if header.name.eq_ignore_ascii_case("etag") {
            etag = tag(header.value);
        }
    }
    let status = response.code.unwrap_or_default();
    // This one never has a body, whatever its head says (RFC 9112, section 6.3).
    let body = if status == 304 { Some(0) } else { body }.ok_or("it has no length")?;
    Ok(Some(Head { status, etag, length, body }))
}

/// A tag that can be sent back in a query as it is; one that can't is no use.
fn tag(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let text = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_plain && text.len() <= MAX_TAG).then(|| text.to_owned())
}

fn content_length(value: &[u8]) -> Result<usize, String> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) if length <= MAX_BODY => Ok(length),
        Some(_) => Err(format!("its body is longer than {MAX_BODY} bytes")),
        None => Err("its length is not a number".to_owned()),
    }
}

fn malformed(address: &Address, why: String) -> Trouble {
    Trouble::Lasting(format!("the answer on {address} is not one of miosad: {why}"))
}

/// A connection that broke may be that of a daemon that restarts.
fn broken(address: &Address, error: Errno) -> Trouble {
    if [Errno::ECONNRESET, Errno::EPIPE, Errno::ENOTCONN].contains(&error) {
        let text = "before its answer was complete";
        Trouble::Passing(format!("miosad closed the connection on {address} {text}"))
    } else {
        Trouble::Lasting(format!("the connection to {address} failed: {}", error.desc()))
    }
}

/// An answer of the usual size arrives in one read; a page more would be a page fault more.
const FIRST_READ: usize = 8 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 32;
const MAX_TAG: usize = 256;
/// A merged environment is at most 1 MiB, and JSON writes a byte as at most six.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Receives an answer, whatever it is an answer to: for tests of what is made of bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn receive(
    connection: std::os::unix::net::UnixStream,
    until: std::time::Instant,
) -> Result<Answer, Trouble> {
    use crate::patience::{Patience, Woken};

    // Only a descriptor that is not ours to close could fail here.
    let _nonblocking = connection.set_nonblocking(true);
    let (mut exchange, nowhere) = (Exchange::receiving(connection.into()), Address::Unix("/".into()));
    loop {
        if let Some(answer) = exchange.advance(&nowhere)? {
            return Ok(answer);
        }
        if Patience::deaf().wait(Some(exchange.awaits()), until) == Woken::Late {
            return Err(exchange.late(&nowhere));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// What is made of these bytes when the connection closes after them.
    fn received(bytes: &[u8]) -> Result<Answer, Trouble> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        // Refusing an answer early closes our end while the other one still writes.
        let writer = thread::spawn(move || drop(theirs.write_all(&bytes)));
        let answer = receive(ours, Instant::now().checked_add(Duration::from_secs(5)).unwrap());
        writer.join().unwrap();
        answer
    }

    fn lasting(bytes: &[u8]) -> String {
        match received(bytes) {
            Err(Trouble::Lasting(text)) => text,
            Err(Trouble::Passing(text)) => panic!("not lasting: {text}"),
            Ok(_) => panic!("taken"),
        }
    }

    #[test]
    fn an_answer_is_its_status_and_exactly_its_body() {
        let answer = received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}and more").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
        let answer = received(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, b"".as_slice()));
    }

    #[test]
    fn a_body_of_any_size_up_to_the_limit_arrives_whole() {
        for size in [1, FIRST_READ, FIRST_READ + 1, 100_000, MAX_BODY] {
            let body: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let answer = received(&[head.as_bytes(), &body].concat()).unwrap();
            assert!(answer.body == body, "{size}");
        }
    }

    #[test]
    fn what_no_daemon_of_ours_would_answer_is_refused() {
        let refused = "the answer on / is not one of miosad: ";
        for (bytes, why) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "invalid HTTP version"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "it has no length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its length is not a number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "its length is not a number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "it has two lengths"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "it has a transfer encoding"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n",
                "its body is longer than 8388608 bytes",
            ),
        ] {
            assert_eq!(lasting(bytes), format!("{refused}{why}"), "{}", bytes.escape_ascii());
        }
        let number = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", "9".repeat(40));
        assert_eq!(lasting(number.as_bytes()), format!("{refused}its length is not a number"));
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1_000_000]].concat();
        assert_eq!(lasting(&endless), format!("{refused}its head is longer than 16384 bytes"));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(lasting(many.as_bytes()), format!("{refused}too many headers"));
    }

    #[test]
    fn a_broken_connection_may_be_a_restart() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        for length in 0..whole.len() {
            let Err(Trouble::Passing(text)) = received(&whole[..length]) else {
                panic!("{length} bytes were not told from an answer");
            };
            assert_eq!(text, "miosad closed the connection on / before its answer was complete");
        }
    }

    #[test]
    fn a_silent_or_dripping_daemon_gets_no_more_than_the_time_there_is() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let started = Instant::now();
        let dripping = thread::spawn(move || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            let mut alive = theirs.write_all(head).is_ok();
            while alive && started.elapsed() < Duration::from_secs(5) {
                thread::sleep(Duration::from_millis(20));
                alive = theirs.write_all(b"x").is_ok();
            }
        });
        let Err(Trouble::Passing(text)) = receive(ours, started + Duration::from_millis(200)) else {
            panic!("no timeout");
        };
        assert_eq!(text, "miosad took the request on / and did not answer in time");
        assert!(started.elapsed() < Duration::from_secs(3));
        dripping.join().unwrap();
    }

    #[test]
    fn a_tag_is_kept_if_it_can_be_sent_back_as_it_is() {
        let tagged = |tag: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: 0\r\n\r\n");
            received(head.as_bytes()).unwrap().etag
        };
        assert_eq!(tagged("\"0a9f\"").as_deref(), Some("0a9f"));
        assert_eq!(tagged("W/\"0a9f\"").as_deref(), Some("0a9f"));
        for odd in ["0a9f", "\"", "\"a&run=b\"", "\"a b\"", &format!("\"{}\"", "x".repeat(300))] {
            assert_eq!(tagged(odd), None, "{odd}");
        }
    }
}
