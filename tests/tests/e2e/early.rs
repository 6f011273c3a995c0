//! Early in a boot and in odd places: what a process usually finds is not there. The shim works all the
//! same, or says in one line why it can't.

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use miosa_tests::StandIn;
use miosa_tests::program::{binary, eventually};
use miosa_tests::stand_in::{answer, hear, resolved, say};
use miosa_tests::start::{Ended, ended};
use serde_json::json;

use place::{CHROOT, Place, as_process_1, below};

#[test]
fn a_root_with_nothing_in_it_is_enough() {
    for mode in MODES {
        let place = Place::new();
        let printed = ended(&mut as_process_1(&place, &[], mode));
        assert_eq!(printed.prints(), "KEY=value\nMIOSA_SOCKET=/miosa.sock\n", "{mode:?}");
    }
}

#[test]
fn a_root_that_nobody_can_write_to_is_enough() {
    for mode in MODES {
        let place = Place::new();
        // It changes its root by pivot_root(2), and leaves nothing there but this.
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--as-pid-1", "--die-with-parent", "--clearenv", "--ro-bind"]);
        command.arg(place.root()).args(["/", "--unsetenv", "PWD", "/miosa-exec"]);
        let printed = ended(place.finish(&mut command, mode));
        assert_eq!(printed.prints(), "KEY=value\nMIOSA_SOCKET=/miosa.sock\n", "{mode:?}");
    }
}

#[test]
fn without_path_a_bare_name_is_looked_for_where_programs_usually_are() {
    let place = Place::new();
    let mut command = below(&["env", "-i", CHROOT, &place.root().display().to_string()]);
    command.args(["/miosa-exec", "--socket", "/miosa.sock", "--", "no-such-agent"]);
    let ended = ended(&mut command);
    assert_eq!(ended.code(), 127);
    let line = "no-such-agent is in none of /usr/local/bin:/usr/bin:/bin, and PATH is not set";
    assert_eq!(ended.the_line(), line);
}

/// The socket gets the lowest free number: that of a standard descriptor, if that is closed. What is meant
/// for people must not go to the daemon then.
#[test]
fn any_of_the_standard_descriptors_may_be_closed() {
    for mode in MODES {
        for closed in combinations() {
            let place = Place::new();
            let words = ["sh", "-c", &format!("exec \"$@\" {closed}"), "sh"];
            let started = ended(&mut as_process_1(&place, &words, mode));
            // The agent is asked to print something, and says if it can't.
            let is_closed = |word: &str| closed.split(' ').any(|closed| closed == word);
            let status = if is_closed(">&-") { 125 } else { 0 };
            assert_eq!(started.code(), status, "{mode:?} {closed}: {started:?}");
            let told =
                if status == 0 || is_closed("2>&-") { "" } else { "miosa-exec: cannot write to stdout: " };
            assert!(started.stderr.starts_with(told), "{mode:?} {closed}: {started:?}");
            assert_eq!(started.stderr.is_empty(), told.is_empty(), "{mode:?} {closed}: {started:?}");
            let agent = "GET /v1/resolve?run=agent ";
            let ran = place.daemon().requests().iter().any(|request| request.starts_with(agent));
            assert!(ran, "{mode:?} {closed}: the agent did not run");
        }
    }
}

#[test]
fn what_is_meant_for_people_never_goes_to_the_daemon() {
    for closed in combinations() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("miosa.sock");
        let (heard, said) = std::sync::mpsc::channel();
        let _daemon = StandIn::accepting(&socket, move |_, connection| {
            let request = hear(connection);
            say(connection, &answer(200, b"no resolution"));
            // Whatever else comes before the end, should there be anything.
            let _tell = heard.send(request + &hear(connection));
        });
        let mut command = below(&["sh", "-c", &format!("exec \"$@\" {closed}"), "sh"]);
        command.arg(binary("miosa-exec")).arg("--socket").arg(&socket).args(["--", "/bin/true"]);
        let ended = ended(&mut command);
        assert_eq!(ended.code(), 125, "{closed}");
        if closed.contains("2>&-") {
            assert_eq!(ended.stderr, "", "{closed}");
        } else {
            let _said = ended.the_line();
        }
        let said = said.recv().unwrap();
        assert_eq!((said.matches("\r\n\r\n").count(), said.contains("miosa-exec:")), (1, false), "{said}");
    }
}

