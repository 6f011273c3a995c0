//! Every alarm by name: what it means and what to do. The one list that the status, the metrics' docs and
//! docs/monitoring.md share; when one is raised is decided where it happens.

/// What an operator should know of an alarm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alarm {
    /// The stable name.
    pub(crate) name: &'static str,
    /// What has happened.
    pub(crate) meaning: &'static str,
    /// What to do, in one line.
    pub(crate) action: &'static str,
}

/// What an alarm stands for.
pub(crate) fn meaning(name: &str) -> &'static str {
    of(name).map_or("something needs an operator", |alarm| alarm.meaning)
}

/// What to do about an alarm.
pub(crate) fn action(name: &str) -> &'static str {
    of(name).map_or(UNKNOWN, |alarm| alarm.action)
}

fn of(name: &str) -> Option<&'static Alarm> {
    ALARMS.iter().find(|alarm| alarm.name == name)
}

const fn alarm(name: &'static str, meaning: &'static str, action: &'static str) -> Alarm {
    Alarm { name, meaning, action }
}

const UNKNOWN: &str = "read the log of `miosad serve`: journalctl -u miosad";

/// All of them, by name.
pub(crate) const ALARMS: &[Alarm] = &[
    alarm(
        "accept_exhausted",
        "connections could not be accepted for want of descriptors or memory",
        "raise LimitNOFILE= or MemoryMax= of miosad.service, and see who holds the connections",
    ),
    alarm(
        "access_log_failed",
        "the access log can't be written, so some of who resolved what is not recorded",
        "look at the disk of the state directory; nothing else waits for it, and it goes on by itself",
    ),
    alarm(
        "below_floor",
        "what is kept is older than what this host has accepted, so it is not served",
        "a full update helps: the link brings one; if none comes, `miosad push` one. Find out who put the state directory back",
    ),
    alarm(
        "configuration_refused",
        "the configuration file can't be used, so what was in force before is",
        "mend what `miosad status` names, or see `miosad serve --check-config`; it is picked up by itself",
    ),
    alarm(
        "disk_error",
        "the state directory could not be written",
        "read the kernel's log (dmesg); nothing new is accepted until it can be written",
    ),
    alarm(
        "disk_failing",
        "the disk of the state directory gives I/O errors",
        "read the kernel's log (dmesg) and replace the disk; what is held is served meanwhile",
    ),
    alarm(
        "disk_full",
        "the disk of the state directory is full",
        "free some space; nothing new is accepted until then",
    ),
    alarm(
        "disk_read_only",
        "the file system of the state directory is read-only",
        "mount it read-write; the kernel's log may say why it is not",
    ),
    alarm(
        "drop_exposed",
        "others may write the drop directory, or it belongs to somebody else: nothing is taken from it",
        "give it to the user that miosad runs as, mode 700",
    ),
    alarm(
        "drop_not_removed",
        "a file of the drop directory could not be removed after its verdict",
        "remove it by hand, and see that miosad may write the directory",
    ),
    alarm(
        "drop_unusable",
        "the drop directory can't be opened or listed",
        "make it a directory of the user that miosad runs as, mode 700",
    ),
    alarm(
        "drop_unwatched",
        "the kernel does not watch the drop directory, so it is looked at every 2 seconds",
        "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches",
    ),
    alarm(
        "drop_vanished",
        "the drop directory was removed or replaced; it was made again",
        "find out who removed it: files that were put there meanwhile are gone",
    ),
    alarm(
        "equivocation",
        "two different contents were signed under one version",
        "treat the signing key as stolen until shown otherwise: look into STATE/evidence, then `miosa-control trust rotate`",
    ),
    alarm(
        "evidence_not_kept",
        "the proof of an equivocation could not be kept",
        "mend the disk; the log has the refusal",
    ),
    alarm(
        "floor_damaged",
        "one of the two copies of the floor was unreadable and was written anew from the other",
        "check the disk: a file that was written whole has changed",
    ),
    alarm(
        "floor_lost",
        "both copies of the floor are unreadable, so only a full update of the last 15 minutes is accepted",
        "let the link bring a full update; check the disk, and who may write the state directory",
    ),
    alarm(
        "floor_not_raised",
        "the floor could not be written",
        "mend the disk; it is tried again with the next update",
    ),
    alarm(
        "floor_not_repaired",
        "the damaged copy of the floor could not be written anew",
        "mend the disk, then restart miosad",
    ),
    alarm(
        "floor_unreadable",
        "a copy of the floor can't be read just now",
        "mend the disk, then restart miosad",
    ),
    alarm(
        "intake_stuck",
        "an update has been worked on for more than a minute, and none after it is taken in",
        "look at the disk of the state directory; what is held is served meanwhile",
    ),
    alarm(
        "listeners_not_kept",
        "the service manager has no room for the listeners of all resources, so their clients are refused during a restart",
        "raise FileDescriptorStoreMax= of miosad.service, and with systemd before 254 set Environment=FDSTORE= to the same number",
    ),
    alarm(
        "resource_directory_tampered",
        "the directory of a resource held more than its socket when it was removed: it was mounted writable",
        "mount it read-only (ro,nosuid,nodev,noexec), and look at what was planted in RUN/resources/.aside-*",
    ),
    alarm(
        "signer_revoked",
        "a signer of the held state was revoked, so it is not served any more",
        "a full update by another signer helps: the link brings one; if none comes, publish one",
    ),
    alarm(
        "socket_not_closed",
        "the socket of a removed resource did not close in time",
        "restart miosad: the former holder of the resource may still be connected",
    ),
    alarm(
        "socket_tampered",
        "a socket, or a directory that leads to one, is not what miosad made",
        "`miosad doctor` says where; end what runs in that sandbox, mount its directory read-only, place the resource anew",
    ),
    alarm(
        "state_denied",
        "the state directory may not be written",
        "give it and all in it to the user that miosad runs as, mode 700",
    ),
    alarm(
        "state_missing",
        "the state directory, or a part of it, was removed or moved",
        "put it back, or stop miosad and enroll this host again",
    ),
    alarm(
        "trust_equivocation",
        "two different trust documents were signed under one version",
        "treat the root keys as stolen until shown otherwise: look into STATE/evidence, find out who holds them",
    ),
    alarm(
        "trust_rolled_back",
        "the trust documents kept end before one that this host has followed, so nothing is accepted or served",
        "hand it the missing ones with `miosad push`, or let the link bring them",
    ),
    alarm(
        "trust_unreadable",
        "a trust document that is kept can't be read just now",
        "mend the disk, then restart miosad",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_alarm_that_the_code_raises_is_listed_and_no_other() {
        let mut raised = BTreeSet::from(["equivocation".to_owned(), "trust_equivocation".to_owned()]);
        for (path, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let inside_tests = path.components().any(|part| part.as_os_str() == "tests");
            if !inside_tests && !path.ends_with("alarms.rs") {
                raised.extend(names_in(code));
            }
        }
        let listed: BTreeSet<String> = ALARMS.iter().map(|alarm| alarm.name.to_owned()).collect();
        assert_eq!(raised, listed, "raised on the left, listed on the right");
    }

    #[test]
    fn the_documentation_has_the_same_table_in_the_same_order() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring.md");
        let text = fs::read_to_string(path).unwrap();
        let (_, section) = text.split_once("\n## Alarms\n").expect("a section on alarms");
        let rows: Vec<&str> = section
            .lines()
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let row = |Alarm { name, meaning, action }: &Alarm| format!("| `{name}` | {meaning} | {action} |");
        assert_eq!(rows, ALARMS.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn what_to_do_fits_one_line_and_an_alarm_without_a_line_sends_to_the_log() {
        for Alarm { name, meaning, action } in ALARMS {
            assert!(!action.ends_with('.') && !action.contains('\n') && action.len() <= 140, "{name}");
            assert!(!meaning.ends_with('.') && meaning.len() <= 140, "{name}");
        }
        assert!(ALARMS.is_sorted_by_key(|alarm| alarm.name));
        assert_eq!(action("of a later version"), UNKNOWN);
    }

    /// The words that stand where an alarm is named: in calls, and in what names one for a call.
    fn names_in(code: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for call in [".alarm(", "self.tell(", ".count_alarm("] {
            for after in code.split(call).skip(1) {
                if let Some(text) = after.trim_start().strip_prefix('"') {
                    names.extend(text.split('"').next().map(str::to_owned));
                }
            }
        }
        for begin in ["fn alarm(", "let alarm = "] {
            for after in code.split(begin).skip(1) {
                let end = if begin.starts_with("fn") { "\n    }" } else { ";" };
                let body = after.split(end).next().unwrap_or_default();
                names.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
        names.retain(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        // The event of the log line that tells of any of them.
        names.remove("alarm");
        names
    }

    fn sources(directory: &Path) -> Vec<(std::path::PathBuf, String)> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(sources(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
        files
    }
}
