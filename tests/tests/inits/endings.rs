//! How it ends: with the status of the command, whatever became of that.

use std::os::unix::fs::PermissionsExt as _;

use crate::table::Init::{Tini, TiniGroup};
use crate::table::{ALL, shown_by};
use crate::trial::{Trial, same, so};

#[test]
fn the_status_is_the_commands() {
    shown_by(ALL).holds(|trial| {
        for status in [0, 1, 2, 32, 42, 64, 125, 126, 127, 128, 143, 254, 255] {
            trial.run(&["sh", "-c", &format!("exit {status}")]).ends_with(status)?;
        }
        Ok(())
    });
}

#[test]
fn death_by_a_signal_is_128_and_its_number() {
    // Those whose default is to end the process, signal(7), and three of the real-time ones.
    let deadly = (1..=16).chain([24, 25, 26, 27, 29, 30, 31, 34, 50, 64]);
    let deadly: Vec<i32> = deadly.collect();
    shown_by(ALL).holds(|trial| {
        for signal in &deadly {
            let command = format!("ulimit -c 0; kill -{signal} $$; sleep 1000");
            trial.run(&["sh", "-c", &command]).ends_with(128 + signal)?;
        }
        Ok(())
    });
}

#[test]
fn a_command_that_somebody_kills_is_137() {
    shown_by(ALL).holds(|trial| {
        let mut started = trial.run(&["sleep", "1000"]);
        started.child()?.send(9);
        started.ends_with(137)
    });
}

#[test]
fn a_command_that_ends_before_anybody_looks_is_not_missed() {
    shown_by(ALL).holds(|trial| {
        for _ in 0..20 {
            trial.run(&["true"]).ends_with(0)?;
            trial.run(&["false"]).ends_with(1)?;
        }
        Ok(())
    });
}

#[test]
fn a_command_that_is_not_found_is_127_and_named() {
    shown_by(&[Tini, TiniGroup]).holds(|trial| fails(trial, "/nonexistent/command", 127));
    shown_by(&[Tini, TiniGroup]).holds(|trial| fails(trial, "no-such-command-anywhere", 127));
}

#[test]
fn a_file_that_is_not_executable_is_126_and_named() {
    shown_by(&[Tini, TiniGroup]).holds(|trial| fails(trial, "/etc/passwd", 126));
}

#[test]
fn a_directory_is_126_and_named() {
    shown_by(&[Tini, TiniGroup]).holds(|trial| fails(trial, "/usr", 126));
}

#[test]
fn a_script_whose_interpreter_is_missing_is_127_and_named() {
    shown_by(&[Tini, TiniGroup]).holds(|trial| {
        let script = trial.path("script");
        std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        fails(trial, script.to_str().unwrap(), 127)
    });
}

/// The command can't be started: this status, and a line that names it.
fn fails(trial: &Trial, command: &str, status: i32) -> Result<(), String> {
    let mut started = trial.run(&[command]);
    started.ends_with(status)?;
    let told = started.errors();
    so(told.contains(command), format!("it does not name {command}: {told:?}"))?;
    same("lines", &told.lines().count(), &1)
}
