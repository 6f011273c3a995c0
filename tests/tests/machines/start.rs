//! From the kernel's first process to the agent.

use std::process::{Command, Stdio};

use miosa_tests::World;
use miosa_tests::program::binary;
use miosa_tests::vm::{Disk, Vm, Vsock};
use serde_json::json;

#[test]
fn an_agent_starts_with_what_the_host_holds_for_it() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    tenant.set("API_TOKEN", "from the host", json!({}));
    tenant.set("FILE_TOKEN", "in a file", json!({"metadata": {"deliver": "file"}}));
    host.place(&tenant, "vm-1", json!({}));
    let run = host.start_run("vm-1", json!({"command": ["/agent", "as the run says"], "cwd": "/work"}));

    let disk = Disk::with_agent(
        r#"
        echo "words: $*"; echo "directory: $(pwd)"; echo "process: $$, of $PPID"
        env | grep -E '^(API_TOKEN|FROM_LINE|MIOSA_)' | sed 's/^/env: /'
        echo "file: $(cat $FILE_TOKEN_FILE), $(stat -f -c %T $FILE_TOKEN_FILE), $FILE_TOKEN"
        /miosa-exec --print command --wait 20
        "#,
    );
    let line = format!(
        "FROM_LINE=yes MIOSA_EXEC_VM=1 MIOSA_EXEC_WAIT=20 MIOSA_SOCKET=vsock:2:7007 MIOSA_RUN_ID={run}"
    );
    let off = Vm::boot(disk, Some(Vsock::to(&host.resource_dir("vm-1"))), &line).goes_off();

    for said in [
        "words: as the run says",
        "directory: /work",
        "env: API_TOKEN=from the host",
        "env: FROM_LINE=yes",
        "env: MIOSA_SOCKET=vsock:2:7007",
        "env: MIOSA_RESOURCE_ID=vm-1",
        &format!("env: MIOSA_RUN_ID={run}"),
        "file: in a file, tmpfs, ",
        // Asked from inside, by the address that it was given.
        "/agent 'as the run says'",
    ] {
        assert!(off.said(said), "{said}: {:#?}", off.console);
    }
    assert!(
        off.console.iter().any(|line| line.starts_with("process: ") && line.ends_with(", of 1")),
        "{:#?}",
        off.console
    );
    assert!(!off.console.iter().any(|line| line.starts_with("env: MIOSA_EXEC_")), "{:#?}", off.console);
    assert!(off.told().is_empty(), "{:#?}", off.console);
}

