//! Listeners that outlive the daemon: a service manager keeps them, and the next process takes back
//! those that are what they should be, and no other.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use miosa_tests::lone::copy;
use miosa_tests::program::{binary, eventually};
use miosa_tests::publisher::version_of;
use miosa_tests::{LoneHost, Publisher};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::foreign::python;

#[test]
fn who_connects_while_the_daemon_is_down_waits_and_is_answered() {
    let managed = Managed::new(&[("acme", "sbx-1"), ("acme", "sbx-2")]);
    let sockets = [managed.socket("sbx-1"), managed.socket("sbx-2"), managed.host.path("run/admin.sock")];
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGABRT] {
        let files = sockets.each_ref().map(|socket| file(socket));
        managed.end(signal);
        let waiting = sockets.each_ref().map(|socket| Waiting::on(socket));
        let intake = Waiting::at(&managed.host.path("run/intake.sock"), "/v1/position");
        managed.release();
        for waiting in waiting {
            assert!(waiting.answer().starts_with("HTTP/1.1 "), "after {signal}");
        }
        assert!(intake.answer().contains("\"version\":1"), "after {signal}");
        assert_eq!(sockets.each_ref().map(|socket| file(socket)), files, "{signal}: no socket was made anew");
        assert_eq!(version_of(&managed.host.resolve("sbx-1").json()), 1);
    }
}

#[test]
fn each_listener_is_kept_under_eight_characters_until_its_resource_goes() {
    let managed = Managed::new(&[("acme", "sbx-1"), ("acme", "sbx-2")]);
    let before = managed.kept(4);
    assert!(before.iter().all(|name| name.len() == 8), "{before:?}");
    managed.publish(2, &[("acme", "sbx-2"), ("acme", "sbx-3")]);
    let after = eventually("the store follows", || {
        let kept = managed.store();
        (kept.len() == 4 && kept != before).then_some(kept)
    });
    assert_eq!(after.iter().filter(|name| before.contains(name)).count(), 3);
    assert!(managed.notices().contains(&format!(
        "FDSTOREREMOVE=1\nFDNAME={}\n",
        before.iter().find(|name| !after.contains(name)).unwrap()
    )));
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let managed = Managed::new(&[("acme", "sbx-1")]);
    eventually("it is told", || managed.notices().contains("READY=1\nSTATUS=").then_some(()));
    let told = || managed.notices().contains("STATUS=epoch 1, version 1, resources: 1");
    managed.end(Signal::SIGTERM);
    assert!(managed.notices().contains("STOPPING=1\n"));
    managed.release();
    eventually("the status is told at the next start", || told().then_some(()));
}

#[test]
fn what_the_daemon_never_handed_over_is_closed_and_not_served() {
    let managed = Managed::new(&[("acme", "sbx-1"), ("acme", "sbx-2")]);
    let before = managed.kept(4);
    let elsewhere = |name: &str| managed.host.path(name);
    managed.end(Signal::SIGKILL);
    let good = before.last().unwrap();
    fs::write(
        managed.host.path("plant.json"),
        json!([
            {"name": "somename", "unix": elsewhere("somename.sock")},
            {"name": good, "unix": elsewhere("twice.sock")},
            {"name": "", "unix": elsewhere("unnamed.sock")},
            {"name": "tcp", "tcp": true},
            {"name": "pipe", "pipe": true},
        ])
        .to_string(),
    )
    .unwrap();
    managed.restart();
    for resource in ["sbx-1", "sbx-2"] {
        assert_eq!(version_of(&managed.host.resolve(resource).json()), 1, "{resource}");
    }
    // One of two under one name can't be told from the other, so that socket was made anew.
    let after = eventually("the store is tidy", || {
        let kept = managed.store();
        (kept.len() == 4 && !kept.contains(good)).then_some(kept)
    });
    assert_eq!(after.iter().filter(|name| before.contains(name)).count(), 3);
    for planted in ["somename.sock", "twice.sock", "unnamed.sock"] {
        assert!(UnixStream::connect(elsewhere(planted)).is_err(), "{planted} is closed");
    }
}

#[test]
fn a_socket_that_was_replaced_while_the_daemon_was_down_is_not_taken_for_it() {
    let managed = Managed::new(&[("acme", "sbx-1")]);
    let before = managed.kept(3);
    managed.end(Signal::SIGKILL);
    let socket = managed.socket("sbx-1");
    fs::remove_file(&socket).unwrap();
    let planted = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    managed.restart();
    assert_eq!(version_of(&managed.host.resolve("sbx-1").json()), 1);
    drop(planted);
    eventually("the former one is let go", || {
        let kept = managed.store();
        (kept.len() == 3 && before.iter().filter(|name| !kept.contains(name)).count() == 1).then_some(())
    });
}

/// Killed between taking in a state that gives an id to another tenant and closing the socket of the
/// former one, the next process finds the former's socket, directory and waiting clients.
#[test]
fn what_the_former_tenant_of_an_id_holds_never_leads_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later");
    let managed = Managed::in_folder(folder, &[("acme", "sbx-1")]);
    // The same host, one update further.
    let image = managed.host.path("image");
    copy(&managed.host.state(""), &image);
    let mut ahead = LoneHost::at(&later);
    fs::create_dir(&later).unwrap();
    ahead.put_state(&image);
    ahead.start();
    assert_eq!(ahead.push(&managed.publisher.full_for(2, &[("rival", "sbx-1")])).unwrap().status, 200);
    ahead.kill();

    let home = managed.socket("sbx-1").parent().unwrap().to_owned();
    let mounted = fs::File::open(&home).unwrap();
    managed.end(Signal::SIGKILL);
    let waiting = Waiting::on(&managed.socket("sbx-1"));
    managed.host.put_state(&ahead.state(""));
    managed.restart();
    assert_eq!(version_of(&managed.host.resolve("sbx-1").json()), 2);
    assert_eq!(waiting.answer(), "", "whoever waited on the former socket is told nothing");
    assert_ne!(mounted.metadata().unwrap().ino(), fs::metadata(&home).unwrap().ino());
    let through_the_mount = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mounted));
    assert!(fs::read_dir(through_the_mount).map_or(0, Iterator::count) == 0, "the mount shows nothing");
}

