//! Signals that reach the init: which it forwards, and that none is lost.

use crate::table::Init::{Catatonit, CatatonitGroup, Dumb, DumbSingle, Tini, TiniGroup};
use crate::table::{ALL, NONE, shown_by};
use crate::trial::WITNESS;

/// Those of 1 to 31 that mean the command, stop and continue left out.
const PLAIN: [i32; 17] = [1, 2, 3, 10, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30];

/// What a fault raises: one that is sent is nobody's but the init's.
const FAULTS: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];

#[test]
fn every_signal_that_means_the_command_reaches_it() {
    shown_by(ALL).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for signal in PLAIN.into_iter().chain([18]).chain(34..=64) {
            started.init()?.send(signal);
            started.says(&format!("child {signal}"))?;
        }
        Ok(())
    });
}

/// The first real-time signals are what the C libraries use between threads, and hide from programs.
#[test]
fn the_signals_that_c_libraries_hide_reach_the_command_too() {
    shown_by(NONE).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for signal in [32, 33] {
            started.init()?.send(signal);
            started.says(&format!("child {signal}"))?;
        }
        Ok(())
    });
}

#[test]
fn a_signal_that_comes_again_is_forwarded_again() {
    shown_by(ALL).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for _ in 0..25 {
            for signal in [1, 10, 15] {
                started.init()?.send(signal);
                started.says(&format!("child {signal}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn real_time_signals_arrive_as_often_as_they_were_sent() {
    shown_by(ALL).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        let init = started.init()?;
        let sent = (0..200).map(|count| 36 + count % 4);
        sent.for_each(|signal| init.send(signal));
        init.send(64);
        let mut counts = [0; 4];
        loop {
            let line = started.line()?;
            match line.strip_prefix("child ").and_then(|number| number.parse::<usize>().ok()) {
                Some(number @ 36..=39) => counts[number - 36] += 1,
                Some(64) if counts == [50; 4] => return Ok(()),
                _ => return Err(format!("{line:?} after {counts:?}")),
            }
        }
    });
}

#[test]
fn a_signal_that_was_there_before_the_command_reaches_it() {
    // Some lose it, since it goes to a group that is not there yet, or end by it, since the mask is gone.
    let others = &[TiniGroup, CatatonitGroup, Dumb, DumbSingle];
    shown_by(&[Tini, Catatonit]).whatever_of(others).holds(|trial| {
        // The mask is inherited, so that the signal waits until the witness looks.
        let start = trial.start().through(&[WITNESS, "pending", "10,12,40"]);
        let started = start.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        started.says_all(&["child 10", "child 12", "child 40"])
    });
}

#[test]
fn signals_of_faults_are_not_forwarded() {
    let inits = &[Tini, TiniGroup, Catatonit, CatatonitGroup];
    shown_by(inits).only_as_pid_1().holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        FAULTS.into_iter().for_each(|signal| started.init().unwrap().send(signal));
        started.init()?.send(64);
        started.says("child 64")
    });
}

#[test]
fn reading_and_writing_in_the_background_stops_neither() {
    shown_by(&[Tini, TiniGroup, Catatonit, CatatonitGroup]).holds(|trial| {
        let started = trial.run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        for signal in [21, 22] {
            started.init()?.send(signal);
        }
        started.init()?.send(64);
        started.says("child 64")
    });
}

#[test]
fn nothing_from_inside_ends_pid_1() {
    shown_by(ALL)
        .only_as_pid_1()
        .holds(|trial| trial.run(&["sh", "-c", "kill -9 1; kill -19 1; exit 42"]).ends_with(42));
}

#[test]
fn signals_of_faults_from_inside_end_neither_pid_1_nor_the_command() {
    let inits = &[Tini, TiniGroup, Catatonit, CatatonitGroup];
    // It may have ended before the others' forwarded one arrives.
    shown_by(inits).only_as_pid_1().whatever_of(&[Dumb, DumbSingle]).holds(|trial| {
        let kill = "ulimit -c 0; for signal in 4 5 6 7 8 11 31; do kill -$signal 1; done; exit 42";
        trial.run(&["sh", "-c", kill]).ends_with(42)
    });
}

#[test]
fn a_signal_from_inside_reaches_the_command() {
    shown_by(ALL).only_as_pid_1().holds(|trial| {
        let command = "trap 'exit 7' USR1; kill -USR1 1; while :; do sleep 0.01; done";
        trial.run(&["sh", "-c", command]).ends_with(7)
    });
}

#[test]
fn the_end_of_whoever_started_it_reaches_the_command_if_that_was_asked_for() {
    shown_by(ALL).only_as_ordinary().holds(|trial| {
        let parent = ["sh", "-c", "setpriv --pdeathsig TERM \"$@\" & wait", "sh"];
        let started =
            trial.start().variable("STAY", "1").through(&parent).run(&[WITNESS, "signals", "child"]);
        started.says("child ready")?;
        let parent = *started.first()?.children()?.first().ok_or("no parent")?;
        parent.send(9);
        started.says_all(&["child 15", "init ended 99"])
    });
}
