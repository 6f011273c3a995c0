//! As a job of an interactive shell, with all that a person does there.

use crate::table::Init::{Dumb, DumbSingle, Tini, TiniGroup};
use crate::table::{ALL, shown_by};
use crate::trial::{PROMPT, same};

#[test]
fn an_interrupted_job_ends_and_the_shell_has_the_terminal_again() {
    shown_by(ALL).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo running; exec sleep 1000'\n");
        terminal.shows("running")?;
        terminal.press("\x03");
        terminal.shows(PROMPT)?;
        terminal.press("echo status=$?\n");
        terminal.shows("status=130")?;
        Ok(())
    });
}

#[test]
fn a_job_can_be_stopped_and_brought_back() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo running; exec cat'\n");
        terminal.shows("running")?;
        let cat = started.below("cat")?;
        for line in ["one", "two"] {
            terminal.press("\x1a");
            terminal.shows("Stopped")?;
            // With the others it may still be about to: it would read what is typed next.
            started.settles(|| same("its state", &cat.standing()?.state, &'T'))?;
            terminal.press("echo between\n");
            terminal.shows("between")?;
            terminal.press("fg\n");
            terminal.shows("$INIT")?;
            terminal.press(&format!("{line}\n"));
            terminal.shows(&format!("{line}\n"))?;
        }
        terminal.press("\x04");
        terminal.press("echo status=$?\n");
        terminal.shows("status=0")?;
        Ok(())
    });
}

#[test]
fn a_stopped_job_can_go_on_in_the_background() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo running; exec sleep 1000'\n");
        terminal.shows("running")?;
        terminal.press("\x1a");
        terminal.shows("Stopped")?;
        terminal.press("bg; jobs -r; echo between\n");
        terminal.shows("Running")?;
        terminal.shows("between")?;
        terminal.press("kill %1; wait %1; echo status=$?\n");
        terminal.shows("status=143")?;
        Ok(())
    });
}

#[test]
fn a_job_in_the_background_does_not_take_the_terminal() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo run''ning; exec sleep 1000' &\n");
        terminal.shows("running")?;
        terminal.press("echo still here\n");
        terminal.shows("still here")?;
        terminal.press("kill %1; wait %1; echo status=$?\n");
        terminal.shows("status=143")?;
        Ok(())
    });
}

#[test]
fn a_job_in_the_background_that_reads_is_stopped_until_it_is_brought_forward() {
    shown_by(&[DumbSingle]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("set -b; $INIT cat &\n");
        terminal.shows("Stopped")?;
        terminal.press("fg\n");
        terminal.shows("$INIT cat")?;
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        terminal.press("\x04");
        terminal.press("echo status=$?\n");
        terminal.shows("status=0")?;
        Ok(())
    });
}

#[test]
fn a_job_can_be_part_of_a_pipeline() {
    shown_by(ALL).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("echo through | $INIT cat | tr a-z A-Z; echo status=${PIPESTATUS[1]}\n");
        terminal.shows("THROUGH")?;
        terminal.shows("status=0")?;
        terminal.press("$INIT sh -c 'stty size' | cat\n");
        terminal.shows("24 80")?;
        terminal.press("echo still here\n");
        terminal.shows("still here")?;
        Ok(())
    });
}

/// The rest of the pipeline is of the shell's job, and in another group than the command.
#[test]
fn a_pipeline_with_it_can_be_stopped_and_brought_back() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo running; exec cat' | tac -s '\\n'\n");
        let cat = started.below("cat")?;
        started.settles(|| same("its state", &cat.standing()?.state, &'S'))?;
        terminal.press("\x1a");
        terminal.shows("Stopped")?;
        started.settles(|| same("its state", &cat.standing()?.state, &'T'))?;
        terminal.press("echo betw''een\n");
        terminal.shows("between")?;
        terminal.press("fg\n");
        terminal.shows("$INIT")?;
        terminal.press("read by cat\n");
        terminal.press("\x04");
        terminal.shows("read by cat\n")?;
        terminal.press("echo status=${PIPESTATUS[0]}\n");
        terminal.shows("status=0")?;
        Ok(())
    });
}

