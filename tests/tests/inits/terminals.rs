//! On a terminal that is the init's own, as a container's is.

use crate::table::Init::{Catatonit, CatatonitGroup, Dumb, DumbSingle, Tini, TiniGroup};
use crate::table::{ALL, ours, shown_by};
use crate::terminal::Terminal;
use crate::trial::{PROMPT, Started, Trial, WITNESS, so};

#[test]
fn the_command_is_in_the_foreground() {
    shown_by(ALL).holds(|trial| {
        let (started, _terminal) = on_its_own(trial, &["sleep", "1000"]);
        let child = started.child()?;
        started.eventually("it is in the foreground of a terminal", || {
            let standing = child.standing().ok()?;
            (standing.terminal != 0 && standing.foreground == standing.group).then_some(())
        })
    });
}

#[test]
fn keys_that_send_signals_reach_the_command_once() {
    // Where it is in the init's group, it hears of each twice, or once if the second comes soon enough.
    shown_by(ALL).whatever_of(&[DumbSingle]).holds(|trial| {
        let (started, terminal) = on_its_own(trial, &[WITNESS, "signals", "child"]);
        terminal.shows_next("child ready\n")?;
        for (key, signal) in [("\x03", 2), ("\x1c", 3), ("\x1a", 20), ("\x03", 2)] {
            terminal.press(key);
            terminal.shows(&format!("child {signal}\n"))?;
            started.init()?.send(64);
            terminal.shows_next("child 64\n")?;
        }
        Ok(())
    });
}

#[test]
fn a_new_size_of_the_window_reaches_the_command() {
    shown_by(ALL).holds(|trial| {
        let (_started, terminal) = on_its_own(trial, &[WITNESS, "signals", "child"]);
        terminal.shows_next("child ready\n")?;
        for lines in [30, 40] {
            terminal.resize(lines);
            terminal.shows("child 28\n")?;
        }
        Ok(())
    });
}

#[test]
fn what_is_typed_reaches_the_command_and_its_end() {
    shown_by(ALL).holds(|trial| {
        let (mut started, terminal) = on_its_own(trial, &["cat"]);
        terminal.press("one\n");
        terminal.shows("one\n")?;
        terminal.press("\x04");
        started.ends_with(0)
    });
}

#[test]
fn an_interactive_shell_controls_its_jobs() {
    // The others leave the signal of Ctrl-Z blocked in the command, and so in all that it starts.
    shown_by(&[Tini, TiniGroup, Dumb, DumbSingle]).holds(|trial| {
        let (mut started, terminal) = on_its_own(trial, SHELL);
        terminal.press("echo flags=$-=\n");
        terminal.shows("flags=")?;
        let flags = terminal.shows("=\n")?;
        so(flags.contains('m'), flags)?;
        terminal.press("stty size; echo up\n");
        terminal.shows("24 80")?;
        terminal.shows("up")?;
        terminal.press("sh -c 'echo running; exec cat'\n");
        terminal.shows("running")?;
        terminal.press("\x1a");
        terminal.shows("Stopped")?;
        terminal.press("fg\n");
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        // A shell whose job is interrupted drops what else was typed.
        terminal.press("\x03");
        terminal.shows(PROMPT)?;
        terminal.press("echo status=$?\n");
        terminal.shows("status=130")?;
        terminal.press("exit 9\n");
        started.ends_with(9)
    });
}

#[test]
fn an_interactive_shell_has_nothing_to_complain_of() {
    shown_by(ALL).holds(|trial| {
        let (mut started, terminal) = on_its_own(trial, SHELL);
        terminal.press("echo here; exit 0\n");
        let told = terminal.shows("here\n")?;
        so(!told.contains("job control") && !told.contains("process group"), told)?;
        started.ends_with(0)
    });
}

/// A terminal that was handed over, but is nobody's yet.
#[test]
fn a_terminal_that_no_session_has_becomes_the_commands() {
    shown_by(&[Dumb]).holds(|trial| {
        let (started, terminal) =
            trial.start().through(&["setsid"]).on_a_terminal(&[WITNESS, "signals", "child"]);
        terminal.shows_next("child ready\n")?;
        let standing = started.child()?.standing()?;
        so(standing.terminal != 0 && standing.foreground == standing.group, format!("{standing:?}"))?;
        terminal.press("\x03");
        terminal.shows_next("child 2\n")
    });
}

#[test]
fn the_command_hears_when_the_terminal_is_gone() {
    shown_by(ALL).holds(|trial| {
        let (mut started, terminal) = on_its_own(trial, &["sleep", "1000"]);
        let child = started.child()?;
        started.eventually("it is in the foreground", || {
            let standing = child.standing().ok()?;
            (standing.foreground == standing.group).then_some(())
        })?;
        drop(terminal);
        started.ends_with(129)
    });
}

/// Nobody is there to continue it: without an init it would not stop either.
#[test]
fn a_key_does_not_freeze_the_command_for_good() {
    let inits = &[Dumb, DumbSingle, Catatonit, CatatonitGroup];
    shown_by(inits).holds(|trial| {
        let (_started, terminal) = on_its_own(trial, &["sh", "-c", "echo running; exec cat"]);
        terminal.shows("running")?;
        terminal.press("\x1a");
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        Ok(())
    });
}

/// Without us the kernel would not let the key stop it at all.
#[test]
fn ctrl_z_does_not_stop_for_ever_what_leads_a_session() {
    ours(|trial| {
        let script =
            "trap 'echo went on' CONT; echo up; while :; do read -r line && echo \"got $line\"; done";
        let (_started, terminal) = on_its_own(trial, &["sh", "-c", script]);
        terminal.shows("up")?;
        for line in ["one", "two"] {
            terminal.press("\x1a");
            terminal.shows("went on")?;
            terminal.press(&format!("{line}\n"));
            terminal.shows(&format!("got {line}"))?;
        }
        Ok(())
    });
}

/// The same for a script that leads the session, and waits.
#[test]
fn a_key_freezes_no_script_for_good_either() {
    shown_by(&[Catatonit, CatatonitGroup]).whatever_of(&[DumbSingle]).holds(|trial| {
        let script = ["setsid", "--ctty", "sh", "-c", "\"$@\"; echo after", "sh"];
        let (_started, terminal) =
            trial.start().through(&script).on_a_terminal(&["sh", "-c", "echo running; exec cat"]);
        terminal.shows("running")?;
        terminal.press("\x1a");
        terminal.press("read by cat\n");
        terminal.shows("read by cat\n")?;
        terminal.press("\x04");
        terminal.shows("after")?;
        Ok(())
    });
}

/// A program may put itself into the group of whoever started it.
#[test]
fn a_command_that_left_its_group_is_still_reached() {
    shown_by(&[Tini, DumbSingle, Catatonit]).holds(|trial| {
        let (started, terminal) = on_its_own(trial, &[WITNESS, "joining", WITNESS, "signals", "child"]);
        terminal.shows_next("child ready\n")?;
        for signal in [15, 2, 10, 18] {
            started.init()?.send(signal);
            terminal.shows_next(&format!("child {signal}\n"))?;
        }
        Ok(())
    });
}

fn on_its_own(trial: &Trial, command: &[&str]) -> (Started, Terminal) {
    trial.start().through(&["setsid", "--ctty"]).on_a_terminal(command)
}

const SHELL: &[&str] = &["bash", "--norc", "--noprofile", "--noediting", "-i"];
