//! The command as a job: a process of ours, and the group that it leads.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ForkResult, Pid};

use super::terminal::Terminal;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::signals::Signals;
use crate::sys;

/// The command that runs, or ran.
pub(super) struct Job {
    leader: Pid,
    /// Its end was heard, and its number is nobody's or somebody else's.
    is_gone: bool,
    /// It waits for SIGCONT.
    pub(super) is_stopped: bool,
}

impl Job {
    /// Starts the command. What keeps it from being run is told by the child, whose exit status says it too.
    pub(super) fn start(plan: &Plan, terminal: Terminal, signals: &Signals) -> Result<Self, Failure> {
        let forked = sys::fork().map_err(|error| {
            let text = "is the limit on processes or on memory too low (ulimit -u, pids.max)?";
            Failure::own(format_args!("cannot start a process: {}; {text}", error.desc()))
        })?;
        match forked {
            ForkResult::Parent { child } => Ok(Self { leader: child, is_gone: false, is_stopped: false }),
            ForkResult::Child => {
                terminal.enter();
                let Err(failure) = signals.restore_in_child().and_then(|()| plan.become_it());
                sys::end(failure.report().into())
            }
        }
    }

    /// The process, and its group.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Whether there is a process to send signals to.
    pub(super) fn is_running(&self) -> bool {
        !self.is_gone
    }

    /// Its end was heard.
    pub(super) fn gone(&mut self) {
        self.is_gone = true;
    }

    /// Sends a signal to the command alone.
    pub(super) fn signal(&self, number: i32) {
        if self.is_running() {
            // It may have ended, or become another user.
            let _gone = sys::send_signal(self.leader.as_raw(), number);
        }
    }

    /// Sends a signal to all of the group.
    pub(super) fn signal_group(&self, number: i32) {
        let sent = sys::send_signal(self.group(), number);
        // So early that it leads no group yet, it is alone.
        if sent == Err(Errno::ESRCH) {
            self.signal(number);
        }
    }

    /// Asks all of the group to end, also those who are stopped.
    pub(super) fn terminate(&mut self) {
        self.signal_group(libc::SIGTERM);
        if self.is_stopped {
            self.signal_group(libc::SIGCONT);
        }
    }

    /// Whether anything of the group is left, be it what nobody has asked for the end of.
    pub(super) fn is_group_left(&self) -> bool {
        sys::send_signal(self.group(), EXISTS) != Err(Errno::ESRCH)
    }

    fn group(&self) -> i32 {
        self.leader.as_raw().saturating_neg()
    }
}

/// kill(2): nothing is sent.
const EXISTS: i32 = 0;
