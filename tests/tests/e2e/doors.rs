//! The doors of a host under whatever can be put before them: the drop directory full of traps, and
//! requests on the operators' sockets that are no requests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use miosa_tests::Endpoint;
use miosa_tests::lone::LoneHost;
use miosa_tests::program::eventually;
use miosa_tests::publisher::Publisher;
use tempfile::TempDir;

#[test]
fn a_drop_directory_full_of_traps_gives_the_one_update_in_it_and_nothing_else_is_touched() {
    let mut door = Door::open();
    let outside = door.host.path("outside");
    fs::create_dir(&outside).unwrap();
    let update = door.publisher.full(1);
    fs::write(outside.join("update"), &update).unwrap();
    door.set_traps(&outside);
    let traps = door.names();

    door.put(OsStr::new("zz-update"), &update);
    eventually("the update is served", || (door.host.status()["version"] == 1).then_some(()));
    eventually("it is gone", || (!door.path("zz-update").exists()).then_some(()));
    assert_eq!(door.names(), traps, "what is no file of its own stays where it is");
    assert_eq!(fs::read(outside.join("update")).unwrap(), update);
    assert_eq!(fs::metadata(outside.join("huge")).unwrap().len(), HUGE);
    let status = door.host.status();
    assert_eq!(status["drop"]["left_count"], traps.len());
    assert_eq!(status["doors"]["drop"]["accepted"], 1);
    assert_eq!(status["refused"], serde_json::json!({}));
    let log = door.host.log();
    for reason in ["symbolic_link", "hard_link", "fifo", "socket", "device", "directory"] {
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{reason}");
    }
    assert_eq!(log.matches("file=\"trap-fifo\"").count(), 1, "each is told once");

    // A restart finds the same and stays up.
    door.host.stop();
    door.host.start();
    assert_eq!(door.host.standing().version, Some(1));
    eventually("all are seen again", || {
        (door.host.status()["drop"]["left_count"] == traps.len()).then_some(())
    });
}

#[test]
fn files_that_are_no_updates_are_refused_by_name_and_cost_no_memory() {
    let mut door = Door::open();
    let before = door.resident_kib();
    for (name, size) in [("terabyte", 1 << 40), ("one-too-many", MAX_ENVELOPE + 1), ("zeros", MAX_ENVELOPE)] {
        // Sparse: it takes no room on the disk.
        File::create_new(door.path(name)).unwrap().set_len(size).unwrap();
    }
    let update = door.publisher.full(1);
    for (name, bytes) in [
        (&b"half"[..], &update[..update.len() / 2]),
        (b"\xff\xfe not text", b"{}"),
        (b"line\nbreak \x1b[31m", b"[1,2,3]"),
        (b"-rf", b""),
        (b" ", b"{\"payloadType\":\"text/plain\"}"),
        (b"..double", b"hidden, as its name begins with a dot"),
        (b"$(reboot)", &update[1..]),
        (&[b'x'; 255], b"\0"),
    ] {
        fs::write(door.path_of(OsStr::from_bytes(name)), bytes).unwrap();
    }
    eventually("all but the hidden one are dealt with", || (door.names() == ["..double"]).then_some(()));
    let status = door.host.status();
    assert_eq!(status["refused"]["oversize"], 2);
    assert_eq!(status["refused"]["malformed_envelope"], 8);
    assert_eq!(status["ready"], false);
    let log = door.host.log();
    assert!(!log.contains('\x1b') && log.contains("line\\\\nbreak"), "a name writes no log line: {log}");
    assert!(log.contains("check=\"E1\"") && log.contains("check=\"E2\""));
    let grown = door.peak_kib().saturating_sub(before);
    assert!(grown < 3 * MAX_ENVELOPE / 1024, "grew by {grown} KiB");
    door.put(OsStr::new("update"), &update);
    eventually("an update is still taken", || (door.host.status()["version"] == 1).then_some(()));
}

