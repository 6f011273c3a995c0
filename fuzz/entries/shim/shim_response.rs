//! The answer of the daemon, or of whatever listens in its place: any bytes, then the end of the connection.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use miosa_injector::protocol::ResolveResponse;

use crate::delivery::Deliveries;
use crate::environment::Environment;
use crate::http::{Answer, receive};
use crate::launch;
use crate::options::{Options, Request, parse};

/// An answer is taken if it is whole, of one announced length, and not longer than it may be; what is read
/// of it is exactly its body; and what is started from it can be started.
pub fn run(data: &[u8]) {
    let Ok(Answer { status, etag, body }) = received(data) else { return };
    assert!((0..=999).contains(&status));
    // The parser takes a lone LF for a line's end, and passes over empty lines before the first.
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head = lines.by_ref().skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let names: Vec<_> = head.filter_map(|line| line.split(|byte| *byte == b':').next()).collect();
    let count = |name: &[u8]| names.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
    let lengths = count(b"content-length");
    assert!(lengths == 1 || (status == 304 && lengths == 0 && body.is_empty()));
    assert_eq!(count(b"transfer-encoding"), 0);
    assert!(etag.is_none_or(|tag| tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&')));
    assert!(body.is_empty() || data.windows(body.len()).any(|part| part == body));
    if let Ok(resolution) = serde_json::from_slice(&body) {
        check_start(&resolution);
    }
}

fn check_start(resolution: &ResolveResponse) {
    let options = options();
    if let Ok(words) = launch::command(&options, resolution) {
        assert!(!words.is_empty());
    }
    if let Some(directory) = launch::directory(&options, resolution) {
        assert!(!directory.path.as_os_str().is_empty());
    }
    let environment = Environment::layered(&Vec::new(), &resolution.env, &options, &Deliveries::default())
        .expect("no value has a NUL");
    for (name, _value) in environment.variables() {
        let name = std::str::from_utf8(name).expect("a name is text");
        assert!(resolution.env.keys().any(|known| known.as_str() == name) || name == "MIOSA_SOCKET");
    }
    assert_eq!(environment.get("MIOSA_SOCKET"), Some(b"/s".as_slice()));
}

fn options() -> Options {
    match parse(vec!["miosa-exec".into(), "--socket=/s".into()], &Vec::new()) {
        Ok(Request::Start(options)) => options,
        Ok(Request::Help | Request::Version) | Err(_) => panic!("no start is asked for"),
    }
}

fn received(data: &[u8]) -> Result<Answer, ()> {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let now = Instant::now();
    let deadline = now.checked_add(Duration::from_secs(10)).unwrap_or(now);
    // What fits into the socket's buffer needs no second thread.
    if data.len() <= 64 * 1024 {
        theirs.write_all(data).expect("room for it");
        drop(theirs);
        return receive(ours, deadline).map_err(drop);
    }
    thread::scope(|scope| {
        // Refusing an answer early closes our end while the other one still writes.
        scope.spawn(move || drop(theirs.write_all(data)));
        receive(ours, deadline).map_err(drop)
    })
}