#[test]
fn a_daemon_that_comes_later_than_the_machine_is_waited_for() {
    let world = World::start();
    let (tenant, mut host) = (world.tenant("acme"), world.host("h1"));
    host.place(&tenant, "vm-1", json!({"env": {"HELLO": "from miosa"}}));
    host.stop_serve();

    let disk = Disk::with_agent(r#"echo "HELLO: $HELLO""#);
    let vsock = Vsock::to(&host.resource_dir("vm-1"));
    // At this level the kernel tells of its first process.
    let line = "loglevel=7 -- --vm --wait 50 --socket vsock:2:7007 /agent";
    let mut vm = Vm::boot(disk, Some(vsock), line);
    vm.says("Run /miosa-exec as init process");
    host.start_serve();
    let off = vm.goes_off();
    assert!(off.said("HELLO: from miosa"), "{:#?}", off.console);
}

#[test]
fn the_machine_has_what_programs_expect_of_one() {
    let disk = Disk::with_agent(
        r#"
        while read -r _ at kind options _; do echo "$kind at $at: $options"; done </proc/mounts
        for file in /dev/shm /run; do stat -c '%n has mode %a' $file; done
        ip addr show lo | grep -q 'LOOPBACK,UP' && echo 'the loopback interface is up'
        ip addr show lo | grep -q 'inet 127.0.0.1/8' && echo 'it has its address'
        cat <<'END' | cat /dev/fd/0
descriptors have names
END
        echo 'a terminal can be had' >/dev/ptmx && echo 'a terminal can be had'
        [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo 'the console is a terminal'
        (: </dev/tty) && echo 'it is the controlling one'
        "#,
    );
    let line = "ro -- --vm --wait 0 --on-failure continue --socket vsock:2:7007 /agent";
    let off = Vm::boot(disk, None, line).goes_off();

    for said in [
        "/dev/shm has mode 1777",
        "/run has mode 755",
        "the loopback interface is up",
        "it has its address",
        "descriptors have names",
        "a terminal can be had",
        "the console is a terminal",
        "it is the controlling one",
    ] {
        assert!(off.said(said), "{said}: {:#?}", off.console);
    }
    for (mount, options) in [
        ("ext4 at /: ", "ro,"),
        ("devtmpfs at /dev: ", "rw,nosuid,"),
        ("proc at /proc: ", "rw,nosuid,nodev,noexec,"),
        ("sysfs at /sys: ", "rw,nosuid,nodev,noexec,"),
        ("devpts at /dev/pts: ", "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666"),
        ("tmpfs at /dev/shm: ", "rw,nosuid,nodev,"),
        ("tmpfs at /run: ", "rw,nosuid,nodev,"),
    ] {
        let found: Vec<&String> = off.console.iter().filter(|line| line.starts_with(mount)).collect();
        let [line] = found[..] else { panic!("{mount}{found:?}: {:#?}", off.console) };
        assert!(line[mount.len()..].starts_with(options), "{line}");
    }
    let [told] = off.told()[..] else { panic!("{:#?}", off.console) };
    assert!(told.starts_with("nothing answers on vsock:2:7007 ("), "{told}");
    assert!(told.ends_with("starting with what the image brings"), "{told}");
}

#[test]
fn what_another_has_made_ready_before_is_taken_as_it_is() {
    // As a loader in an initial RAM disk does, which closed what it had open.
    let disk = Disk::with_agent(
        r#"
        if [ "$1" = first ]; then
            mount -t proc -o nosuid before /proc
            exec /miosa-exec --vm --wait 0 --on-failure continue --socket vsock:2:7007 /agent <&- >&- 2>&-
        fi
        echo "proc: $(grep -c ' /proc ' /proc/mounts), $(grep ' /proc ' /proc/mounts)"
        for descriptor in 0 1 2; do [ -t $descriptor ] && echo "$descriptor is a terminal"; done
        ls -l /proc/1/fd | sed 's/.* \([^ ]* -> \)/of the first: \1/'
        "#,
    );
    let off = Vm::boot(disk, None, "ro init=/agent -- first").goes_off();
    let proc = "proc: 1, before /proc proc rw,nosuid,relatime 0 0";
    for said in [proc, "0 is a terminal", "1 is a terminal", "2 is a terminal"] {
        assert!(off.said(said), "{said}: {:#?}", off.console);
    }
    for number in 0..3 {
        assert!(off.said(&format!("of the first: {number} -> /dev/console")), "{:#?}", off.console);
    }
    assert_eq!(off.told().len(), 1, "{:#?}", off.console);
}

#[test]
fn what_the_image_lacks_is_told_and_gone_without() {
    let disk =
        Disk::without_directories("echo 'started all the same'; [ -c /dev/null ] && echo 'with devices'");
    let line = "ro -- --vm --wait 0 --on-failure continue --socket vsock:2:7007 /agent";
    let off = Vm::boot(disk, None, line).goes_off();
    assert!(off.said("started all the same") && off.said("with devices"), "{:#?}", off.console);
    let expected = "nothing is mounted at /proc, /sys, /run: the root has no such directory and can't be written to; put it into the image";
    assert_eq!(off.told()[0], expected);
}

/// At the end it would make the root read-only, which may well be a file system of the host.
#[test]
fn the_first_process_of_a_container_is_refused_as_that_of_a_machine() {
    let root = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir proc && cp "$2" miosa-exec && cp /bin/busybox touch
        status=0
        unshare --pid --fork -- chroot "$1" /miosa-exec --vm --wait 0 --on-failure continue /touch /started || status=$?
        [ -e started ] && echo started; touch after && echo "writable, ended with $status""#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "container"])
        .args([root.path(), &binary("miosa-exec")])
        .stdin(Stdio::null())
        .output()
        .expect("run unshare");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("and this is a container; give --init instead"), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "writable, ended with 125\n", "{told}");
}
