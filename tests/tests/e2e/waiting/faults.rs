//! The ways not to get an answer, each with what has to be told of it. Every answer that could hold a value
//! holds the same one, which no line may show.

use std::any::Any;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use miosa_tests::StandIn;
use miosa_tests::stand_in::{answer, hear, refusal, resolution, resolved, say, wait_for_the_end};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use serde_json::json;

/// What keeps a fault up while the shim meets it.
pub type Held = Box<dyn Any>;

/// One way.
pub struct Fault {
    /// What it is.
    pub name: String,
    /// Makes it so, at this socket.
    pub arrange: Box<dyn Fn(&Path) -> Held + Send + Sync>,
    /// Whether patience may mend it.
    pub lasts: Lasts,
    /// What the line says.
    says: String,
}

/// How long the shim bears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// It is waited for.
    AllTheWait,
    /// No time would mend it.
    NotAtAll,
}

use Lasts::{AllTheWait, NotAtAll};

impl Fault {
    /// Holds a line against what has to be said: what went wrong, where, and no value.
    #[track_caller]
    pub fn is_told_by(&self, line: &str, socket: &Path) {
        let Self { name, says, .. } = self;
        assert!(line.contains(says.as_str()), "{name}: {line}");
        let place = [socket.display().to_string(), "miosad answers".to_owned()];
        assert!(place.iter().any(|place| line.contains(place)), "{name}, and not where: {line}");
        assert!(!line.contains(SECRET), "{name} shows a value: {line}");
    }
}

/// All of them.
pub fn faults() -> Vec<Fault> {
    [no_daemon(), refusals(), interrupted(), not_http(), not_a_resolution()].into_iter().flatten().collect()
}

fn no_daemon() -> Vec<Fault> {
    vec![
        fault("no socket", AllTheWait, "no socket at ", |_| Box::new(())),
        fault("nobody listens", AllTheWait, "nothing listens on ", |socket| {
            drop(UnixListener::bind(socket).expect("listen"));
            Box::new(())
        }),
        fault("the queue is full", AllTheWait, "too busy to take a connection", |socket| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let listener =
                socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("socket");
            socket::bind(listener.as_raw_fd(), &UnixAddr::new(socket).expect("address")).expect("bind");
            socket::listen(&listener, Backlog::new(0).expect("a backlog")).expect("listen");
            // A queue of no length holds one, which nobody ever takes out.
            Box::new((UnixStream::connect(socket).expect("connect"), listener))
        }),
    ]
}

fn refusals() -> Vec<Fault> {
    let refusals = [
        (404, "resource_not_found", "no resource sbx-1 on this host", AllTheWait),
        (404, "run_not_found", "no run run_1 on this resource", AllTheWait),
        (429, "too_many_requests", "one at a time", AllTheWait),
        (503, "not_ready", "no verified snapshot yet", AllTheWait),
        (503, "snapshot_expired", "the snapshot is too old to serve", AllTheWait),
        (503, "signer_revoked", "a full update is needed", AllTheWait),
        (400, "bad_request", "not like this", NotAtAll),
        (404, "not_found", "no such path", NotAtAll),
        (409, "profile_not_found", "profile arp_1 is gone", NotAtAll),
        (409, "profile_not_applicable", "profile arp_1 is not for a sandbox", NotAtAll),
        (413, "env_too_large", "the variable BIG is 140000 bytes, at most 131071", NotAtAll),
        (500, "internal", "something broke", NotAtAll),
    ];
    let mut faults: Vec<Fault> = refusals
        .into_iter()
        .map(|(status, code, message, lasts)| {
            said(code, lasts, &format!("miosad answers {code}: {message}"), refusal(status, code, message))
        })
        .collect();
    let bare = "without a reason; is it really miosad that listens there?";
    for (status, body) in
        [(404, ""), (503, "<html>hunter2-hunter2</html>"), (302, "{}"), (204, "{\"error\":1}")]
    {
        let name = format!("{status} without a reason");
        faults.push(said(&name, NotAtAll, &format!("HTTP {status} {bare}"), answer(status, body.as_bytes())));
    }
    faults
}

