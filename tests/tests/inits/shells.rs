//! As a job of an interactive shell, with all that a person does there.

use crate::table::Init::{Dumb, DumbSingle};
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
