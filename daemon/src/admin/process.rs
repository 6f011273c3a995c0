//! This process as the kernel sees it: its age, its memory, its descriptors. What can't be read is left
//! out, since a service manager may hide /proc.

use std::fs;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, getpid, sysconf};
use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// The process. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number, where it can be seen from.
    pub(crate) pid: i32,
    /// When it was started.
    pub(crate) started_at: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// How many it may open.
    pub(crate) max_descriptors: Option<u64>,
    /// Memory that it occupies, in bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Processor time used, in milliseconds.
    pub(crate) cpu_ms: Option<u64>,
}

impl Process {
    /// This one, `now`.
    pub(crate) fn this(now: Now) -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = Stat::parse(&stat);
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
        Self {
            pid: getpid().as_raw(),
            started_at: stat.map(|stat| {
                let age_ms = now.boot_ms.saturating_sub(stat.started_ticks.saturating_mul(TICK_MS));
                now.unix_ms.saturating_sub(age_ms)
            }),
            descriptors: count(Path::new("/proc/self/fd")),
            max_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            resident_bytes: stat.zip(page).map(|(stat, page)| stat.resident_pages.saturating_mul(page)),
            cpu_ms: stat.map(|stat| stat.cpu_ticks.saturating_mul(TICK_MS)),
        }
    }
}

/// proc_pid_stat(5)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses too.
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Counted from the state, which is field 3 there.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            started_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

fn count(directory: &Path) -> Option<u64> {
    // The listing of the standard library ends the program when it can't be closed.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let entries = Dir::open(directory, flags, Mode::empty()).ok()?.iter().count();
    // Two are the directory and its parent, and one is that of the listing.
    u64::try_from(entries.saturating_sub(3)).ok()
}

/// `USER_HZ` is 100 for programs on every architecture of Linux that this runs on.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_move_the_fields() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 3 0 5000 1000000 250 18446744073709551615";
        let expected = Stat { cpu_ticks: 42, started_ticks: 5_000, resident_pages: 250 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (x) S 1"), None);
    }

    #[test]
    fn this_process_is_plausible() {
        let now = Clock::System.now();
        let process = Process::this(now);
        assert!(process.started_at.is_some_and(|at| at <= now.unix_ms && now.unix_ms - at < 86_400_000));
        assert!(process.descriptors.is_some_and(|open| open >= 3 && Some(open) <= process.max_descriptors));
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1_000_000));
    }
}
