//! What one process of a machine sees of its disk, changed from outside: nothing but the process itself can
//! be executed in there.

use std::fs::File;
use std::path::PathBuf;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::Machine;

/// What a process may do with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As after an error of the disk.
    Read,
    /// As before it.
    ReadAndWrite,
}

impl Machine {
    /// Changes what a process, as the machine counts, may do with a folder that is mounted for it.
    ///
    /// # Panics
    /// When that can't be changed.
    pub fn remount(&self, process: u32, folder: &str, access: Access) {
        let namespace =
            File::open(self.path(&format!("/proc/{process}/ns/mnt"))).expect("the process's view");
        let folder = PathBuf::from(folder);
        let flags = match access {
            Access::Read => MsFlags::MS_RDONLY,
            Access::ReadAndWrite => MsFlags::empty(),
        };
        let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        // A thread of its own, which is in there until it ends.
        let remounted = thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS)?;
            setns(namespace, CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, &folder, None::<&str>, flags, None::<&str>)
        });
        remounted.join().expect("no panic while mounting").expect("remount a folder");
    }
}
