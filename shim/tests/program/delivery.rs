//! Values that are delivered as files or descriptors, as the command finds them.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::shim::{PATH, Shim};

fn holding(delivery: &Value) -> Daemon {
    let env = json!({"KEY": "hunter2\n'x'", "OTHER": "plain", "PATH": PATH});
    Daemon::resolving(json!({"env": env, "delivery": delivery}))
}

fn sh(daemon: &Daemon, options: &[&str], script: &str) -> String {
    let script = format!("{script}; env | grep -E '^(KEY|OTHER)' | sort");
    Shim::of(daemon).args(options).args(&["--", "/bin/sh", "-c", &script]).run().prints()
}

/// A folder in memory.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder in memory")
}

#[test]
fn a_file_holds_the_value_for_its_owner_alone_and_the_environment_says_where() {
    let (daemon, folder) = (holding(&json!({})), memory());
    let path = folder.path().join("key");
    let option = format!("--file=KEY={}", path.display());
    // Whatever is there already is replaced, and what a link leads to is left alone.
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "theirs").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let out = sh(&daemon, &[&option], &format!("umask 0; stat -c %a {}", path.display()));
    assert_eq!(out, format!("400\nKEY_FILE={}\nOTHER=plain\n", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "hunter2\n'x'");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
    assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), nix::unistd::getuid().as_raw());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing temporary is left: {names:?}");
}

#[test]
fn no_value_outlives_a_command_that_could_not_be_started() {
    let (daemon, folder) = (holding(&json!({})), memory());
    let option = |name: &str, file: &str| format!("--file={name}={}", folder.path().join(file).display());
    let lost = format!("cannot write {}", folder.path().join("none/other").display());
    for init in [&[][..], &["--init"]] {
        let shim = || Shim::of(&daemon).args(init).arg(option("KEY", "key"));
        shim().args(&["--", "/no/such"]).run().fails(127, "/no/such does not exist");
        shim()
            .args(&["--cwd=/no/such", "--", "/bin/true"])
            .run()
            .fails(125, "cannot change to the directory");
        shim().arg(option("OTHER", "none/other")).args(&["--", "/bin/true"]).run().fails(125, &lost);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{init:?}");
    }
}

#[test]
fn the_directory_that_was_made_for_files_ends_with_a_command_that_we_stay_with() {
    let daemon = holding(&json!({"KEY": "file"}));
    let out =
        Shim::of(&daemon).args(&["--init", "--", "/bin/sh", "-c", "cat $KEY_FILE; echo; echo $KEY_FILE"]);
    let told = out.run().prints();
    let path = Path::new(told.trim_end().rsplit_once('\n').unwrap().1);
    assert!(told.starts_with("hunter2\n'x'\n") && path.ends_with("KEY"), "{told}");
    assert!(!path.parent().unwrap().exists(), "{told}");
}

#[test]
fn who_takes_the_name_of_a_file_that_is_being_written_gets_nothing_and_stops_nothing() {
    let (daemon, folder) = (holding(&json!({})), memory());
    // A directory is not taken away, as the file of another user is not where only owners may.
    let script =
        "cd $FOLDER && mkdir .miosa-exec.$$.0 && ln -s theirs .miosa-exec.$$.1 && exec \"$0\" \"$@\"";
    let shim = Shim::below(&["/bin/sh", "-c", script], &crate::shim::program())
        .configured(|command| _ = command.env("FOLDER", folder.path()));
    let option = format!("--file=KEY={}", folder.path().join("key").display());
    let out =
        shim.arg("--socket").arg(daemon.socket()).args(&[&option, "--", "/bin/sh", "-c", "ls -A; cat key"]);
    let printed = out.run().prints();
    let names: Vec<&str> = printed.lines().collect();
    assert!(names[0].ends_with(".0") && names[1..] == ["key", "hunter2", "'x'"], "{printed}");
}

