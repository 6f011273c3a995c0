//! Processes whose parent has ended: they become the init's, and no zombie stays.

use crate::table::Init::{Catatonit, CatatonitGroup, Tini, TiniGroup};
use crate::table::{ALL, Init, shown_by};
use crate::trial::{WITNESS, same};

/// Those that take in orphans where they are not PID 1.
const SUBREAPERS: &[Init] = &[Tini, TiniGroup, Catatonit, CatatonitGroup];

#[test]
fn thousands_of_orphans_leave_no_zombie() {
    shown_by(ALL).as_ordinary(SUBREAPERS).holds(|trial| {
        // As an ordinary process it must be seen to take them in, or the shelter would have.
        let living = "(echo apart; exec sleep 1000) & exit";
        let command = format!("sh -c '{living}'; exec \"$0\" orphans 2000");
        let started = trial.run(&["sh", "-c", &command, WITNESS]);
        started.says_all(&["apart", "made 2000"])?;
        let (init, child) = (started.init()?, started.child()?);
        started.eventually("its children are the command and one orphan", || {
            let children = init.children().ok()?;
            (children.len() == 2 && children.iter().all(|child| child.is_alive())).then_some(())
        })?;
        same("children of the command", &child.children()?.len(), &0)
    });
}

#[test]
fn an_orphan_that_ends_later_is_reaped_then() {
    shown_by(ALL).as_ordinary(SUBREAPERS).holds(|trial| {
        let started = trial.run(&["sh", "-c", "sh -c 'sleep 1000 & exit'; exec sleep 1000"]);
        let (init, child) = (started.init()?, started.child()?);
        let orphan = started.eventually("an orphan is taken in", || {
            init.children().ok()?.into_iter().find(|one| *one != child)
        })?;
        orphan.send(15);
        started.eventually("it is reaped", || (init.children().ok()? == [child]).then_some(()))
    });
}

#[test]
fn the_status_of_an_orphan_is_not_taken_for_the_commands() {
    shown_by(ALL).holds(|trial| {
        let orphans = "for status in 1 2 3; do sh -c \"(exit $status) & (kill -9 \\$\\$) & exit 9\"; done";
        trial.run(&["sh", "-c", &format!("{orphans}; sleep 0.1; exit 4")]).ends_with(4)
    });
}

#[test]
fn orphans_and_signals_at_once_lose_neither() {
    shown_by(ALL).as_ordinary(SUBREAPERS).holds(|trial| {
        // Apart from the command's group, which some of them signal.
        let command = "sh -c 'setsid sh -c \"echo apart; exec sleep 1000\" & exit'
                       setsid sh -c 'echo making; exec \"$0\" orphans 1000' \"$0\" &
                       exec \"$0\" signals child";
        let started = trial.run(&["sh", "-c", command, WITNESS]);
        let init = started.init()?;
        started.says_all(&["apart", "making", "child ready"])?;
        (0..100).for_each(|_| init.send(40));
        started.says_all(&[vec!["child 40"; 100], vec!["made 1000"]].concat())?;
        started.eventually("its children are the command and one orphan", || {
            let children = init.children().ok()?;
            (children.len() == 2 && children.iter().all(|child| child.is_alive())).then_some(())
        })
    });
}

/// A shell that becomes the init leaves it what it had started in the background.
#[test]
fn children_from_before_are_reaped_and_not_taken_for_the_command() {
    shown_by(ALL).holds(|trial| {
        let start = trial.start().before("tail -f /dev/null &");
        let mut started =
            start.run(&["sh", "-c", "trap 'exit 4' USR1; echo up; while :; do sleep 0.01; done"]);
        started.says("up")?;
        let (init, former) = (started.init()?, started.below("tail")?);
        former.send(9);
        started.eventually("it is reaped", || (init.children().ok()?.len() == 1).then_some(()))?;
        init.send(10);
        started.ends_with(4)
    });
}

/// No signal tells of it: it came before anybody listened.
#[test]
fn a_zombie_from_before_is_reaped() {
    let inits = &[Tini, TiniGroup];
    shown_by(inits).holds(|trial| {
        let started = trial.start().through(&[WITNESS, "mourning"]).run(&["sleep", "1000"]);
        let init = started.init()?;
        let command = started.below("sleep")?;
        started.eventually("it is reaped", || (init.children().ok()? == [command]).then_some(()))
    });
}

#[test]
fn killing_all_that_can_be_killed_leaves_pid_1_and_who_did_it() {
    shown_by(ALL).only_as_pid_1().holds(|trial| {
        let command = "sh -c 'sleep 1000 & sleep 1000 & exit'; kill -9 -1; exit 42";
        trial.run(&["sh", "-c", command]).ends_with(42)
    });
}
