//! In images of each usual kind, as people write them: the shim as ENTRYPOINT, the agent as CMD, under runc.

use std::process::{Output, Stdio};

use miosa_tests::image::{Image, Kind};
use miosa_tests::program::eventually;
use miosa_tests::start::{Ended, ended};
use miosa_tests::{Host, World};
use serde_json::json;

#[test]
fn an_image_of_each_kind_starts_its_cmd_with_what_the_host_holds() {
    with_a_host(|host| {
        for init in INIT {
            for kind in [Kind::Scratch, Kind::Distroless] {
                // There is no other program there than the shim itself, which prints what it was given.
                let cmd = ["/agent", "--clear-env", "--env", "A=1", "--print", "env", "--reveal"];
                let started = start(host, &Image::new(kind).cmd(&cmd).env(init));
                assert_eq!(started.code(), 0, "{kind:?} {init}: {started:?}");
                assert!(started.stdout.contains("HELLO='from miosa'\n"), "{kind:?} {init}: {started:?}");
            }
            for kind in [Kind::Musl, Kind::Debian] {
                let cmd = ["sh", "-c", "echo \"$HELLO, $IMAGE, $(id -u), $PWD\""];
                let started = start(host, &Image::new(kind).cmd(&cmd).env(init).env("IMAGE=kept"));
                assert_eq!(started.prints(), "from miosa, kept, 0, /\n", "{kind:?} {init}");
            }
        }
    });
}

#[test]
fn user_workdir_and_a_read_only_root_are_the_images_to_say() {
    with_a_host(|host| {
        for init in INIT {
            for kind in [Kind::Musl, Kind::Debian] {
                let cmd = ["sh", "-c", "echo \"$HELLO, $(id -u), $PWD\"; echo >/tmp/x || echo read-only"];
                let image = Image::new(kind).cmd(&cmd).user(1000).workdir("/tmp").read_only();
                let started = start(host, &image.env(init));
                assert_eq!(started.code(), 0, "{kind:?} {init}: {started:?}");
                let printed = "from miosa, 1000, /tmp\nread-only\n";
                assert_eq!(started.stdout, printed, "{kind:?} {init}: {started:?}");
            }
        }
    });
}

#[test]
fn without_init_the_agent_is_process_1_and_with_it_a_child() {
    with_a_host(|host| {
        let cmd =
            ["sh", "-c", "read pid _ _ parent _ </proc/self/stat; echo $pid $parent; cat /proc/1/comm; exit"];
        for kind in [Kind::Musl, Kind::Debian] {
            let alone = start(host, &Image::new(kind).cmd(&cmd));
            assert_eq!(alone.prints(), "1 0\nsh\n", "{kind:?}");
            let below = start(host, &Image::new(kind).cmd(&cmd).env("MIOSA_EXEC_INIT=1"));
            let printed = below.prints();
            assert!(printed.ends_with(" 1\nmiosa-exec\n"), "{kind:?}: {printed}");
        }
    });
}

#[test]
fn the_exit_status_of_the_agent_is_that_of_the_container() {
    with_a_host(|host| {
        for init in INIT {
            for (cmd, code) in
                [(&["sh", "-c", "exit 42"][..], 42), (&["no-such-agent"], 127), (&["/run"], 126), (&[], 125)]
            {
                let started = start(host, &Image::new(Kind::Musl).cmd(cmd).env(init));
                assert_eq!(started.code(), code, "{init} {cmd:?}: {started:?}");
                if code > 100 {
                    assert!(!started.the_line().is_empty(), "{init} {cmd:?}");
                }
            }
        }
    });
}

