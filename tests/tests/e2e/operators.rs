//! What an operator is told at three in the morning: each thing that `miosad doctor` looks at is broken,
//! and its line says so; the metrics and the alert rules are what Prometheus reads.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use miosa_tests::lone::LoneHost;
use miosa_tests::program::{Program, eventually};
use miosa_tests::promtool::promtool;
use miosa_tests::publisher::Publisher;
use miosa_tests::world::World;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn doctor_finds_nothing_wrong_with_a_host_that_is_well() {
    let ward = Ward::admit();
    let (status, lines) = ward.doctor();
    assert_eq!(status, Some(0), "{lines}");
    for check in CHECKS {
        assert!(
            lines.lines().any(|line| line.split_whitespace().nth(1) == check.split(' ').next()),
            "{check}: {lines}"
        );
    }
    let worse: Vec<&str> = lines.lines().filter(|line| !line.starts_with("ok ")).collect();
    // Nobody keeps the listeners of a daemon that no service manager has started.
    assert!(worse.iter().all(|line| line.starts_with("warn    limits ")), "{worse:?}");
    let report = ward.report();
    assert_eq!(
        (&report["well"], &report["failed"], &report["unknown"]),
        (&json!(true), &json!(0), &json!(0))
    );
}

#[test]
fn doctor_names_each_thing_that_is_broken_while_the_daemon_runs() {
    let ward = Ward::admit();
    let host = &ward.host;

    let key = host.state("host.key");
    ward.sick_while(
        || chmod(&key, 0o644),
        &["FAIL    host key       cannot use ", "its mode is 644", "FAIL    state ", "host.key has mode 644"],
    );
    chmod(&key, 0o600);

    ward.sick_while(|| chmod(&host.path("state"), 0o750), &["warn    state ", "chmod 700"]);
    ward.sick_while(
        || chmod(&host.path("state"), 0o770),
        &["FAIL    state ", "others may change what is in it"],
    );
    chmod(&host.path("state"), 0o700);

    ward.sick_while(
        || chmod(&host.path("run/admin.sock"), 0o666),
        &["FAIL    runtime ", "has mode 666, not 660"],
    );
    chmod(&host.path("run/admin.sock"), 0o660);

    let home = host.path("run/resources/sbx-1");
    let socket = home.join("miosa.sock");
    ward.sick_while(|| fs::remove_file(&socket).unwrap(), &["FAIL    sockets        sbx-1: "]);
    ward.sick_while(|| symlink("/run/docker.sock", &socket).unwrap(), &["FAIL    sockets        sbx-1: "]);

    let evidence = host.state("evidence");
    ward.sick_while(
        || write(&evidence.join("update-refused-x.json"), b"{}"),
        &["FAIL    evidence       1 file in ", "treat the signing key as stolen"],
    );
    fs::remove_dir_all(&evidence).unwrap();

    ward.sick_while(
        || write(&host.state("cache/quarantine/old.json"), b"{}"),
        &["warn    cache          1 file in ", ": old.json; did not verify"],
    );
    fs::remove_file(host.state("cache/quarantine/old.json")).unwrap();

    symlink("/nowhere", host.state("drop/trap")).unwrap();
    eventually("it is left over", || (host.status()["drop"]["left_count"] == 1).then_some(()));
    let (_, lines) = ward.doctor();
    assert!(lines.contains("warn    drop           1 entry not taken: trap (symbolic_link)"), "{lines}");
    fs::remove_file(host.state("drop/trap")).unwrap();

    // What was refused has its time in the status.
    assert_eq!(host.push(b"noise").unwrap().status, 422);
    let said = text(&host.run(&["status"]).stdout);
    let refusal = said.lines().find(|line| line.starts_with("last refusal")).unwrap();
    assert!(refusal.contains(" ago, E2 malformed_envelope: ") || refusal.contains("now, E2 "), "{refusal}");
}

