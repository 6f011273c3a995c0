//! Watching a resource from the control plane's write to the sandbox's end of the socket, and what it costs
//! when very many do. What is asked and answered in detail is tested beside the daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use miosa_tests::flood::REQUEST;
use miosa_tests::memory::kibibytes;
use miosa_tests::program::eventually;
use miosa_tests::{Host, LoneHost, Publisher, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn a_write_wakes_the_watchers_of_what_it_concerns_and_nobody_else() {
    let world = World::start();
    let (acme, other) = (world.tenant("acme"), world.tenant("other"));
    let host = world.host("h1");
    let [first, second] =
        ["first", "second"].map(|value| acme.set("KEY", value, json!({"target": "sandbox"})));
    assert_eq!(first, second);
    host.place(&acme, "sbx-1", json!({}));
    host.place(&acme, "agent-1", json!({"kind": "agent"}));
    host.place(&other, "sbx-2", json!({}));
    let mut watch = watching(&host, "sbx-1", "");
    let mut of_another_kind = watching(&host, "agent-1", "");
    let mut of_another_tenant = watching(&host, "sbx-2", "");
    let version = version(&host);

    acme.set("KEY", "third", json!({"target": "sandbox"}));
    let woken = watch.answer();
    assert_eq!((woken.status, woken.env("KEY")), (200, Some("third".to_owned())));
    assert!(self::version(&host) > version);
    assert_eq!(watches(&host), 2);

    let mut watch = watching(&host, "sbx-1", "");
    let body = json!({"enabled": false});
    assert_eq!(acme.call("PATCH", &format!("runtime-env/{first}"), body).status, 200);
    let woken = watch.answer();
    assert_eq!((woken.status, woken.env("KEY")), (200, None), "a name that goes");

    acme.set("KEY", "for the agent", json!({"target": "agent"}));
    assert_eq!(of_another_kind.answer().env("KEY").as_deref(), Some("for the agent"));
    other.set("KEY", "of the other", json!({}));
    assert_eq!(of_another_tenant.answer().env("KEY").as_deref(), Some("of the other"));
}

#[test]
fn a_runs_own_environment_its_end_and_the_end_of_its_resource_are_told() {
    let world = World::start();
    let acme = world.tenant("acme");
    let host = world.host("h1");
    host.place(&acme, "sbx-1", json!({}));
    let run = host.start_run("sbx-1", json!({"env": {"OWN": "a"}}));
    let mut of_resource = watching(&host, "sbx-1", "");
    let mut watch = watching(&host, "sbx-1", &format!("run={run}&"));
    acme.set("SHARED", "x", json!({"target": "agent"}));
    let woken = watch.answer();
    assert_eq!((woken.env("OWN").as_deref(), woken.env("SHARED").as_deref()), (Some("a"), Some("x")));
    assert_eq!(watches(&host), 1, "the resource itself is no agent");

    let mut watch = watching(&host, "sbx-1", &format!("run={run}&"));
    let gone = world.platform("DELETE", &format!("resources/sbx-1/runs/{run}"), Value::Null);
    assert_eq!(gone.status, 200, "{}", gone.json());
    let told = watch.answer();
    assert_eq!((told.status, told.code()), (404, "run_not_found".to_owned()));

    assert_eq!(world.platform("DELETE", "resources/sbx-1", Value::Null).status, 200);
    assert!(of_resource.is_closed());
    assert_eq!(watches(&host), 0);
}

#[test]
fn what_changes_while_the_daemon_is_away_is_told_to_who_comes_again_and_nothing_else_is() {
    let world = World::start();
    let acme = world.tenant("acme");
    let mut host = world.host("h1");
    acme.set("KEY", "before", json!({}));
    host.place(&acme, "sbx-1", json!({}));
    let held = tag(&host, "sbx-1", "");
    for is_graceful in [true, false] {
        let mut watch = watching(&host, "sbx-1", "");
        if is_graceful {
            host.stop_serve();
        } else {
            host.serve().kill();
        }
        assert!(watch.is_closed());
        host.start_serve();
        assert_eq!(tag(&host, "sbx-1", ""), held, "a restart is no change");
        watching(&host, "sbx-1", "");
        eventually("it hung up", || (watches(&host) == 0).then_some(()));
    }
    let mut watch = watching(&host, "sbx-1", "");
    host.serve().kill();
    assert!(watch.is_closed());
    acme.set("KEY", "after", json!({}));
    host.start_serve();
    // The link brings it in its own time; until then the tag is the one that is held.
    let mut again = Watch::begin(&socket(&host, "sbx-1"), &format!("etag={held}&timeout=300"));
    assert_eq!(again.answer().env("KEY").as_deref(), Some("after"));
}

#[test]
fn a_thousand_watchers_cost_little_and_each_is_told_of_a_change() {
    let many = Many::of(1_000);
    // Each has answered once, so that what an answer costs is there before.
    let before = kibibytes(many.host.pid(), "VmRSS");
    let mut watches = many.watch(1);
    let grown = kibibytes(many.host.pid(), "VmRSS").saturating_sub(before);
    assert!(grown < 32 * 1_024, "{grown} KiB for a thousand");
    for version in 2..=4 {
        assert_eq!(many.host.push(&many.publisher.full_on(version, &many.resources())).unwrap().status, 200);
        for watch in &mut watches {
            let woken = watch.answer();
            assert_eq!((woken.status, &woken.json()["snapshot_version"]), (200, &json!(version)));
            watch.go_on(&format!("timeout=300&etag={}", woken.tag()));
        }
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", many.host.pid())).unwrap().count();
    assert!(threads < 20, "{threads} threads");
    drop(watches);
    eventually("all of them are gone", || (many.watches() == 0).then_some(()));
}

#[test]
fn who_asks_one_thing_is_answered_before_hundreds_of_watchers_that_are_told() {
    let many = Many::of(40);
    let mut victim = UnixStream::connect(many.socket("sbx-0")).unwrap();
    let trace = many.host.path("writes");
    let daemon = Pid::from_raw(many.host.pid());
    let mut strace = Command::new("strace")
        .args(["-yy", "-s", "16", "-e", "trace=write,writev,sendto,sendmsg", "-p", &daemon.to_string(), "-o"])
        .arg(&trace)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the daemon is traced", || {
        let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
        (!status.contains("TracerPid:\t0\n")).then_some(())
    });
    let mut measured = 0;
    for (round, version) in (1..=10).zip(2..) {
        let mut watches = many.watch(16);
        ask(&mut victim);
        let answered = answers(&trace, "miosa.sock").len();
        let update = many.publisher.full_on(version, &many.resources());
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| many.host.push(&update).unwrap().status);
            // Stopped in the middle of telling them.
            eventually("some are told", || (answers(&trace, "miosa.sock").len() > answered).then_some(()));
            kill(daemon, Signal::SIGSTOP).unwrap();
            eventually("the daemon is stopped", || (stops(&trace) == round).then_some(()));
            let before = answers(&trace, "miosa.sock").len();
            victim.write_all(REQUEST).unwrap();
            kill(daemon, Signal::SIGCONT).unwrap();
            read_whole(&mut victim);
            for watch in &mut watches {
                assert_eq!(watch.answer().status, 200);
            }
            assert_eq!(pushing.join().unwrap(), 200);
            eventually("the trace is written", || {
                (answers(&trace, "miosa.sock").len() == answered + 16 * 40 + 1).then_some(())
            });
            let told = answers(&trace, "miosa.sock");
            let at = told[before..].iter().position(|line| line.contains("sbx-0/")).expect("an answer");
            if told.len() - before > 100 {
                measured += 1;
                assert!(at <= 4, "{at} answers went before that of who asked");
            }
        });
        // `sbx-0` is watched by nobody, so that all its answers are the victim's.
        drop(watches);
        eventually("all of them are gone", || (many.watches() == 0).then_some(()));
    }
    kill(Pid::from_raw(i32::try_from(strace.id()).unwrap()), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
    assert!(measured > 0, "it was never stopped in the middle");
}

