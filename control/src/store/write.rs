//! The one way to change the database.
//!
//! ```text
//! let mut write = store.begin(&origin).await?;     // SQLite: BEGIN IMMEDIATE on the one writer
//! …statements on write.connection()…
//! let number = write.commit(entry).await?;         // audit row, change rows, change number, COMMIT
//! ```
//! Dropping a [`Write`], or [`Write::rollback`] (which `dry_run` uses), changes nothing. The change
//! counter is updated last, because it is what concurrent writers of one tenant wait for.

use std::sync::Arc;

use sqlx::{Any, AnyConnection, Transaction};

use super::feed::{Committed, Feed};
use super::idempotency::KeptAnswer;
use super::{Database, Doing as _, Store, StoreError};
use crate::clock::Millis;

/// Who writes, and in which request: the who of the audit row.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// A key's id, a host's id, or `cli`.
    pub(crate) actor: String,
    /// The request's id; empty outside requests.
    pub(crate) request_id: String,
}

/// What a write did: the rest of its audit row, and its change rows.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// The tenant whose change it is, or `""`.
    pub(crate) tenant: &'a str,
    /// A verb on a record, such as `variable.create`.
    pub(crate) action: &'static str,
    /// The record written.
    pub(crate) record: Record<'a>,
    /// Other records that changed along with it.
    pub(crate) also: &'a [Record<'a>],
    /// The host it is about, where it is about one.
    pub(crate) host: Option<&'a str>,
    /// Names of the fields that were given. Never values.
    pub(crate) fields: &'a [&'a str],
}

/// A record by kind and id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// `variable`, `profile`, `resource`, `run`, `host`, `api_key`, …
    pub(crate) kind: &'static str,
    /// Its id.
    pub(crate) id: &'a str,
}

/// A transaction that can only be committed together with its audit row and change number.
#[derive(Debug)]
pub(crate) struct Write {
    transaction: Transaction<'static, Any>,
    store: Store,
    origin: Origin,
    at: Millis,
}

impl Store {
    /// Begins a write.
    pub(crate) async fn begin(&self, origin: &Origin) -> Result<Write, StoreError> {
        // A transaction that reads first and then writes would fail as busy on SQLite.
        let statement = match self.0.database {
            Database::Sqlite(_) => "BEGIN IMMEDIATE",
            Database::Postgres(_) => "BEGIN",
        };
        let transaction = self.0.writer.begin_with(statement).await.doing("begin a write")?;
        Ok(Write { transaction, store: self.clone(), origin: origin.clone(), at: Millis::now() })
    }
}

impl Write {
    /// The connection that the write's statements run on.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// The store written to.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The time of this write, for its rows.
    pub(crate) fn at(&self) -> Millis {
        self.at
    }

    /// Lets one write of a kind at a time through for a tenant, until it ends. `SQLite` does so for
    /// all writes anyway.
    pub(crate) async fn alone(&mut self, kind: &'static str, tenant: &str) -> Result<(), StoreError> {
        if matches!(self.store.0.database, Database::Sqlite(_)) {
            return Ok(());
        }
        sqlx::query("SELECT COUNT(*) FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS locked")
            .bind(format!("{kind}/{tenant}"))
            .fetch_one(self.connection())
            .await
            .map(drop)
            .doing("wait for other writes")
    }

    /// Commits, and tells listeners. The change number is counted per tenant.
    pub(crate) async fn commit(self, entry: Entry<'_>) -> Result<i64, StoreError> {
        self.commit_keeping(entry, None).await
    }

    /// As [`Write::commit`], and keeps the answer for a request that is sent again: together with the
    /// change number, and so after it.
    pub(crate) async fn commit_keeping(
        mut self,
        entry: Entry<'_>,
        answer: Option<&KeptAnswer<'_>>,
    ) -> Result<i64, StoreError> {
        let number = self.record(&entry).await.doing("record a change")?;
        if let Some(answer) = answer {
            self.keep_answer(answer, &entry, number).await?;
        }
        let told = Told::prepare(&self.store.0.feed, &entry);
        self.transaction.commit().await.doing("commit a write")?;
        told.with(number);
        Ok(number)
    }

    /// Gives up what was written.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        self.transaction.rollback().await.doing("roll back a write")
    }

    /// Takes the change number and writes the rows that go with it, in one step: each step is a trip
    /// to the database and back, while others wait.
    async fn record(&mut self, entry: &Entry<'_>) -> Result<i64, sqlx::Error> {
        let statement = match self.store.0.database {
            Database::Sqlite(_) => RECORD_ON_SQLITE,
            Database::Postgres(_) => RECORD_ON_POSTGRES,
        };
        // `fetch_one` would look at the first of several statements only.
        let numbers: Vec<i64> = sqlx::query_scalar(statement)
            .bind(entry.tenant)
            .bind(entry.record.kind)
            .bind(entry.record.id)
            .bind(entry.host.unwrap_or_default())
            .bind(self.at.0)
            .bind(self.origin.actor.as_str())
            .bind(entry.action)
            .bind(self.origin.request_id.as_str())
            .bind(serde_json::json!({ "fields": entry.fields }).to_string())
            .fetch_all(&mut *self.transaction)
            .await?;
        let number = *numbers.first().ok_or(sqlx::Error::RowNotFound)?;
        for record in entry.also {
            sqlx::query(
                "INSERT INTO changes (tenant_id, number, record_kind, record_id, host_id)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(entry.tenant)
            .bind(number)
            .bind(record.kind)
            .bind(record.id)
            .bind(entry.host.unwrap_or_default())
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(number)
    }
}

/// Tells of a change also when the request is given up while its commit is under way: then nobody
/// knows whether it happened, and listeners must look.
struct Told<'a> {
    feed: &'a Feed,
    change: Option<Committed>,
}

