//! One HTTP/1.1 GET over a Unix socket, with a deadline on every step and a limit on every size. It
//! knows nothing of what is asked, and trusts nothing of what is answered.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
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

/// When to give up.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So long after `start`.
    pub(crate) fn after(start: Instant, time: Duration) -> Self {
        Self(start.checked_add(time).unwrap_or(start))
    }

    /// The time left; an error once there is none, since the kernel reads a zero as "no limit".
    fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// Asks for `target` on a connection of its own.
pub(crate) fn get(path: &Path, target: &str, deadline: Deadline) -> Result<Answer, Trouble> {
    let connection = connect(path, deadline)?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: miosa\r\nUser-Agent: miosa-exec/{}\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    send(&connection, request.as_bytes())?;
    receive(&connection, deadline)
}

/// The standard library's own `connect` has no deadline, and blocks while the daemon's queue is full.
fn connect(path: &Path, deadline: Deadline) -> Result<UnixStream, Trouble> {
    let failed = |error: Errno| {
        let path = path.display();
        if error == Errno::ENOENT {
            let text = "is the host's directory mounted here, and is miosad running?";
            Trouble::Passing(format!("no socket at {path}; {text}"))
        } else if error == Errno::ECONNREFUSED {
            Trouble::Passing(format!("nothing listens on {path}; is miosad running on the host?"))
        } else if [Errno::EAGAIN, Errno::ECONNRESET, Errno::EINTR].contains(&error) {
            Trouble::Passing(format!("miosad is too busy to take a connection on {path}"))
        } else {
            Trouble::Lasting(format!("cannot connect to {path}: {}", error.desc()))
        }
    };
    let address = UnixAddr::new(path).map_err(failed)?;
    let descriptor = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let connection = UnixStream::from(descriptor.map_err(failed)?);
    connection.set_write_timeout(Some(deadline.left().map_err(interrupted)?)).map_err(interrupted)?;
    socket::connect(connection.as_raw_fd(), &address).map_err(failed)?;
    Ok(connection)
}

/// A daemon that hangs up must not end us by SIGPIPE, which we leave as we found it.
fn send(connection: &UnixStream, mut bytes: &[u8]) -> Result<(), Trouble> {
    while !bytes.is_empty() {
        let sent = socket::send(connection.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)
            .map_err(|error| interrupted(error.into()))?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Reads an answer, whatever it is an answer to.
pub(crate) fn receive(connection: &UnixStream, deadline: Deadline) -> Result<Answer, Trouble> {
    let mut reader = Reader { connection, deadline, buffer: Vec::new(), filled: 0 };
    let head = loop {
        reader.read_more(MAX_HEAD)?;
        if let Some(head) = parse_head(reader.received())? {
            break head;
        }
        if reader.filled >= MAX_HEAD {
            return Err(malformed(format_args!("its head is longer than {MAX_HEAD} bytes")));
        }
    };
    let end = head.length.saturating_add(head.body);
    while reader.filled < end {
        reader.read_more(end)?;
    }
    reader.buffer.truncate(end);
    reader.buffer.drain(..head.length);
    Ok(Answer { status: head.status, body: reader.buffer })
}

struct Reader<'a> {
    connection: &'a UnixStream,
    deadline: Deadline,
    buffer: Vec<u8>,
    filled: usize,
}

impl Reader<'_> {
    fn received(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Reads at least a byte. The buffer grows with what has arrived, not with what was announced.
    fn read_more(&mut self, end: usize) -> Result<(), Trouble> {
        if self.filled == self.buffer.len() {
            let larger = self.filled.saturating_mul(2).max(FIRST_READ);
            self.buffer.resize(larger.min(end), 0);
        }
        let left = self.deadline.left().map_err(interrupted)?;
        self.connection.set_read_timeout(Some(left)).map_err(interrupted)?;
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let count = loop {
            match self.connection.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.map_err(interrupted)?,
            }
        };
        if count == 0 {
            return Err(interrupted(ErrorKind::UnexpectedEof.into()));
        }
        self.filled = self.filled.saturating_add(count);
        Ok(())
    }
}

struct Head {
    status: u16,
    /// Bytes of the head itself.
    length: usize,
    /// Bytes of the body that follows.
    body: usize,
}

/// Reads a head, once it is complete. Only a body with one announced length is taken: without it a
/// broken connection would look like the end.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Trouble> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(malformed(error)),
    };
    let mut body = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(malformed("it has a transfer encoding"));
        }
        if header.name.eq_ignore_ascii_case("content-length")
            && body.replace(content_length(header.value)?).is_some()
        {
            return Err(malformed("it has two lengths"));
        }
    }
    let body = body.ok_or_else(|| malformed("it has no length"))?;
    Ok(Some(Head { status: response.code.unwrap_or_default(), length, body }))
}

fn content_length(value: &[u8]) -> Result<usize, Trouble> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) if length <= MAX_BODY => Ok(length),
        Some(_) => Err(malformed(format_args!("its body is longer than {MAX_BODY} bytes"))),
        None => Err(malformed("its length is not a number")),
    }
}

fn malformed(why: impl Display) -> Trouble {
    Trouble::Lasting(format!("the answer is not one of miosad: {why}"))
}

/// A connection that broke or went silent may be that of a daemon that restarts.
fn interrupted(error: io::Error) -> Trouble {
    let kind = error.kind();
    if [ErrorKind::TimedOut, ErrorKind::WouldBlock].contains(&kind) {
        Trouble::Passing("miosad took the request and did not answer in time".to_owned())
    } else if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind) {
        Trouble::Passing("miosad closed the connection before its answer was complete".to_owned())
    } else {
        Trouble::Lasting(format!("the connection to miosad failed: {error}"))
    }
}

/// An answer of the usual size arrives in one read; a page more would be a page fault more.
const FIRST_READ: usize = 8 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 32;
/// A merged environment is at most 1 MiB, and JSON writes a byte as at most six.
const MAX_BODY: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use super::*;

    /// What is made of these bytes when the connection closes after them.
    fn received(bytes: &[u8]) -> Result<Answer, Trouble> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        // Refusing an answer early closes our end while the other one still writes.
        let writer = thread::spawn(move || drop(theirs.write_all(&bytes)));
        let answer = receive(&ours, Deadline::after(Instant::now(), Duration::from_secs(5)));
        drop(ours);
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
        let refused = "the answer is not one of miosad: ";
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
            assert_eq!(text, "miosad closed the connection before its answer was complete");
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
        let Err(Trouble::Passing(text)) =
            receive(&ours, Deadline::after(started, Duration::from_millis(200)))
        else {
            panic!("no timeout");
        };
        assert_eq!(text, "miosad took the request and did not answer in time");
        assert!(started.elapsed() < Duration::from_secs(3));
        drop(ours);
        dripping.join().unwrap();
    }
}
