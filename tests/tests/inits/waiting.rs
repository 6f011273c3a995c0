//! Before there is a command: what comes while ours still waits for the daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::table::ours;
use crate::trial::{Trial, WITNESS, same, so};

#[test]
fn signals_that_come_while_the_daemon_is_slow_reach_the_command() {
    ours(|trial| {
        let late = Late::listen(trial);
        let start = trial.start().socket(&late.socket).through(&[WITNESS, "blocking", "10,12,28,40"]);
        let started = start.run(&[WITNESS, "signals", "child"]);
        late.is_asked()?;
        let init = started.init()?;
        for signal in [10, 12, 28, 40, 40, 40] {
            init.send(signal);
        }
        late.answer();
        started.says("child ready")?;
        started.says_all(&["child 10", "child 12", "child 28", "child 40", "child 40", "child 40"])
    });
}

#[test]
fn a_signal_to_end_while_the_daemon_is_slow_ends_it_at_once_and_starts_nothing() {
    ours(|trial| {
        for signal in [1, 2, 3, 15] {
            let late = Late::listen(trial);
            let start = trial.start().socket(&late.socket).ours(&["--wait", "3600"]);
            let mut started = start.run(&["echo", "started"]);
            late.is_asked()?;
            started.init()?.send(signal);
            started.ends_with(128 + signal)?;
            tells_of_it(&started.errors())?;
            so(started.line().is_err(), "the command was started")?;
            std::fs::remove_file(trial.path("stderr")).unwrap();
        }
        Ok(())
    });
}

#[test]
fn a_signal_to_end_while_there_is_no_daemon_ends_it_at_once() {
    ours(|trial| {
        let start = trial.start().socket(&trial.path("none.sock")).ours(&["--wait", "3600"]);
        let mut started = start.run(&["echo", "started"]);
        let init = started.init()?;
        // It has begun to wait when it has looked for the socket, and sleeps.
        started.eventually("it blocks signals", || (init.signals("SigBlk").ok()? != 0).then_some(()))?;
        init.send(15);
        started.ends_with(143)?;
        tells_of_it(&started.errors())
    });
}

#[test]
fn a_signal_to_end_that_was_there_from_the_start_ends_it() {
    ours(|trial| {
        let late = Late::listen(trial);
        let start = trial.start().socket(&late.socket).ours(&["--wait", "3600"]);
        let mut started = start.through(&[WITNESS, "pending", "15"]).run(&["echo", "started"]);
        started.ends_with(143)
    });
}

#[test]
fn who_dies_while_the_daemon_is_slow_is_reaped_at_once() {
    ours(|trial| {
        let late = Late::listen(trial);
        let start = trial.start().socket(&late.socket).before("tail -f /dev/null &");
        let mut started = start.run(&["sh", "-c", "exit 4"]);
        late.is_asked()?;
        let (init, former) = (started.init()?, started.below("tail")?);
        former.send(9);
        started.eventually("it is reaped", || init.children().ok()?.is_empty().then_some(()))?;
        late.answer();
        started.ends_with(4)
    });
}

/// Where nothing can be typed.
#[test]
fn a_variable_asks_for_it_as_well_and_is_not_the_commands() {
    ours(|trial| {
        let asked = [("MIOSA_EXEC_INIT", "1"), ("MIOSA_EXEC_GRACE", "1")];
        let mut start = trial.start().without_staying();
        for (name, value) in asked {
            start = start.variable(name, value);
        }
        let command = "trap 'echo asked' TERM; env | grep MIOSA_EXEC; echo up; while :; do sleep 0.01; done";
        let mut started = start.run(&["sh", "-c", command]);
        started.says("up")?;
        started.init()?.send(15);
        started.says("asked")?;
        started.ends_with(137)
    });
}

fn tells_of_it(told: &str) -> Result<(), String> {
    same("lines", &told.lines().count(), &1)?;
    so(told.contains("before the command was started"), told)
}

/// A socket whose daemon answers when it is told to.
struct Late {
    socket: PathBuf,
    asked: Receiver<()>,
    go: Sender<()>,
}

impl Late {
    fn listen(trial: &Trial) -> Self {
        let socket = trial.path("late.sock");
        let _former = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let real = trial.socket();
        let ((tell, asked), (go, gone)) = (channel(), channel());
        std::thread::spawn(move || {
            let first = listener.accept().expect("a client").0;
            let _heard = tell.send(());
            if gone.recv().is_err() {
                return;
            }
            let _answered = pass_on(first, &real);
            // The daemon may have asked to come again.
            for next in listener.incoming().map_while(Result::ok) {
                let _answered = pass_on(next, &real);
            }
        });
        Self { socket, asked, go }
    }

    fn is_asked(&self) -> Result<(), String> {
        self.asked.recv_timeout(crate::table::PATIENCE).map_err(|error| format!("it does not ask: {error}"))
    }

    fn answer(&self) {
        self.go.send(()).unwrap();
    }
}

fn pass_on(mut client: UnixStream, daemon: &Path) -> std::io::Result<()> {
    let mut request = vec![0; 65536];
    let length = client.read(&mut request)?;
    let mut daemon = UnixStream::connect(daemon)?;
    daemon.write_all(&request[..length])?;
    let mut answer = Vec::new();
    daemon.read_to_end(&mut answer)?;
    client.write_all(&answer)
}
