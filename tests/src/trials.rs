//! Many small trials: in memory, where an fsync costs nothing, as many at once as there are processors.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

/// A folder for trials, gone with it.
pub struct Trials(TempDir);

impl Trials {
    /// An empty folder.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self(tempfile::Builder::new().prefix("miosa-").tempdir_in(base).expect("a scratch folder"))
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Tries each once, in a folder that no other trial uses meanwhile.
    ///
    /// # Panics
    /// When one of them does.
    pub fn each<T: Send>(&self, of: impl IntoIterator<Item = T>, trial: impl Fn(T, &Path) + Sync) {
        let todo: Mutex<VecDeque<T>> = Mutex::new(of.into_iter().collect());
        let next = || todo.lock().expect("no panic while taking").pop_front();
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let folder = self.path(&format!("worker-{worker}"));
                std::fs::create_dir_all(&folder).expect("make a folder");
                let (next, trial) = (&next, &trial);
                scope.spawn(move || {
                    while let Some(one) = next() {
                        trial(one, &folder);
                    }
                });
            }
        });
    }

    /// Prints a line past the test harness, which keeps what a good test prints to itself.
    pub fn tell(&self, line: &str) {
        let _unheard = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self::new()
    }
}
