//! An agent that is told of changes, or started again for them: `--on-change`. The control plane, the daemon
//! and the shim are the real ones.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use miosa_tests::program::{command, eventually};
use miosa_tests::{Host, Tenant, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// Longer than a machine that does much else takes for two changes.
const LONG_REST: &str = "--settle=6";

/// An agent that writes a line about each of its starts.
struct Agent {
    shim: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    /// With these options; at its start it runs `script`, then waits for ever.
    fn start(host: &Host<'_>, options: &[&str], script: &str) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let log = folder.path().join("starts");
        let script = format!(
            "cd {0}; {script}; echo \"$$ $VALUE $EXTRA\" >>{1}; while :; do sleep 0.05; done",
            folder.path().display(),
            log.display()
        );
        let mut shim = command("miosa-exec");
        shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock"));
        shim.args(["--settle=1", "--grace=5"]).args(options);
        shim.args(["--", "/bin/sh", "-c", &script]).stdin(Stdio::null());
        let shim = with_errors_in(shim, folder.path().join("errors")).spawn().unwrap();
        let agent = Self { shim, folder };
        eventually("the agent has started", || (agent.starts().len() == 1).then_some(()));
        agent
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What each start found: its process, then its values.
    fn starts(&self) -> Vec<(i32, String)> {
        let line = |line: &str| {
            let (pid, values) = line.split_once(' ').unwrap();
            (pid.parse().unwrap(), values.trim().to_owned())
        };
        self.read("starts").lines().map(line).collect()
    }

    fn values(&self) -> Vec<String> {
        self.starts().into_iter().map(|(_, values)| values).collect()
    }

    fn await_values(&self, expected: &[&str]) {
        eventually(&format!("started with {expected:?}, not only {:?}", self.values()), || {
            (self.values().len() >= expected.len()).then_some(())
        });
        assert_eq!(self.values(), expected, "{}", self.read("errors"));
    }

    fn stop(mut self) -> i32 {
        kill(Pid::from_raw(self.shim.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.shim.wait().unwrap().code().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already, or ended now: at its end a supervisor takes its command along.
        if matches!(self.shim.try_wait(), Ok(None)) {
            let _ended = kill(Pid::from_raw(self.shim.id().try_into().unwrap()), Signal::SIGTERM);
            let _reaped = self.shim.wait();
        }
    }
}

fn with_errors_in(mut command: Command, path: PathBuf) -> Command {
    command.stderr(fs::File::create(path).unwrap());
    command
}

fn placed<'a>(world: &'a World, value: &str) -> (Tenant<'a>, Host<'a>) {
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("VALUE", value, json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    host.await_env("sbx-1", "VALUE", Some(value));
    (tenant, host)
}

fn set(tenant: &Tenant<'_>, host: &Host<'_>, value: &str) {
    tenant.set("VALUE", value, json!({}));
    host.await_env("sbx-1", "VALUE", Some(value));
}

#[test]
fn a_new_value_reaches_a_restarted_agent_and_removed_names_are_gone() {
    let world = World::start();
    let (tenant, host) = placed(&world, "one");
    let extra = tenant.set("EXTRA", "there", json!({}));
    host.await_env("sbx-1", "EXTRA", Some("there"));
    let agent = Agent::start(&host, &["--on-change", "restart"], ":");
    set(&tenant, &host, "two");
    agent.await_values(&["one there", "two there"]);
    let former = Pid::from_raw(agent.starts()[0].0);
    assert_eq!(kill(former, None), Err(nix::errno::Errno::ESRCH), "the former agent is gone");
    assert_eq!(tenant.call("DELETE", &format!("runtime-env/{extra}"), json!({})).status, 200);
    agent.await_values(&["one there", "two there", "two"]);
    assert_eq!(agent.read("errors"), "");
    assert_eq!(agent.stop(), 128 + 15);
}

#[test]
fn versions_restarts_of_the_daemon_and_changes_that_are_taken_back_restart_nothing() {
    let world = World::start();
    let (tenant, mut host) = placed(&world, "one");
    let agent = Agent::start(&host, &["--on-change", "restart", LONG_REST], ":");
    let version = || host.resolve("sbx-1")["snapshot_version"].clone();
    let before = version();
    host.place(&tenant, "sbx-2", json!({"env": {"OTHER": "1"}}));
    assert_ne!(before, version(), "the host has another version");
    set(&tenant, &host, "two");
    set(&tenant, &host, "one");
    host.stop_serve();
    host.start_serve();
    host.await_env("sbx-1", "VALUE", Some("one"));
    host.serve().kill();
    host.start_serve();
    host.await_env("sbx-1", "VALUE", Some("one"));
    // What follows is seen only if the watch goes on after all that, and is the second start.
    set(&tenant, &host, "three");
    agent.await_values(&["one", "three"]);
}

#[test]
fn many_changes_in_a_row_are_one_restart_with_the_last() {
    let world = World::start();
    let (tenant, host) = placed(&world, "0");
    let agent = Agent::start(&host, &["--on-change", "restart", LONG_REST], ":");
    for value in 1..=8 {
        set(&tenant, &host, &value.to_string());
    }
    eventually("the last value", || (agent.values().last().unwrap() == "8").then_some(()));
    assert!(agent.values().len() < 4, "{:?}", agent.values());
}

#[test]
fn a_signal_comes_after_the_file_has_the_new_value() {
    let world = World::start();
    let (tenant, host) = placed(&world, "one");
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("value");
    let file = format!("--file=VALUE={}", path.display());
    let agent = Agent::start(
        &host,
        &["--on-change", "signal=HUP", &file],
        "trap 'cat $VALUE_FILE >>seen; echo >>seen' HUP; trap 'exit 7' TERM; cat $VALUE_FILE >seen; echo >>seen",
    );
    set(&tenant, &host, "two");
    eventually("the agent was told", || (agent.read("seen") == "one\ntwo\n").then_some(()));
    set(&tenant, &host, "three");
    eventually("and again", || (agent.read("seen") == "one\ntwo\nthree\n").then_some(()));
    assert_eq!(agent.starts().len(), 1);
    assert_eq!(agent.stop(), 7, "the agent's own status");
    assert!(!path.exists(), "with the agent its secrets go");
}

#[test]
fn what_cannot_be_started_leaves_the_agent_as_it_is_and_is_told_once() {
    let world = World::start();
    let (tenant, host) = placed(&world, "one");
    let key = tenant.set("KEY", "k", json!({}));
    host.await_env("sbx-1", "KEY", Some("k"));
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = format!("--file=KEY={}", folder.path().join("key").display());
    let agent = Agent::start(&host, &["--on-change", "restart", &file], ":");
    assert_eq!(tenant.call("DELETE", &format!("runtime-env/{key}"), json!({})).status, 200);
    let line = "miosa-exec: KEY is to be delivered as a file or descriptor, and no variable has that name";
    eventually("it is told", || agent.read("errors").starts_with(line).then_some(()));
    set(&tenant, &host, "two");
    tenant.set("KEY", "l", json!({}));
    agent.await_values(&["one", "two"]);
    assert_eq!(agent.read("errors").lines().count(), 1, "{}", agent.read("errors"));
    // A resource that goes takes nothing away from who runs on it.
    assert_eq!(world.platform("DELETE", "resources/sbx-1", json!({})).status, 200);
    eventually("the socket is gone", || (!host.resource_dir("sbx-1").exists()).then_some(()));
    assert_eq!(kill(Pid::from_raw(agent.starts()[1].0), None), Ok(()));
    assert_eq!(agent.stop(), 128 + 15);
}

#[test]
fn who_started_without_the_daemon_gets_what_it_holds_once_it_comes() {
    let world = World::start();
    let (_tenant, mut host) = placed(&world, "one");
    host.stop_serve();
    let agent = Agent::start(&host, &["--on-change=restart", "--on-failure=continue", "--wait=0"], ":");
    assert_eq!(agent.values(), [""]);
    host.start_serve();
    agent.await_values(&["", "one"]);
    let told = agent.read("errors");
    assert!(told.contains("; starting with what the image brings\n"), "{told}");
}

#[test]
fn an_agent_that_ends_by_itself_is_not_started_again() {
    let world = World::start();
    let (_tenant, host) = placed(&world, "one");
    let mut shim = command("miosa-exec");
    shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock"));
    shim.args(["--on-change=restart", "--", "/bin/sh", "-c", "sleep 0.2; exit 9"]);
    let output = shim.output().unwrap();
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(9), true));
}
