//! The database: `SQLite` or `PostgreSQL` behind one SQL text. One file per kind of record; each
//! speaks in parsed types and says what it was doing when it fails.
//!
//! Every write goes through [`Write`], which commits the write, its audit row and its change number
//! together and tells the rest of the process afterwards. Nothing here decides who may do what.

pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod changes;
mod connect;
pub(crate) mod data_keys;
pub(crate) mod enrollment;
mod env_json;
pub(crate) mod feed;
pub(crate) mod host_openings;
pub(crate) mod host_status;
pub(crate) mod hosts;
pub(crate) mod idempotency;
mod listen;
mod lists;
pub(crate) mod meta;
pub(crate) mod profiles;
pub(crate) mod resources;
pub(crate) mod runs;
pub(crate) mod slice;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trust;
pub(crate) mod updates;
pub(crate) mod variables;
pub(crate) mod write;

use std::sync::Arc;

use sqlx::{Any, AnyPool, Transaction};

use crate::at_rest::{AtRestError, MasterKey};
use crate::token::NoRandomness;

pub(crate) use connect::{Database, DatabaseError, Pools};
pub(crate) use write::{Entry, Origin, Record, Write};

use api_keys::RecentKeys;
use data_keys::KeyRing;
use feed::Feed;

/// The database with what is needed to read it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    reader: AnyPool,
    writer: AnyPool,
    master: MasterKey,
    keys: KeyRing,
    recent_keys: RecentKeys,
    feed: Feed,
}

/// A read of one state of the database. To be dropped when done.
pub(crate) type Read = Transaction<'static, Any>;

/// Why the store can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database failed.
    #[error("cannot {doing}")]
    Database { doing: &'static str, source: sqlx::Error },
    /// A row holds what this program never writes there.
    #[error("the stored {what} makes no sense")]
    Corrupt { what: &'static str },
    /// A ciphertext does not open: it was changed or moved, or the master key is another one.
    #[error("cannot open the stored {what}")]
    Sealed { what: &'static str, source: AtRestError },
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Store {
    /// Joins an open database with the master key its values are under.
    pub(crate) fn new(database: Database, pools: Pools, master: MasterKey) -> Self {
        Self(Arc::new(Inner {
            feed: Feed::new(),
            keys: KeyRing::default(),
            recent_keys: RecentKeys::default(),
            reader: pools.reader,
            writer: pools.writer,
            master,
            database,
        }))
    }

    /// For reads outside a write. On `SQLite` these connections can't write.
    pub(crate) fn reader(&self) -> &AnyPool {
        &self.0.reader
    }

    /// For what is no change: notes about hosts and the like, outside audit and change numbers.
    pub(crate) fn writer(&self) -> &AnyPool {
        &self.0.writer
    }

    /// Begins a read that sees one state of the database in all its statements.
    pub(crate) async fn read(&self) -> Result<Read, StoreError> {
        let statement = match self.0.database {
            Database::Sqlite(_) => "BEGIN",
            Database::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.reader().begin_with(statement).await.doing("begin a read")
    }

    /// Whether other replicas may work on the same database.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.0.database, Database::Postgres(_))
    }

    /// The key above all others.
    pub(crate) fn master_key(&self) -> &MasterKey {
        &self.0.master
    }

    /// Where committed changes are told.
    pub(crate) fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let answer: Result<i64, _> =
            sqlx::query_scalar("SELECT COUNT(*) FROM meta").fetch_one(self.reader()).await;
        answer.map(drop).doing("reach the database")
    }

    /// Closes all connections, after the writes under way.
    pub(crate) async fn close(&self) {
        self.0.writer.close().await;
        self.0.reader.close().await;
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    /// `doing` completes the sentence "cannot …".
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { doing, source })
    }
}

/// Whether a statement failed because a unique index already has the row. The index's name is not
/// asked for: `SQLite` does not tell it.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
