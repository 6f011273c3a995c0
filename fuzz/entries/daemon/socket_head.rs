//! A connection to a resource's socket: any bytes, read by the HTTP that the daemon speaks there.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future as _, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use miosa_injector::model::RunId;

use crate::access::Visitor;
use crate::clock::Clock;
use crate::settings::Limits;
use crate::socket::server::protocol;
use crate::socket::session::{Socket, Sources, Visit};
use crate::socket::stream::{LineEnds, PacedStream};
use crate::socket::vigil::Pace;

/// Whatever is answered was asked for in exactly the way that this API is asked, as a second reader of the
/// same bytes finds; and after a request that is not, nothing more of the connection is read.
pub fn run(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(cut).min(data.len()));
    let answered = answers(first, second);
    let mut rest = data;
    for (position, is_answered) in answered.iter().enumerate() {
        if !is_answered {
            assert_eq!(position + 1, answered.len(), "a request was read after one that was refused");
            break;
        }
        rest = after_request(rest).unwrap_or_else(|why| panic!("{why}: {}", rest.escape_ascii()));
    }
}

/// For each request that the daemon saw, whether it would have been answered.
fn answers(first: &[u8], second: &[u8]) -> Vec<bool> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    // With nothing to answer from, what is asked in order gets 503, and all else its refusal.
    let (current, access, workshop) = Default::default();
    let sources = Sources { current, clock: Clock::System, access, workshop };
    let socket = Socket::new("t1".parse().expect("an id"), "sbx-1".parse().expect("an id"), Arc::default());
    let pace = Arc::<Pace>::default();
    let visit = Arc::new(Visit::new(socket, sources, Visitor::default(), Arc::clone(&pace)));
    let noted = Rc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        // Here and now: hyper gives up what waits once it has read the end.
        let mut answer = pin!(Arc::clone(&visit).answer(request));
        let answer = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(reply) = answer else { panic!("there is nothing to wait for") };
        noted.borrow_mut().push(reply.status() == StatusCode::SERVICE_UNAVAILABLE);
        ready(Ok::<_, Infallible>(reply))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let bytes = tokio::io::AsyncReadExt::chain(first, second);
        let stream = tokio::io::join(bytes, tokio::io::sink());
        let stream = TokioIo::new(PacedStream::new(stream, pace, LineEnds::STRICT));
        // How the connection ends is no concern here.
        drop(protocol(&Limits::default()).serve_connection(stream, service).await);
    });
    seen.take()
}

/// Reads one request as narrowly as the API is meant.
fn after_request(bytes: &[u8]) -> Result<&[u8], &'static str> {
    // RFC 9112, section 2.2: an empty line or two before a request are passed over.
    let mut bytes = bytes;
    while let Some(after) = bytes.strip_prefix(b"\r\n") {
        bytes = after;
    }
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").ok_or("it has no end")?;
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).ok();
    // Values may be any bytes, names may not; and with any bytes there is no doubt of the lines.
    let Some(head) = head else { return Ok(&rest[4..]) };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().ok_or("it has no first line")?.split(' ');
    if (words.next(), words.clone().nth(1), words.clone().count()) != (Some("GET"), Some("HTTP/1.1"), 2) {
        return Err("it is no GET of HTTP/1.1");
    }
    let is_watch = check_target(words.next().unwrap_or_default())?;
    let mut hosts = 0_usize;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header has no name")?;
        let name = name.to_ascii_lowercase();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a header's name is none");
        }
        if line.contains(['\n', '\r']) {
            return Err("a line ends in half of a line end");
        }
        match name.as_str() {
            "host" => hosts += 1,
            "content-length" if value.trim().bytes().all(|byte| byte == b'0') => {}
            "content-length" | "transfer-encoding" => return Err("it announces a body"),
            "if-none-match" if is_watch => return Err("its tag is in the wrong place"),
            "forwarded" | "via" | "origin" | "upgrade" | "expect" => return Err("it was passed on"),
            name if name.starts_with("x-forwarded-") => return Err("it was passed on"),
            _ => {}
        }
    }
    if hosts == 1 { Ok(&rest[4..]) } else { Err("it has not one host") }
}

/// Whether it is a watch.
fn check_target(target: &str) -> Result<bool, &'static str> {
    // hyper drops a fragment, which no client sends (RFC 9112, section 3.2), before anybody sees it.
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let known: &[&str] = match path {
        "/v1/resolve" | "/v1/explain" => &["run"],
        "/v1/watch" => &["run", "etag", "timeout"],
        _ => return Err("it is of another path"),
    };
    let mut given = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) || given.contains(&name) {
            return Err("it has another parameter, or one twice");
        }
        given.push(name);
        let is_fine = match name {
            _ if value.is_empty() => true,
            "run" => value.parse::<RunId>().is_ok(),
            "timeout" => {
                let digits = value.trim_start_matches('0');
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                is_number && (digits.len() < 3 || digits.len() == 3 && digits <= "300")
            }
            _ => true,
        };
        if !is_fine {
            return Err("a parameter has a value that is none");
        }
    }
    Ok(path == "/v1/watch")
}
