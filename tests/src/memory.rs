//! The memory of a running program, as root can read it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// A writable part of a program's memory.
pub struct Region {
    /// What the kernel calls it: `[heap]`, `[stack]`, a file, or nothing.
    pub name: String,
    /// Where it is.
    pub addresses: Range<u64>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Everything that a program may have written to.
///
/// # Panics
/// When the program is not there, or we are not root.
#[must_use]
pub fn writable(pid: i32) -> Vec<Region> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("read the map");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("open the memory, as root");
    maps.lines().filter_map(|line| read(&memory, line)).collect()
}

/// Where the kernel keeps the environment that a program was started with.
///
/// # Panics
/// When the program is not there, or we are not root.
#[must_use]
pub fn environment(pid: i32) -> Range<u64> {
    // proc_pid_stat(5): the fields 50 and 51; the second may hold blanks, and ends with the last `)`.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("read the state");
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let field = |number: usize| {
        rest.split_whitespace().nth(number - 3).and_then(|field| field.parse().ok()).expect("a number")
    };
    field(50)..field(51)
}

/// A line of `/proc/PID/status`, less its name.
///
/// # Panics
/// When the program is not there.
#[must_use]
pub fn status(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("read the status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in the status")).trim().to_owned()
}

/// A size in `/proc/PID/status`, in KiB.
///
/// # Panics
/// When the program is not there.
#[must_use]
pub fn kibibytes(pid: i32, name: &str) -> u64 {
    status(pid, name).trim_end_matches(" kB").parse().expect("a number of kB")
}

fn read(memory: &File, line: &str) -> Option<Region> {
    let mut words = line.split_whitespace();
    let (addresses, permissions) = (words.next()?, words.next()?);
    let (start, end) = addresses.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let addresses = number(start)?..number(end)?;
    if !permissions.contains('w') {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(addresses.end - addresses.start).ok()?];
    // Parts of a region that can't be read hold nothing of the program's own.
    let mut at = 0;
    while at < bytes.len() {
        match memory.read_at(&mut bytes[at..], addresses.start + u64::try_from(at).ok()?) {
            Ok(0) | Err(_) => at += PAGE,
            Ok(count) => at += count,
        }
    }
    Some(Region { name: words.nth(3).unwrap_or_default().to_owned(), addresses, bytes })
}

const PAGE: usize = 4096;
