//! A store on a file of its own, for unit tests of this crate.

use tempfile::TempDir;

use super::{Database, Entry, Origin, Record, Store};
use crate::at_rest::MasterKey;

/// A new, empty store.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    _dir: TempDir,
}

impl TestStore {
    /// Opens one on `SQLite`.
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(dir.path().join("test.db"));
        let pools = database.connect().await.unwrap();
        let store = Store::new(database, pools, MasterKey::new(&[7; 32]).unwrap());
        Self { store, _dir: dir }
    }

    /// Counts rows.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.store.reader()).await.unwrap()
    }
}

/// A writer.
pub(crate) fn origin() -> Origin {
    Origin { actor: "test".to_owned(), request_id: "req_test".to_owned() }
}

/// An entry about a record.
pub(crate) fn entry<'a>(tenant: &'a str, id: &'a str) -> Entry<'a> {
    let record = Record { kind: "profile", id };
    Entry { tenant, action: "test", record, also: &[], host: None, fields: &[] }
}