#[test]
fn the_agent_finds_those_descriptors_open_that_were_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("miosa.sock");
    let _daemon = StandIn::saying(&socket, resolved(json!({})));
    for mode in MODES {
        for closed in combinations() {
            let open = |words: &[&str], file: &str| {
                let list = folder.path().join(file);
                let mut command = below(&["sh", "-c", &format!("exec \"$@\" {closed} 7</dev/null"), "sh"]);
                command.args(words).args(["/bin/sh", "-c", "ls /proc/$$/fd >\"$0\""]).arg(&list);
                assert_eq!(ended(&mut command).code(), 0, "{mode:?} {closed}");
                fs::read_to_string(list).unwrap()
            };
            let (shim, socket) = (binary("miosa-exec"), socket.to_str().unwrap());
            let by_us = [&[shim.to_str().unwrap(), "--socket", socket][..], mode, &["--"]].concat();
            assert_eq!(open(&by_us, "by-us"), open(&[], "directly"), "{mode:?} {closed}");
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_does_not_change_the_exit_status() {
    let script = "mkfifo \"$0\" && exec 3<>\"$0\" 4>\"$0\" && exec 3<&- && exec \"$@\" 2>&4 4>&-";
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let mut command = below(&["env", "--default-signal=PIPE", "sh", "-c", script]);
    command.arg(fifo).arg(binary("miosa-exec")).args(["--socket", "/nowhere", "--wait", "0", "--", "true"]);
    assert_eq!(ended(&mut command).code(), 125);
}

#[test]
fn a_working_directory_that_is_gone_matters_to_relative_paths_only() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("miosa.sock");
    let _daemon = StandIn::saying(&socket, resolved(json!({"env": {"KEY": "value"}})));
    let gone = || {
        let mut command = below(&["sh", "-c", "cd \"$(mktemp -d)\" && rmdir \"$PWD\" && exec \"$@\"", "sh"]);
        command.arg(binary("miosa-exec"));
        command
    };
    for mode in MODES {
        let mut absolute = gone();
        absolute.arg("--socket").arg(&socket).args(mode.iter()).args(["--", "/bin/sh", "-c", "echo $KEY"]);
        assert_eq!(ended(&mut absolute).stdout, "value\n", "{mode:?}");
    }
    let relative = ended(gone().args(["--socket", "miosa.sock", "--", "/bin/true"]));
    assert!(relative.why_not().contains("--socket"), "{relative:?}");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let place = Place::new();
    for mode in MODES {
        let ended = ended(&mut as_process_1(&place, &[], &[mode, &["--cwd", "/home/agent"][..]].concat()));
        let line = "cannot change to the directory /home/agent (from --cwd): No such file or directory";
        assert!(ended.why_not().starts_with(line), "{ended:?}");
    }
}

#[test]
fn few_descriptors_are_enough_or_it_says_so() {
    let place = Place::new();
    for mode in MODES {
        let mut worked = false;
        for most in 0..12 {
            let words = ["prlimit", &format!("--nofile={most}")];
            let ended = ended(&mut place.directly(&words, mode));
            if ended.stderr.is_empty() && ended.code() == 0 {
                worked = true;
                continue;
            }
            assert!(!worked, "{mode:?}: {most} are not enough, and fewer were: {ended:?}");
            assert!(ended.why_not().contains(" open files"), "{mode:?} {most}: {ended:?}");
        }
        assert!(worked, "{mode:?}");
    }
}

#[test]
fn little_memory_is_enough_or_it_says_so() {
    let place = Place::new();
    // Less than what the program itself and its stack take, and the kernel does not even start it.
    for mode in MODES {
        let mut outcomes = BTreeSet::new();
        for pages in 110..200 {
            let words = ["prlimit", &format!("--as={}", pages * 4096)];
            let ended = ended(&mut place.directly(&words, mode));
            outcomes.insert(ended.code());
            match ended.code() {
                0 => assert_eq!(ended.prints(), place.printed(), "{mode:?} {pages}"),
                125 => assert!(ended.why_not().contains("memory"), "{mode:?} {pages}: {ended:?}"),
                _ => assert!(is_of_the_kernel(&ended), "{mode:?} {pages}: {ended:?}"),
            }
        }
        assert!(outcomes.contains(&0) && outcomes.contains(&125), "{mode:?}: {outcomes:?}");
    }
}

#[test]
fn an_answer_that_does_not_fit_into_memory_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("miosa.sock");
    let _daemon = StandIn::saying(&socket, resolved(json!({"env": {"KEY": "hunter2".repeat(1_000_000)}})));
    let mut command = below(&["prlimit", "--as=4194304"]);
    command.arg(binary("miosa-exec")).arg("--socket").arg(&socket).args(["--", "/bin/true"]);
    let ended = ended(&mut command);
    assert!(ended.why_not().contains("memory") && !ended.stderr.contains("hunter2"), "{ended:?}");
}

