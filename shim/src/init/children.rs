//! What children have to tell: the command, and all those who lost their parents and came to us.

use nix::libc::{self, pid_t};
use nix::unistd::Pid;

use crate::sys::{self, ChildNews};

/// What has happened to the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// It has ended, and this is its exit status. It is still there to be [buried](bury), so that its number
    /// is not given to others.
    Ended(i32),
    /// This signal has stopped it.
    Stopped(i32),
    /// It goes on.
    Continued,
}

/// Hears all children that have something to tell, and buries the dead among them, until it is the command:
/// this is told. Once that is buried it is no child any more.
pub(super) fn hear(command: Option<Pid>) -> Option<News> {
    loop {
        let news = sys::child_news(None, ENDS | STOPS | libc::WNOWAIT)?;
        if command.map(Pid::as_raw) != Some(news.pid) {
            let _buried = sys::child_news(Some(news.pid), ENDS | STOPS);
        } else if let Some(News::Ended(status)) = told(news) {
            return Some(News::Ended(status));
        } else if let Some(news) = stop(news.pid) {
            return Some(news);
        }
    }
}

/// That it has stopped, or goes on. It may have ended since it said so: its end is another piece of news, which
/// must not be taken for this one, or nobody would ever be told.
fn stop(pid: pid_t) -> Option<News> {
    sys::child_news(Some(pid), STOPS).and_then(told)
}

/// Lets the kernel forget a child that has ended.
pub(super) fn bury(command: Pid) {
    let _buried = sys::child_news(Some(command.as_raw()), ENDS);
}

fn told(news: ChildNews) -> Option<News> {
    match news.code {
        libc::CLD_EXITED => Some(News::Ended(news.status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(News::Ended(news.status.saturating_add(BY_SIGNAL))),
        libc::CLD_STOPPED => Some(News::Stopped(news.status)),
        libc::CLD_CONTINUED => Some(News::Continued),
        _ => None,
    }
}

const ENDS: i32 = libc::WEXITED | libc::WNOHANG;
const STOPS: i32 = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;

/// As shells tell a death by a signal.
const BY_SIGNAL: i32 = 128;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_command_that_is_killed_while_its_stop_is_heard_has_still_its_end_to_tell() {
        let mut command = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = pid_t::try_from(command.id()).unwrap();
        let peek = |flags| sys::child_news(Some(pid), flags | libc::WNOWAIT).map(|news| news.code);
        sys::send_signal(pid, libc::SIGSTOP).unwrap();
        assert_eq!(peek(libc::WSTOPPED), Some(libc::CLD_STOPPED));
        command.kill().unwrap();
        assert_eq!(peek(libc::WEXITED), Some(libc::CLD_KILLED));
        assert_eq!(stop(pid), None);
        assert_eq!(peek(libc::WEXITED), Some(libc::CLD_KILLED), "its end is still to be heard");
        assert!(!command.wait().unwrap().success());
    }

    #[test]
    fn an_end_by_signal_is_128_more_than_its_number() {
        let of = |code, status| told(ChildNews { pid: 2, code, status });
        assert_eq!(of(libc::CLD_EXITED, 42), Some(News::Ended(42)));
        assert_eq!(of(libc::CLD_KILLED, libc::SIGKILL), Some(News::Ended(137)));
        assert_eq!(of(libc::CLD_DUMPED, libc::SIGSEGV), Some(News::Ended(139)));
        assert_eq!(of(libc::CLD_KILLED, 64), Some(News::Ended(192)), "a real-time signal");
        assert_eq!(of(libc::CLD_STOPPED, libc::SIGTSTP), Some(News::Stopped(20)));
    }
}
