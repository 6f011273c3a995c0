//! The shim as ExecStart= of a service: what systemd passes to a process reaches the agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use miosa_tests::StandIn;
use miosa_tests::boot::Machine;
use miosa_tests::program::{binary, eventually};
use miosa_tests::stand_in::resolved;
use serde_json::json;

#[test]
fn an_agent_that_the_shim_became_is_the_services_own_process() {
    let (machine, _daemon) = with_a_shim();
    for kind in ["exec", "simple"] {
        write_service(&machine, kind, "");
        machine.run("systemctl start agent.service");
        let said = said(&machine);
        assert_eq!(said.pid, machine.main_pid("agent.service").to_string(), "{kind}: {said:?}");
        assert_eq!(said.key, "resolved", "{kind}");
        machine.run("systemctl stop agent.service");
        assert_eq!(machine.property("agent.service", "Result"), "success", "{kind}");
    }
}

#[test]
fn readiness_and_sockets_reach_the_agent_as_if_there_were_no_shim() {
    let (machine, _daemon) = with_a_shim();
    write_service(&machine, "notify", "NotifyAccess=main");
    machine.run("systemctl start agent.socket agent.service");
    assert_eq!(machine.property("agent.service", "StatusText"), "the agent serves");
    let said = said(&machine);
    assert_eq!((said.listen_fds.as_str(), &said.listen_pid), ("1", &said.pid), "{said:?}");
    assert!(said.third.starts_with("socket:["), "{said:?}");
}

/// Not what systemd counts as the main process, the agent has to be let speak; and programs that look
/// whether sockets are meant for them find another process named.
#[test]
fn the_child_of_an_init_may_notify_once_all_may_and_is_not_whom_sockets_are_for() {
    let (machine, _daemon) = with_a_shim();
    let init = "Environment=MIOSA_EXEC_INIT=1\nSuccessExitStatus=143\n";
    write_service(&machine, "notify", &format!("{init}NotifyAccess=main\nTimeoutStartSec=2s"));
    assert!(!machine.attempt("systemctl start agent.service").status.success());
    assert_eq!(machine.property("agent.service", "Result"), "timeout");

    write_service(&machine, "notify", &format!("{init}NotifyAccess=all"));
    machine.run("systemctl stop agent.service; rm -f /run/said; systemctl start agent.socket agent.service");
    assert_eq!(machine.property("agent.service", "StatusText"), "the agent serves");
    let said = said(&machine);
    let main = machine.main_pid("agent.service").to_string();
    assert!(said.pid != main && said.listen_pid == main, "{main}: {said:?}");
    assert!(said.third.starts_with("socket:["), "{said:?}");
    machine.run("systemctl stop agent.service");
    assert_eq!(machine.property("agent.service", "Result"), "success");
}

#[test]
fn a_service_that_cannot_be_started_says_why_in_its_journal() {
    let (machine, daemon) = with_a_shim();
    drop(daemon);
    write_service(&machine, "exec", "Environment=MIOSA_EXEC_WAIT=0");
    let _started = machine.attempt("systemctl start agent.service");
    eventually("the service has failed", || {
        (machine.property("agent.service", "Result") == "exit-code").then_some(())
    });
    assert_eq!(machine.property("agent.service", "ExecMainStatus"), "125");
    let journal = machine.journal("agent.service");
    assert!(journal.contains("nothing listens on /run/stand-in/miosa.sock"), "{journal}");
}

/// What the agent found.
#[derive(Debug, Default)]
struct Said {
    pid: String,
    key: String,
    listen_pid: String,
    listen_fds: String,
    third: String,
}

/// A machine with the shim and an agent.
fn with_a_shim() -> (Machine, StandIn) {
    let machine = Machine::bare();
    fs::create_dir(machine.path("/run/stand-in")).unwrap();
    let answer = resolved(json!({"env": {"KEY": "resolved"}}));
    let daemon = StandIn::saying(&machine.path("/run/stand-in/miosa.sock"), answer);
    let shim = machine.path("/usr/local/bin/miosa-exec");
    fs::copy(binary("miosa-exec"), &shim).unwrap();
    fs::set_permissions(&shim, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(machine.path("/run/agent.sh"), AGENT).unwrap();
    (machine, daemon)
}

fn write_service(machine: &Machine, kind: &str, more: &str) {
    let service = format!(
        "[Service]\nType={kind}\nEnvironment=MIOSA_SOCKET=/run/stand-in/miosa.sock\n{more}\n\
         ExecStart=/usr/local/bin/miosa-exec -- /bin/sh /run/agent.sh\n"
    );
    fs::write(machine.path("/etc/systemd/system/agent.service"), service).unwrap();
    let socket = "[Socket]\nListenStream=/run/agent.sock\n";
    fs::write(machine.path("/etc/systemd/system/agent.socket"), socket).unwrap();
    machine.run("systemctl daemon-reload");
}

fn said(machine: &Machine) -> Said {
    let text = eventually("the agent has said what it found", || {
        fs::read_to_string(machine.path("/run/said")).ok().filter(|text| text.ends_with("end\n"))
    });
    let _former = fs::remove_file(machine.path("/run/said"));
    let mut lines = text.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    Said { pid: next(), key: next(), listen_pid: next(), listen_fds: next(), third: next() }
}

const AGENT: &str = "\
[ -z \"$NOTIFY_SOCKET\" ] || systemd-notify --ready --status='the agent serves'
third=$(readlink /proc/$$/fd/3)
printf '%s\\n' $$ \"$KEY\" \"$LISTEN_PID\" \"$LISTEN_FDS\" \"$third\" end >/run/said
exec sleep 600
";
