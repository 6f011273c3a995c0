//! A process as the kernel describes it under `/proc`, seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::libc;

/// A process of this machine, which may have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process(pub i32);

/// Where a process stands among groups, sessions and terminals.
#[derive(PartialEq, Eq, Debug)]
pub struct Standing {
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// The device number of its controlling terminal, or 0.
    pub terminal: i32,
    /// The group in the foreground of that, or -1.
    pub foreground: i32,
    pub nice: i32,
}

impl Process {
    /// Sends a signal by number; whoever is gone does not hear it.
    pub fn send(self, signal: i32) {
        assert!(self.0 > 1, "no process to signal: {self:?}");
        // SAFETY: numbers only.
        #[expect(unsafe_code, reason = "no wrapper sends real-time signals")]
        let _gone = unsafe { libc::kill(self.0, signal) };
    }

    /// A file of it.
    pub fn text(self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.path(file)).map_err(|error| format!("{self:?} {file}: {error}"))
    }

    /// A link of it.
    pub fn link(self, name: &str) -> Result<PathBuf, String> {
        fs::read_link(self.path(name)).map_err(|error| format!("{self:?} {name}: {error}"))
    }

    /// The name of the program that it runs.
    pub fn program(self) -> Result<String, String> {
        let path = self.link("exe")?;
        Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Its children, zombies included.
    pub fn children(self) -> Result<Vec<Self>, String> {
        let listed = self.text(&format!("task/{}/children", self.0))?;
        Ok(listed.split_whitespace().map(|pid| Self(pid.parse().unwrap())).collect())
    }

    /// A line of its status.
    pub fn status(self, name: &str) -> Result<String, String> {
        let status = self.text("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.ok_or_else(|| format!("no {name} in the status"))?.trim().to_owned())
    }

    /// A set of signals of its status, the lowest bit for signal 1.
    pub fn signals(self, name: &str) -> Result<u64, String> {
        let mask = self.status(name)?;
        u64::from_str_radix(&mask, 16).map_err(|error| format!("{name} {mask}: {error}"))
    }

    pub fn standing(self) -> Result<Standing, String> {
        // proc_pid_stat(5): the second field may hold blanks, and ends with the last `)`.
        let stat = self.text("stat")?;
        let (_, rest) = stat.rsplit_once(") ").ok_or("no name in parentheses")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields[field - 3].parse().unwrap();
        Ok(Standing {
            state: fields[0].chars().next().unwrap(),
            parent: number(4),
            group: number(5),
            session: number(6),
            terminal: number(7),
            foreground: number(8),
            nice: number(19),
        })
    }

    /// Its descriptors and what they are of.
    pub fn descriptors(self) -> Result<BTreeMap<i32, PathBuf>, String> {
        let entries = fs::read_dir(self.path("fd")).map_err(|error| format!("{self:?}: {error}"))?;
        let mut found = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            // One that is closed meanwhile is none.
            if let Ok(file) = fs::read_link(entry.path()) {
                found.insert(number, file);
            }
        }
        Ok(found)
    }

    /// Whether it has neither ended nor become a zombie.
    pub fn is_alive(self) -> bool {
        self.standing().is_ok_and(|standing| !matches!(standing.state, 'Z' | 'X'))
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }
}
