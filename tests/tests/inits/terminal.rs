//! A terminal with a person before it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};

/// One side of it; whoever holds the other one sees it vanish on drop.
pub struct Terminal {
    keys: Arc<File>,
    name: PathBuf,
    seen: Arc<Mutex<String>>,
    watcher: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    patience: Duration,
}

impl Terminal {
    /// A terminal of 24 lines, and the end to start a program on.
    pub fn open(patience: Duration) -> (Self, OwnedFd) {
        // Each end closes with the programs that were given it: no other trial's may have it meanwhile.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let keys = posix_openpt(flags | OFlag::O_NONBLOCK).expect("open a terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("hand over the other side");
        let name = PathBuf::from(ptsname_r(&keys).expect("its name"));
        let end = open(&name, flags, Mode::empty()).expect("open the other side");
        let mut modes = tcgetattr(&end).expect("its modes");
        // What is read is what was printed, and nothing of what was typed.
        modes.local_flags.remove(LocalFlags::ECHO);
        modes.output_flags.remove(OutputFlags::OPOST);
        tcsetattr(&end, SetArg::TCSANOW, &modes).expect("set its modes");
        let keys = Arc::new(File::from(OwnedFd::from(keys)));
        let seen = Arc::new(Mutex::new(String::new()));
        let watcher = Some(watch(Arc::clone(&keys), Arc::clone(&seen)));
        let terminal = Self { keys, name, seen, watcher, patience };
        terminal.resize(24);
        (terminal, end)
    }

    /// Types.
    pub fn press(&self, keys: &str) {
        (&*self.keys).write_all(keys.as_bytes()).expect("type");
    }

    /// Waits until this was printed since the last wait; what came before it.
    pub fn shows(&self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let mut seen = self.seen.lock().unwrap();
            if let Some(at) = seen.find(text) {
                let before = seen.drain(..at).collect();
                seen.drain(..text.len());
                return Ok(before);
            }
            if Instant::now() > deadline {
                return Err(format!("the terminal does not show {text:?}; it shows {seen:?}"));
            }
            drop(seen);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for this and takes nothing else.
    pub fn shows_next(&self, text: &str) -> Result<(), String> {
        match self.shows(text)?.as_str() {
            "" => Ok(()),
            before => Err(format!("the terminal shows {before:?} before {text:?}")),
        }
    }

    /// Makes it another size.
    pub fn resize(&self, lines: u16) {
        let sized = Command::new("stty")
            .arg("-F")
            .arg(&self.name)
            .args(["rows", &lines.to_string(), "cols", "80"])
            .status();
        assert!(sized.expect("run stty").success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some((closed, watcher)) = self.watcher.take() {
            closed.store(true, Ordering::Relaxed);
            let _ended = watcher.join();
        }
    }
}

/// Collects what is printed, and lets go of the terminal when told to: a read that blocks would not.
fn watch(screen: Arc<File>, seen: Arc<Mutex<String>>) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let closed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&closed);
    let watcher = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while !told.load(Ordering::Relaxed) {
            match (&*screen).read(&mut bytes) {
                Ok(length) => seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length])),
                // Nothing yet, or nobody on the other side for now.
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
    (closed, watcher)
}
