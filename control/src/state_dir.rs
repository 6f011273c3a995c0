//! The state directory and the master key file: made at first start, checked at every other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use nix::unistd::{User, geteuid};
use zeroize::Zeroizing;

use crate::at_rest::{AtRestError, MasterKey};
use crate::token::{NoRandomness, fill_random};

/// Why the state directory or the master key can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateDirError {
    /// The directory can't be made.
    #[error("cannot make the state directory {path}")]
    Make { path: PathBuf, source: io::Error },
    /// What root makes there, the service could not use.
    #[error(
        "cannot use {path} as root: it is another user's, who could not read what this would write there; \
         run it as that user: runuser -u {user} -- miosa-control …"
    )]
    OtherOwner { path: PathBuf, user: String },
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    /// A file can't be written.
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    /// The master key file is open to others.
    #[error("the master key {0} can be read by group or others; run chmod 600 on it")]
    Exposed(PathBuf),
    /// The master key file holds something else.
    #[error("the master key {path} is not base64 of 32 bytes")]
    Malformed { path: PathBuf },
    /// The key can't be used.
    #[error("cannot use the master key")]
    Key(#[from] AtRestError),
    /// No randomness.
    #[error("cannot make a master key")]
    NoRandomness(#[from] NoRandomness),
}

/// Makes the directory, open to its owner only, unless it is there. Root may use root's only: a side
/// file of `SQLite` that root made would stop a service that is not root.
pub(crate) fn prepare(dir: &Path) -> Result<(), StateDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StateDirError::Make { path: dir.to_owned(), source })?;
    let owner = dir.metadata().map_err(|source| StateDirError::Read { path: dir.to_owned(), source })?.uid();
    if geteuid().is_root() && owner != 0 {
        let user =
            User::from_uid(owner.into()).ok().flatten().map_or_else(|| owner.to_string(), |user| user.name);
        return Err(StateDirError::OtherOwner { path: dir.to_owned(), user });
    }
    Ok(())
}

/// Makes an empty file, open to its owner only, unless it is there. `SQLite` gives its side files
/// the mode of the database, so this one is made before `SQLite` would.
pub(crate) fn touch_private(path: &Path) -> Result<(), StateDirError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|source| StateDirError::Write { path: path.to_owned(), source })
}

/// Who keeps a key file from other users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Its mode, which is therefore checked.
    Mode,
    /// systemd, whose access lists make modes look wider than they are (systemd.exec(5)).
    Systemd,
}

/// Reads the master key; `None` when there is no such file.
pub(crate) fn read_master_key(path: &Path, guard: Guard) -> Result<Option<MasterKey>, StateDirError> {
    let unreadable = |source| StateDirError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let exposed = file.metadata().map_err(unreadable)?.mode() & 0o077 != 0;
    if exposed && guard == Guard::Mode {
        return Err(StateDirError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(64));
    let mut file = file.take(MAX_KEY_FILE);
    file.read_to_string(&mut text).map_err(unreadable)?;
    let bytes = BASE64.decode(text.trim_end().as_bytes()).map(Zeroizing::new);
    match bytes {
        Ok(bytes) if bytes.len() == 32 => Ok(Some(MasterKey::new(&bytes)?)),
        Ok(_) | Err(_) => Err(StateDirError::Malformed { path: path.to_owned() }),
    }
}

/// Makes a master key and its file. Never replaces one: all stored values would be lost with it.
pub(crate) fn create_master_key(path: &Path) -> Result<MasterKey, StateDirError> {
    let unwritable = |source| StateDirError::Write { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new([0_u8; 32]);
    fill_random(bytes.as_mut_slice())?;
    let mut text = Zeroizing::new(BASE64.encode(bytes.as_slice()));
    text.push('\n');

    // A crash half-way must leave no half key under the final name.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(unwritable)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // `link` fails when the name is taken, where `rename` would replace another process's key.
    let linked = written.and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    linked.and(removed).map_err(unwritable)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(unwritable)?;
    Ok(MasterKey::new(bytes.as_slice())?)
}

/// More than a key and a line end; a larger file is no master key.
const MAX_KEY_FILE: u64 = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn root_leaves_the_directory_of_another_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        if !geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        let error = prepare(dir.path()).unwrap_err().to_string();
        assert!(error.contains("as root") && error.contains("runuser -u nobody -- "), "{error}");
    }

    #[test]
    fn the_master_key_is_made_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        assert!(read_master_key(&path, Guard::Mode).unwrap().is_none());
        let made = create_master_key(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_master_key(&path, Guard::Mode).unwrap().unwrap().fingerprint(), made.fingerprint());
        assert!(matches!(create_master_key(&path), Err(StateDirError::Write { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_exposed_or_malformed_master_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        touch_private(&path).unwrap();
        assert!(matches!(read_master_key(&path, Guard::Mode), Err(StateDirError::Malformed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_master_key(&path, Guard::Mode), Err(StateDirError::Exposed(_))));
        assert!(matches!(read_master_key(&path, Guard::Systemd), Err(StateDirError::Malformed { .. })));
    }

    #[test]
    fn the_state_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        prepare(&state).unwrap();
        prepare(&state).unwrap();
        assert_eq!(state.metadata().unwrap().mode() & 0o777, 0o700);
    }
}
