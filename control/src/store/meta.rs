//! Facts about the database as a whole.

use data_encoding::HEXLOWER;

use super::{Doing as _, Pools, Store, StoreError};

/// Whose master key a database was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// The one at hand.
    Ours,
    /// Another: nothing stored can be opened.
    AnotherKey,
}

impl Pools {
    /// Whether values are stored under some master key already, so that a new one must not be made.
    pub(crate) async fn has_master_key(&self) -> Result<bool, StoreError> {
        let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM meta WHERE name = 'master_key'")
            .fetch_one(&self.reader)
            .await
            .doing("look for a master key's fingerprint")?;
        Ok(stored != 0)
    }
}

impl Store {
    /// Checks that this database was made with the master key at hand. On a new database that key
    /// becomes its key.
    pub(crate) async fn adopt_master_key(&self) -> Result<Adopted, StoreError> {
        let ours = HEXLOWER.encode(self.master_key().fingerprint());
        sqlx::query("INSERT INTO meta (name, value) VALUES ('master_key', $1) ON CONFLICT (name) DO NOTHING")
            .bind(ours.as_str())
            .execute(&self.0.writer)
            .await
            .doing("note the master key")?;
        let stored: String = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'master_key'")
            .fetch_one(&self.0.writer)
            .await
            .doing("read the master key's fingerprint")?;
        Ok(if stored == ours { Adopted::Ours } else { Adopted::AnotherKey })
    }
}