#[test]
fn a_small_stack_is_enough() {
    let place = Place::new();
    for mode in MODES {
        for kib in [64, 128] {
            let words = ["prlimit", &format!("--stack={}", kib * 1024)];
            assert_eq!(ended(&mut place.directly(&words, mode)).prints(), place.printed(), "{mode:?} {kib}");
        }
    }
}

#[test]
fn a_limit_that_leaves_no_room_for_what_is_delivered_or_started_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("miosa.sock");
    let _daemon = StandIn::saying(&socket, resolved(json!({"env": {"KEY": "hunter2".repeat(300)}})));
    for mode in MODES {
        for delivery in [["--fd", "KEY=9"], ["--file", "KEY=/dev/shm/miosa-test-of-limits"]] {
            let mut command = below(&["prlimit", "--fsize=2000"]);
            command.arg(binary("miosa-exec")).arg("--socket").arg(&socket).args(mode.iter());
            let ended = ended(command.args(delivery).args(["--", "/bin/true"]));
            let line = ended.why_not();
            assert!(line.contains("ulimit -f") && !line.contains("hunter2"), "{mode:?} {delivery:?}: {line}");
        }
    }
    let place = Place::new();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--nproc=1"];
    let ended = ended(&mut place.directly(&nobody, &["--init"]));
    assert!(ended.why_not().contains("ulimit -u"), "{ended:?}");
}

#[test]
fn no_core_is_dumped_while_secrets_are_in_its_memory() {
    let folder = tempfile::tempdir().unwrap();
    let dumps = |words: &[&str]| {
        let mut command = below(&["sh", "-c", "ulimit -c unlimited && exec \"$@\"", "sh"]);
        command.args(words).current_dir(folder.path());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        eventually("it sleeps", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let is_it = ["sleep", "miosa-exec"].contains(&of("Name:").trim());
            (is_it && of("State:").trim().starts_with('S')).then_some(())
        });
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
        child.wait().unwrap().core_dumped()
    };
    let shim = binary("miosa-exec");
    assert!(!dumps(&[shim.to_str().unwrap(), "--socket", "/nowhere", "--wait", "60", "--", "true"]));
    // Else the above says nothing.
    assert!(dumps(&["sleep", "60"]), "no program of this machine dumps a core");
}

#[test]
fn its_own_name_may_be_anything_or_nothing() {
    let place = Place::new();
    for name in ["", "-", "--help", "a\nb", &"x".repeat(10_000)] {
        let words = ["bash", "-c", "exec -a \"$0\" \"$@\"", name];
        assert_eq!(ended(&mut place.directly(&words, &[])).prints(), place.printed(), "{name}");
    }
    let nobody = "import ctypes, sys\n\
        ctypes.CDLL(None).execve(sys.argv[1].encode(), (ctypes.c_char_p * 1)(None), (ctypes.c_char_p * 2)(b'MIOSA_EXEC_WAIT=0', None))";
    let mut command = below(&["python3", "-c", nobody]);
    let ended = ended(command.arg(binary("miosa-exec")));
    assert!(ended.why_not().starts_with("no socket at /run/miosa/miosa.sock"), "{ended:?}");
}

