//! Without `--init`: the command is the process that we were, and nothing of us is left in it.

use std::collections::BTreeSet;

use crate::inheritance::given;
use crate::process::Process;
use crate::table::{Place, ours};
use crate::trial::{Outcome, Started, WITNESS, same, so};

#[test]
fn the_command_has_our_place_and_no_children() {
    ours(|trial| {
        let started = trial.start().without_staying().run(SLEEP);
        let command = started.command("sleep")?;
        same("children", &command.children()?, &Vec::new())?;
        let first = started.first()?;
        match trial.place {
            Place::Pid1 => same("PID 1", &command, &first),
            Place::Ordinary => same("its parent", &command.standing()?.parent, &first.0),
        }
    });
}

#[test]
fn the_command_has_the_signals_and_descriptors_that_were_given_to_us() {
    ours(|trial| {
        let prepared = || {
            let start = trial.start().before("exec 7</etc/passwd; trap '' USR1 HUP");
            start.through(&[WITNESS, "blocking", "12,35"])
        };
        is_as_without_us(&prepared().without_staying().run(SLEEP), &prepared().without().run(SLEEP))
    });
}

#[test]
fn nothing_is_ignored_or_blocked_or_open_that_was_not() {
    ours(|trial| {
        let start = || trial.start();
        is_as_without_us(&start().without_staying().run(SLEEP), &start().without().run(SLEEP))
    });
}

fn is_as_without_us(with: &Started, without: &Started) -> Outcome {
    let (with_us, plain) = (with.command("sleep")?, without.command("sleep")?);
    with.settles(|| same("its descriptors", &given(with_us)?, &given(plain)?))?;
    for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        same(set, &with_us.status(set)?, &plain.status(set)?)?;
    }
    Ok(())
}

#[test]
fn no_memory_no_timer_and_no_lock_of_ours_is_left() {
    ours(|trial| {
        let started = trial.start().without_staying().run(SLEEP);
        let ours = started.command("sleep")?;
        let direct = trial.start().without().run(SLEEP);
        let without = direct.command("sleep")?;
        started.settles(|| same("what is mapped", &mapped(ours)?, &mapped(without)?))?;
        same("timers", &ours.text("timers")?, &String::new())?;
        for line in ["VmLck", "VmPin", "Threads", "NoNewPrivs", "Seccomp", "THP_enabled", "TracerPid"] {
            same(line, &ours.status(line)?, &without.status(line)?)?;
        }
        for file in ["limits", "oom_score_adj", "timerslack_ns", "personality", "coredump_filter"] {
            same(file, &ours.text(file)?, &without.text(file)?)?;
        }
        so(ours.standing()?.nice == without.standing()?.nice, "another niceness")
    });
}

#[test]
fn orphans_are_taken_in_by_whoever_would_have_them_without_us() {
    ours(|trial| {
        if trial.place == Place::Pid1 {
            return Ok(());
        }
        let start = trial.start().without_staying();
        let started = start.run(&["sh", "-c", "sh -c 'sleep 1000 & exit'; exec sleep 1000"]);
        let command = started.command("sleep")?;
        let first = started.first()?;
        started.eventually("the first process has two children", || {
            (first.children().ok()?.len() == 2 && command.children().ok()?.is_empty()).then_some(())
        })
    });
}

#[test]
fn the_end_of_our_parent_still_reaches_the_command_if_that_was_asked_for() {
    ours(|trial| {
        if trial.place == Place::Pid1 {
            return Ok(());
        }
        let parent = ["sh", "-c", "setpriv --pdeathsig TERM \"$@\" & wait", "sh"];
        let start = trial.start().without_staying().variable("STAY", "1").through(&parent);
        let started = start.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        started.first()?.children()?.first().ok_or("no parent")?.send(9);
        started.says_all(&["child 15", "init ended 99"])
    });
}

/// The names of what is in its memory.
fn mapped(process: Process) -> Result<BTreeSet<String>, String> {
    let maps = process.text("maps")?;
    let names = maps.lines().map(|line| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" "));
    Ok(names.collect())
}

const SLEEP: &[&str] = &["sleep", "1000"];