impl<'a> Told<'a> {
    fn prepare(feed: &'a Feed, entry: &Entry<'_>) -> Self {
        let change = Committed { tenant: entry.tenant.into(), host: entry.host.map(Arc::from), number: 0 };
        Self { feed, change: Some(change) }
    }

    fn with(mut self, number: i64) {
        if let Some(change) = &mut self.change {
            change.number = number;
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Some(change) = self.change.take() {
            self.feed.tell(change);
        }
    }
}

/// `SQLite` runs several statements in one step.
const RECORD_ON_SQLITE: &str = "
    INSERT INTO change_counters (tenant_id, number) VALUES ($1, 1)
        ON CONFLICT (tenant_id) DO UPDATE SET number = change_counters.number + 1;
    INSERT INTO changes (tenant_id, number, record_kind, record_id, host_id)
        SELECT $1, number, $2, $3, $4 FROM change_counters WHERE tenant_id = $1;
    INSERT INTO audit (tenant_id, number, at, actor, action, record_id, request_id, detail)
        SELECT $1, number, $5, $6, $7, $3, $8, $9 FROM change_counters WHERE tenant_id = $1;
    SELECT number FROM change_counters WHERE tenant_id = $1";

/// `PostgreSQL` runs several parts of one statement, and announces the change along with them: it
/// holds announcements back until the commit. `listen` reads it.
const RECORD_ON_POSTGRES: &str = "
    WITH counted AS (
        INSERT INTO change_counters (tenant_id, number) VALUES ($1, 1)
        ON CONFLICT (tenant_id) DO UPDATE SET number = change_counters.number + 1
        RETURNING number
    ), changed AS (
        INSERT INTO changes (tenant_id, number, record_kind, record_id, host_id)
        SELECT $1, number, $2, $3, $4 FROM counted
    ), noted AS (
        INSERT INTO audit (tenant_id, number, at, actor, action, record_id, request_id, detail)
        SELECT $1, number, $5, $6, $7, $3, $8, $9 FROM counted
    )
    SELECT number FROM counted
    WHERE pg_notify('miosa_changes', number || ' ' || $1 || ' ' || $4) IS NOT NULL";

#[cfg(test)]
mod tests {
    use crate::store::Record;
    use crate::store::testing::{TestStore, entry, origin};

    #[tokio::test]
    async fn a_write_its_audit_row_and_its_change_number_commit_together() {
        let test = TestStore::open().await;
        let mut told = test.store.feed().subscribe();
        for number in 1..=3 {
            let also = [Record { kind: "profile", id: "arp_2" }];
            let entry = super::Entry { also: &also, host: Some("host_1"), ..entry("t1", "arp_1") };
            let write = test.store.begin(&origin()).await.unwrap();
            assert_eq!(write.commit(entry).await.unwrap(), number);
            let told = told.recv().await.unwrap();
            assert_eq!((&*told.tenant, told.host.as_deref(), told.number), ("t1", Some("host_1"), number));
        }
        assert_eq!(test.count("SELECT COUNT(*) FROM audit WHERE tenant_id = 't1'").await, 3);
        assert_eq!(test.count("SELECT COUNT(*) FROM changes WHERE tenant_id = 't1'").await, 6);
        let write = test.store.begin(&origin()).await.unwrap();
        assert_eq!(write.commit(entry("t2", "arp_3")).await.unwrap(), 1, "numbers are counted per tenant");
    }

    #[tokio::test]
    async fn what_is_not_committed_leaves_nothing_behind() {
        let test = TestStore::open().await;
        let told = test.store.feed().subscribe();
        let before = test.count("SELECT COUNT(*) FROM api_keys").await;
        for end in ["roll back", "drop"] {
            let mut write = test.store.begin(&origin()).await.unwrap();
            sqlx::query("INSERT INTO api_keys (id, hash, role, tenant_id, created_at) VALUES ('k', $1, 'read', 't', 0)")
                .bind(&[0_u8; 32][..])
                .execute(write.connection())
                .await
                .unwrap();
            if end == "roll back" {
                write.rollback().await.unwrap();
            }
        }
        assert_eq!(test.count("SELECT COUNT(*) FROM api_keys").await, before);
        assert!(told.is_empty());
    }
}