#[test]
fn doctor_checks_what_it_can_of_a_host_whose_daemon_is_down() {
    let mut ward = Ward::admit();
    ward.host.stop();
    let (status, lines) = ward.doctor();
    assert_eq!(status, Some(1), "{lines}");
    for line in [
        "FAIL    daemon         not running: nothing listens on ",
        "ok      trust          document version 1 expires ",
        "ok      host key       the key of host_1 ",
        "ok      clock ",
        "unknown sockets ",
        "unknown limits ",
    ] {
        assert!(lines.contains(line), "{line}: {lines}");
    }

    fs::rename(ward.host.state("host.key"), ward.host.path("kept.key")).unwrap();
    ward.sick_while(
        || {},
        &["FAIL    host key ", "is not there, nor a credential", "`miosa-control host rejoin`"],
    );
    fs::rename(ward.host.path("kept.key"), ward.host.state("host.key")).unwrap();

    fs::rename(ward.host.state("trust"), ward.host.path("trust")).unwrap();
    ward.sick_while(
        || fs::create_dir(ward.host.state("trust")).unwrap(),
        &["FAIL    trust ", "no trust document"],
    );

    write(&ward.host.state("host.json"), b"{}");
    ward.sick_while(|| {}, &["FAIL    host key ", "it is damaged; run `miosad unenroll` and enroll again"]);

    fs::rename(ward.host.path("state"), ward.host.path("elsewhere")).unwrap();
    ward.sick_while(|| {}, &["FAIL    state ", "is not there; run `miosad enroll`"]);
}

#[test]
fn doctor_finds_a_resource_that_is_mounted_writable_into_a_sandbox() {
    let ward = Ward::admit();
    let (home, at) = (ward.host.path("run/resources/sbx-1"), ward.host.path("mounted"));
    fs::create_dir(&at).unwrap();
    for (options, line) in [
        ("bind", "FAIL    mounts         sbx-1 is mounted at "),
        ("bind,ro,nosuid,nodev", "warn    mounts         sbx-1 is mounted at "),
        ("bind,ro,nosuid,nodev,noexec", "ok      mounts         1 namespace with a mount "),
    ] {
        let script = format!(
            "mount --bind '{0}' '{1}' && mount -o remount,{options} '{1}' && echo mounted && exec sleep 600",
            home.display(),
            at.display()
        );
        let mut sandbox = Command::new("unshare");
        sandbox.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut sandbox =
            Program::start("a sandbox", sandbox, &ward.host.path(&format!("sandbox.{}", options.len())));
        eventually("it is mounted", || sandbox.output().contains("mounted").then_some(()));
        let (_, lines) = ward.doctor();
        sandbox.kill();
        assert!(lines.contains(line), "{options}: {lines}");
    }
}

#[test]
fn doctor_says_unknown_of_what_only_root_may_see() {
    let ward = Ward::admit();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(ward.folder.path(), everybody).unwrap();
    let mut command = ward.host.command(&["doctor"]);
    let program = ward.folder.path().join("miosad");
    fs::copy(command.get_program(), &program).unwrap();
    let mut as_nobody = Command::new(&program);
    as_nobody.args(command.get_args()).uid(65_534).gid(65_534);
    as_nobody.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_clear();
    let output = as_nobody.output().unwrap();
    let lines = text(&output.stdout);
    for check in ["daemon", "state", "host key", "trust", "sockets", "mounts", "evidence", "cache"] {
        let unknown = format!("unknown {check:<15}");
        assert!(lines.contains(&unknown), "{check}: {lines}");
        assert!(!lines.contains(&format!("ok      {check:<15}")), "{check}: {lines}");
    }
    assert!(lines.contains("run `miosad doctor` as root"), "{lines}");
    assert_eq!(output.status.code(), Some(0), "what is not known is no failure: {lines}");
}

