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
        self.add_join_token(&id, join, expires_at).await?;
        self.commit(entry("host.create", &id)).await?;
        Ok(HostCreated::Yes(id))
    }

    /// Lets a host enroll once more with the join token of this hash, and commits. Until it does, it goes
    /// on as it is, but that after losing its trust documents it would be sent only those from the new
    /// pin on; join tokens that were not used work no longer. `false` when there is no such host,
    /// or it is revoked.
    pub(crate) async fn rejoin_host(
        mut self,
        id_or_name: &str,
        join: &TokenHash,
        expires_at: Millis,
        pinned_trust: i64,
    ) -> Result<bool, StoreError> {
        let id: Option<String> = sqlx::query_scalar(
            "UPDATE hosts SET pinned_trust = $1 WHERE (id = $2 OR name = $2) AND revoked_at IS NULL RETURNING id",
        )
        .bind(pinned_trust)
        .bind(id_or_name)
        .fetch_optional(self.connection())
        .await
        .doing("let a host enroll once more")?;
        let Some(id) = id else {
            self.rollback().await?;
            return Ok(false);
        };
        self.use_join_tokens_up(&id).await?;
        self.add_join_token(&id, join, expires_at).await?;
        self.commit(entry("host.rejoin", &id)).await?;
        Ok(true)
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
        self.use_join_tokens_up(&id).await?;
        self.commit(entry("host.revoke", &id)).await?;
        Ok(true)
    }

    async fn add_join_token(
        &mut self,
        host: &str,
        join: &TokenHash,
        expires_at: Millis,
    ) -> Result<(), StoreError> {
        let at = self.at();
        sqlx::query("INSERT INTO join_tokens (hash, host_id, created_at, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(join.as_bytes())
            .bind(host)
            .bind(at.0)
            .bind(expires_at.0)
            .execute(self.connection())
            .await
            .map(drop)
            .doing("add a join token")
    }

    async fn use_join_tokens_up(&mut self, host: &str) -> Result<(), StoreError> {
        let at = self.at();
        sqlx::query("UPDATE join_tokens SET used_at = $1 WHERE host_id = $2 AND used_at IS NULL")
            .bind(at.0)
            .bind(host)
            .execute(self.connection())
            .await
            .map(drop)
            .doing("revoke a host's join token")
    }
}

fn entry<'a>(action: &'static str, id: &'a str) -> Entry<'a> {
    Entry { tenant: "", action, record: Record { kind: "host", id }, also: &[], host: Some(id), fields: &[] }
}
