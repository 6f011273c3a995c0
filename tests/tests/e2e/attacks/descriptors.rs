//! Descriptors and credentials that a client sends along or is taken to have: the first never arrive, the
//! second decide nothing. And no socket of ours is reachable without a path.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use miosa_tests::program::eventually;

use super::{Attacker, SYSTEM_PATH, Site};

#[test]
fn descriptors_that_are_sent_along_never_arrive_and_the_flood_is_answered() {
    let both = [("acme", "sbx-1"), ("rival", "sbx-2")];
    let mut site = Site::enrolled();
    // However long this machine takes for millions of descriptors, nobody is let go for it.
    let config = site.host.path("patient.toml");
    fs::write(&config, "[limits]\nidle_seconds = 600\n").unwrap();
    site.host.start_as(site.host.command(&["serve", "--config", config.to_str().unwrap()]));
    site.publish(1, &both);
    let before = descriptors(site.host.pid());
    let mut flood = Client::start(&site.socket("sbx-1"), "flood_descriptors");
    let sent: u64 = flood.line().parse().unwrap();
    assert!(sent > 10_000, "{sent}");
    // What is left is of the last connection, which still holds a message with descriptors.
    eventually("no more descriptors than before", || {
        (descriptors(site.host.pid()) <= before + 2).then_some(())
    });
    assert_eq!(site.tenant_at("sbx-2"), "rival");
    flood.go_on();
    assert_eq!(flood.line(), "200");
    site.assert_undisturbed(&both);
}

#[test]
fn credentials_that_are_sent_along_or_belong_to_somebody_who_is_gone_decide_nothing() {
    let site = Site::serving(&[("acme", "sbx-1")]);
    for what in ["flood_credentials", "exit_after_connecting", "just_ask"] {
        assert_eq!(Client::start(&site.socket("sbx-1"), what).line(), "200", "{what}");
    }
    // Who has the folder is answered, whoever it says it is.
    for attacker in Attacker::ALL {
        let mut command = attacker.command(&site.home("sbx-1"), false);
        command.args(["python3", "-c", OUTSIDE, "/run/miosa/miosa.sock", "just_ask"]);
        assert_eq!(said(command), "200\n", "{attacker:?}");
    }
}

#[test]
fn root_of_a_user_namespace_is_nobody_on_the_operators_sockets() {
    let site = Site::serving(&[("acme", "sbx-1")]);
    for socket in ["admin.sock", "intake.sock"] {
        // By a mount of the very directory, so that nothing but the socket's own mode is in the way.
        let mut command = Attacker::MappedNobody.command(&site.host.path("run"), false);
        let path = format!("/run/miosa/{socket}");
        command.args(["python3", "-c", OUTSIDE, &path, "just_ask"]);
        assert_eq!(said(command), "denied\n", "{socket}");
    }
}

#[test]
fn every_socket_of_the_daemons_has_a_path_in_the_runtime_directory_or_no_name() {
    let site = Site::serving(&[("acme", "sbx-1")]);
    let pid = site.host.pid();
    let link = |entry: std::io::Result<fs::DirEntry>| fs::read_link(entry.unwrap().path()).ok();
    let open: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(link)
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let run = site.host.path("run").display().to_string();
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let mut named = 0;
    for line in table.lines().skip(1) {
        // Num RefCount Protocol Flags Type St Inode Path; `proc(5)`.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let path = fields.get(7).copied().unwrap_or_default();
        assert!(!(path.starts_with('@') && path.contains("miosa")), "{line}");
        if open.contains(fields[6]) && !path.is_empty() {
            assert!(path.starts_with(&run), "{line}");
            named += 1;
        }
    }
    assert!(named >= 3, "what is looked for can be found: {table}");
    for family in ["tcp", "tcp6", "udp", "udp6", "raw", "packet", "netlink"] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        let inodes: BTreeSet<String> = table.split_whitespace().map(str::to_owned).collect();
        assert!(inodes.is_disjoint(&open), "a socket of {family}");
    }
}

/// tests/attacks/outside.py, at work.
pub(super) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    pub(super) fn start(socket: &Path, what: &str) -> Self {
        let mut command = Command::new("python3");
        command.env("PATH", SYSTEM_PATH).args(["-c", OUTSIDE]).arg(socket).arg(what);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run python3");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(super) fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn said(mut command: Command) -> String {
    let output = command.output().expect("run a sandbox");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

const OUTSIDE: &str = include_str!("../../../attacks/outside.py");
