//! What the command finds: all that was given to the init, and nothing that the init needed for itself.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::process::Process;
use crate::table::Init::{Catatonit, CatatonitGroup, Dumb, DumbSingle, Tini, TiniGroup};
use crate::table::{ALL, NONE, shown_by};
use crate::trial::{WITNESS, same, so};

#[test]
fn the_command_has_the_descriptors_that_were_given_and_no_other() {
    shown_by(ALL).holds(|trial| {
        for before in ["", "exec 7</etc/passwd 9>/dev/null 8</usr"] {
            let without = trial.start().before(before).without().run(SLEEP);
            let plain = without.command("sleep")?;
            so(before.is_empty() || given(plain)?.contains_key(&8), "the test gives none")?;
            let started = trial.start().before(before).run(SLEEP);
            let child = started.child()?;
            started.settles(|| same("its descriptors", &given(child)?, &given(plain)?))?;
        }
        Ok(())
    });
}

#[test]
fn a_descriptor_that_was_given_is_the_commands_alone() {
    shown_by(&[Catatonit, CatatonitGroup]).holds(|trial| {
        let started = trial.start().before("exec 7</etc/passwd 9>/dev/null 8</usr").run(SLEEP);
        let (init, child) = (started.init()?, started.child()?);
        started.settles(|| {
            let (its, commands) = (init.descriptors()?, given(child)?);
            so(
                [7, 8, 9].iter().all(|fd| commands.contains_key(fd)),
                format!("the command has {commands:?}"),
            )?;
            let kept = [7, 8, 9].iter().any(|fd| its.get(fd) == commands.get(fd));
            so(!kept, format!("the init has {its:?}"))
        })
    });
}

#[test]
fn an_input_that_was_closed_is_closed_or_empty() {
    let inits = &[Dumb, DumbSingle, Catatonit, CatatonitGroup];
    shown_by(inits).holds(|trial| {
        let before = "exec <&-";
        let without = trial.start().before(before).without().run(SLEEP);
        let plain = without.command("sleep")?;
        let started = trial.start().before(before).run(SLEEP);
        let child = started.child()?;
        started.settles(|| {
            let input = child.descriptors()?.remove(&0).unwrap_or_else(|| PathBuf::from("/dev/null"));
            same("the input", &input, &PathBuf::from("/dev/null"))?;
            same("its descriptors", &given(child)?, &given(plain)?)
        })
    });
}

#[test]
fn without_any_of_the_standard_descriptors_it_does_its_duty() {
    shown_by(&[Dumb, DumbSingle, Catatonit, CatatonitGroup]).holds(|trial| {
        let start = || trial.start().before("exec <&- >&- 2>&-");
        start().run(&["sh", "-c", "exit 42"]).ends_with(42)?;
        let mut started = start().run(SLEEP);
        let (init, child) = (started.init()?, started.child()?);
        started.settles(|| {
            let found = child.descriptors()?;
            let strange = found.iter().any(|(fd, path)| *fd < 3 && path != Path::new("/dev/null"));
            so(!strange, format!("its descriptors: {found:?}"))
        })?;
        init.send(15);
        started.ends_with(143)
    });
}

#[test]
fn the_mask_is_the_one_that_was_given() {
    // SIGUSR2, SIGTERM and two of the real-time ones.
    shown_by(&[Tini, TiniGroup]).holds(|trial| {
        let start = trial.start().through(&[WITNESS, "blocking", "12,15,35,64"]);
        let started = start.run(SLEEP);
        same("the mask", &started.child()?.signals("SigBlk")?, &of(&[12, 15, 35, 64]))
    });
}

#[test]
fn the_mask_is_empty_if_it_was() {
    let inits = &[Tini, TiniGroup, Dumb, DumbSingle];
    shown_by(inits).holds(|trial| {
        let started = trial.run(SLEEP);
        same("the mask", &started.child()?.signals("SigBlk")?, &0)
    });
}

#[test]
fn a_mask_of_all_signals_is_kept_too() {
    shown_by(&[Tini, TiniGroup]).whatever_of(&[Catatonit, CatatonitGroup]).holds(|trial| {
        let mask = !of(&[9, 19]) & !HIDDEN;
        let started = trial.start().through(&[WITNESS, "blocking", &listed(mask)]).run(SLEEP);
        same("the mask", &started.child()?.signals("SigBlk")?, &mask)
    });
}

#[test]
fn a_mask_with_the_signals_that_c_libraries_hide_is_kept_too() {
    shown_by(NONE).holds(|trial| {
        let mask = !of(&[9, 19]);
        let started = trial.start().through(&[WITNESS, "blocking", &listed(mask)]).run(SLEEP);
        same("the mask", &started.child()?.signals("SigBlk")?, &mask)
    });
}

#[test]
fn ignored_signals_stay_ignored_and_no_others_are() {
    let inits = &[Tini, TiniGroup, Catatonit, CatatonitGroup];
    shown_by(inits).holds(|trial| {
        let before = "trap '' HUP INT PIPE USR1 TERM TSTP TTOU 36";
        let without = trial.start().before(before).without().run(SLEEP);
        let without = without.command("sleep")?.signals("SigIgn")?;
        same("the test's", &(without & !HIDDEN), &of(&[1, 2, 10, 13, 15, 20, 22, 36]))?;
        let started = trial.start().before(before).run(SLEEP);
        same("the ignored ones", &started.child()?.signals("SigIgn")?, &without)
    });
}

