//! The units as files: what systemd makes of them without running them. How they fare when they run is in
//! `booted`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use miosa_tests::World;
use miosa_tests::program::{binary, command};
use tempfile::TempDir;

#[test]
fn systemd_has_nothing_to_say_of_the_units() {
    let root = root();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", &format!("--root={}", root.path().display())]).args(names());
    let output = output_of(&mut verify);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn no_service_is_more_exposed_than_was_promised() {
    let promised = [("miosad.service", 0.2), ("miosad-link.service", 1.0), ("miosa-control.service", 1.0)];
    assert_eq!(services(), promised.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, limit) in promised {
        let mut security = Command::new("systemd-analyze");
        let output =
            output_of(security.args(["security", "--offline=yes", "--no-pager"]).arg(folder().join(name)));
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let overall = table.lines().find_map(|line| line.split_once("Overall exposure level for "));
        let level = overall.and_then(|(_, words)| words.split_whitespace().nth(1));
        let level: f64 = level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("{table}"));
        assert!(level <= limit, "{name}: {level}\n{table}");
    }
}

#[test]
fn no_service_is_root_or_can_become_it() {
    for name in services() {
        let unit = Unit::read(&name);
        let user = unit.last("User");
        assert!(user.starts_with("miosa"), "{name} runs as {user:?}");
        for empty in ["CapabilityBoundingSet", "AmbientCapabilities"] {
            assert_eq!(unit.all(empty), [""], "{name}: {empty}");
        }
        for yes in ["NoNewPrivileges", "RestrictSUIDSGID", "PrivateUsers", "MemoryDenyWriteExecute"] {
            assert_eq!(unit.last(yes), "yes", "{name}: {yes}");
        }
    }
}

/// Such a command runs as root, outside of everything that keeps the service in. A new one is a decision to
/// write down here.
#[test]
fn root_does_two_things_for_the_services_and_no_more() {
    let mut of_root = Vec::new();
    for name in services() {
        let unit = Unit::read(&name);
        let commands =
            unit.settings.iter().filter(|(key, _)| key.starts_with("Exec") && !key.ends_with("Paths"));
        for (key, line) in commands {
            let prefix = line.split('/').next().unwrap_or_default();
            if prefix.contains(['+', '!']) {
                of_root.push(format!("{key}={line}"));
            }
        }
    }
    let reload = "ExecReload=+/bin/sh -c 'kill -HUP ${MAINPID}'";
    let give = "ExecStartPost=+-/usr/bin/chgrp --no-dereference miosa-link /run/miosa/intake.sock";
    assert_eq!(of_root, [reload, give, reload]);
}

#[test]
fn a_start_can_not_hang_and_is_tried_for_ever() {
    for name in services() {
        let unit = Unit::read(&name);
        assert_eq!(unit.last("Restart"), "always", "{name}");
        assert_eq!(unit.last("StartLimitIntervalSec"), "0", "{name}");
        assert!(unit.all("RestartPreventExitStatus").is_empty(), "{name}");
        for bound in ["TimeoutStartSec", "TimeoutStopSec"] {
            let bound_is = unit.last(bound);
            assert!(!["", "0", "infinity"].contains(&bound_is.as_str()), "{name}: {bound}");
        }
        if unit.last("Type") == "notify" {
            assert_eq!(unit.last("NotifyAccess"), "main", "{name}");
            assert_ne!(unit.last("WatchdogSec"), "", "{name}");
        }
    }
}

#[test]
fn secrets_reach_no_disk_by_way_of_memory() {
    for name in services() {
        let unit = Unit::read(&name);
        assert_eq!((unit.last("LimitCORE"), unit.last("MemorySwapMax")), ("0".into(), "0".into()), "{name}");
        if !name.contains("link") {
            assert_eq!(unit.last("LimitMEMLOCK"), "infinity", "{name}");
            // The default, SIGABRT, asks for a core file.
            assert_eq!(unit.last("WatchdogSignal"), "SIGKILL", "{name}");
        }
    }
}