/// A host with many resources, and one more, `sbx-0`.
struct Many {
    host: LoneHost,
    publisher: Publisher,
    names: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Many {
    fn of(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(folder.path(), &mut publisher);
        host.start();
        let names = (0..=count).map(|number| format!("sbx-{number}")).collect();
        let many = Self { host, publisher, names, _folder: folder };
        assert_eq!(many.host.push(&many.publisher.full_on(1, &many.resources())).unwrap().status, 200);
        for name in many.resources() {
            eventually("it is served", || UnixStream::connect(many.socket(name)).ok());
            assert_eq!(many.host.resolve(name).status, 200);
        }
        many
    }

    fn resources(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    fn socket(&self, resource: &str) -> PathBuf {
        self.host.path("run/resources").join(resource).join("miosa.sock")
    }

    /// So many watchers of each but `sbx-0`, all of whom wait.
    fn watch(&self, of_each: usize) -> Vec<Watch> {
        let mut watches = Vec::new();
        for name in &self.resources()[1..] {
            let tag = self.host.resolve(name).header("etag").unwrap().trim_matches('"').to_owned();
            let query = format!("timeout=300&etag={tag}");
            watches.extend((0..of_each).map(|_| Watch::begin(&self.socket(name), &query)));
        }
        eventually("all of them wait", || (self.watches() == watches.len()).then_some(()));
        watches
    }

    fn watches(&self) -> usize {
        count_of(&self.host.ask("/metrics").body)
    }
}

/// A watch on a connection of its own.
struct Watch(UnixStream);

/// What it was answered.
struct Told {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Watch {
    fn begin(socket: &Path, query: &str) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut watch = Self(stream);
        watch.go_on(query);
        watch
    }

    fn go_on(&mut self, query: &str) {
        self.0.write_all(format!("GET /v1/watch?{query} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Told {
        read_whole(&mut self.0)
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.json()["env"][name].as_str().map(str::to_owned)
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn tag(&self) -> &str {
        self.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim_matches('"')
    }
}

/// A watch of what a resource, or a run on it, is now, once the daemon has it among those who wait.
fn watching(host: &Host<'_>, resource: &str, run: &str) -> Watch {
    let before = watches(host);
    let query = format!("{run}timeout=300&etag={}", tag(host, resource, run));
    let watch = Watch::begin(&socket(host, resource), &query);
    eventually("it waits", || (watches(host) > before).then_some(()));
    watch
}

fn tag(host: &Host<'_>, resource: &str, run: &str) -> String {
    let answer = host.ask(resource, &format!("/v1/resolve?{run}"));
    answer.header("etag").expect("a tag").trim_matches('"').to_owned()
}

fn socket(host: &Host<'_>, resource: &str) -> PathBuf {
    host.resource_dir(resource).join("miosa.sock")
}

fn version(host: &Host<'_>) -> u64 {
    host.status()["version"].as_u64().unwrap()
}

fn watches(host: &Host<'_>) -> usize {
    count_of(&host.admin().request("GET", "/metrics", &[], b"").unwrap().body)
}

fn count_of(page: &[u8]) -> usize {
    let page = std::str::from_utf8(page).unwrap();
    page.lines().find_map(|line| line.strip_prefix("miosad_watches ")).unwrap().parse().unwrap()
}

fn ask(stream: &mut UnixStream) {
    stream.write_all(REQUEST).unwrap();
    assert_eq!(read_whole(stream).status, 200);
}

/// Reads one answer to its end.
fn read_whole(stream: &mut UnixStream) -> Told {
    let mut bytes = Vec::new();
    let end = loop {
        let mut more = [0; 16 * 1024];
        let count = stream.read(&mut more).unwrap();
        assert!(count > 0, "the connection ended after {bytes:?}");
        bytes.extend_from_slice(&more[..count]);
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end..].to_vec();
    let begun = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[begun..]).unwrap();
    Told { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
}

/// The answers that the daemon has written so far, as its trace has them.
fn answers(trace: &Path, to: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned();
    let is_answer = |line: &&str| line.contains("HTTP/1.1 200") && line.contains(to);
    text.lines().filter(is_answer).map(str::to_owned).collect()
}

fn stops(trace: &Path) -> usize {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned();
    text.matches("--- stopped by SIGSTOP ---").count()
}

const PATIENCE: Duration = Duration::from_secs(60);
