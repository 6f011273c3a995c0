//! How the program fails: an exit status that scripts can rely on, and one line for people.

use std::fmt::Display;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, poll};

/// Why the command was not started. The text holds names and numbers, never the value of a variable.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// `miosa-exec` itself could not do its part: bad usage, no answer, no command, no directory.
    pub(crate) fn own(text: impl Display) -> Self {
        Self { status: 125, text: text.to_string() }
    }

    /// As [`Failure::own`], for what was typed wrong.
    pub(crate) fn usage(text: impl Display) -> Self {
        Self::own(format_args!("{text}; see miosa-exec --help"))
    }

    /// The command is there, and can't be run.
    pub(crate) fn cannot_run(text: impl Display) -> Self {
        Self { status: 126, text: text.to_string() }
    }

    /// The command is not there.
    pub(crate) fn not_found(text: impl Display) -> Self {
        Self { status: 127, text: text.to_string() }
    }

    /// We were asked to stop by a signal of this number while nothing was started yet.
    pub(crate) fn stopped(signal: i32) -> Self {
        let text = format!("asked to stop by signal {signal} before the command was started");
        Self { status: u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX), text }
    }

    /// What went wrong.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Tells stderr, and gives the exit status.
    pub(crate) fn report(&self) -> u8 {
        // With stderr gone, the exit status still says it.
        self.tell();
        self.status
    }

    /// Tells stderr of something that goes wrong while it goes on.
    pub(crate) fn tell(&self) {
        let stderr = std::io::stderr();
        if is_read(stderr.as_fd()) {
            drop((&stderr).write_all(self.line().as_bytes()));
        }
    }

    /// Always one line: parts of the text come from the daemon and from command lines.
    fn line(&self) -> String {
        let text: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("miosa-exec: {text}\n")
    }
}

/// A pipe whose reader is gone would end us by SIGPIPE, and one that is full would keep us for ever.
fn is_read(stderr: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(stderr, PollFlags::POLLOUT)];
    match poll(&mut polled, LONGEST_WAIT) {
        Ok(_) => polled.iter().all(|polled| polled.revents() == Some(PollFlags::POLLOUT)),
        // It can't be known, and mostly it is.
        Err(_) => true,
    }
}

/// In milliseconds.
const LONGEST_WAIT: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_it_quotes() {
        let failure = Failure::own("miosad says: a\nb\r\u{1b}[2Jc\u{9b}d");
        assert_eq!(failure.line(), "miosa-exec: miosad says: a b  [2Jc d\n");
    }

    #[test]
    fn each_kind_has_its_exit_status() {
        let statuses =
            [Failure::own(""), Failure::usage(""), Failure::cannot_run(""), Failure::not_found("")]
                .map(|failure| failure.status);
        assert_eq!(statuses, [125, 125, 126, 127]);
    }
}
