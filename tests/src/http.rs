//! A blocking HTTP/1.1 client of one request a connection, over TCP or a Unix socket. It speaks
//! plainly, so that a test sees exactly what is on the wire.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A loopback port.
    Tcp(u16),
    /// A loopback port of another network namespace.
    Netns {
        /// The namespace.
        netns: PathBuf,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Endpoint {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When nobody listens, or the answer is no HTTP.
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        parse(&self.exchange(&bytes)?)
    }

    /// Sends bytes as they are and reads until the other side closes.
    ///
    /// # Errors
    /// When nobody listens or the connection breaks.
    pub fn exchange(&self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, bytes)
            }
            Self::Netns { netns, port } => {
                let stream = connect_in(netns, *port)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, bytes)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, bytes)
            }
        }
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// A connection stays in the namespace of the thread that made it; the thread is gone then.
fn connect_in(netns: &Path, port: u16) -> std::io::Result<TcpStream> {
    let netns = File::open(netns)?;
    std::thread::scope(|scope| {
        let connecting = scope.spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            TcpStream::connect(("127.0.0.1", port))
        });
        connecting.join().expect("no panic while connecting")
    })
}

fn talk(mut stream: impl Read + Write, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    // A server may answer and close before it has read everything, as it should with bad requests.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => sent.and(Err(error)),
        _ => Ok(answer),
    }
}

fn parse(bytes: &[u8]) -> std::io::Result<Answer> {
    let bad = |what: &str| {
        std::io::Error::other(format!(
            "{what}: {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        ))
    };
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        _ => return Err(bad("no HTTP answer")),
    };
    let headers: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|field| (field.name.to_lowercase(), String::from_utf8_lossy(field.value).into_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked {
        unchunk(&bytes[head..]).ok_or_else(|| bad("bad chunks"))?
    } else {
        bytes[head..].to_vec()
    };
    Ok(Answer { status: response.code.unwrap_or(0), headers, body })
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?.trim(), 16).ok()?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

const PATIENCE: Duration = Duration::from_secs(70);
