//! What one sandbox does to its socket, no other sandbox notices. How little in time is measured by
//! `make bench-neighbours`; here it is counted.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use miosa_tests::flood::{Flood, REQUEST};
use miosa_tests::program::eventually;
use miosa_tests::{LoneHost, Publisher};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn who_asks_one_thing_is_answered_before_eight_that_ask_hundreds() {
    let neighbours = Neighbours::serving("");
    let mut victim = neighbours.connect(VICTIM);
    // Asked and answered once, so that all are let in.
    assert_eq!(ask(&mut victim), 200);
    let mut crowds: Vec<UnixStream> = Vec::new();
    for attacker in ATTACKERS {
        for _ in 0..4 {
            let mut stream = neighbours.connect(attacker);
            assert_eq!(ask(&mut stream), 200);
            crowds.push(stream);
        }
    }
    let trace = neighbours.path("writes");
    let daemon = Pid::from_raw(neighbours.host.pid());
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
    for round in 1..=5 {
        // All that is asked is there before the daemon sees any of it, the victim's request last.
        kill(daemon, Signal::SIGSTOP).unwrap();
        eventually("the daemon is stopped", || {
            let stops = read(&trace).matches("--- stopped by SIGSTOP ---").count();
            (stops == round).then_some(())
        });
        for stream in &mut crowds {
            stream.set_nonblocking(true).unwrap();
            while stream.read(&mut [0; 64 * 1024]).is_ok() {}
            let _as_much_as_fits = stream.write(&REQUEST.repeat(100));
        }
        victim.write_all(REQUEST).unwrap();
        kill(daemon, Signal::SIGCONT).unwrap();
        assert_eq!(read_status(&mut victim), 200);
    }
    eventually("what the flood asked is answered", || {
        for stream in &mut crowds {
            while stream.read(&mut [0; 64 * 1024]).is_ok() {}
        }
        (read(&trace).matches("HTTP/1.1 200").count() > 500).then_some(())
    });
    kill(Pid::from_raw(i32::try_from(strace.id()).unwrap()), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();

    let trace = read(&trace);
    let rounds: Vec<&str> = trace.split("--- stopped by SIGSTOP ---").skip(1).collect();
    assert_eq!(rounds.len(), 5, "{trace}");
    for round in rounds {
        let mut answers = round.lines().filter(|line| line.contains("HTTP/1.1 200"));
        let before = answers.position(|line| line.contains(VICTIM)).expect("an answer to the victim");
        assert!(before <= ATTACKERS.len() * FEW + 1, "{before} answers went before:\n{round}");
    }
}

#[test]
fn under_every_flood_the_ninth_and_the_operators_are_answered() {
    let neighbours = Neighbours::serving("[limits]\nidle_seconds = 1\nwrite_seconds = 1\n");
    for flood in Flood::ALL {
        thread::scope(|scope| {
            for attacker in ATTACKERS {
                let socket = neighbours.socket(attacker);
                scope.spawn(move || flood.run(&socket, Duration::from_millis(800)));
            }
            let mut kept = neighbours.connect(VICTIM);
            for _ in 0..20 {
                assert_eq!(ask(&mut kept), 200, "{}", flood.name());
                assert_eq!(neighbours.host.resolve(VICTIM).status, 200, "{}", flood.name());
            }
            assert_eq!(neighbours.host.ask("/v1/status").status, 200, "{}", flood.name());
        });
    }
    // Whoever flooded is served again too.
    for attacker in ATTACKERS {
        assert_eq!(neighbours.host.resolve(attacker).status, 200, "{attacker}");
    }
}

#[test]
fn a_flood_of_the_admin_socket_takes_no_answer_from_a_resource() {
    let neighbours = Neighbours::serving("");
    let admin = neighbours.host.path("run/admin.sock");
    thread::scope(|scope| {
        for flood in [Flood::Connections, Flood::SlowHeads, Flood::Wrong, Flood::Pipelined] {
            let admin = &admin;
            scope.spawn(move || flood.run(admin, Duration::from_secs(1)));
        }
        let mut kept = neighbours.connect(VICTIM);
        for _ in 0..100 {
            assert_eq!(ask(&mut kept), 200);
        }
    });
    assert_eq!(neighbours.host.ask("/v1/status").status, 200);
}

#[test]
fn who_reads_no_answer_and_who_never_ends_a_head_is_let_go() {
    let neighbours = Neighbours::serving("[limits]\nidle_seconds = 1\nwrite_seconds = 1\n");
    let mut unread = neighbours.connect("atk-1");
    let mut slow = neighbours.connect("atk-2");
    unread.set_nonblocking(true).unwrap();
    slow.set_nonblocking(true).unwrap();
    eventually("a connection whose answers are not read is closed", || {
        match unread.write(&REQUEST.repeat(100)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_closed) => Some(()),
            Ok(_) => None,
        }
    });
    eventually("a connection whose head never ends is closed", || slow.write(b"x").is_err().then_some(()));
    assert_eq!(neighbours.host.resolve("atk-1").status, 200);
    assert_eq!(neighbours.host.resolve("atk-2").status, 200);
}