#[test]
fn a_terminal_is_the_agents_own() {
    with_a_host(|host| {
        let script = "read _ _ _ parent group session terminal foreground _ </proc/self/stat
            [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && [ $terminal != 0 ] && [ $group = $foreground ] && echo its own, $parent";
        for kind in [Kind::Musl, Kind::Debian] {
            for (init, parent) in [("A=1", 0), ("MIOSA_EXEC_INIT=1", 1)] {
                let image = Image::new(kind).cmd(&["sh", "-c", script]).terminal().env(init);
                let started = start(host, &image);
                let printed = format!("its own, {parent}\r\n");
                // What stands before it is the end of input, as the terminal shows it.
                let ended_so = started.code() == 0 && started.stdout.ends_with(&printed);
                assert!(ended_so, "{kind:?} {init}: {started:?}");
            }
        }
    });
}

#[test]
fn a_container_that_is_stopped_ends_with_what_the_agent_makes_of_it() {
    with_a_host(|host| {
        let handles = "trap 'echo stopped; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        for init in INIT {
            let image = Image::new(Kind::Musl).cmd(&["sh", "-c", handles]).env(init);
            let output = stop(host, &image);
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!((output.status.code(), printed.as_str()), (Some(3), "ready\nstopped\n"), "{init}");
        }
        // The kernel keeps a signal from a first process that does not handle it; its child it ends.
        let image = Image::new(Kind::Musl).cmd(&["sh", "-c", "echo ready; exec sleep 60"]);
        let output = stop(host, &image.env("MIOSA_EXEC_INIT=1"));
        assert_eq!(output.status.code(), Some(128 + 15), "{output:?}");
    });
}

#[test]
fn a_folder_that_is_not_mounted_is_said_on_the_containers_output() {
    let nothing = tempfile::tempdir().unwrap();
    for init in INIT {
        let image = Image::new(Kind::Scratch).cmd(&["/agent"]).env(init).env("MIOSA_EXEC_WAIT=0");
        let started = ended(&mut image.run(nothing.path(), &id()));
        let line = "no socket at /run/miosa/miosa.sock; is the host's directory mounted here, and is miosad running?";
        assert!(started.why_not().starts_with(line), "{init}: {started:?}");
        let image =
            Image::new(Kind::Musl).cmd(&["sh", "-c", "echo with $IMAGE"]).env(init).env("IMAGE=itself");
        let image = image.env("MIOSA_EXEC_ON_FAILURE=continue").env("MIOSA_EXEC_WAIT=0");
        let started = ended(&mut image.run(nothing.path(), &id()));
        assert_eq!((started.code(), started.stdout.as_str()), (0, "with itself\n"), "{init}: {started:?}");
        assert!(started.the_line().starts_with(line), "{init}: {started:?}");
    }
}

/// A host that serves `sbx-1`.
fn with_a_host(test: impl FnOnce(&Host<'_>)) {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "sbx-1", json!({"env": {"HELLO": "from miosa"}}));
    test(&host);
}

fn start(host: &Host<'_>, image: &Image) -> Ended {
    ended(&mut image.run(&host.resource_dir("sbx-1"), &id()))
}

/// Starts it, and asks it to stop once it is ready.
fn stop(host: &Host<'_>, image: &Image) -> Output {
    let id = id();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = image.run(&host.resource_dir("sbx-1"), &id);
    command.stdin(Stdio::null()).stdout(log.reopen().unwrap());
    let mut running = command.spawn().unwrap();
    let said = || std::fs::read_to_string(log.path()).unwrap();
    eventually("the agent is ready", || {
        assert_eq!(running.try_wait().unwrap(), None, "it ended: {}", said());
        said().contains("ready").then_some(())
    });
    assert!(image.kill(&id, "TERM").status().unwrap().success());
    let status = eventually("the container ends", || running.try_wait().unwrap());
    Output { status, stdout: said().into_bytes(), stderr: Vec::new() }
}

/// A name that no other container has.
fn id() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("miosa-test-{}-anywhere-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Behind an ENTRYPOINT no option can be typed: it becomes the agent, or stays as its parent.
const INIT: [&str; 2] = ["A=1", "MIOSA_EXEC_INIT=1"];