#[test]
fn ten_thousand_files_are_dealt_with_while_every_socket_answers() {
    let mut door = Door::open();
    let one = door.publisher.full(1);
    door.put(OsStr::new("0-first"), &one);
    eventually("the first is served", || (door.host.status()["version"] == 1).then_some(()));
    door.host.stop();
    for number in 0..10_000 {
        let bytes: &[u8] = if number % 2 == 0 { b"{}" } else { &one };
        fs::write(door.path(&format!("{number:05}")), bytes).unwrap();
    }
    door.put(OsStr::new("z-second"), &door.publisher.full(2));
    door.host.start();
    let mut answered = 0;
    eventually("all are dealt with", || {
        assert_eq!(door.host.resolve("sbx-1").status, 200);
        answered += 1;
        door.names().is_empty().then_some(())
    });
    assert!(answered > 1);
    eventually("the last is served", || (door.host.status()["version"] == 2).then_some(()));
    let status = door.host.status();
    assert_eq!(status["doors"]["drop"]["accepted"].as_u64().unwrap(), 5_001);
    assert_eq!(status["refused"]["malformed_envelope"], 5_000);
}

#[test]
fn an_update_that_is_written_in_small_pieces_is_taken_once_it_is_whole() {
    let door = Door::open();
    let update = door.publisher.full_of_size(1, 100_000);
    let mut file = File::create_new(door.path("slowly")).unwrap();
    for piece in update.chunks(10_000) {
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
        let status = door.host.status();
        assert_eq!(status["refused"], serde_json::json!({}), "half a file is no refusal");
    }
    drop(file);
    eventually("it is served", || (door.host.status()["version"] == 1).then_some(()));
}

#[test]
fn requests_that_could_be_read_in_two_ways_get_one_refusal_and_nothing_after_them_is_read() {
    let mut door = Door::open();
    door.host.push(&door.publisher.full(1)).unwrap();
    let update = door.publisher.full(2);
    let smuggled = [
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", update.len()).as_bytes(),
        &update,
    ]
    .concat();
    let length = smuggled.len();
    let heads = [
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n"),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n"),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT http://other/v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nVia: 1.1 y\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "PUT /v1/updates HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(100_000)),
        format!("PUT /{} HTTP/1.1\r\nHost: x\r\n\r\n", "v".repeat(100_000)),
        format!("PUT /v1/updates HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(2_000)),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned(),
    ];
    for socket in ["run/intake.sock", "run/admin.sock"] {
        let endpoint = Endpoint::Unix(door.host.path(socket));
        for head in &heads {
            let answer = endpoint.exchange(&[head.as_bytes(), &smuggled].concat()).unwrap_or_default();
            let text = String::from_utf8_lossy(&answer);
            let shown: String = head.chars().take(120).collect();
            assert!(
                text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.0 4"),
                "{socket} {shown}: {text}"
            );
            assert_eq!(
                text.matches("\r\ncontent-length: ").count(),
                usize::from(!text.is_empty()),
                "{shown}: {text}"
            );
        }
        assert_eq!(door.host.standing().version, Some(1), "nothing was smuggled in by {socket}");
    }
    // The same bytes alone are a good request.
    let answer = Endpoint::Unix(door.host.path("run/intake.sock"));
    let whole = String::from_utf8_lossy(&smuggled[..smuggled.len() - update.len()])
        .replace("Host: x", "Host: x\r\nConnection: close");
    let answer = answer.exchange(&[whole.as_bytes(), &update].concat()).unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"));
    assert_eq!(door.host.standing().version, Some(2));
    assert!(door.host.serve().is_running());
}