#[test]
fn beyond_what_there_is_room_for_sockets_are_made_anew_and_an_alarm_says_so() {
    let resources = [("acme", "sbx-1"), ("acme", "sbx-2"), ("acme", "sbx-3")];
    let managed = Managed::with_room(4, &resources);
    managed.kept(4);
    assert_eq!(managed.host.status()["alarms"]["listeners_not_kept"], 1);
    let files = resources.map(|(_, id)| file(&managed.socket(id)));
    managed.end(Signal::SIGKILL);
    managed.restart();
    for (_, id) in resources {
        assert_eq!(managed.host.resolve(id).status, 200);
    }
    let again = resources.map(|(_, id)| file(&managed.socket(id)));
    assert_eq!(
        files.iter().filter(|file| again.contains(file)).count(),
        2,
        "two were kept, one was made anew"
    );
    // Once there is room, what had none is kept.
    managed.publish(2, &[("acme", "sbx-2"), ("acme", "sbx-3")]);
    let files = ["sbx-2", "sbx-3"].map(|id| file(&managed.socket(id)));
    managed.kept(4);
    managed.end(Signal::SIGKILL);
    managed.restart();
    assert_eq!(["sbx-2", "sbx-3"].map(|id| file(&managed.socket(id))), files);
}

/// A host whose daemon is run by a service manager that keeps descriptors.
struct Managed {
    host: LoneHost,
    publisher: Publisher,
    _folder: tempfile::TempDir,
}

impl Managed {
    fn new(resources: &[(&str, &str)]) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), resources)
    }

    fn in_folder(folder: tempfile::TempDir, resources: &[(&str, &str)]) -> Self {
        Self::start(folder, 4_096, resources)
    }

    fn with_room(room: usize, resources: &[(&str, &str)]) -> Self {
        Self::start(tempfile::tempdir().unwrap(), room, resources)
    }

    fn start(folder: tempfile::TempDir, room: usize, resources: &[(&str, &str)]) -> Self {
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(&folder.path().join("host"), &mut publisher);
        let mut manager = Command::new(python());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/service_manager.py");
        manager.arg("-B").arg(script).arg(host.path("")).arg(binary("miosad")).arg("serve");
        manager.env("FDSTORE", room.to_string());
        host.equip(&mut manager);
        host.start_as(manager);
        let managed = Self { host, publisher, _folder: folder };
        managed.publish(1, resources);
        managed
    }

    fn publish(&self, version: u64, resources: &[(&str, &str)]) {
        let answer = self.host.push(&self.publisher.full_for(version, resources)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
    }

    fn socket(&self, resource: &str) -> PathBuf {
        self.host.path("run/resources").join(resource).join("miosa.sock")
    }

    /// Ends the daemon, and has the next one wait.
    fn end(&self, signal: Signal) {
        // What was just made is on its way to the service manager.
        let resources = fs::read_dir(self.host.path("run/resources")).unwrap().count();
        eventually("all is kept", || (self.store().len() >= self.room().min(resources + 2)).then_some(()));
        fs::write(self.host.path("hold"), "").unwrap();
        kill(Pid::from_raw(self.pid().unwrap()), signal).unwrap();
        eventually("it ends", || (self.pid() == Some(0)).then_some(()));
    }

    fn room(&self) -> usize {
        let log = self.host.status();
        log["listeners"]["room"].as_u64().unwrap().try_into().unwrap()
    }

    fn release(&self) {
        fs::remove_file(self.host.path("hold")).unwrap();
    }

    /// Has the next one start, and waits until it answers.
    fn restart(&self) {
        self.release();
        let _waits = self.host.status();
    }

    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.host.path("pid")).ok()?.trim().parse().ok()
    }

    fn store(&self) -> Vec<String> {
        let store: Value = serde_json::from_slice(&fs::read(self.host.path("store.json")).unwrap()).unwrap();
        serde_json::from_value(store).unwrap()
    }

    /// The names in the store once there are so many.
    fn kept(&self, count: usize) -> Vec<String> {
        eventually("so many are kept", || Some(self.store()).filter(|kept| kept.len() == count))
    }

    fn notices(&self) -> String {
        fs::read_to_string(self.host.path("notices")).unwrap_or_default()
    }
}

/// A client that has sent its request and waits.
struct Waiting(UnixStream);

impl Waiting {
    fn on(socket: &Path) -> Self {
        let is_admin = socket.ends_with("admin.sock");
        Self::at(socket, if is_admin { "/v1/status" } else { "/v1/resolve" })
    }

    fn at(socket: &Path, target: &str) -> Self {
        let mut stream = UnixStream::connect(socket).expect("a listener that waits");
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        Self(stream)
    }

    /// The answer; nothing: it was closed or reset.
    fn answer(mut self) -> String {
        let mut answer = Vec::new();
        let _reset = self.0.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}

/// Which file it is: its number, and when it was made, since some file systems give a number again at
/// once.
fn file(path: &Path) -> (u64, i64, i64) {
    let file = fs::symlink_metadata(path).unwrap();
    (file.ino(), file.mtime(), file.mtime_nsec())
}
