//! Other settings for programs that run: they take effect on what comes after, disturb nothing that is
//! open, and a mistake in them changes nothing but what operators are told.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use miosa_tests::program::{command, eventually};
use miosa_tests::world::Address;
use miosa_tests::{Endpoint, Host, LoneHost, Publisher, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn limits_hold_for_who_comes_later_and_drop_nobody() {
    let host = Serving::with("[limits]\nidle_seconds = 3600\nresource_connections = 1\n");
    let mut first = host.connect();
    assert_eq!(first.ask(), 200);
    let mut second = host.connect();
    second.send();
    assert!(second.waits(), "there is room for one");

    host.replace("[limits]\nidle_seconds = 3600\nresource_connections = 2\n");
    assert_eq!(second.answer(), 200, "a place was made");
    assert_eq!(first.ask(), 200);

    host.replace("[limits]\nidle_seconds = 3600\nresource_connections = 1\n");
    host.await_log("configuration_reloaded", 2);
    assert_eq!((first.ask(), second.ask()), (200, 200), "who is there stays");
    let mut third = host.connect();
    third.send();
    assert!(third.waits());
    drop(first);
    assert!(third.waits(), "one is open still");
    drop(second);
    assert_eq!(third.answer(), 200);

    // The times hold for who is there too, and begin with the change.
    assert_eq!(third.ask(), 200);
    host.replace("[limits]\nidle_seconds = 1\nresource_connections = 1\n");
    assert!(third.is_ended());
}

#[test]
fn a_larger_head_is_taken_on_new_connections() {
    let host = Serving::with("");
    assert!(!host.takes_a_large_head());
    host.replace(LARGE_HEADS);
    host.await_large_heads(true);
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_until_it_is_mended() {
    let host = Serving::with(LARGE_HEADS);
    assert_eq!(host.configuration()["state"], "in_force");
    for (text, place, line_and_key) in [
        (
            "[limits]\nheader_bytes = 8192\nidle_seconds = 0\n",
            "line 3, key limits.idle_seconds: it takes whole seconds from 1 to 3600, not 0",
            "line=3 key=\"limits.idle_seconds\"",
        ),
        (
            "\n[limits]\nheader_bites = 8192\n",
            "line 3, key limits.header_bites: there is no such key; did you mean limits.header_bytes?",
            "line=3 key=\"limits.header_bites\"",
        ),
        ("[limits\nheader_bytes = 8192\n", "line 1: it is not TOML: ", "line=1"),
    ] {
        host.replace(text);
        host.await_state("refused");
        let said = eventually("the reason", || {
            host.configuration()["problem"].as_str().filter(|said| said.contains(place)).map(str::to_owned)
        });
        assert!(said.contains(&*host.file.to_string_lossy()), "{said}");
        let log = host.host.log();
        let line = log.lines().rfind(|line| line.contains("configuration_refused")).unwrap();
        assert!(line.contains(line_and_key) && line.contains("reason="), "{line}");
    }
    assert!(host.takes_a_large_head(), "what was in force is");
    assert_eq!(host.host.status()["alarms"]["configuration_refused"], 3, "{}", host.host.status());
    let shown = String::from_utf8(host.host.run(&["status"]).stdout).unwrap();
    let expected = format!("older than {}, which is refused: ", host.file.display());
    assert!(shown.contains(&expected), "{shown}");

    host.replace(LARGE_HEADS);
    host.await_state("in_force");
    assert_eq!(host.configuration()["problem"], Value::Null);
    let shown = String::from_utf8(host.host.run(&["status"]).stdout).unwrap();
    assert!(!shown.contains("older than"), "{shown}");
}

#[test]
fn a_file_is_taken_however_it_is_replaced() {
    let host = Serving::with("");
    // In place.
    fs::write(&host.file, LARGE_HEADS).unwrap();
    host.await_large_heads(true);
    // As an editor does: the former one is moved away, then another is put there.
    let moved_away = host.folder.path().join("miosad.toml~");
    fs::rename(&host.file, &moved_away).unwrap();
    fs::write(&host.file, "").unwrap();
    host.await_large_heads(false);
    // As another one does.
    host.replace(LARGE_HEADS);
    host.await_large_heads(true);
    // As a ConfigMap is mounted: the link stays, and what it leads through is swapped.
    for (folder, text) in [("..1", "# none\n"), ("..2", LARGE_HEADS)] {
        fs::create_dir(host.file.with_file_name(folder)).unwrap();
        fs::write(host.file.with_file_name(folder).join("miosad.toml"), text).unwrap();
    }
    let swap = |target: &str| {
        symlink(target, host.file.with_file_name("..new")).unwrap();
        fs::rename(host.file.with_file_name("..new"), host.file.with_file_name("..data")).unwrap();
    };
    swap("..1");
    symlink("..data/miosad.toml", host.file.with_file_name("link")).unwrap();
    fs::rename(host.file.with_file_name("link"), &host.file).unwrap();
    host.await_large_heads(false);
    swap("..2");
    host.await_large_heads(true);
    // One that was named and is gone is a mistake, not a wish for the defaults.
    fs::remove_file(&host.file).unwrap();
    host.await_state("refused");
    assert!(host.takes_a_large_head());
    fs::write(&host.file, "").unwrap();
    host.await_large_heads(false);
    host.await_state("in_force");
    // And with its whole folder, which the kernel does not tell of.
    fs::rename(host.file.parent().unwrap(), host.folder.path().join("gone")).unwrap();
    host.await_state("refused");
    fs::create_dir(host.file.parent().unwrap()).unwrap();
    fs::write(&host.file, LARGE_HEADS).unwrap();
    host.await_large_heads(true);
    host.await_state("in_force");
}

#[test]
fn what_takes_a_restart_is_told_and_the_rest_is_taken() {
    let host = Serving::with("");
    host.replace(&format!("log_format = \"json\"\nstate_dir = \"/nowhere\"\n{LARGE_HEADS}"));
    host.await_large_heads(true);
    host.await_state("needs_restart");
    assert_eq!(host.configuration()["needs_restart"], json!(["log_format"]), "the variable wins");
    assert!(host.host.log().contains("configuration_needs_restart"), "{}", host.host.log());
    host.replace(LARGE_HEADS);
    host.await_state("in_force");
}

#[test]
fn the_log_is_as_talkative_as_the_file_says_at_once() {
    let host = Serving::with("log_level = \"error\"");
    host.replace("[limits]\nidle_seconds = 9\n");
    host.await_log("configuration_reloaded", 1);
    let log = host.host.log();
    assert!(log.contains("changed=\"log_level,limits.idle_seconds\""), "{log}");
    assert!(!log.contains("event=\"started\""), "{log}");
    host.replace(&format!("log_level = \"error\"\n{LARGE_HEADS}"));
    host.await_large_heads(true);
    assert_eq!(host.host.log().matches("event=\"configuration_reloaded\"").count(), 1, "no error");
}

#[test]
fn sighup_reads_the_file_and_says_so_when_nothing_changed() {
    let mut host = Serving::with("");
    host.host.serve().signal(Signal::SIGHUP);
    host.await_log("configuration_unchanged", 1);
    host.replace("x = 1");
    host.await_log("configuration_refused", 1);
    host.host.serve().signal(Signal::SIGHUP);
    host.await_log("configuration_refused", 2);
    assert_eq!(host.host.status()["alarms"]["configuration_refused"], 2);
}

#[test]
fn a_storm_of_sighups_disturbs_nobody() {
    let mut host = Serving::with("");
    let mut open = host.connect();
    for round in 0..2_000 {
        host.host.serve().signal(Signal::SIGHUP);
        if round % 10 == 0 {
            assert_eq!(open.ask(), 200);
            assert_eq!(host.host.resolve("sbx-1").status, 200);
        }
    }
    host.replace(LARGE_HEADS);
    host.host.serve().signal(Signal::SIGHUP);
    host.await_large_heads(true);
    assert!(host.host.serve().is_running());
    host.host.stop();
}

#[test]
fn the_service_manager_is_told_of_a_reload_and_of_its_end() {
    let folder = tempfile::Builder::new().prefix("miosa-reload-").tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut host = Serving::enrolled(folder, "");
    let mut serve = host.command();
    serve.env("NOTIFY_SOCKET", host.folder.path().join("notify"));
    host.host.start_as(serve);
    let await_word = |word: &str| {
        let mut bytes = [0; 4096];
        loop {
            let length = manager.recv(&mut bytes).unwrap();
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if said.lines().any(|line| line == word) {
                return said;
            }
        }
    };
    await_word("READY=1");
    for text in ["x = 1", ""] {
        host.replace(text);
        host.host.serve().signal(Signal::SIGHUP);
        assert!(await_word("RELOADING=1").contains("MONOTONIC_USEC="));
        await_word("READY=1");
    }
}

#[test]
fn a_start_with_many_updates_to_take_up_tells_the_service_manager_that_it_goes_on() {
    let folder = tempfile::Builder::new().prefix("miosa-reload-").tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut host = Serving::enrolled(folder, "");
    host.host.start_as(host.command());
    let mut last = host.publisher.full(1);
    assert_eq!(host.host.push(&last).unwrap().status, 200);
    for version in 2..=40 {
        last = host.publisher.incremental(version, &last);
        assert_eq!(host.host.push(&last).unwrap().status, 200);
    }
    host.host.stop();
    let mut serve = host.command();
    serve.env("NOTIFY_SOCKET", host.folder.path().join("notify"));
    host.host.start_as(serve);
    let mut said = String::new();
    while !said.contains("READY=1") {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).unwrap();
        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert!(said.contains("EXTEND_TIMEOUT_USEC=60000000\n"), "{said}");
}

#[test]
fn a_trust_document_that_is_dropped_in_is_in_force_without_a_restart() {
    let mut host = Serving::with("");
    let pid = host.host.serve().pid();
    let drop_in = |name: &str, bytes: &[u8]| {
        let hidden = host.host.state("drop").join(format!(".{name}"));
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, host.host.state("drop").join(name)).unwrap();
    };
    drop_in("trust", &host.publisher.trust(2));
    eventually("the trust document is followed", || (host.host.status()["trust_version"] == 2).then_some(()));
    drop_in("update", &host.publisher.full(2));
    eventually("an update under it is served", || (host.host.status()["version"] == 2).then_some(()));
    assert_eq!(host.host.serve().pid(), pid);
    assert!(host.host.serve().is_running());
}

#[test]
fn check_config_says_what_serve_and_link_would_take_and_touches_nothing() {
    let folder = tempfile::Builder::new().prefix("miosa-reload-").tempdir().unwrap();
    let file = folder.path().join("miosad.toml");
    let path = |name: &str| folder.path().join(name);
    for program in ["serve", "link"] {
        let check = || -> Output {
            let mut check = command("miosad");
            check.env("MIOSAD_STATE_DIR", path("state")).env("MIOSAD_RUNTIME_DIR", path("run"));
            check.args([program, "--check-config", "--config"]).arg(&file).output().unwrap()
        };
        fs::write(&file, LARGE_HEADS).unwrap();
        let good = check();
        assert_eq!(String::from_utf8_lossy(&good.stdout), format!("configuration ok: {}\n", file.display()));
        assert!(good.status.success() && good.stderr.is_empty(), "{good:?}");
        fs::write(&file, "[link]\n\nline_seconds = 0\n").unwrap();
        let bad = check();
        let expected = format!(
            "miosad: cannot use {} line 3, key link.line_seconds: it takes whole seconds from 1 to 3600, not 0\n",
            file.display()
        );
        assert_eq!(String::from_utf8_lossy(&bad.stderr), expected);
        assert!(bad.stdout.is_empty() && bad.status.code() == Some(78), "{bad:?}");
        fs::remove_file(&file).unwrap();
        let missing = check();
        assert_eq!(missing.status.code(), Some(78), "{missing:?}");
        assert!(!path("state").exists() && !path("run").exists());
    }
}

#[test]
fn a_link_takes_other_settings_and_another_enrollment_while_it_runs() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let url = world.url();
    let mut host = world.host_at("h1", &Address { url: &url, ca: None, config: "" });
    host.place(&tenant, "sbx-1", json!({}));
    let config = world.path("h1.toml");
    fs::write(&config, "[link]\nretry_seconds = 1\n").unwrap();
    await_link(&mut host, "changed=\"link.retry_seconds\"", 1);
    fs::write(&config, "[link]\nretry_seconds = 0\n").unwrap();
    await_link(&mut host, "line=2 key=\"link.retry_seconds\"", 1);
    tenant.set("A", "1", json!({}));
    host.await_env("sbx-1", "A", Some("1"));
    assert_eq!(links(&mut host), 1, "the stream went on");

    // What can't be used is left alone.
    let link_file = host.state_dir().join("link.json");
    let enrolled = fs::read_to_string(&link_file).unwrap();
    fs::write(&link_file, enrolled.replace("http://", "gopher://")).unwrap();
    host.link().signal(Signal::SIGHUP);
    await_link(&mut host, "enrollment_refused", 1);
    // What is another place is gone to.
    fs::write(&link_file, enrolled.replace("127.0.0.1", "localhost")).unwrap();
    for _ in 0..100 {
        host.link().signal(Signal::SIGHUP);
    }
    await_link(&mut host, "enrollment_changed", 1);
    eventually("the link is up again", || (links(&mut host) == 2).then_some(()));
    tenant.set("B", "2", json!({}));
    host.await_env("sbx-1", "B", Some("2"));
    // While it waits for a control plane that does not know it, too.
    let stranger = serde_json::from_str::<Value>(&enrolled).unwrap()["token"].as_str().unwrap().to_owned();
    fs::write(&link_file, enrolled.replace(&stranger, "mht_nobody")).unwrap();
    host.link().signal(Signal::SIGHUP);
    await_link(&mut host, "the control plane answered 401", 1);
    fs::write(&link_file, &enrolled).unwrap();
    host.link().signal(Signal::SIGHUP);
    eventually("the link is up once more", || (links(&mut host) == 3).then_some(()));
    assert!(host.link().is_running());
}

