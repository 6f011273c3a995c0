//! What children have to tell: the command, and all those who lost their parents and came to us.

use nix::libc;
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
        let news = sys::child_news(None, ANY | libc::WNOWAIT)?;
        if command.map(Pid::as_raw) != Some(news.pid) {
            let _buried = sys::child_news(Some(news.pid), ANY);
            continue;
        }
        let told = told(news);
        if !matches!(told, Some(News::Ended(_))) {
            let _heard = sys::child_news(Some(news.pid), ANY);
        }
        if told.is_some() {
            return told;
        }
    }
}

/// Lets the kernel forget a child that has ended.
pub(super) fn bury(command: Pid) {
    let _buried = sys::child_news(Some(command.as_raw()), ANY);
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

const ANY: i32 = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;

/// As shells tell a death by a signal.
const BY_SIGNAL: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

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
