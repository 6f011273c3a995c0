//! Who hears a signal: the command's whole group, or the command alone. And what becomes of the group.

use crate::table::Init::Dumb;
use crate::table::{ALL, ALONE, GROUP, NONE, shown_by};
use crate::trial::{Trial, WITNESS, same, so};

/// Two of a group, the command and another.
const TWO: &str = "\"$0\" signals other & exec \"$0\" signals child";

#[test]
fn signals_to_end_and_to_look_anew_reach_the_whole_group() {
    shown_by(GROUP).holds(|trial| {
        let started = trial.run(&["sh", "-c", TWO, WITNESS]);
        started.says_all(&["child ready", "other ready"])?;
        for signal in [1, 2, 3, 15, 18, 28] {
            started.init()?.send(signal);
            started.says_all(&[&format!("child {signal}"), &format!("other {signal}")])?;
        }
        Ok(())
    });
}

#[test]
fn signals_with_a_meaning_of_the_command_reach_it_alone() {
    shown_by(ALONE).holds(|trial| {
        let started = trial.run(&["sh", "-c", TWO, WITNESS]);
        started.says_all(&["child ready", "other ready"])?;
        let other = other(trial, &started)?;
        for signal in [10, 12, 13, 14, 16, 23, 24, 25, 26, 27, 29, 30, 34, 50] {
            started.init()?.send(signal);
            started.says(&format!("child {signal}"))?;
            // Lower numbers are told first: whatever the other one was sent comes before this.
            other.send(64);
            started.says("other 64")?;
        }
        Ok(())
    });
}

#[test]
fn the_rest_of_the_group_is_asked_to_end_when_the_command_has_ended() {
    shown_by(&[Dumb]).only_as_ordinary().holds(|trial| {
        let command = "\"$0\" signals other & wait; wait";
        let started = trial.start().variable("STAY", "1").run(&["sh", "-c", command, WITNESS]);
        started.says("other ready")?;
        started.child()?.send(9);
        started.says_all(&["other 15", "init ended 137"])
    });
}

#[test]
fn a_command_that_ends_well_when_asked_to_is_not_hurried() {
    shown_by(ALL).holds(|trial| {
        let command = "trap 'echo asked; sleep 0.2; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let mut started = trial.run(&["sh", "-c", command]);
        started.says("ready")?;
        started.init()?.send(15);
        started.says("asked")?;
        started.ends_with(3)
    });
}

#[test]
fn a_command_that_does_not_end_when_asked_to_is_killed_with_its_group() {
    shown_by(NONE).holds(|trial| {
        let start = trial.start().variable("STAY", "1").ours(&["--grace", "1"]);
        let mut started = start.run(&["sh", "-c", TWO, WITNESS]);
        started.says_all(&["child ready", "other ready"])?;
        let (child, other) = (started.child()?, other(trial, &started)?);
        started.init()?.send(15);
        started.says_all(&["child 15", "other 15"])?;
        started.eventually("both are gone", || (!child.is_alive() && !other.is_alive()).then_some(()))?;
        match trial.place {
            crate::table::Place::Pid1 => started.ends_with(137),
            crate::table::Place::Ordinary => started.says("init ended 137"),
        }
    });
}

#[test]
fn a_group_that_outlives_its_leader_by_ignoring_the_signal_is_left_when_the_leader_ended_well() {
    shown_by(ALL).only_as_ordinary().holds(|trial| {
        let command = "trap 'exit 6' TERM; \"$0\" signals other & while :; do sleep 0.01; done";
        let started = trial.start().variable("STAY", "1").run(&["sh", "-c", command, WITNESS]);
        started.says("other ready")?;
        let other = other(trial, &started)?;
        started.init()?.send(15);
        loop {
            match started.line()?.as_str() {
                "other 15" => {}
                "init ended 6" => break,
                line => return Err(format!("it says {line:?}")),
            }
        }
        so(other.is_alive(), "the other one was killed though the command ended in time")
    });
}

#[test]
fn asking_to_end_again_reaches_the_command_again() {
    shown_by(ALL).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for _ in 0..3 {
            started.init()?.send(15);
            started.says("child 15")?;
        }
        Ok(())
    });
}

/// With no grace at all, a clock that were started would have run out at once.
#[test]
fn only_the_signal_to_end_starts_the_clock() {
    shown_by(ALL).holds(|trial| {
        let started = trial.start().ours(&["--grace", "0"]).run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for signal in [1, 2, 3, 10, 12, 18, 28, 64] {
            started.init()?.send(signal);
            started.says(&format!("child {signal}"))?;
        }
        started.init()?.send(10);
        started.says("child 10")
    });
}

/// What `docker stop` does with a container whose command does not listen.
#[test]
fn killing_pid_1_leaves_nothing() {
    shown_by(ALL).only_as_pid_1().holds(|trial| {
        let started = trial.run(&["sh", "-c", TWO, WITNESS]);
        started.says_all(&["child ready", "other ready"])?;
        let (child, other) = (started.child()?, other(trial, &started)?);
        started.init()?.send(15);
        started.init()?.send(9);
        started.eventually("both are gone", || (!child.is_alive() && !other.is_alive()).then_some(()))
    });
}

#[test]
fn a_process_in_a_session_of_its_own_outlives_the_init() {
    shown_by(ALL).only_as_ordinary().holds(|trial| {
        let command = "setsid sh -c 'echo apart; exec sleep 1000' & wait";
        let started = trial.start().variable("STAY", "1").run(&["sh", "-c", command]);
        started.says("apart")?;
        started.child()?.send(9);
        started.says("init ended 137")?;
        started.eventually("it has a new parent", || {
            let left = started.first().ok()?.children().ok()?;
            (left.len() == 1 && left[0].program().ok()? == "sleep").then_some(())
        })
    });
}

#[test]
fn without_a_terminal_the_command_leads_a_session_of_its_own() {
    shown_by(&[Dumb]).holds(|trial| {
        let started = trial.run(&["sleep", "1000"]);
        let child = started.child()?;
        let standing = child.standing()?;
        same("its group", &standing.group, &child.0)?;
        same("its session", &standing.session, &child.0)
    });
}

/// The child of the command.
fn other(trial: &Trial, started: &crate::trial::Started) -> Result<crate::process::Process, String> {
    let child = started.child()?;
    trial.eventually("another process", || child.children().ok()?.first().copied())
}
