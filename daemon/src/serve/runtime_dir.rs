//! The runtime directory: ours alone, or not used. Sockets in a directory that somebody else may
//! write could be replaced by theirs.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use nix::fcntl::Flock;
use nix::unistd::geteuid;

use super::{OPERATORS, ServeError, lock};
use crate::disk;
use crate::socket::bind;

/// Makes the directory, or takes the one that is there, and locks it against a second daemon.
pub(super) fn take(path: &Path) -> Result<Flock<File>, ServeError> {
    match disk::open_directory(path) {
        Ok(directory) => check(path, &directory)?,
        Err(error) if error.is_missing() => make(path)?,
        Err(error) => return Err(error.into()),
    }
    lock(disk::lock_directory(path)?, path)
}

fn make(path: &Path) -> Result<(), ServeError> {
    let directory = disk::make_directory(path, OPERATORS_MAY_ENTER)?;
    if let Some(group) = bind::find_group(OPERATORS)
        && let Err(error) = fchown(&directory, None, Some(group.as_raw()))
    {
        tracing::debug!(event = "runtime_group_kept", error = %error, "group not given");
    }
    Ok(())
}

/// A directory that was there keeps its mode: it may be a service manager's, or anybody's.
fn check(path: &Path, directory: &File) -> Result<(), ServeError> {
    let unusable = |problem| ServeError::RuntimeDirectory { path: path.to_owned(), problem };
    let Ok(metadata) = directory.metadata() else { return Err(unusable("it can't be looked at")) };
    if metadata.uid() != geteuid().as_raw() {
        return Err(unusable("it belongs to another user; give it to the one that miosad runs as"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(unusable("others may write it; set its mode to 750"));
    }
    Ok(())
}

const OPERATORS_MAY_ENTER: u32 = 0o750;
const OTHERS_WRITE: u32 = 0o022;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_one_has_its_mode_and_an_old_one_keeps_its_own() {
        crate::hygiene::create_with_exact_modes();
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let new = directory.path().join("run");
        let _lock = take(&new).unwrap();
        assert_eq!(mode(&new), 0o750);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let _lock = take(directory.path()).unwrap();
        assert_eq!(mode(directory.path()), 0o711);
    }

    #[test]
    fn one_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = take(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("others may write it; set its mode to 750"), "{error}");
    }

    #[test]
    fn a_second_daemon_is_told_so() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let _lock = take(directory.path()).unwrap();
        assert!(matches!(take(directory.path()), Err(ServeError::InUse(_))));
    }
}