fn interrupted() -> Vec<Fault> {
    let whole = resolved(json!({"env": {"KEY": SECRET}}));
    let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let silence = "did not answer in time";
    let cut = "before its answer was complete";
    let stops_after = |length: usize| {
        let bytes = whole[..length].to_vec();
        move |connection: &mut UnixStream| {
            say(connection, &bytes);
            wait_for_the_end(connection);
        }
    };
    let drips = |from: usize| {
        let bytes = whole.clone();
        move |connection: &mut UnixStream| {
            say(connection, &bytes[..from]);
            let mut rest = bytes[from..].chunks(1);
            while rest.next().is_some_and(|byte| connection.write_all(byte).is_ok()) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    vec![
        fault("silence after accept", AllTheWait, silence, |socket| {
            Box::new(StandIn::accepting(socket, |_, connection| wait_for_the_end(connection)))
        }),
        does("silence after the request", AllTheWait, silence, stops_after(0)),
        does("silence in the head", AllTheWait, silence, stops_after(head / 2)),
        does("silence after the head", AllTheWait, silence, stops_after(head)),
        does("silence before the last byte", AllTheWait, silence, stops_after(whole.len() - 1)),
        does("a dripping head", AllTheWait, silence, drips(0)),
        does("a dripping body", AllTheWait, silence, drips(head)),
        fault("closed with the request unread", AllTheWait, cut, |socket| {
            Box::new(StandIn::accepting(socket, |_, _| ()))
        }),
        said("closed after the request", AllTheWait, cut, Vec::new()),
        said("closed in the head", AllTheWait, cut, whole[..head / 2].to_vec()),
        said("closed after the head", AllTheWait, cut, whole[..head].to_vec()),
        said("closed before the last byte", AllTheWait, cut, whole[..whole.len() - 1].to_vec()),
    ]
}

fn not_http() -> Vec<Fault> {
    let body = resolution(json!({"env": {"KEY": SECRET}})).to_string();
    let length = body.len();
    let with = |head: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes();
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
    let both = format!("transfer-encoding: chunked\r\ncontent-length: {length}");
    let twice = format!("content-length: {length}\r\ncontent-length: {length}");
    let continued = [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), resolved(json!({}))].concat();
    [
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("noise", vec![0xff; 4096]),
        ("the body alone", body.clone().into_bytes()),
        ("no length", with("x: y")),
        ("a length that is no number", with("content-length: hunter2-hunter2")),
        ("a negative length", with("content-length: -1")),
        ("a length of 10 GiB", with("content-length: 10737418240")),
        ("a length beyond all numbers", with(&format!("content-length: {}", "9".repeat(40)))),
        ("two lengths", with(&twice)),
        ("pieces", chunked.into_bytes()),
        ("pieces and a length", with(&both)),
        ("a head without end", format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(1_000_000)).into_bytes()),
        ("too many headers", with(&"a: b\r\n".repeat(1000))),
        ("a header over two lines", with(&format!("x: y\r\n z\r\ncontent-length: {length}"))),
        ("an answer before the answer", continued),
    ]
    .into_iter()
    .map(|(name, bytes)| said(name, NotAtAll, "not one of miosad", bytes))
    .collect()
}

fn not_a_resolution() -> Vec<Fault> {
    let good = resolution(json!({"env": {"KEY": SECRET}})).to_string();
    let of = |more| resolution(more).to_string();
    let twice_in_env = format!("\"env\":{{\"A\":\"{SECRET}\",\"A\":\"{SECRET}\"}}");
    let mut bodies: Vec<(&str, Vec<u8>)> = [
        ("nothing", String::new()),
        ("words", format!("all is well {SECRET}")),
        ("an empty object", "{}".to_owned()),
        ("a string", format!("\"{SECRET}\"")),
        ("a list", format!("[\"{SECRET}\"]")),
        ("null", "null".to_owned()),
        ("a mark of the byte order", format!("\u{feff}{good}")),
        ("more behind it", format!("{good}{good}")),
        ("depth", "[".repeat(100_000)),
        ("a member twice", good.replacen('{', &format!("{{\"env\":{{\"KEY\":\"{SECRET}\"}},"), 1)),
        ("a variable twice", of(json!({})).replace("\"env\":{}", &twice_in_env)),
        ("an environment of another kind", of(json!({"env": [SECRET]}))),
        ("a value of another kind", of(json!({"env": {"KEY": [SECRET]}}))),
        ("a value that is null", of(json!({"env": {"KEY": null}}))),
        ("a value with a NUL", of(json!({"env": {"KEY": format!("{SECRET}\0")}}))),
        ("a name with a sign of equality", of(json!({"env": {"A=B": SECRET}}))),
        ("no name", of(json!({"env": {"": SECRET}}))),
        ("a command of another kind", of(json!({"command": SECRET}))),
        ("a directory of another kind", of(json!({"cwd": {"path": SECRET}}))),
        ("a version of another kind", of(json!({"snapshot_version": SECRET}))),
        ("a version out of range", of(json!({"snapshot_version": -1}))),
        ("half a surrogate", good.replace(SECRET, &format!("\\ud800{SECRET}"))),
    ]
    .into_iter()
    .map(|(name, body)| (name, body.into_bytes()))
    .collect();
    bodies.push((
        "what is not UTF-8",
        good.replace(SECRET, "\u{1}")
            .into_bytes()
            .into_iter()
            .map(|byte| if byte == 1 { 0xff } else { byte })
            .collect(),
    ));
    let mut faults: Vec<Fault> = bodies
        .into_iter()
        .map(|(name, body)| said(name, NotAtAll, "the answer of miosad", answer(200, &body)))
        .collect();
    // What is cut within its own length was meant so.
    let short = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len() - 1);
    faults.push(said("a length that is too short", NotAtAll, "the answer of miosad", short.into_bytes()));
    faults
}

fn fault(
    name: &str,
    lasts: Lasts,
    says: &str,
    arrange: impl Fn(&Path) -> Held + Send + Sync + 'static,
) -> Fault {
    Fault { name: name.to_owned(), arrange: Box::new(arrange), lasts, says: says.to_owned() }
}

/// A daemon that says this to everybody, and hangs up.
fn said(name: &str, lasts: Lasts, says: &str, bytes: Vec<u8>) -> Fault {
    fault(name, lasts, says, move |socket| Box::new(StandIn::saying(socket, bytes.clone())))
}

/// A daemon that does this once it has read a request.
fn does(
    name: &str,
    lasts: Lasts,
    says: &str,
    turn: impl Fn(&mut UnixStream) + Clone + Send + Sync + 'static,
) -> Fault {
    fault(name, lasts, says, move |socket| {
        let turn = turn.clone();
        Box::new(StandIn::accepting(socket, move |_, connection| {
            hear(connection);
            turn(connection);
        }))
    })
}

/// A value that nothing may show.
pub const SECRET: &str = "hunter2-hunter2";
