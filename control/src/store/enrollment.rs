//! How a host becomes one: its join token is used up for a token of its own, by which it is known
//! from then on.

use miosa_snapshot::{HostId, HostPublicKey};
use sqlx::Row as _;

use super::updates::{counter, host_id};
use super::{Doing as _, Entry, Record, Store, StoreError, Write};
use crate::token::TokenHash;

/// A host that has enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enrolled {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) public_key: HostPublicKey,
    /// The trust document that its join token named, and so the first that it takes.
    pub(crate) pinned_trust: u64,
}

/// What a host brings when it enrolls.
#[derive(Debug)]
pub(crate) struct NewHost<'a> {
    pub(crate) public_key: &'a HostPublicKey,
    /// The hash of the token it is known by from now on.
    pub(crate) token: &'a TokenHash,
    /// What it says it is, such as `miosad 0.1.0`.
    pub(crate) agent: &'a str,
}

impl Store {
    /// The host that this token is of, unless the host is revoked.
    pub(crate) async fn host_of_token(&self, token: &TokenHash) -> Result<Option<Enrolled>, StoreError> {
        const DOING: &str = "look a host's token up";
        let row = sqlx::query(
            "SELECT id, name, public_key, pinned_trust FROM hosts WHERE token_hash = $1 AND revoked_at IS NULL",
        )
        .bind(token.as_bytes())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        let Some(row) = row else { return Ok(None) };
        let public_key = HostPublicKey::from_bytes(row.try_get("public_key").doing(DOING)?);
        Ok(Some(Enrolled {
            id: host_id(row.try_get("id").doing(DOING)?)?,
            name: row.try_get("name").doing(DOING)?,
            public_key: public_key.map_err(|_never_written| StoreError::Corrupt { what: "host key" })?,
            pinned_trust: counter(row.try_get("pinned_trust").doing(DOING)?)?,
        }))
    }
}

impl Write {
    /// Enrolls a host with its join token, and commits. Of many that come with one token, one
    /// enrolls. `None` when the token is unknown, used or expired, or its host is revoked.
    pub(crate) async fn enroll(
        mut self,
        join: &TokenHash,
        host: &NewHost<'_>,
    ) -> Result<Option<Enrolled>, StoreError> {
        const DOING: &str = "enroll a host";
        let at = self.at();
        // The row lock of this update is what makes one winner.
        let id: Option<String> = sqlx::query_scalar(
            "UPDATE join_tokens SET used_at = $1 WHERE hash = $2 AND used_at IS NULL AND expires_at > $1
             RETURNING host_id",
        )
        .bind(at.0)
        .bind(join.as_bytes())
        .fetch_optional(self.connection())
        .await
        .doing("use up a join token")?;
        let Some(id) = id else {
            self.rollback().await?;
            return Ok(None);
        };
        let row = sqlx::query(
            // What the host told before, it told with what it has lost since.
            "UPDATE hosts SET public_key = $1, token_hash = $2, agent = $3, enrolled_at = $4,
                    reported_epoch = NULL, reported_version = NULL, reported_digest = NULL, reported_trust = NULL,
                    highest_epoch = 0, highest_version = 0
             WHERE id = $5 AND revoked_at IS NULL RETURNING name, pinned_trust",
        )
        .bind(host.public_key.as_bytes().as_slice())
        .bind(host.token.as_bytes())
        .bind(host.agent)
        .bind(at.0)
        .bind(id.as_str())
        .fetch_optional(self.connection())
        .await
        .doing(DOING)?;
        let Some(row) = row else {
            self.rollback().await?;
            return Ok(None);
        };
        // What was sealed to a key that it has no more can't be sent again; nobody would take it anyway
        // once it has expired.
        sqlx::query("UPDATE host_updates SET expires_at = 0 WHERE host_id = $1")
            .bind(id.as_str())
            .execute(self.connection())
            .await
            .doing(DOING)?;
        let name = row.try_get("name").doing(DOING)?;
        let pinned_trust = counter(row.try_get("pinned_trust").doing(DOING)?)?;
        self.commit(Entry {
            tenant: "",
            action: "host.enroll",
            record: Record { kind: "host", id: &id },
            also: &[],
            host: Some(&id),
            fields: &[],
        })
        .await?;
        Ok(Some(Enrolled { id: host_id(&id)?, name, public_key: *host.public_key, pinned_trust }))
    }
}
