//! The parent that `--init` makes of the shim, where the real daemon is needed to see it at work: how one
//! agent makes room for the next, and what its parent remembers of it. tests/inits has the rest.

use std::fs;

use miosa_tests::program::{Program, command, eventually};
use miosa_tests::{Host, Tenant, World, memory};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;

/// An agent with something in its group that does not end by SIGTERM.
const STUBBORN: &str = r#"
    former=$(cat helper 2>/dev/null)
    kill -0 $former 2>/dev/null && echo "its former helper is still there" >>starts
    sh -c 'trap "" TERM; echo $$ >helper.new; mv helper.new helper; while :; do sleep 0.05; done' &
    until [ "$(cat helper 2>/dev/null)" != "$former" ]; do sleep 0.01; done
    trap 'echo ended >>starts; exit 4' TERM
    echo $$ >leader
    echo "started with $VALUE" >>starts
    while :; do sleep 0.05; done"#;

#[test]
fn the_next_agent_is_started_when_the_whole_group_of_the_former_is_gone() {
    let world = World::start();
    let (tenant, host) = placed(&world);
    let agent = Agent::start(&host, &["--on-change=restart", "--settle=0", "--grace=1"], STUBBORN);
    set(&tenant, &host, "two");
    agent.await_starts("started with one\nended\nstarted with two\n");
    set(&tenant, &host, "three");
    agent.await_starts("started with one\nended\nstarted with two\nended\nstarted with three\n");
}

#[test]
fn asked_to_stop_while_the_former_agent_still_ends_nothing_is_started_again() {
    let world = World::start();
    let (tenant, host) = placed(&world);
    let mut agent = Agent::start(&host, &["--on-change=restart", "--settle=0", "--grace=600"], STUBBORN);
    set(&tenant, &host, "two");
    agent.await_starts("started with one\nended\n");
    assert_eq!(agent.shim.stop().code(), Some(4), "the status of the agent that ended last");
    assert_eq!(agent.read("starts"), "started with one\nended\n");
}

#[test]
fn a_signal_that_comes_between_two_agents_is_for_the_next() {
    let world = World::start();
    let (tenant, host) = placed(&world);
    let mut agent = Agent::start(&host, &["--on-change=restart", "--settle=0", "--grace=600"], STUBBORN);
    set(&tenant, &host, "two");
    let leader = Pid::from_raw(agent.read("leader").trim().parse().unwrap());
    agent.await_starts("started with one\nended\n");
    eventually("its parent knows", || (kill(leader, None) == Err(Errno::ESRCH)).then_some(()));
    agent.shim.signal(Signal::SIGINT);
    agent.kill_helper();
    eventually("the next one has ended by it", || (!agent.shim.is_running()).then_some(()));
    assert_eq!(agent.shim.stop().code(), Some(128 + 2));
}

#[test]
fn an_agent_that_is_stopped_makes_room_too() {
    let world = World::start();
    let (tenant, host) = placed(&world);
    let script = "echo $$ >pid; echo started with $VALUE >>starts; while :; do sleep 0.05; done";
    let agent = Agent::start(&host, &["--on-change=restart", "--settle=0", "--grace=600"], script);
    let pid = Pid::from_raw(agent.read("pid").trim().parse().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("it is stopped", || memory::status(pid.as_raw(), "State").starts_with('T').then_some(()));
    set(&tenant, &host, "two");
    agent.await_starts("started with one\nstarted with two\n");
    assert_eq!(kill(pid, None), Err(Errno::ESRCH));
}

#[test]
fn the_parent_keeps_nothing_of_what_the_agent_was_given() {
    if !nix::unistd::geteuid().is_root() {
        // Others may not read its memory.
        return;
    }
    let world = World::start();
    let (tenant, host) = placed(&world);
    set(&tenant, &host, "one-rotdrossel");
    let script = "echo started with $VALUE >>starts; while :; do sleep 0.05; done";
    let agent = Agent::start(&host, &["--on-change=restart", "--settle=0"], script);
    let is_kept = |value: &str| {
        memory::writable(agent.shim.pid())
            .iter()
            .any(|region| memchr::memmem::find(&region.bytes, value.as_bytes()).is_some())
    };
    assert!(is_kept("miosa.sock"), "what it does keep is found");
    eventually("the first is forgotten", || (!is_kept("one-rotdrossel")).then_some(()));
    for value in ["two-rotdrossel", "three-rotdrossel"] {
        set(&tenant, &host, value);
        eventually("it is started", || agent.read("starts").contains(value).then_some(()));
        eventually("it is forgotten", || (!is_kept("-rotdrossel")).then_some(()));
    }
}

/// An agent below its parent, and a folder where it writes what it does.
struct Agent {
    shim: Program,
    folder: TempDir,
}

impl Agent {
    /// With these options; the script is done in the folder, and writes to `starts` when it has started.
    fn start(host: &Host<'_>, options: &[&str], script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut shim = command("miosa-exec");
        shim.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock")).args(options);
        shim.arg("--cwd").arg(folder.path()).args(["--", "/bin/sh", "-c", script]);
        let agent = Self { shim: Program::start("miosa-exec", shim, &folder.path().join("log")), folder };
        eventually("the agent has started", || agent.read("starts").contains("started").then_some(()));
        agent
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn await_starts(&self, expected: &str) {
        eventually(&format!("{expected:?}"), || {
            let starts = self.read("starts");
            assert!(expected.starts_with(&starts), "{starts}");
            (starts == expected).then_some(())
        });
    }

    fn kill_helper(&self) {
        if let Ok(pid) = self.read("helper").trim().parse() {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.shim.is_running() {
            let _status = self.shim.stop();
        }
        self.kill_helper();
    }
}

fn placed(world: &World) -> (Tenant<'_>, Host<'_>) {
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("VALUE", "one", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    host.await_env("sbx-1", "VALUE", Some("one"));
    (tenant, host)
}

fn set(tenant: &Tenant<'_>, host: &Host<'_>, value: &str) {
    tenant.set("VALUE", value, json!({}));
    host.await_env("sbx-1", "VALUE", Some(value));
}