#[test]
fn a_mount_that_nothing_may_be_run_from_is_126() {
    let place = Place::new();
    let script = r#"mount -t tmpfs -o noexec tmpfs /mnt && cp "$1" /mnt/agent && chmod 755 /mnt/agent && shift
        exec "$@" -- /mnt/agent"#;
    let mut command = below(&["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(binary("miosa-exec")).arg(binary("miosa-exec")).arg("--socket").arg(place.socket());
    let ended = ended(&mut command);
    assert_eq!(ended.code(), 126);
    let line = ended.the_line();
    assert!(
        line.starts_with("cannot run /mnt/agent: Permission denied") && line.contains("noexec"),
        "{line}"
    );
}

#[test]
fn a_filter_of_system_calls_that_forbids_sockets_is_named() {
    let place = Place::new();
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/early/filtered.py");
    for mode in MODES {
        let mut forbidden = place.directly(&["python3", filter, "socket"], mode);
        let ended = ended(&mut forbidden);
        let line = ended.why_not();
        assert!(
            line.contains("Operation not permitted") && line.contains(place.socket().to_str().unwrap()),
            "{line}"
        );
    }
}

/// With each call of the kernel that it makes failing once, in several ways.
#[test]
fn whatever_the_kernel_refuses_it_works_or_says_in_one_line_what_failed() {
    let place = Place::new();
    let log = place.root().join("calls");
    for mode in MODES {
        let trace = ["strace", "-o", log.to_str().unwrap()];
        let whole = ended(&mut place.directly(&trace, mode));
        assert_eq!(whole.prints(), place.printed(), "{mode:?}");
        let calls = calls_before_the_command(&fs::read_to_string(&log).unwrap());
        assert!(calls.len() > 10, "{mode:?}: {calls:?}");
        for (call, nth) in calls {
            for error in ["EPERM", "EINTR", "ENOMEM", "ENOSYS"] {
                let inject = format!("inject={call}:error={error}:when={nth}");
                let trace = ["strace", "-o", "/dev/null", "-e", "signal=none", "-e", &inject];
                let ended = ended(&mut place.directly(&trace, mode));
                let what = format!("{mode:?}: {call} {nth} {error}: {ended:?}");
                match ended.code() {
                    0 => assert_eq!((&ended.stdout, ended.stderr.as_str()), (&place.printed(), ""), "{what}"),
                    125..=127 => assert!(!ended.the_line().is_empty(), "{what}"),
                    _ => panic!("{what}"),
                }
            }
        }
    }
}

#[test]
fn who_may_do_nothing_can_start_an_agent() {
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let place = Place::new();
    for mode in MODES {
        for words in [
            &nobody[..],
            &[&nobody[..], &["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]].concat(),
            &["unshare", "--user"],
            &["unshare", "--user", "--map-root-user", "--net", "--ipc", "--uts", "--cgroup"],
            &[&["strace", "-f", "-o", "/dev/null"], &nobody[..]].concat(),
            &[&nobody[..], &["strace", "-f", "-o", "/dev/null"]].concat(),
            &["setsid"],
            &["nohup"],
            &["env", "--ignore-signal", "--block-signal"],
        ] {
            let ended = ended(&mut place.directly(words, mode));
            assert_eq!(
                (ended.code(), ended.stdout.as_str()),
                (0, place.printed().as_str()),
                "{mode:?} {words:?}: {ended:?}"
            );
        }
    }
}

/// Each way to close some of the standard descriptors, in the words of a shell.
fn combinations() -> Vec<String> {
    (0..8)
        .map(|which| {
            let all = ["<&-", ">&-", "2>&-"].into_iter().enumerate();
            let closed = all.filter(|(bit, _)| which & (1 << bit) != 0).map(|(_, word)| word);
            closed.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Which calls, each with its number among those of its kind, from `main` on until the command is started.
fn calls_before_the_command(log: &str) -> Vec<(String, usize)> {
    let mut calls = Vec::new();
    let mut counted = std::collections::BTreeMap::<String, usize>::new();
    for name in log.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name.to_owned())) {
        let nth = counted.entry(name.clone()).or_default();
        *nth += 1;
        // The first starts the shim itself, the second the command, and so does a child's beginning.
        match (name.as_str(), *nth) {
            ("execve", 1) => {}
            ("execve" | "fork" | "clone", _) => {
                calls.push((name, *nth));
                break;
            }
            // Without these there is no C library, and no `main`.
            ("arch_prctl" | "set_tid_address", 1) => {}
            // Its own fork(3) counts on these.
            ("rt_sigprocmask", 2..) => {}
            _ => calls.push((name, *nth)),
        }
    }
    calls
}

/// The kernel ends a program that it could not lay out.
fn is_of_the_kernel(ended: &Ended) -> bool {
    [139, 137].contains(&ended.code()) && ended.stdout.is_empty() && ended.stderr.is_empty()
}

/// The ways to start a command.
const MODES: &[&[&str]] = &[&[], &["--init"]];