#[test]
fn what_a_service_may_write_can_not_be_executed() {
    for name in services() {
        let unit = Unit::read(&name);
        let noexec: BTreeSet<String> = unit.words("NoExecPaths").into_iter().collect();
        let mut writable = vec!["/".to_owned(), "/tmp".to_owned(), "/var/tmp".to_owned()];
        writable.extend(unit.words("StateDirectory").iter().map(|name| format!("/var/lib/{name}")));
        writable.extend(unit.words("RuntimeDirectory").iter().map(|name| format!("/run/{name}")));
        assert_eq!(noexec, writable.into_iter().collect(), "{name}");
        assert_eq!(unit.words("InaccessiblePaths").last().map(String::as_str), Some("/dev/shm"), "{name}");
        assert!(unit.all("ReadWritePaths").is_empty(), "{name}");
    }
}

#[test]
fn the_programs_know_every_command_and_option_of_the_units() {
    for name in services() {
        let line = Unit::read(&name).last("ExecStart");
        let mut words = line.split_whitespace();
        let path = words.next().expect("a program");
        let program = path.strip_prefix("/usr/bin/").unwrap_or_else(|| panic!("{name}: {path}"));
        // An option that is not known is one for --help too.
        let output = output_of(command(program).args(words).arg("--help"));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(binary(program).exists());
    }
}

