//! The shim with the real daemon: what an agent finds itself started as.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use miosa_tests::program::{binary, command};
use miosa_tests::{Host, World};
use serde_json::json;

#[test]
fn the_agent_is_pid_1_with_the_merged_environment_directory_and_command() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("FROM_TENANT", "a b\nc", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    let script =
        "echo pid $$; pwd; cat /proc/1/cmdline | tr '\\0' ' '; echo; env -0 | sort -z | tr '\\0' '|'";
    let run = host.start_run("sbx-1", json!({"command": ["/bin/sh", "-c", script], "cwd": "/usr/bin"}));
    let output = as_pid_1(&host, "sbx-1", &["--run", &run]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("pid 1\n/usr/bin\n/bin/sh -c echo pid"), "{text}");
    assert!(text.contains("\nFROM_TENANT=a b\nc|") && text.contains("|IMAGE=kept|"), "{text}");
    assert!(text.contains(&format!("|MIOSA_RUN_ID={run}|")), "{text}");
    assert!(text.contains("|MIOSA_SOCKET=/run/miosa/miosa.sock|"), "{text}");
}

#[test]
fn a_missing_daemon_is_one_line_and_125_after_the_wait() {
    let began = Instant::now();
    let output = command("miosa-exec")
        .args(["--socket", "/nonexistent/miosa.sock", "--wait", "1", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(began.elapsed() >= Duration::from_millis(900), "it did not wait");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("/nonexistent/miosa.sock"), "{told}");
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_is_126() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({}));
    let exec = |words: &[&str]| {
        command("miosa-exec")
            .arg("--socket")
            .arg(host.resource_dir("sbx-1").join("miosa.sock"))
            .arg("--")
            .args(words)
            .output()
            .unwrap()
    };
    assert_eq!(exec(&["no-such-command"]).status.code(), Some(127));
    assert_eq!(exec(&["/etc/passwd"]).status.code(), Some(126));
    assert_eq!(exec(&["sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(exec(&["sh", "-c", "kill -9 $$"]).status.signal(), Some(9));
}

#[test]
fn the_shim_waits_for_a_daemon_that_comes_later() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let mut host = world.host("h1");
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "there"}}));
    host.stop_serve();
    let mut waiting = command("miosa-exec");
    waiting.arg("--socket").arg(host.resource_dir("sbx-1").join("miosa.sock"));
    let waiting = waiting
        .args(["--wait", "15", "--", "sh", "-c", "echo $HELLO"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    host.start_serve();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "there\n");
}

#[test]
fn the_shim_is_one_static_file() {
    let program = std::fs::read(binary("miosa-exec")).unwrap();
    let number = |at: usize| u64::from_le_bytes(program[at..at + 8].try_into().unwrap());
    let half = |at: usize| u64::from(u16::from_le_bytes(program[at..at + 2].try_into().unwrap()));
    assert_eq!(&program[..5], b"\x7fELF\x02", "a 64-bit ELF file");
    let (table, size, count) = (number(32), half(54), half(56));
    for entry in 0..count {
        let at = usize::try_from(table + entry * size).unwrap();
        let kind = u32::from_le_bytes(program[at..at + 4].try_into().unwrap());
        assert_ne!(kind, 3, "PT_INTERP: the file needs a loader that an image may not have");
    }
}

/// Runs the shim as PID 1 of a pid namespace, with the resource's folder read-only at /run/miosa.
pub fn as_pid_1(host: &Host<'_>, resource: &str, args: &[&str]) -> Output {
    let script = r#"set -e
        mount -t tmpfs tmpfs /mnt && cp "$2" /mnt/miosa-exec && mkdir /mnt/run
        mount --bind "$1" /mnt/run && mount -o remount,bind,ro,nosuid,nodev,noexec /mnt/run
        mount -t tmpfs tmpfs /run && mkdir /run/miosa && mount --move /mnt/run /run/miosa
        mount -t proc proc /proc
        shift 2; exec /mnt/miosa-exec "$@""#;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare
        .args(["--", "/bin/sh", "-c", script, "sandbox"])
        .arg(host.resource_dir(resource))
        .arg(binary("miosa-exec"));
    unshare.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("IMAGE", "kept");
    unshare.args(args).output().expect("run unshare")
}
