//! The terminal, if there is one: whose it is while the command runs, and in which session and process group
//! the command lives. tty_ioctl(4), setpgid(2), and credentials(7) have the rules.

use std::io::{self, IsTerminal};

use nix::sys::termios::tcgetsid;
use nix::unistd::{Pid, getpgrp, getsid, setpgid, setsid, tcgetpgrp, tcsetpgrp};

use crate::sys;

/// Where the command lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Terminal {
    /// Standard input is the terminal of our session, whose jobs a shell may manage: the command is a job of
    /// its own in it, in the foreground if we were.
    Ours(Ground),
    /// Standard input is a terminal; the command has a session of its own, and the terminal with it if that
    /// is nobody's yet.
    Offered,
    /// There is none: the command has a session of its own.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ground {
    Fore,
    Back,
}

impl Terminal {
    /// Looks at standard input.
    pub(super) fn find() -> Self {
        let stdin = io::stdin();
        match (tcgetsid(&stdin), getsid(None)) {
            (Ok(its), Ok(ours)) if its == ours && is_lent_to(getpgrp()) => Self::Ours(Ground::Fore),
            (Ok(its), Ok(ours)) if its == ours => Self::Ours(Ground::Back),
            _ if stdin.is_terminal() => Self::Offered,
            _ => Self::None,
        }
    }

    /// Whether the command is in our session, and so in one with its parent. The kernel lets those stop a
    /// job from the keyboard alone that have somebody near who can let it go on.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// In the process that becomes the command, and there alone: the parent might come late, and take the
    /// terminal away from whom the command has lent it to.
    pub(super) fn enter(self) {
        // None of it can fail in a process that is new, but for a terminal that is somebody else's by now.
        match self {
            Self::Ours(ground) => {
                let _done = setpgid(ITSELF, ITSELF);
                if ground == Ground::Fore {
                    let _lent = tcsetpgrp(io::stdin(), getpgrp());
                }
            }
            Self::Offered => {
                let _done = setsid();
                let _taken = sys::take_terminal();
            }
            Self::None => {
                let _done = setsid();
            }
        }
    }

    /// Lets the command have what is ours now; whether it was.
    pub(super) fn lend(self, group: Pid) -> bool {
        self.is_ours() && is_lent_to(getpgrp()) && tcsetpgrp(io::stdin(), group).is_ok()
    }

    /// Takes back what the command has; whether it had it.
    pub(super) fn take_back(self, group: Pid) -> bool {
        self.is_ours() && is_lent_to(group) && tcsetpgrp(io::stdin(), getpgrp()).is_ok()
    }
}

/// Whether a group is in the foreground.
fn is_lent_to(group: Pid) -> bool {
    tcgetpgrp(io::stdin()) == Ok(group)
}

const ITSELF: Pid = Pid::from_raw(0);
