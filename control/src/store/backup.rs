//! Copies of the database as a whole. `SQLite` only: `PostgreSQL` has programs of its own for that.

use std::path::Path;

use sqlx::Connection as _;

use super::{Doing as _, Pools, Store, StoreError};

/// Why a file is no backup to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Soundness {
    Sound,
    /// Pages or rows are damaged.
    Damaged,
}

impl Store {
    /// Writes one state of the database to an empty file, whatever goes on meanwhile.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        // A bound value: a path may hold what SQL would take for its own.
        let path = path.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(self.writer()).await;
        copied.map(drop).doing("copy the database")
    }

    /// Writes over what was erased but still stands in the log beside the database.
    pub(crate) async fn forget_freed_pages(&self) -> Result<(), StoreError> {
        if self.is_shared() {
            return Ok(());
        }
        let done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(self.writer()).await;
        done.map(drop).doing("write over what was erased")
    }
}

impl Pools {
    /// Looks a copy through before it is relied on.
    pub(crate) async fn soundness(&self) -> Result<Soundness, StoreError> {
        const DOING: &str = "look the backup through";
        let mut connection = self.reader.acquire().await.doing(DOING)?;
        connection.ping().await.doing(DOING)?;
        let found: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await.doing(DOING)?;
        Ok(if found == "ok" { Soundness::Sound } else { Soundness::Damaged })
    }

    /// Gives the connections back.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}
