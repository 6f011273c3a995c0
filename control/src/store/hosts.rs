//! Hosts and their join tokens, as the command line needs them.

use sqlx::Row as _;

use super::{Doing as _, Entry, Record, Store, StoreError, Write, is_taken};
use crate::clock::Millis;
use crate::token::{TokenHash, generate_id};

/// One line of the list of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: Millis,
    pub(crate) enrolled_at: Option<Millis>,
    pub(crate) last_seen_at: Option<Millis>,
    pub(crate) revoked_at: Option<Millis>,
}

/// What came of creating a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostCreated {
    /// It exists now, with this id.
    Yes(String),
    /// A host that isn't revoked has this name.
    NameTaken,
}

impl Store {
    /// All hosts, oldest first.
    pub(crate) async fn host_lines(&self) -> Result<Vec<HostLine>, StoreError> {
        const DOING: &str = "list the hosts";
        let rows = sqlx::query(
            "SELECT id, name, created_at, enrolled_at, last_seen_at, revoked_at FROM hosts
             ORDER BY created_at, id",
        )
        .fetch_all(self.reader())
        .await
        .doing(DOING)?;
        let time = |row: &sqlx::any::AnyRow, column: &str| {
            Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(column).doing(DOING)?.map(Millis))
        };
        rows.iter()
            .map(|row| {
                Ok(HostLine {
                    id: row.try_get("id").doing(DOING)?,
                    name: row.try_get("name").doing(DOING)?,
                    created_at: Millis(row.try_get("created_at").doing(DOING)?),
                    enrolled_at: time(row, "enrolled_at")?,
                    last_seen_at: time(row, "last_seen_at")?,
                    revoked_at: time(row, "revoked_at")?,
                })
            })
            .collect()
    }
}

impl Write {
    /// Creates a host that may enroll with the join token of this hash, which names a trust document, and
    /// commits.
    pub(crate) async fn create_host(
        mut self,
        name: &str,
        join: &TokenHash,
        expires_at: Millis,
        pinned_trust: i64,
    ) -> Result<HostCreated, StoreError> {
        const DOING: &str = "create a host";
        let id = generate_id("host_")?;
        let at = self.at();
        let inserted =
            sqlx::query("INSERT INTO hosts (id, name, created_at, pinned_trust) VALUES ($1, $2, $3, $4)")
                .bind(id.as_str())
                .bind(name)
                .bind(at.0)
                .bind(pinned_trust)
                .execute(self.connection())
                .await;
        match inserted {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {
                self.rollback().await?;
                return Ok(HostCreated::NameTaken);
            }
            Err(error) => return Err(error).doing(DOING),
        }
        sqlx::query(
            "INSERT INTO join_tokens (hash, host_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(join.as_bytes())
        .bind(id.as_str())
        .bind(at.0)
        .bind(expires_at.0)
        .execute(self.connection())
        .await
        .doing(DOING)?;
        self.commit(entry("host.create", &id)).await?;
        Ok(HostCreated::Yes(id))
    }

    /// Revokes a host, by id or by name, and commits: its token works no longer. `false` when there
    /// is no such host, or it was revoked before.
    pub(crate) async fn revoke_host(mut self, id_or_name: &str) -> Result<bool, StoreError> {
        let at = self.at();
        let id: Option<String> = sqlx::query_scalar(
            "UPDATE hosts SET revoked_at = $1 WHERE (id = $2 OR name = $2) AND revoked_at IS NULL RETURNING id",
        )
        .bind(at.0)
        .bind(id_or_name)
        .fetch_optional(self.connection())
        .await
        .doing("revoke a host")?;
        let Some(id) = id else {
            self.rollback().await?;
            return Ok(false);
        };
        sqlx::query("UPDATE join_tokens SET used_at = $1 WHERE host_id = $2 AND used_at IS NULL")
            .bind(at.0)
            .bind(id.as_str())
            .execute(self.connection())
            .await
            .doing("revoke a host's join token")?;
        self.commit(entry("host.revoke", &id)).await?;
        Ok(true)
    }
}

fn entry<'a>(action: &'static str, id: &'a str) -> Entry<'a> {
    Entry { tenant: "", action, record: Record { kind: "host", id }, also: &[], host: Some(id), fields: &[] }
}