#[test]
fn every_path_of_the_units_is_one_that_the_programs_use() {
    let help = |program: &str| {
        let output = output_of(command(program).args(["serve", "--help"]));
        String::from_utf8(output.stdout).expect("text")
    };
    let control = Unit::read("miosa-control.service");
    assert!(help("miosa-control").contains(&format!("/var/lib/{}", control.last("StateDirectory"))));
    let miosad = Unit::read("miosad.service");
    assert!(help("miosad").contains(&format!("/var/lib/{}", miosad.last("StateDirectory"))));
    assert!(help("miosad").contains(&format!("/run/{}", miosad.last("RuntimeDirectory"))));

    let world = World::start();
    let host = world.host("h1");
    host.await_ready();
    let (state, runtime) = (host.state_dir(), host.runtime_dir());
    let mut count = 0;
    for name in names() {
        for path in Unit::read(&name).paths() {
            let real = match (path.strip_prefix("/var/lib/miosa"), path.strip_prefix("/run/miosa")) {
                (Ok(below), _) => state.join(below),
                (_, Ok(below)) => runtime.join(below),
                _ => continue,
            };
            assert!(real.exists(), "{name} names {}, which a host does not have", path.display());
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn enrolling_writes_last_what_starts_the_daemon() {
    let [condition] =
        <[String; 1]>::try_from(Unit::read("miosad.service").all("ConditionPathExists")).unwrap();
    let path = Unit::read("miosad.path");
    // With PathExists= a daemon that an operator stopped would be started again.
    let keys: Vec<&str> = path.settings.iter().map(|(key, _)| key.as_str()).collect();
    assert!(!keys.contains(&"PathExists"), "{keys:?}");
    assert_eq!(path.last("PathChanged"), condition);
    assert_eq!(condition, "/var/lib/miosa/host.json");
}

#[test]
fn the_users_and_directories_are_made_as_the_units_want_them() {
    let root = TempDir::new().expect("a folder");
    let (users, directories) = ("usr/lib/sysusers.d", "usr/lib/tmpfiles.d");
    for (kind, place) in [("sysusers", users), ("tmpfiles", directories)] {
        fs::create_dir_all(root.path().join(place)).expect("make a folder");
        for file in files(kind) {
            let name = file.with_extension("conf");
            fs::copy(&file, root.path().join(place).join(name.file_name().unwrap())).expect("copy");
        }
    }
    fs::create_dir(root.path().join("etc")).expect("make a folder");
    for program in ["systemd-sysusers", "systemd-tmpfiles"] {
        let mut make = Command::new(program);
        make.arg(format!("--root={}", root.path().display()));
        if program == "systemd-tmpfiles" {
            make.arg("--create");
        }
        let output = output_of(&mut make);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Who may not change owners can't do more than parse.
        assert!(output.status.success(), "{program}: {said}");
        assert!(!said.contains(".conf:"), "{program}: {said}");
    }
    let users = table(&root.path().join("etc/passwd"));
    let groups = table(&root.path().join("etc/group"));
    for name in services() {
        let unit = Unit::read(&name);
        assert!(users.contains_key(&unit.last("User")), "{name}");
        let group = unit.last("Group");
        assert!(group.is_empty() || groups.contains_key(&group), "{name}");
        // A directory that has another owner or mode than the unit's would be changed at the first start.
        let directory = unit.last("StateDirectory");
        if directory.is_empty() {
            continue;
        }
        let made = fs::symlink_metadata(root.path().join("var/lib").join(directory)).expect("it was made");
        assert_eq!(made.mode() & 0o7777, 0o700, "{name}");
        assert_eq!(unit.last("StateDirectoryMode"), "0700", "{name}");
        assert_eq!(made.uid().to_string(), users[&unit.last("User")][2], "{name}");
    }
    for group in ["miosa", "miosa-link"] {
        assert_eq!(groups[group][3], "miosad-link", "who else is in {group} is an operator's choice");
    }
}

/// The settings of a unit, in their order.
struct Unit {
    settings: Vec<(String, String)>,
}

impl Unit {
    fn read(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(name)).expect("read a unit");
        let joined = text.replace("\\\n", " ");
        let lines = joined.lines().filter(|line| !line.starts_with(['#', ';', '[']));
        let settings = lines.filter_map(|line| line.split_once('='));
        Self { settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
    }

    fn all(&self, key: &str) -> Vec<String> {
        self.settings.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    fn last(&self, key: &str) -> String {
        self.all(key).pop().unwrap_or_default()
    }

    fn words(&self, key: &str) -> Vec<String> {
        self.all(key).iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    }

    /// Every absolute path in it, prefixes and what they are for left out.
    fn paths(&self) -> Vec<PathBuf> {
        let words = self.settings.iter().flat_map(|(_, value)| value.split([' ', ':']));
        let paths = words.map(|word| word.trim_start_matches(['-', '+', '!', '|']));
        paths.filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
    }
}

/// A root with the units, and with what they start and wait for.
fn root() -> TempDir {
    let root = TempDir::new().expect("a folder");
    let (units, programs) = (root.path().join("usr/lib/systemd/system"), root.path().join("usr/bin"));
    for folder in [&units, &programs] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    symlink("usr/bin", root.path().join("bin")).expect("link");
    for name in names() {
        fs::copy(folder().join(&name), units.join(&name)).expect("copy a unit");
    }
    for name in ["sysinit", "basic", "shutdown", "paths", "network-online", "multi-user"] {
        fs::write(units.join(format!("{name}.target")), "[Unit]\nDescription=x\n").expect("write a unit");
    }
    for name in ["miosad", "miosa-control", "chgrp", "sh"] {
        let program = programs.join(name);
        fs::write(&program, "").expect("write a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it one");
    }
    root
}

fn services() -> BTreeSet<String> {
    names().into_iter().filter(|name| name.ends_with(".service")).collect()
}

/// The units, by name.
fn names() -> Vec<String> {
    let units = files("service").into_iter().chain(files("path"));
    units.map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn files(extension: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder()).expect("list the units").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension}");
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").join("systemd")
}

/// A file of colons, by its first field.
fn table(path: &Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(path).expect("read it");
    let rows = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| (row[0].clone(), row)).collect()
}

fn output_of(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} ({error}): tests/requirements.sh installs it"))
}