#[test]
fn the_end_of_children_stays_ignored_too() {
    shown_by(&[Tini, TiniGroup, Catatonit, CatatonitGroup]).holds(|trial| {
        let started = trial.start().through(&[WITNESS, "ignoring", "17"]).run(SLEEP);
        same("the ignored ones", &(started.child()?.signals("SigIgn")? & !HIDDEN), &of(&[17]))
    });
}

/// Whoever ignores their end is told of none, and can wait for none.
#[test]
fn the_status_of_the_command_is_known_even_if_the_end_of_children_was_ignored() {
    shown_by(&[Dumb, DumbSingle]).holds(|trial| {
        let start = trial.start().through(&[WITNESS, "ignoring", "17"]);
        start.run(&["sh", "-c", "exit 42"]).ends_with(42)
    });
}

#[test]
fn nothing_is_ignored_if_nothing_was() {
    shown_by(ALL).holds(|trial| {
        let started = trial.run(SLEEP);
        same("the ignored ones", &(started.child()?.signals("SigIgn")? & !HIDDEN), &0)?;
        same("the handled ones", &started.child()?.signals("SigCgt")?, &0)
    });
}

#[test]
fn a_command_that_was_started_to_survive_a_hang_up_does() {
    let inits = &[Tini, TiniGroup, Catatonit, CatatonitGroup];
    shown_by(inits).holds(|trial| {
        let mut started = trial.start().through(&["nohup"]).run(SLEEP);
        let (init, _) = (started.init()?, started.child()?);
        init.send(1);
        init.send(15);
        started.ends_with(143)
    });
}

#[test]
fn limits_priorities_and_rights_are_those_that_were_given() {
    let before = "cd /usr/lib; umask 027; ulimit -n 77; ulimit -s 5000; ulimit -u 4321; ulimit -c 0
                  echo 321 > /proc/self/oom_score_adj";
    shown_by(ALL).holds(|trial| {
        let start = trial.start().before(before);
        let start =
            start.through(&["nice", "-n", "7", "setpriv", "--no-new-privs", "--bounding-set=-sys_boot"]);
        let started = start.run(SLEEP);
        let (init, child) = (started.init()?, started.child()?);
        same("its directory", &child.link("cwd")?, &PathBuf::from("/usr/lib"))?;
        same("its root", &child.link("root")?, &init.link("root")?)?;
        same("its umask", &child.status("Umask")?.as_str(), &"0027")?;
        same("its score", &child.text("oom_score_adj")?.trim(), &"321")?;
        same("its niceness", &child.standing()?.nice, &7)?;
        same("no new rights", &child.status("NoNewPrivs")?.as_str(), &"1")?;
        for same_as_the_init in ["limits", "timerslack_ns", "cgroup", "personality"] {
            same(same_as_the_init, &child.text(same_as_the_init)?, &init.text(same_as_the_init)?)?;
        }
        so(child.text("limits")?.contains("Max open files            77 "), child.text("limits")?)?;
        for line in [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "Seccomp",
            "Cpus_allowed",
            "Mems_allowed",
            "THP_enabled",
            "Speculation_Store_Bypass",
        ] {
            same(line, &child.status(line)?, &init.status(line)?)?;
        }
        Ok(())
    });
}

/// A file system could not be unmounted for as long as it runs.
#[test]
fn the_init_is_in_nobodys_directory() {
    shown_by(&[Dumb, DumbSingle]).holds(|trial| {
        let started = trial.start().before("cd /usr/lib").run(SLEEP);
        let (init, child) = (started.init()?, started.child()?);
        started.settles(|| same("its own directory", &init.link("cwd")?, &PathBuf::from("/")))?;
        same("the command's", &child.link("cwd")?, &PathBuf::from("/usr/lib"))
    });
}

#[test]
fn the_command_reads_what_is_typed_to_the_init_and_its_end() {
    shown_by(ALL).holds(|trial| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut started = trial.start().input(reader).run(&["cat"]);
        writer.write_all(b"one\ntwo\n").unwrap();
        started.says("one")?;
        started.says("two")?;
        drop(writer);
        started.ends_with(0)
    });
}

#[test]
fn a_broken_pipe_ends_a_command_as_it_does_without_an_init() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&["bash", "-c", "yes | true; exit ${PIPESTATUS[0]}"]);
        started.ends_with(141)
    });
}

/// Its descriptors but for the three standard ones, whose files differ from one start to another.
pub fn given(process: Process) -> Result<BTreeMap<i32, PathBuf>, String> {
    let mut found = process.descriptors()?;
    found.retain(|fd, _| *fd > 2);
    Ok(found)
}

fn listed(mask: u64) -> String {
    let signals: Vec<String> =
        (1..=64).filter(|signal| mask & of(&[*signal]) != 0).map(|signal| signal.to_string()).collect();
    signals.join(",")
}

fn of(signals: &[i32]) -> u64 {
    signals.iter().map(|signal| 1 << (signal - 1)).sum()
}

const SLEEP: &[&str] = &["sleep", "1000"];

/// The two real-time signals that the C library hides, and ignores in programs that it starts.
const HIDDEN: u64 = 0b11 << 31;
