//! The files of the access log: lines are added to one, and when that is long enough it becomes the
//! former one. Nothing here waits for the disk: a power cut may cost the last lines, and nothing else.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// The files, open for writing.
pub(super) struct Files {
    directory: PathBuf,
    file: File,
    length: u64,
    /// Changes whenever another file is begun.
    serial: u64,
    /// The last line may lack its end.
    is_torn: bool,
}

/// Their names, the newest first.
pub(super) const NAMES: [&str; 3] = ["access.jsonl", "access.1.jsonl", "access.2.jsonl"];

impl Files {
    /// Goes on with the file that is there, or begins one.
    pub(super) fn open(directory: &Path, serial: u64) -> io::Result<Self> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(PRIVATE).custom_flags(flags.bits());
        let file = options.open(newest(directory))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if metadata.mode() & MODE_BITS != PRIVATE {
            file.set_permissions(Permissions::from_mode(PRIVATE))?;
        }
        let is_torn = !ends_with_a_line(&file, metadata.len())?;
        Ok(Self { directory: directory.to_owned(), file, length: metadata.len(), serial, is_torn })
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether somebody removed the file, so that nobody would read what is written to it.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().map_or(true, |metadata| metadata.nlink() == 0)
    }

    /// Whether a line of this length fits a file of at most `most` bytes. The first one always does.
    pub(super) fn has_room(&self, line: usize, most: u64) -> bool {
        let line = u64::try_from(line).unwrap_or(u64::MAX);
        self.length == 0 || self.length.saturating_add(line) <= most
    }

    /// Begins another file; the oldest is gone then.
    pub(super) fn rotate(self) -> io::Result<Self> {
        let mut older = NAMES.iter().rev();
        let mut target = older.next();
        for name in older {
            if let Some(target) = target.replace(name) {
                match fs::rename(self.directory.join(name), self.directory.join(target)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Self::open(&self.directory, self.serial.wrapping_add(1))
    }

    /// Adds a line, whole or not at all as far as a full disk allows.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.length = self.length.saturating_add(1);
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(line) {
            self.is_torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length = self.length.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// The file that lines are added to.
pub(super) fn newest(directory: &Path) -> PathBuf {
    let [newest, ..] = NAMES;
    directory.join(newest)
}

fn ends_with_a_line(mut file: &File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

const PRIVATE: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(directory: &Path) -> [String; 3] {
        NAMES.map(|name| fs::read_to_string(directory.join(name)).unwrap_or_default())
    }

    #[test]
    fn lines_go_to_one_file_until_that_is_long_enough_and_three_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path(), 0).unwrap();
        for number in 0..8 {
            let line = format!("line {number}\n");
            if !files.has_room(line.len(), 14) {
                files = files.rotate().unwrap();
            }
            files.add(line.as_bytes()).unwrap();
        }
        assert_eq!(files.serial(), 3);
        assert_eq!(texts(directory.path()), ["line 6\nline 7\n", "line 4\nline 5\n", "line 2\nline 3\n"]);
    }

    #[test]
    fn a_torn_line_is_ended_and_the_next_one_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        Files::open(directory.path(), 0).unwrap().add(b"whole\n{\"rec").unwrap();
        Files::open(directory.path(), 0).unwrap().add(b"next\n").unwrap();
        assert_eq!(texts(directory.path())[0], "whole\n{\"rec\nnext\n");
    }

    #[test]
    fn only_the_owner_may_read_them() {
        let directory = tempfile::tempdir().unwrap();
        drop(Files::open(directory.path(), 0).unwrap());
        let path = newest(directory.path());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(Files::open(directory.path(), 0).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & MODE_BITS, 0o600);
    }

    #[test]
    fn nothing_is_written_through_a_link_or_into_a_fifo() {
        let directory = tempfile::tempdir().unwrap();
        let path = newest(directory.path());
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(Files::open(directory.path(), 0).is_err());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Files::open(directory.path(), 0).is_err());
    }

    #[test]
    fn a_file_that_was_removed_is_known_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path(), 0).unwrap();
        assert!(!files.is_removed());
        fs::remove_file(newest(directory.path())).unwrap();
        assert!(files.is_removed());
    }
}
