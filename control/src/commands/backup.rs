//! `miosa-control backup`: a copy of the database while it is in use.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::trust::tell;
use super::{CommandError, print_line};
use crate::store::{Store, StoreError};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// `PostgreSQL` does it better.
    #[error(
        "a PostgreSQL database is backed up with pg_dump, and put back with pg_restore and then `miosa-control restore`"
    )]
    Postgres,
    /// The file.
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard output.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Runs the command.
pub(crate) async fn run(store: &Store, path: &Path) -> Result<(), BackupError> {
    if store.is_shared() {
        return Err(BackupError::Postgres);
    }
    let unwritable = |source| BackupError::Write { path: path.to_owned(), source };
    // Made here, since SQLite would let others read it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unwritable)?;
    if let Err(error) = store.copy_to(path).await {
        // Half a copy must not look like one.
        let _left = std::fs::remove_file(path);
        return Err(error.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file.sync_all().and_then(|()| File::open(folder)?.sync_all()).map_err(unwritable)?;
    tell("it is of no use without the master key, which is not in it: keep a copy of that in another place");
    Ok(print_line(&path.display().to_string())?)
}
