//! Facts about the database as a whole.

use data_encoding::HEXLOWER;

use super::{Doing as _, Pools, Store, StoreError, Write};
use crate::at_rest::MasterKey;

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

    /// Whether values are stored under this very key.
    pub(crate) async fn is_of(&self, master: &MasterKey) -> Result<bool, StoreError> {
        let stored: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM meta WHERE name = 'master_key' AND value = $1")
                .bind(HEXLOWER.encode(master.fingerprint()))
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

impl Store {
    /// The epoch that the trust document must reach before anything is published: this database was put
    /// back from a backup, and hosts may have accepted what it knows nothing of. `None` when there is no
    /// such need.
    pub(crate) async fn least_epoch(&self) -> Result<Option<u64>, StoreError> {
        let stored: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'least_epoch'")
            .fetch_optional(self.reader())
            .await
            .doing("look for an epoch to be reached")?;
        let parsed = stored.map(|text| text.parse());
        parsed.transpose().map_err(|_never_written| StoreError::Corrupt { what: "epoch to be reached" })
    }
}

impl Write {
    /// Nothing is to be published from here on before the trust document reaches this epoch. To be
    /// committed with what made it so.
    pub(crate) async fn demand_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('least_epoch', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(epoch.to_string())
        .execute(self.connection())
        .await
        .map(drop)
        .doing("note an epoch to be reached")
    }

    /// The trust document has reached this epoch.
    pub(super) async fn note_epoch_reached(&mut self, epoch: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM meta WHERE name = 'least_epoch' AND CAST(value AS BIGINT) <= $1")
            .bind(epoch)
            .execute(self.connection())
            .await
            .map(drop)
            .doing("note an epoch that was reached")
    }
}