#[test]
fn doctor_reads_a_configuration_that_nothing_else_could() {
    let ward = Ward::admit();
    let config = ward.host.path("bad.toml");
    write(&config, b"[limits]\nidle_seconds = 0\n");
    let output = ward.host.run(&["doctor", "--config", config.to_str().unwrap()]);
    let lines = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{lines}");
    assert!(lines.contains("FAIL    configuration  ") && lines.contains("idle_seconds"), "{lines}");
    assert!(lines.contains("ok      daemon "), "the rest is looked at all the same: {lines}");
    write(&config, b"[limits]\nidle_seconds = 7\n");
    let lines = text(&ward.host.run(&["doctor", "--config", config.to_str().unwrap()]).stdout);
    assert!(
        lines.contains("warn    configuration  ") && lines.contains("limits.idle_seconds is 10 "),
        "{lines}"
    );
}

#[test]
fn doctor_and_status_say_how_the_link_fares() {
    let world = World::start();
    let mut host = world.host("h1");
    host.await_ready();
    let line = |host: &miosa_tests::world::Host<'_>| {
        let lines = text(&host.run(&["doctor"]).stdout);
        lines.lines().find(|line| line.get(8..13) == Some("link ")).unwrap().to_owned()
    };
    eventually("it is connected", || {
        line(&host).starts_with("ok      link           connected").then_some(())
    });
    assert!(text(&host.run(&["status"]).stdout).contains("\nlink          connected\n"));
    world.stop_control();
    eventually("the control plane is missed", || {
        let line = line(&host);
        let told = line.starts_with("FAIL    link ") && line.contains("control_unreachable");
        told.then_some(())
    });
    host.stop_serve();
    host.stop_link();
    host.start_serve();
    assert!(line(&host).contains("the link was not heard since the daemon was started"));
}

#[test]
fn explain_says_at_once_where_a_value_comes_from_and_fits_a_terminal() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let workspace = |target: &str| json!({"scope": "workspace", "workspace_id": "ws", "target": target});
    tenant.set("TOKEN", "sk-ant-0123456789-0123456789-abcd", workspace("sandbox"));
    tenant.set("TOKEN", "sk-old-0123456789-0123456789-wxyz", workspace("all"));
    tenant.set("TOKEN", "off", json!({"enabled": false}));
    host.place(&tenant, "sbx-1", json!({"workspace_id": "ws"}));
    let said = text(&host.run(&["explain", "sbx-1"]).stdout);
    assert!(said.contains("less specific: workspace/all is below workspace/sandbox"), "{said}");
    assert!(said.contains("not tenant/all env_") && said.contains(": disabled"), "{said}");
    assert!(said.contains("sk-ant...abcd") && !said.contains("0123456789"), "{said}");
    assert!(said.lines().skip(5).all(|line| line.chars().count() <= 120), "{said}");
    let json: Value = serde_json::from_slice(&host.run(&["explain", "sbx-1", "--json"]).stdout).unwrap();
    assert_eq!(json["refused"], Value::Null);
    assert_eq!(json["resource_id"], "sbx-1");
}

