//! Stopping and continuing, without a terminal.

use crate::process::Process;
use crate::table::Init::{Dumb, DumbSingle, Tini, TiniGroup};
use crate::table::{ALL, NONE, shown_by};
use crate::trial::{Outcome, Started, WITNESS, so};

/// A default action is not taken in a group without a parent in its session, which the group that a test
/// happens to run in may be: so nothing is said of the init that leaves the command in there.
#[test]
fn the_command_stops_and_continues() {
    shown_by(&[Tini, TiniGroup, Dumb]).whatever_of(&[DumbSingle]).holds(|trial| {
        let started = trial.run(&["sleep", "1000"]);
        let (init, child) = (started.init()?, started.child()?);
        for _ in 0..3 {
            init.send(20);
            becomes(&started, child, 'T')?;
            goes_on(&started, init, || child.standing().is_ok_and(|standing| standing.state == 'S'))?;
        }
        init.send(15);
        let mut started = started;
        started.ends_with(143)
    });
}

#[test]
fn whoever_waits_for_the_init_sees_it_stop_with_the_command() {
    shown_by(&[Dumb]).only_as_ordinary().whatever_of(&[DumbSingle]).holds(|trial| {
        let mut started = trial.run(&["sleep", "1000"]);
        let (init, child) = (started.init()?, started.child()?);
        for _ in 0..3 {
            init.send(20);
            becomes(&started, child, 'T')?;
            becomes(&started, init, 'T')?;
            init.send(18);
            becomes(&started, child, 'S')?;
            becomes(&started, init, 'S')?;
        }
        init.send(15);
        started.ends_with(143)
    });
}

#[test]
fn pid_1_does_not_stop_with_the_command() {
    shown_by(ALL).only_as_pid_1().holds(|trial| {
        let mut started = trial.run(&["sh", "-c", "sh -c 'sleep 1000 & exit'; exec sleep 1000"]);
        let (init, child) = (started.init()?, started.child()?);
        let orphan = started.eventually("an orphan is taken in", || {
            init.children().ok()?.into_iter().find(|one| *one != child)
        })?;
        child.send(19);
        becomes(&started, child, 'T')?;
        // It still does its duty.
        orphan.send(9);
        started.eventually("the orphan is reaped", || (init.children().ok()? == [child]).then_some(()))?;
        so(init.standing()?.state != 'T', "it has stopped")?;
        init.send(18);
        becomes(&started, child, 'S')?;
        init.send(15);
        started.ends_with(143)
    });
}

#[test]
fn a_stopped_command_ends_when_it_is_asked_to_and_continued() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&["sleep", "1000"]);
        let (init, child) = (started.init()?, started.child()?);
        child.send(19);
        becomes(&started, child, 'T')?;
        init.send(15);
        goes_on(&started, init, || !init.is_alive())?;
        started.ends_with(143)
    });
}

#[test]
fn a_stopped_command_that_nobody_continues_ends_after_the_grace() {
    shown_by(NONE).only_as_pid_1().holds(|trial| {
        let mut started = trial.start().ours(&["--grace", "1"]).run(&["sleep", "1000"]);
        let (init, child) = (started.init()?, started.child()?);
        child.send(19);
        becomes(&started, child, 'T')?;
        init.send(15);
        let status = started.status()?;
        // Killed, or continued to end by itself.
        so([137, 143].contains(&status), format!("its status is {status}"))
    });
}

/// As a debugger, a freezer or a person does, who knows nothing of the init.
#[test]
fn a_command_that_somebody_stops_and_continues_takes_nothing_along() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&["sleep", "1000"]);
        let child = started.child()?;
        for _ in 0..3 {
            child.send(19);
            becomes(&started, child, 'T')?;
            child.send(18);
            becomes(&started, child, 'S')?;
        }
        child.send(15);
        started.ends_with(143)
    });
}

#[test]
fn a_stopped_command_that_somebody_kills_is_137() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&["sleep", "1000"]);
        let child = started.child()?;
        child.send(19);
        becomes(&started, child, 'T')?;
        child.send(9);
        started.ends_with(137)
    });
}

#[test]
fn an_init_that_was_stopped_itself_misses_nothing() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        let (init, child) = (started.init()?, started.child()?);
        init.send(19);
        becomes(&started, init, 'T')?;
        [10, 40, 40].into_iter().for_each(|signal| init.send(signal));
        init.send(18);
        started.says_all(&["child 10", "child 18", "child 40", "child 40"])?;
        init.send(19);
        becomes(&started, init, 'T')?;
        child.send(9);
        init.send(18);
        started.ends_with(137)
    });
}

/// Continues the init until it is so: one that is about to stop itself loses what came before, as a stop
/// takes the signal to continue out of the queue.
fn goes_on(started: &Started, init: Process, so: impl Fn() -> bool) -> Outcome {
    started.eventually("it goes on", || {
        init.send(18);
        so().then_some(())
    })
}

fn becomes(started: &Started, process: Process, state: char) -> Outcome {
    started.eventually(&format!("{process:?} is {state}"), || {
        (process.standing().ok()?.state == state).then_some(())
    })
}