fn await_link(host: &mut Host<'_>, words: &str, times: usize) {
    eventually(words, || (host.link().output().matches(words).count() >= times).then_some(()));
}

fn links(host: &mut Host<'_>) -> usize {
    host.link().output().matches("\"link_up\"").count()
}

/// A host that serves version 1, with a configuration file in a folder of its own.
struct Serving {
    host: LoneHost,
    publisher: Publisher,
    file: PathBuf,
    // Last, so that it is there until the daemon has ended.
    folder: TempDir,
}

impl Serving {
    fn with(text: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-reload-").tempdir().unwrap();
        let mut serving = Self::enrolled(folder, text);
        serving.host.start_as(serving.command());
        assert_eq!(serving.host.push(&serving.publisher.full(1)).unwrap().status, 200);
        serving
    }

    fn enrolled(folder: TempDir, text: &str) -> Self {
        let mut publisher = Publisher::new("host_1");
        let host = LoneHost::enroll(folder.path(), &mut publisher);
        fs::create_dir(folder.path().join("etc")).unwrap();
        let file = folder.path().join("etc/miosad.toml");
        fs::write(&file, text).unwrap();
        Self { host, publisher, file, folder }
    }

    fn command(&self) -> std::process::Command {
        let mut command = self.host.command(&["serve"]);
        command.env("MIOSAD_CONFIG", &self.file);
        command
    }