#[test]
fn what_is_left_of_a_pipeline_can_be_interrupted() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo run''ning >&2; exec sleep 1000' | tail -f /dev/null\n");
        terminal.shows("running")?;
        let (sleep, tail) = (started.below("sleep")?, started.below("tail")?);
        sleep.send(9);
        started.eventually("it has ended", || (!sleep.is_alive()).then_some(()))?;
        started.eventually("the rest is in the foreground again", || {
            terminal.press("\x03");
            (!tail.is_alive()).then_some(())
        })?;
        terminal.shows(PROMPT)?;
        Ok(())
    });
}

/// A script is in the group that the init is in: it has to get the terminal back.
#[test]
fn a_script_that_starts_it_reads_from_the_terminal_afterwards() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("sh -c '$INIT true; echo after; exec cat'\n");
        terminal.shows("after")?;
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        terminal.press("\x03");
        terminal.shows(PROMPT)?;
        Ok(())
    });
}

#[test]
fn a_script_that_starts_it_can_be_stopped_and_brought_back() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("sh -c '$INIT sh -c \"echo running; exec cat\"; echo after'\n");
        terminal.shows("running")?;
        let cat = started.below("cat")?;
        for line in ["one", "two"] {
            terminal.press("\x1a");
            terminal.shows("Stopped")?;
            started.settles(|| same("its state", &cat.standing()?.state, &'T'))?;
            terminal.press("echo betw''een\n");
            terminal.shows("between")?;
            terminal.press("fg\n");
            terminal.shows("$INIT")?;
            terminal.press(&format!("{line}\n"));
            terminal.shows(&format!("{line}\n"))?;
        }
        terminal.press("\x04");
        terminal.shows("after")?;
        Ok(())
    });
}

#[test]
fn a_shell_within_controls_its_own_jobs() {
    // With the other one the outer shell stops, or the inner one, as it happens.
    shown_by(&[Tini, TiniGroup, DumbSingle]).whatever_of(&[Dumb]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("PS1='inner> ' $INIT bash --norc --noprofile --noediting -i\n");
        terminal.shows("inner> ")?;
        terminal.press("sh -c 'echo running; exec cat'\n");
        terminal.shows("running")?;
        terminal.press("\x1a");
        terminal.shows("Stopped")?;
        terminal.shows("inner> ")?;
        terminal.press("fg\n");
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        terminal.press("\x03");
        terminal.shows("inner> ")?;
        terminal.press("exit 5\n");
        terminal.shows(PROMPT)?;
        terminal.press("echo status=$?\n");
        terminal.shows("status=5")?;
        Ok(())
    });
}

#[test]
fn a_job_in_the_background_that_may_not_write_is_stopped_until_it_is_brought_forward() {
    shown_by(&[DumbSingle]).only_as_ordinary().holds(|trial| {
        let (_started, terminal) = trial.start().by_a_shell();
        terminal.press("set -b; stty tostop; $INIT sh -c 'echo writt''en; exit 4' &\n");
        terminal.shows("Stopped")?;
        terminal.press("fg\n");
        terminal.shows("written")?;
        terminal.press("echo status=$?\n");
        terminal.shows("status=4")?;
        Ok(())
    });
}

#[test]
fn a_job_that_is_told_to_stop_does_and_continues() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("set -b; $INIT sleep 1000 &\n");
        let sleep = started.below("sleep")?;
        for _ in 0..2 {
            terminal.press("kill -TSTP %1\n");
            terminal.shows("Stopped")?;
            started.settles(|| same("its state", &sleep.standing()?.state, &'T'))?;
            terminal.press("bg; echo went''on\n");
            terminal.shows("wenton")?;
            started.settles(|| same("its state", &sleep.standing()?.state, &'S'))?;
        }
        terminal.press("kill %1; wait %1; echo status=$?\n");
        terminal.shows("status=143")?;
        Ok(())
    });
}

/// What a shell does with its jobs when the window is closed.
#[test]
fn a_stopped_job_ends_with_its_shell() {
    shown_by(&[Dumb, DumbSingle]).only_as_ordinary().holds(|trial| {
        let (started, terminal) = trial.start().by_a_shell();
        terminal.press("$INIT sh -c 'echo running; exec sleep 1000'\n");
        terminal.shows("running")?;
        let sleep = started.below("sleep")?;
        terminal.press("\x1a");
        terminal.shows("Stopped")?;
        started.settles(|| same("its state", &sleep.standing()?.state, &'T'))?;
        drop(terminal);
        started.eventually("it ends", || (!sleep.is_alive()).then_some(()))
    });
}
