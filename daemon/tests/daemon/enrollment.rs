//! Becoming a host and ceasing to be one, and starting on what is not right.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::host::{Host, write};
use crate::publisher::resources;

fn error(output: &std::process::Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_host_is_not_enrolled_twice() {
    let host = Host::enrolled();
    let before = fs::read(host.state("host.key")).unwrap();
    let trust = host.path("trust.json");
    let again = host.run(&["enroll", "--host-id", "host_2", "--trust", trust.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    let error = error(&again);
    assert!(error.starts_with("miosad: this host is already enrolled in "), "{error}");
    assert!(error.ends_with("run `miosad unenroll` first\n"), "{error}");
    assert_eq!(fs::read(host.state("host.key")).unwrap(), before);
}

#[test]
fn unenrolling_erases_every_key_and_update_and_may_be_repeated() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    let refused = host.run(&["unenroll"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error(&refused).contains("while another `miosad` is using"), "{refused:?}");
    host.stop();
    fs::remove_file(host.state("floor.a")).unwrap();
    fs::create_dir_all(host.state("floor.a/deep")).unwrap();
    assert!(host.run(&["unenroll"]).status.success());
    assert_eq!(fs::read_dir(host.path("state")).unwrap().count(), 0);
    assert!(host.run(&["unenroll"]).status.success());
    let trust = host.path("trust.json");
    let again = host.run(&["enroll", "--host-id", "host_1", "--trust", trust.to_str().unwrap()]);
    assert!(again.status.success(), "{again:?}");
}

#[test]
fn what_is_no_trust_document_enrolls_nobody() {
    let host = Host::blank();
    write(&host.path("trust.json"), b"{\"payloadType\":\"x\"}");
    let trust = host.path("trust.json");
    let refused = host.run(&["enroll", "--host-id", "host_1", "--trust", trust.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error(&refused).starts_with("miosad: cannot trust the trust document: "), "{refused:?}");
    assert!(!host.path("state").exists(), "nothing was written");
}

#[test]
fn serving_and_linking_without_enrollment_say_what_to_do_and_exit_with_78() {
    let host = Host::blank();
    for command in ["serve", "link"] {
        let failed = host.run(&[command]);
        assert_eq!(failed.status.code(), Some(78), "{command}");
        assert!(error(&failed).contains("is not enrolled in"), "{failed:?}");
        assert!(error(&failed).ends_with("run `miosad enroll`\n"), "{failed:?}");
    }
    let host = Host::enrolled();
    let failed = host.run(&["link"]);
    assert_eq!(failed.status.code(), Some(78));
    assert!(error(&failed).contains("enrolled without a control plane"), "{failed:?}");
}

#[test]
fn a_bad_configuration_is_refused_with_file_line_and_key() {
    let host = Host::enrolled();
    host.configure("# ours\nlog_levl = \"info\"\n");
    let failed = host.run(&["serve"]);
    assert_eq!(failed.status.code(), Some(78));
    let error = error(&failed);
    assert!(error.contains("miosad.toml line 2, key log_levl: there is no such key"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let missing = host.command(&["status"]).env("MIOSAD_CONFIG", "/no/such/file").output().unwrap();
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn a_lost_key_is_told_with_what_to_do() {
    let host = Host::enrolled();
    fs::remove_file(host.state("host.key")).unwrap();
    let failed = host.run(&["serve"]);
    assert_eq!(failed.status.code(), Some(78));
    let error = error(&failed);
    assert!(error.contains("host.key, nor a credential `miosad.host-key`: run `miosad unenroll`"), "{error}");
    assert!(error.contains("`miosa-control host rejoin`"), "{error}");
}

#[test]
fn a_key_that_the_service_manager_hands_over_is_used_and_a_wrong_one_is_named() {
    let mut host = Host::enrolled();
    let credential = host.path("credentials").join("miosad.host-key");
    fs::create_dir(host.path("credentials")).unwrap();
    fs::rename(host.state("host.key"), &credential).unwrap();
    let directory = host.path("credentials");
    host.start_with(&format!("export CREDENTIALS_DIRECTORY={}", directory.display()));
    assert_eq!(host.status()["host_key"], "credential");
    host.stop();
    write(&credential, b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    let failed = host.command(&["serve"]).env("CREDENTIALS_DIRECTORY", directory).output().unwrap();
    assert_eq!(failed.status.code(), Some(78));
    assert!(
        error(&failed).starts_with("miosad: cannot use the credential `miosad.host-key`: "),
        "{failed:?}"
    );
}

#[test]
fn root_enrolls_as_the_user_that_the_state_directory_belongs_to() {
    let host = Host::blank();
    let state = host.path("state");
    fs::create_dir(&state).unwrap();
    // Whoever runs the tests else can only do what root does for them.
    let of_tests = nix::unistd::geteuid();
    let (user, group) = if of_tests.is_root() {
        (4_711, 4_712)
    } else {
        (of_tests.as_raw(), nix::unistd::getegid().as_raw())
    };
    std::os::unix::fs::chown(&state, Some(user), Some(group)).unwrap();
    for path in [host.path(""), state.clone()] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    }
    fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let trust = host.path("trust.json");
    write(&trust, &host.publisher.trust(1));
    // For root's eyes only: it is read before root is root no more.
    fs::set_permissions(&trust, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let enrolled = host.run(&["enroll", "--host-id", "host_1", "--trust", trust.to_str().unwrap()]);
    assert!(enrolled.status.success(), "{enrolled:?}");
    let written: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(written.len() >= 5, "{written:?}");
    for path in written {
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid()), (user, group), "{}", path.display());
    }
    assert!(host.run(&["unenroll"]).status.success());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
}

#[test]
fn a_state_directory_that_others_may_change_is_not_used() {
    let host = Host::enrolled();
    for mode in [0o770, 0o702] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(host.path("state"), permissions).unwrap();
        let failed = host.run(&["serve"]);
        assert_eq!(failed.status.code(), Some(78));
        assert!(
            error(&failed).contains(&format!("its mode is {mode:o} and others may change")),
            "{failed:?}"
        );
        assert_eq!(error(&failed).lines().count(), 1);
    }
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let host = Host::enrolled();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o604);
    fs::set_permissions(host.state("host.key"), permissions).unwrap();
    let failed = host.run(&["serve"]);
    assert_eq!(failed.status.code(), Some(78));
    assert!(error(&failed).contains("its mode is 604 and others may read or change it"), "{failed:?}");
}

#[test]
fn the_process_gives_away_neither_its_memory_nor_a_core_file() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    let pid = host.pid();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // What belongs to an undumpable process is root's, whoever runs it; as root the difference does
    // not show, so ask the kernel the other way.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Name:\tmiosad"), "{status}");
    host.publish(2, resources(&[]));
}
