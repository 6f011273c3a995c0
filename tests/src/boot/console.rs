//! The console of a machine: a pseudo-terminal whose output goes to a file.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::pty::openpty;

/// The console.
pub(super) struct Console {
    terminal: PathBuf,
    log: PathBuf,
    /// Held, so that the other end does not end before the machine has opened this one.
    _slave: OwnedFd,
}

impl Console {
    /// A console that appends to a file.
    pub(super) fn open(log: &Path) -> Self {
        let pty = openpty(None, None).expect("make a pseudo-terminal");
        let terminal = nix::unistd::ttyname(&pty.slave).expect("its name");
        let mut file = File::options().create(true).append(true).open(log).expect("open the console's log");
        // Ends when the last holder of the terminal does.
        std::thread::spawn(move || {
            let (mut master, mut buffer) = (File::from(pty.master), [0; 4096]);
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                let _lost = file.write_all(&buffer[..count]);
            }
        });
        Self { terminal, log: log.to_owned(), _slave: pty.slave }
    }

    /// The terminal's path.
    pub(super) fn terminal(&self) -> &Path {
        &self.terminal
    }

    /// The last lines on it.
    pub(super) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}