#[test]
fn prometheus_reads_the_metrics_and_they_count_what_happened() {
    let ward = Ward::admit();
    for _ in 0..3 {
        assert_eq!(ward.host.resolve("sbx-1").status, 200);
    }
    assert_eq!(ward.host.push(b"noise").unwrap().status, 422);
    let page = ward.metrics();
    let checked = fed(promtool(&["check", "metrics"]), page.as_bytes());
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    assert_eq!(text(&checked.stderr) + &text(&checked.stdout), "", "not even a remark");
    for line in [
        "miosad_ready 1",
        "miosad_answers_total{socket=\"resource\",code=\"200\"} 3",
        "miosad_answers_total{socket=\"intake\",code=\"422\"} 1",
        "miosad_answer_duration_seconds_count{outcome=\"whole\"} 3",
        "miosad_answer_duration_seconds_bucket{outcome=\"whole\",le=\"+Inf\"} 3",
        "miosad_refused_total{reason=\"malformed_envelope\"} 1",
        "miosad_accept_failures_total 0",
        "miosad_sockets_failed 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    assert!(!page.contains("sbx-1"), "no resource is ever a label");
}

#[test]
fn each_alert_fires_when_it_should_and_not_when_all_is_well() {
    let rules = root().join("systemd/miosad.alerts.yml");
    let cases = root().join("tests/alerts/miosad.yml");
    for args in [["check", "rules", rules.to_str().unwrap()], ["test", "rules", cases.to_str().unwrap()]] {
        let output = promtool(&args).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    // Each alert has a case in which it fires and one in which it does not.
    let (rules, cases) = (fs::read_to_string(rules).unwrap(), fs::read_to_string(cases).unwrap());
    let documented = monitoring();
    let alerts = names_after(&rules, "- alert: ");
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(cases.contains(&format!("name: {alert} fires")), "{alert}");
        assert!(cases.contains(&format!("name: {alert} stays quiet")), "{alert}");
        assert!(documented.contains(&format!("| `{alert}` |")), "docs/monitoring.md lacks {alert}");
    }
}

#[test]
fn the_documentation_names_every_field_metric_and_check() {
    let ward = Ward::admit();
    let documented = monitoring();
    let lacks = |name: &str| !documented.contains(&format!("`{name}`"));
    let page = ward.metrics();
    let metrics = names_after(&page, "# TYPE ");
    let status = ward.host.status();
    let fields = status.as_object().unwrap().keys().cloned();
    let missing: BTreeSet<String> = metrics.into_iter().chain(fields).filter(|name| lacks(name)).collect();
    assert_eq!(missing, BTreeSet::new(), "docs/monitoring.md lacks them");
    for check in CHECKS {
        assert!(!lacks(check), "docs/monitoring.md lacks {check}");
    }
}

/// A host that holds an update, and who looks after it.
struct Ward {
    host: LoneHost,
    // Last, so that it is there until the daemon has ended.
    folder: TempDir,
}

impl Ward {
    fn admit() -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-ward-").tempdir().unwrap();
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(folder.path(), &mut publisher);
        // As the package makes it.
        chmod(&host.path("state"), 0o700);
        host.start();
        assert_eq!(host.push(&publisher.full(1)).unwrap().status, 200);
        eventually("the drop directory is watched", || {
            (host.status()["drop"]["state"] == "watched").then_some(())
        });
        Self { host, folder }
    }

    fn doctor(&self) -> (Option<i32>, String) {
        let Output { status, stdout, .. } = self.host.run(&["doctor"]);
        (status.code(), text(&stdout))
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&self.host.run(&["doctor", "--json"]).stdout).unwrap()
    }

    /// Breaks something, and sees that it is told.
    fn sick_while(&self, break_it: impl FnOnce(), told: &[&str]) {
        break_it();
        let (status, lines) = self.doctor();
        for words in told {
            assert!(lines.contains(words), "{words}: {lines}");
        }
        let fails = lines.lines().any(|line| line.starts_with("FAIL "));
        assert_eq!(status, Some(i32::from(fails)), "{lines}");
    }

    fn metrics(&self) -> String {
        text(&self.host.ask("/metrics").body)
    }
}

fn monitoring() -> String {
    fs::read_to_string(root().join("docs/monitoring.md")).unwrap()
}

fn names_after(text: &str, mark: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix(mark)?.split(' ').next());
    names.map(str::to_owned).collect()
}

fn fed(mut command: Command, bytes: &[u8]) -> Output {
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    chmod_private(path.parent().unwrap());
    fs::write(path, bytes).unwrap();
    chmod(path, 0o600);
}

fn chmod_private(folder: &Path) {
    chmod(folder, 0o700);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

const CHECKS: [&str; 17] = [
    "configuration",
    "daemon",
    "alarm",
    "versions",
    "clock",
    "state",
    "host key",
    "trust",
    "disk",
    "cache",
    "evidence",
    "drop",
    "runtime",
    "sockets",
    "mounts",
    "link",
    "limits",
];
