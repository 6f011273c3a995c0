//! The access log: who resolved what, by names. It costs records at most, never an answer, and it stays
//! small whatever a client does.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use miosa_tests::lone::LoneHost;
use miosa_tests::program::eventually;
use miosa_tests::{Endpoint, Publisher, SmallDisk, Trials};
use serde_json::{Value, json};

/// A host that serves version 1 and writes its log every second.
fn serving(trials: &Trials) -> (LoneHost, Publisher) {
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    start(&mut host);
    assert_eq!(host.push(&publisher.full(1)).unwrap().status, 200);
    (host, publisher)
}

fn start(host: &mut LoneHost) {
    host.start_as(command(host));
}

fn command(host: &LoneHost) -> Command {
    let config = host.path("miosad.toml");
    fs::write(&config, "[access_log]\nflush_seconds = 1\nmegabytes = 1\n").unwrap();
    host.command(&["serve", "--config", config.to_str().unwrap()])
}

fn ask(host: &LoneHost, resource: &str, target: &str) -> u16 {
    let socket = Endpoint::Unix(host.path("run/resources").join(resource).join("miosa.sock"));
    socket.request("GET", target, &[], b"").unwrap().status
}

fn report(host: &LoneHost, args: &[&str]) -> Value {
    let output = host.run(&[&["access", "--json"], args].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The version and count of each record of the first sandbox.
fn told(host: &LoneHost) -> Vec<(u64, u64)> {
    let records = report(host, &["sbx-1", "--since", "1h"])["records"].clone();
    let count = |value: &Value| value.as_u64().unwrap();
    let pair = |record: &Value| (count(&record["version"]), count(&record["asked"]));
    records.as_array().unwrap().iter().map(pair).collect()
}

fn newest_file(host: &LoneHost) -> String {
    fs::read_to_string(host.state("access/access.jsonl")).unwrap_or_default()
}

#[test]
fn a_content_asked_for_a_thousand_times_is_one_record_and_another_content_is_another() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    for _ in 0..1_000 {
        assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    }
    // A daemon that stops waits a second at most for a disk that may be slower.
    eventually("all are counted on the disk", || (told(&host) == [(1, 1_000)]).then_some(()));
    host.stop();
    let records = report(&host, &["sbx-1"])["records"].clone();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    let record = &records[0];
    assert_eq!([&record["asked"], &record["version"], &record["epoch"]], [1_000, 1, 1]);
    assert_eq!(
        [&record["resource"], &record["tenant"], &record["run"]],
        [&json!("sbx-1"), &json!("acme"), &Value::Null]
    );
    let (pid, uid, gid) = (std::process::id(), nix::unistd::getuid(), nix::unistd::getgid());
    assert_eq!(record["peers"], json!([{"pid": pid, "uid": uid.as_raw(), "gid": gid.as_raw()}]));
    let of_tenant =
        record["sources"].as_array().unwrap().iter().find(|source| source["names"] == json!(["OF_TENANT"]));
    assert_eq!(of_tenant.unwrap()["layer"], "tenant/all", "{record}");

    start(&mut host);
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    // A restart begins no other record.
    eventually("one more is counted", || (told(&host) == [(1, 1_001)]).then_some(()));
    assert_eq!(host.push(&publisher.full(2)).unwrap().status, 200);
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    eventually("another content is another record", || (told(&host) == [(1, 1_001), (2, 1)]).then_some(()));
    host.stop();
    assert_eq!(told(&host), [(1, 1_001), (2, 1)]);
    assert_eq!(report(&host, &["sbx-2"])["records"], json!([]));
    assert_eq!(report(&host, &["--since", "2100-01-01T00:00:00Z"])["records"], json!([]));
    let table = String::from_utf8(host.run(&["access"]).stdout).unwrap();
    assert!(table.starts_with("LAST") && table.contains(&format!("pid {pid} uid {uid}")), "{table}");
    let mode = fs::metadata(host.state("access/access.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    assert!(host.run(&["unenroll"]).status.success());
    assert!(!host.state("access").exists());
}

#[test]
fn a_flood_of_runs_that_are_not_there_is_one_record_with_a_count() {
    let trials = Trials::new();
    let (mut host, _publisher) = serving(&trials);
    for number in 0..1_500 {
        assert_eq!(ask(&host, "sbx-1", &format!("/v1/resolve?run=run_of_nobody_{number}")), 404);
    }
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve?resource=sbx-2"), 400);
    host.stop();
    let records = report(&host, &[])["records"].clone();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    assert_eq!(records[0]["refused"], json!({"run_not_found": 1_500, "bad_request": 1}));
    assert_eq!(records[0]["content"], Value::Null);
    let written = newest_file(&host);
    assert!(!written.contains("nobody"), "what a client makes up is not kept: {written}");
    assert!(written.len() < 10_000, "{} bytes", written.len());
}

#[test]
fn what_was_written_survives_a_kill_and_a_torn_line_costs_itself_only() {
    let trials = Trials::new();
    let (mut host, _publisher) = serving(&trials);
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    eventually("the record is written", || newest_file(&host).contains("sbx-1").then_some(()));
    host.kill();
    let mut file = fs::OpenOptions::new().append(true).open(host.state("access/access.jsonl")).unwrap();
    file.write_all(br#"{"record":"torn-1","first":"20"#).unwrap();
    start(&mut host);
    assert_eq!(ask(&host, "sbx-2", "/v1/resolve"), 200);
    host.stop();
    let report = report(&host, &[]);
    let told: Vec<_> =
        report["records"].as_array().unwrap().iter().map(|record| &record["resource"]).collect();
    assert_eq!((told, &report["unreadable_lines"]), (vec![&json!("sbx-1"), &json!("sbx-2")], &json!(1)));
}

#[test]
fn the_files_take_no_more_of_the_disk_than_they_may_and_the_newest_records_stay() {
    let trials = Trials::new();
    let (mut host, publisher) = serving(&trials);
    let ids: Vec<String> = (0..150).map(|number| format!("sbx-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for version in 2..5 {
        assert_eq!(host.push(&publisher.full_on(version, &ids)).unwrap().status, 200);
        for id in &ids {
            assert_eq!(ask(&host, id, "/v1/resolve"), 200);
        }
    }
    host.stop();
    let files: Vec<_> = fs::read_dir(host.state("access")).unwrap().map(|entry| entry.unwrap()).collect();
    let mut names: Vec<_> = files.iter().map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["access.1.jsonl", "access.2.jsonl", "access.jsonl", "key"]);
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((600_000..1_048_700).contains(&bytes), "{bytes} bytes");
    let report = report(&host, &[ids[149]]);
    assert_eq!(report["records"].as_array().unwrap().last().unwrap()["version"], 4);
}

#[test]
fn a_full_disk_costs_no_answer_and_one_alarm_and_the_log_goes_on_when_there_is_room() {
    let trials = Trials::new();
    let (mut host, _publisher) = serving(&trials);
    host.stop();
    let disk = SmallDisk::under(&host, 256);
    host.start_as(disk.inside(&command(&host)));
    let filler = disk.fill();
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    eventually("the alarm", || (host.status()["alarms"]["access_log_failed"] == 1).then_some(()));
    assert_eq!(ask(&host, "sbx-1", "/v1/resolve"), 200);
    fs::remove_file(filler).unwrap();
    let file = disk.path("access/access.jsonl");
    let written =
        eventually("the record", || fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
    let line: Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    assert_eq!((&line["asked"], &host.status()["alarms"]["access_log_failed"]), (&json!(2), &json!(1)));
}

#[test]
fn in_the_journal_every_field_has_its_own_name_and_a_priority() {
    let trials = Trials::new();
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    let path = trials.path("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let command = host.command(&["serve", "--log-format", "journald", "--log-level", "trace"]);
    host.start_as(with_journal(&path, &command));
    let update = publisher.full_of_size(1, 500);
    assert_eq!(host.push(b"{}").unwrap().status, 422);
    assert_eq!(host.push(&update[..update.len() - 9]).unwrap().status, 422);
    assert_eq!(host.push(&update).unwrap().status, 200);
    assert!(
        String::from_utf8_lossy(&host.resolve("sbx-1").body).contains(VALUE),
        "where values are due, they are"
    );
    let mut seen = Vec::new();
    let mut entry = |name: &str| {
        let mut entry = vec![0; 65_536];
        loop {
            let length = journal.recv(&mut entry).unwrap();
            let text = String::from_utf8_lossy(&entry[..length]).into_owned();
            seen.push(text.clone());
            if field(&text, "MIOSA_EVENT") == Some(name) {
                return text;
            }
        }
    };
    let started = entry("started");
    assert_eq!(field(&started, "MIOSA_HOST_ID"), Some("host_1"), "{started}");
    assert_eq!(
        [field(&started, "SYSLOG_IDENTIFIER"), field(&started, "PRIORITY")],
        [Some("miosad"), Some("6")]
    );
    let refused = entry("refused");
    assert_eq!(field(&refused, "PRIORITY"), Some("4"), "{refused}");
    assert_eq!(field(&refused, "MIOSA_DOOR"), Some("socket"), "{refused}");
    host.serve().signal(nix::sys::signal::Signal::SIGTERM);
    entry("stopping");
    assert_eq!(host.log(), "");
    assert!(seen.len() > 4 && seen.iter().all(|entry| !entry.contains(VALUE)), "{seen:?}");
}

/// A part of a value that nothing else looks like.
const VALUE: &str = "..........";

#[test]
fn without_a_journal_it_logs_text_and_says_so() {
    let trials = Trials::new();
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    host.start_as(with_journal(
        Path::new("/dev/null"),
        &host.command(&["serve", "--log-format", "journald"]),
    ));
    let log = host.log();
    assert_eq!(log.matches("no_journal").count(), 1, "{log}");
    assert!(log.contains("started"), "{log}");
}

/// The command where the journal's socket is this one.
fn with_journal(socket: &Path, command: &Command) -> Command {
    let script = r#"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket \
        && mount --bind "$0" /run/systemd/journal/socket && exec "$@""#;
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", script]).arg(socket);
    inside.arg(command.get_program()).args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

/// A field of an entry, in either of the two forms of the journal's protocol.
fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = entry.split('\n');
    while let Some(line) = lines.next() {
        if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
        if line == name {
            // Eight bytes of length stand before the value: short, so that none of them is a newline.
            return lines.next().and_then(|line| line.rsplit('\0').next());
        }
    }
    None
}
