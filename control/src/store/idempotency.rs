//! Answers kept for requests that may be sent again. Of a request only a keyed hash is kept; the
//! answer is sealed, since it may hold previews of values.

use sqlx::Row as _;

use super::{Doing as _, Store, StoreError, Write};
use crate::at_rest::{DataKey, RowId};
use crate::clock::Millis;

/// What is known of an Idempotency-Key.
#[derive(Debug)]
pub(crate) enum Replay {
    /// Never seen, or too long ago.
    New,
    /// Seen with this very request: the answer then given.
    Answer { status: u16, body: Vec<u8> },
    /// Seen with another request.
    OtherRequest,
}

impl Write {
    /// What is known of a key. Until this write ends, no other may use the same key.
    pub(crate) async fn replay(
        &mut self,
        tenant: &str,
        idem_key: &str,
        request: &[u8],
    ) -> Result<Replay, StoreError> {
        const DOING: &str = "look an idempotency key up";
        self.alone("idempotency", &format!("{tenant}/{idem_key}")).await?;
        let oldest = self.at().plus(KEPT_FOR.saturating_neg()).0;
        let row = sqlx::query(
            "SELECT request, status, generation, sealed FROM idempotency
             WHERE tenant_id = $1 AND idem_key = $2 AND created_at > $3",
        )
        .bind(tenant)
        .bind(idem_key)
        .bind(oldest)
        .fetch_optional(self.connection())
        .await
        .doing(DOING)?;
        let Some(row) = row else { return Ok(Replay::New) };
        if row.try_get::<&[u8], _>("request").doing(DOING)? != request {
            return Ok(Replay::OtherRequest);
        }
        let status: i64 = row.try_get("status").doing(DOING)?;
        let key = self.store().data_key_of(tenant, row.try_get("generation").doing(DOING)?).await?;
        let body = key
            .open(row_id(tenant, &[idem_key]), row.try_get("sealed").doing(DOING)?)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        Ok(Replay::Answer {
            status: u16::try_from(status).map_err(|_out_of_range| StoreError::Corrupt { what: WHAT })?,
            body: body.to_vec(),
        })
    }

    /// Keeps the answer of the write at hand.
    pub(crate) async fn keep_answer(
        &mut self,
        tenant: &str,
        idem_key: &str,
        request: &[u8],
        key: &DataKey,
        (status, body): (u16, &[u8]),
    ) -> Result<(), StoreError> {
        let sealed = key
            .seal(row_id(tenant, &[idem_key]), body)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        let at = self.at().0;
        sqlx::query(
            "INSERT INTO idempotency (tenant_id, idem_key, request, status, generation, sealed, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant_id, idem_key) DO UPDATE SET
                 request = excluded.request, status = excluded.status, generation = excluded.generation,
                 sealed = excluded.sealed, created_at = excluded.created_at",
        )
        .bind(tenant)
        .bind(idem_key)
        .bind(request)
        .bind(i64::from(status))
        .bind(sealed.generation)
        .bind(sealed.bytes)
        .bind(at)
        .execute(self.connection())
        .await
        .map(drop)
        .doing("keep an answer")
    }
}

impl Store {
    /// Removes answers that are no longer given.
    pub(crate) async fn forget_answers(&self) -> Result<u64, StoreError> {
        let deleted = sqlx::query("DELETE FROM idempotency WHERE created_at <= $1")
            .bind(Millis::now().plus(KEPT_FOR.saturating_neg()).0)
            .execute(self.writer())
            .await
            .doing("remove old answers")?;
        Ok(deleted.rows_affected())
    }
}

fn row_id<'a>(tenant: &'a str, parts: &'a [&'a str]) -> RowId<'a> {
    RowId { kind: WHAT, tenant, parts }
}

/// A day: longer than any client goes on trying.
const KEPT_FOR: i64 = 24 * 60 * 60 * 1000;
const WHAT: &str = "answer";
