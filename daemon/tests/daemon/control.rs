//! A control plane of a few lines on a loopback port: it answers what it was told to and notes what it
//! is sent.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// The control plane.
pub(crate) struct Control {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    enrollment: Mutex<Option<(u16, String)>>,
    streams: Mutex<VecDeque<Vec<String>>>,
    open: Mutex<Vec<TcpStream>>,
    requests: Mutex<Vec<Request>>,
}

/// What it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

impl Control {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.converse(stream));
            }
        });
        Self { url, shared }
    }

    /// What `POST /host/v1/enroll` answers.
    pub(crate) fn enrolls_with(&self, status: u16, body: &Value) {
        *self.shared.enrollment.lock().unwrap() = Some((status, body.to_string()));
    }

    /// The lines that the next stream of updates begins with; it then stays open.
    pub(crate) fn will_stream(&self, lines: Vec<String>) {
        self.shared.streams.lock().unwrap().push_back(lines);
    }

    /// One more line on the newest stream.
    pub(crate) fn stream(&self, line: &str) {
        let mut open = self.shared.open.lock().unwrap();
        write_chunk(open.last_mut().unwrap(), line);
    }

    /// Ends all streams.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }

    /// The requests whose target begins with this.
    pub(crate) fn requests(&self, target: &str) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| request.target.starts_with(target)).cloned().collect()
    }
}

impl Shared {
    fn converse(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            let target = request.target.clone();
            self.requests.lock().unwrap().push(request);
            if target.starts_with("/host/v1/updates") {
                let lines = self.streams.lock().unwrap().pop_front().unwrap_or_default();
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                lines.iter().for_each(|line| write_chunk(&mut stream, line));
                self.open.lock().unwrap().push(stream);
                return;
            }
            let (status, body) = match target.as_str() {
                "/host/v1/enroll" => self.enrollment.lock().unwrap().clone().unwrap(),
                _ => (200, "{\"ok\":true}".to_owned()),
            };
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { target, authorization, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn write_chunk(stream: &mut TcpStream, line: &str) {
    write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1).unwrap();
}