#[test]
fn a_full_backlog_is_full_for_its_own_socket_only() {
    let neighbours = Neighbours::serving("[limits]\nresource_connections = 4\n");
    let crowded = neighbours.socket("atk-1");
    let mut open = Vec::new();
    let refused = eventually("no more connections fit", || {
        let flags = nix::sys::socket::SockFlag::SOCK_NONBLOCK;
        let kind = nix::sys::socket::SockType::Stream;
        let family = nix::sys::socket::AddressFamily::Unix;
        let descriptor = nix::sys::socket::socket(family, kind, flags, None).unwrap();
        let address = nix::sys::socket::UnixAddr::new(&crowded).unwrap();
        let connected = nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&descriptor), &address);
        open.push(descriptor);
        connected.err()
    });
    assert_eq!(refused, nix::errno::Errno::EAGAIN);
    for resource in [VICTIM, "atk-2", "atk-8"] {
        assert_eq!(neighbours.host.resolve(resource).status, 200, "{resource}");
    }
    drop(open);
    assert_eq!(neighbours.host.resolve("atk-1").status, 200);
}

#[test]
fn without_descriptors_all_who_are_served_stay_served_and_nothing_spins() {
    let neighbours = Neighbours::limited_to(80, "");
    let mut kept = neighbours.connect(VICTIM);
    assert_eq!(ask(&mut kept), 200);
    // Far more than there are descriptors; most of them wait in their backlogs.
    let mut idle: Vec<UnixStream> = Vec::new();
    for attacker in ATTACKERS {
        idle.extend((0..60).map(|_| neighbours.connect(attacker)));
    }
    eventually("the places are taken", || {
        let alarms = neighbours.host.status()["alarms"].to_string();
        alarms.contains("accept_exhausted").then_some(())
    });
    let (begun, ticks) = (Instant::now(), neighbours.cpu_ticks());
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(ask(&mut kept), 200, "an open connection");
        assert_eq!(neighbours.host.ask("/healthz").status, 200, "the admin socket");
        thread::sleep(Duration::from_millis(100));
    }
    drop(kept);
    assert_eq!(neighbours.host.resolve(VICTIM).status, 200, "a new connection to a socket that has a place");
    let spent = neighbours.cpu_ticks() - ticks;
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap() / 10;
    assert!(spent * 100 < elapsed * 15, "{spent} of {elapsed} ticks were spent on waiting");
    drop(idle);
    for resource in ATTACKERS {
        assert_eq!(neighbours.host.resolve(resource).status, 200, "{resource}");
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", neighbours.host.pid())).unwrap().count();
    assert!(descriptors < 80, "{descriptors}");
}

/// A host with nine resources.
struct Neighbours {
    host: LoneHost,
    _folder: tempfile::TempDir,
}

impl Neighbours {
    /// With this configuration.
    fn serving(config: &str) -> Self {
        Self::limited_to(4_096, config)
    }

    /// With so many descriptors at most.
    fn limited_to(descriptors: usize, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(folder.path(), &mut publisher);
        let file = folder.path().join("miosad.toml");
        std::fs::write(&file, config).unwrap();
        let serve = host.command(&["serve", "--config"]);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={descriptors}:{descriptors}")).arg(serve.get_program());
        limited.args(serve.get_args()).arg(&file);
        host.equip(&mut limited);
        host.start_as(limited);
        let update = publisher.full_on(1, &[&[VICTIM], &ATTACKERS[..]].concat());
        assert_eq!(host.push(&update).unwrap().status, 200);
        Self { host, _folder: folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.path(name)
    }

    fn socket(&self, resource: &str) -> PathBuf {
        self.path("run/resources").join(resource).join("miosa.sock")
    }

    fn connect(&self, resource: &str) -> UnixStream {
        let stream = UnixStream::connect(self.socket(resource)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The processor time of the daemon so far, in hundredths of a second.
    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.host.pid())).unwrap();
        // The name in it may hold anything, but ends with the last parenthesis; `proc(5)`.
        let fields = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

/// Asks on a connection that stays open; the status of the answer.
fn ask(stream: &mut UnixStream) -> u16 {
    stream.write_all(REQUEST).unwrap();
    read_status(stream)
}

/// Reads one answer to its end.
fn read_status(stream: &mut UnixStream) -> u16 {
    let (mut answer, mut filled) = (vec![0; 64 * 1024], 0);
    loop {
        let count = stream.read(&mut answer[filled..]).unwrap();
        assert!(count > 0, "the connection ended");
        filled += count;
        let text = String::from_utf8_lossy(&answer[..filled]).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse::<usize>().unwrap() {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

const VICTIM: &str = "sbx-victim";
const ATTACKERS: [&str; 8] = ["atk-1", "atk-2", "atk-3", "atk-4", "atk-5", "atk-6", "atk-7", "atk-8"];

/// How many pieces of work a socket may do before it has to take turns.
const FEW: usize = 2;

const PATIENCE: Duration = Duration::from_secs(60);