    /// As a careful editor does.
    fn replace(&self, text: &str) {
        let beside = self.file.with_file_name(".miosad.toml.new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, &self.file).unwrap();
    }

    fn configuration(&self) -> Value {
        self.host.status()["configuration"].clone()
    }

    fn await_state(&self, state: &str) {
        eventually(&format!("the configuration is {state}"), || {
            (self.configuration()["state"] == state).then_some(())
        });
    }

    fn await_log(&self, event: &str, times: usize) {
        let event = format!("event=\"{event}\"");
        eventually(&event, || (self.host.log().matches(&event).count() >= times).then_some(()));
    }

    fn await_large_heads(&self, taken: bool) {
        eventually(&format!("large heads are taken: {taken}"), || {
            (self.takes_a_large_head() == taken).then_some(())
        });
    }

    fn takes_a_large_head(&self) -> bool {
        let long = "x".repeat(16_000);
        let answer = self.socket().request("GET", "/v1/resolve", &[("X-Long", &long)], b"");
        // Who is refused while sending may see the connection break.
        answer.is_ok_and(|answer| answer.status == 200)
    }

    fn socket(&self) -> Endpoint {
        Endpoint::Unix(self.host.path("run/resources/sbx-1/miosa.sock"))
    }

    fn connect(&self) -> Open {
        let stream = UnixStream::connect(self.host.path("run/resources/sbx-1/miosa.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Open(stream)
    }
}

/// A connection that is kept open.
struct Open(UnixStream);

impl Open {
    fn ask(&mut self) -> u16 {
        self.send();
        self.answer()
    }

    fn send(&mut self) {
        self.0.write_all(b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }

    /// Reads one whole answer; its status.
    fn answer(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let (_, rest) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; rest.split("\r\n").next().unwrap().parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Whether nothing comes for a moment.
    fn waits(&mut self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let read = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for the other side to close.
    fn is_ended(&mut self) -> bool {
        self.0.read(&mut [0]).is_ok_and(|length| length == 0)
    }
}

const LARGE_HEADS: &str = "[limits]\nheader_bytes = 32768\n";
const PATIENCE: Duration = Duration::from_secs(60);
