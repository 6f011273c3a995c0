//! The shim for 64-bit ARM, run by an emulator of that processor in user mode: its system calls are this
//! machine's, and so is the command that it becomes.

use std::path::{Path, PathBuf};
use std::process::Command;

use miosa_tests::World;
use miosa_tests::program::command;
use miosa_tests::start::ended;
use serde_json::json;

#[test]
fn it_says_of_itself_what_the_other_says() {
    for option in ["--version", "--help"] {
        let here = ended(command("miosa-exec").arg(option));
        assert_eq!(ended(shim().arg(option)).prints(), here.prints(), "{option}");
    }
}

#[test]
fn it_is_one_static_file_for_that_processor() {
    let file = std::fs::read(built()).unwrap();
    assert_eq!((&file[..5], &file[18..20]), (&b"\x7fELF\x02"[..], &[183, 0][..]), "64 bits, AArch64");
    let loader = b"/lib/ld-musl-aarch64.so.1";
    assert!(!file.windows(loader.len()).any(|bytes| bytes == loader), "it asks for a loader");
}

#[test]
fn it_starts_an_agent_with_what_a_host_holds_in_every_way_to_start_one() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    let socket = host.resource_dir("sbx-1").join("miosa.sock");
    for (options, script, printed) in [
        (&[][..], "echo $HELLO; exit 7", "from miosa\n"),
        (&["--init"], "echo $HELLO; exit 7", "from miosa\n"),
        (&["--on-change", "restart"], "echo $HELLO; exit 7", "from miosa\n"),
        (&["--fd", "HELLO=7"], "cat <&7; echo $HELLO; exit 7", "from miosa\n"),
    ] {
        let mut start = shim();
        start.arg("--socket").arg(&socket).args(options).args(["--", "/bin/sh", "-c", script]);
        let started = ended(&mut start);
        assert_eq!((started.code(), started.stdout.trim_end()), (7, printed.trim_end()), "{started:?}");
    }
    let signal =
        ended(shim().arg("--socket").arg(&socket).args(["--init", "--", "/bin/sh", "-c", "kill $$"]));
    assert_eq!(signal.code(), 128 + 15, "{signal:?}");
}

#[test]
fn it_fails_in_one_line_with_the_same_status() {
    let failed = ended(shim().args(["--socket", "/nowhere", "--wait", "0", "--", "true"]));
    assert!(failed.why_not().starts_with("no socket at /nowhere"), "{failed:?}");
}

fn shim() -> Command {
    let mut command = Command::new("qemu-aarch64-static");
    command.env_clear().env("PATH", "/usr/bin:/bin").arg(built());
    command
}

/// Where `make shim-aarch64` leaves it.
fn built() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist-aarch64/miosa-exec");
    assert!(path.exists(), "{} is not there: run `make shim-aarch64`", path.display());
    path
}