#[test]
fn no_secret_is_written_to_a_disk() {
    let daemon = holding(&json!({}));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("key");
    let line = format!("cannot write {}: it would be on a disk", path.display());
    let option = format!("--file=KEY={}", path.display());
    Shim::of(&daemon).args(&[&option, "--", "/bin/true"]).run().fails(125, &line);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_descriptor_holds_the_value_again_and_again_and_nobody_can_change_it() {
    let daemon = holding(&json!({}));
    let script = "cat <&7; echo; cat /proc/self/fd/7; echo; cat /proc/self/fd/7; echo; (echo x >&7) 2>/dev/null || echo sealed";
    let out = sh(&daemon, &["--fd", "KEY=7"], script);
    let value = "hunter2\n'x'\n";
    assert_eq!(out, format!("{value}{value}{value}sealed\nKEY_FD=7\nOTHER=plain\n"));
}

#[test]
fn several_descriptors_come_to_their_numbers_whatever_they_are() {
    let daemon = holding(&json!({}));
    for [key, other] in [[3, 4], [4, 3], [5, 3], [3, 100], [6, 5]] {
        let script = format!("cat <&{key}; cat /proc/self/fd/{other}; echo");
        let options = [format!("--fd=KEY={key}"), format!("--fd=OTHER={other}")];
        let out = sh(&daemon, &[&options[0], &options[1]], &script);
        assert_eq!(out, format!("hunter2\n'x'plain\nKEY_FD={key}\nOTHER_FD={other}\n"));
    }
}

#[test]
fn a_descriptor_that_somebody_else_gave_is_not_taken() {
    let daemon = holding(&json!({}));
    let script = "exec 9</dev/null; exec \"$0\" \"$@\"";
    let shim = Shim::below(&["/bin/sh", "-c", script], &crate::shim::program());
    shim.arg("--socket")
        .arg(daemon.socket())
        .args(&["--fd=KEY=9", "--", "/bin/true"])
        .run()
        .fails(125, "cannot deliver KEY: descriptor 9 is open already; give another number");
    // One that nobody numbered takes the next.
    let script = "exec 3</dev/null; exec \"$0\" \"$@\"";
    let shim = Shim::below(&["/bin/sh", "-c", script], &crate::shim::program());
    let daemon = holding(&json!({"KEY": "fd"}));
    let out = shim.arg("--socket").arg(daemon.socket()).args(&[
        "--",
        "/bin/sh",
        "-c",
        "cat <&$KEY_FD; echo $KEY_FD",
    ]);
    assert_eq!(out.run().prints(), "hunter2\n'x'4\n");
    assert!(fs::File::open("/dev/null").unwrap().as_raw_fd() > 2);
}

#[test]
fn a_value_above_the_limit_of_files_is_refused_in_one_line() {
    let (daemon, folder) = (holding(&json!({})), memory());
    let file = format!("KEY={}", folder.path().join("key").display());
    for option in [["--file", &file], ["--fd", "KEY=5"]] {
        let starter = ["/bin/sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"];
        let shim = Shim::below(&starter, &crate::shim::program()).arg("--socket").arg(daemon.socket());
        let out = shim.args(&option).args(&["--", "/bin/true"]).run().fails(125, "cannot ");
        let why = ": the limit on the size of files (ulimit -f) is too low for it\n";
        assert!(out.stderr.ends_with(why), "{}", out.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_descriptor_above_the_limit_is_refused_in_one_line() {
    let daemon = holding(&json!({}));
    for number in ["2000", "2147483647"] {
        let starter = ["/bin/sh", "-c", "ulimit -n 1000; exec \"$@\"", "sh"];
        let shim = Shim::below(&starter, &crate::shim::program()).arg("--socket").arg(daemon.socket());
        let line =
            format!("cannot deliver KEY as descriptor {number}: the limit on the number of open files");
        shim.args(&["--fd", &format!("KEY={number}"), "--", "/bin/true"]).run().fails(125, &line);
    }
}

#[test]
fn what_the_tenant_chose_is_delivered_so_and_what_is_typed_stands_above_it() {
    let daemon = holding(&json!({"KEY": "file", "OTHER": "fd"}));
    let out = sh(
        &daemon,
        &[],
        "cat \"$KEY_FILE\"; stat -c ' %a' \"$KEY_FILE\"; stat -c %a \"${KEY_FILE%/*}\"; cat <&$OTHER_FD; echo",
    );
    let (told, variables) = out.rsplit_once("KEY_FILE=").unwrap();
    assert_eq!(told, "hunter2\n'x' 400\n700\nplain\n");
    let path = PathBuf::from(variables.lines().next().unwrap());
    assert!(path.ends_with("KEY") && variables.ends_with("\nOTHER_FD=3\n"), "{variables}");
    fs::remove_dir_all(path.parent().unwrap()).unwrap();

    let folder = memory();
    let path = folder.path().join("k");
    let out = sh(&daemon, &[&format!("--file=KEY={}", path.display()), "--fd=OTHER=8"], ":");
    assert_eq!(out, format!("KEY_FILE={}\nOTHER_FD=8\n", path.display()));
    // A variable of the command line is nobody's choice but the command line's.
    assert_eq!(sh(&daemon, &["--env=KEY=mine", "--env=OTHER=mine"], ":"), "KEY=mine\nOTHER=mine\n");
}

#[test]
fn where_nothing_is_memory_a_file_is_a_descriptor_with_a_path() {
    let daemon = holding(&json!({"KEY": "file"}));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (disk, temporary) = (folder.path(), std::env::temp_dir());
    fs::create_dir(disk.join("was-tmp")).unwrap();
    fs::copy(crate::shim::program(), disk.join("shim")).unwrap();
    // Whatever is in those folders, this test's own included, is found in the last of them.
    let hide = format!(
        "cd / && mount --bind {1} {0}/was-tmp && mount --rbind {0} /run && \
         for d in /dev/shm /tmp; do mount --rbind /run $d; done; shift; exec /run/shim \"$@\"",
        disk.display(),
        temporary.display()
    );
    let socket = Path::new("/run/was-tmp").join(daemon.socket().strip_prefix(&temporary).unwrap());
    let starter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", &hide, "sh"];
    let script = "echo $KEY_FILE; cat $KEY_FILE; cat $KEY_FILE; stat -L -c ' %a' $KEY_FILE; test -z \"$KEY\"";
    let shim = Shim::below(&starter, &crate::shim::program());
    let out = shim.arg("--socket").arg(socket).args(&["--", "/bin/sh", "-c", script]).run().prints();
    assert_eq!(out, "/proc/self/fd/3\nhunter2\n'x'hunter2\n'x' 400\n");
}

#[test]
fn a_variable_that_is_not_there_is_named() {
    let daemon = holding(&json!({}));
    for option in ["--file=KYE=/dev/shm/kye", "--fd=KYE=3"] {
        Shim::of(&daemon).args(&[option, "--", "/bin/true"]).run().fails(
            125,
            "KYE is to be delivered as a file or descriptor, and no variable has that name; see --print explain",
        );
    }
    assert!(!Path::new("/dev/shm/kye").exists());
}

#[test]
fn without_the_daemon_what_it_would_have_given_is_not_asked_for() {
    let out = Shim::alone()
        .args(&[
            "--socket=/nowhere",
            "--wait=0",
            "--on-failure=continue",
            "--fd=KEY=3",
            "--fd=MINE=4",
            "--env=MINE=m",
        ])
        .args(&[
            "--",
            "/bin/sh",
            "-c",
            "cat <&4; echo; (cat <&3) 2>/dev/null || echo none; echo $KEY_FD $MINE_FD",
        ])
        .run();
    assert_eq!((out.status, out.stdout.as_slice()), (Some(0), b"m\nnone\n4\n".as_slice()), "{}", out.stderr);
    assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
}

#[test]
fn who_is_to_start_all_the_same_does_so_without_a_variable_that_its_tenant_has_taken_away() {
    let daemon = holding(&json!({}));
    let out = Shim::of(&daemon)
        .args(&["--on-failure=continue", "--fd=KYE=3", "--", "/bin/sh", "-c", "echo ran $OTHER $KYE_FD"])
        .run();
    assert_eq!((out.status, out.stdout.as_slice()), (Some(0), b"ran\n".as_slice()), "{}", out.stderr);
    let line = "miosa-exec: KYE is to be delivered as a file or descriptor, and no variable has that name";
    assert!(out.stderr.starts_with(line) && out.stderr.lines().count() == 1, "{}", out.stderr);
    // What else there is to tell is told once.
    let out = Shim::of(&daemon).args(&["--on-failure=continue", "--fd=KYE=3"]).run();
    assert_eq!(out.status, Some(125));
    assert!(out.stderr.contains("\nmiosa-exec: no command to start"), "{}", out.stderr);
}

#[test]
fn an_answer_that_names_nobody_is_an_answer() {
    let daemon = Daemon::resolving(json!({"resource_id": ""}));
    let line = "KYE is to be delivered as a file or descriptor, and no variable has that name";
    Shim::of(&daemon).args(&["--fd=KYE=3", "--", "/bin/true"]).run().fails(125, line);
}

#[test]
fn what_is_printed_makes_nothing() {
    let daemon = holding(&json!({"KEY": "file"}));
    let out = Shim::of(&daemon).args(&["--print", "env"]).run().prints();
    let line = out.lines().find(|line| line.starts_with("KEY_FILE=")).unwrap();
    assert!(!out.contains("hunter2") && !Path::new(&line["KEY_FILE=".len()..]).exists(), "{out}");
    assert!(line.ends_with("/KEY"), "a place is no secret: {line}");
    let out = Shim::of(&daemon).args(&["--print", "json"]).run().prints();
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["delivery"], json!({"KEY": "file"}));
    let out = Shim::of(&daemon).args(&["--print=json", "--fd=OTHER=3", "--env=KEY=mine"]).run().prints();
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["delivery"], json!({"OTHER": "fd"}), "what is typed stands above what was chosen");
    assert!(fs::metadata("/dev/shm").unwrap().permissions().mode() & 0o1000 != 0);
}