#[test]
fn thousands_of_half_requests_on_one_socket_leave_the_others_answering() {
    let door = Door::open();
    door.host.push(&door.publisher.full(1)).unwrap();
    let halves: [(&str, &[u8]); 3] = [
        ("run/admin.sock", b"GET /v1/status HTTP/1.1\r\nHo"),
        ("run/intake.sock", b"PUT /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"),
        ("run/resources/sbx-1/miosa.sock", b"GET /v1/res"),
    ];
    for (socket, half) in halves {
        let mut opened = 0;
        for _wave in 0..8 {
            // As many as are served and wait in the kernel's queue; another would only wait to connect.
            let wave: Vec<_> = (0..150).map(|_| half_request(&door.host.path(socket), half)).collect();
            opened += wave.len();
            assert_eq!(door.host.resolve("sbx-2").status, 200, "{socket}");
            if socket != "run/admin.sock" {
                assert_eq!(door.host.ask("/healthz").status, 200, "{socket}");
            }
            if socket != "run/intake.sock" {
                let position = Endpoint::Unix(door.host.path("run/intake.sock"));
                assert_eq!(
                    position.request("GET", "/v1/position", &[], b"").unwrap().status,
                    200,
                    "{socket}"
                );
            }
        }
        assert_eq!(opened, 1_200);
        // Those who hang up make room: the socket itself answers again.
        eventually("the flooded socket answers", || {
            let endpoint = Endpoint::Unix(door.host.path(socket));
            endpoint.request("GET", "/", &[], b"").ok().filter(|answer| answer.status == 404)
        });
    }
    assert_eq!(door.host.standing().version, Some(1));
}

/// Sends the beginning of a request and holds on.
fn half_request(socket: &Path, half: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    // The other side may have closed it already.
    let _sent = stream.write_all(half);
    stream
}

/// A host with an open drop directory.
struct Door {
    host: LoneHost,
    publisher: Publisher,
    // Last, so that it is there until the daemon has ended.
    _folder: TempDir,
}

impl Door {
    fn open() -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-doors-").tempdir().unwrap();
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(folder.path(), &mut publisher);
        host.start();
        eventually("the drop directory is watched", || {
            (host.status()["drop"]["state"] == "watched").then_some(())
        });
        Self { host, publisher, _folder: folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path_of(OsStr::new(name))
    }

    fn path_of(&self, name: &OsStr) -> PathBuf {
        self.host.state("drop").join(name)
    }

    /// As the documentation says.
    fn put(&self, name: &OsStr, bytes: &[u8]) {
        let unfinished = self.path(".unfinished");
        fs::write(&unfinished, bytes).unwrap();
        fs::rename(unfinished, self.path_of(name)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.host.state("drop")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn set_traps(&self, outside: &Path) {
        let huge = outside.join("huge");
        File::create_new(&huge).unwrap().set_len(HUGE).unwrap();
        fs::hard_link(&huge, self.path("trap-hard")).unwrap();
        fs::hard_link(outside.join("update"), self.path("trap-hard-update")).unwrap();
        symlink(outside.join("update"), self.path("trap-link")).unwrap();
        symlink("/etc/passwd", self.path("trap-passwd")).unwrap();
        symlink("trap-self", self.path("trap-self")).unwrap();
        symlink("/nowhere", self.path("trap-dangling")).unwrap();
        symlink(outside, self.path("trap-folder-link")).unwrap();
        symlink("/dev/zero", self.path("trap-zero-link")).unwrap();
        symlink("/proc/self/fd/0", self.path("trap-proc")).unwrap();
        fs::create_dir(self.path("trap-folder")).unwrap();
        fs::write(self.path("trap-folder").join("update"), b"{}").unwrap();
        drop(UnixListener::bind(self.path("trap-socket")).unwrap());
        nix::unistd::mkfifo(&self.path("trap-fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600))
            .unwrap();
        for (name, minor) in [("trap-null", "3"), ("trap-zero", "5"), ("trap-full", "7")] {
            let made = Command::new("mknod").arg(self.path(name)).args(["c", "1", minor]).status().unwrap();
            // Only root makes devices; whoever else runs this has none to fear.
            assert!(made.success() || !nix::unistd::geteuid().is_root());
        }
        if !self.path("trap-null").exists() {
            symlink("/dev/null", self.path("trap-device")).unwrap();
        }
    }

    fn resident_kib(&mut self) -> u64 {
        self.memory("VmRSS:")
    }

    fn peak_kib(&mut self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&mut self, field: &str) -> u64 {
        let mut text = String::new();
        let pid = self.host.serve().pid();
        File::open(format!("/proc/{pid}/status")).unwrap().read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

const MAX_ENVELOPE: u64 = 16 * 1024 * 1024;
const HUGE: u64 = 1 << 40;
