//! Answers kept for requests that may be sent again. Of a request only a keyed hash is kept; the
//! answer is sealed, since it may hold previews of values.

use miosa_snapshot::HostId;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _};

use super::{Doing as _, Entry, Store, StoreError, Write};
use crate::at_rest::{DataKey, RowId};
use crate::clock::Millis;

/// What is known of an Idempotency-Key.
#[derive(Debug)]
pub(crate) enum Replay {
    /// Never seen, or too long ago.
    New,
    /// Seen with this very request.
    Answer(Kept),
    /// Seen with another request.
    OtherRequest,
}

/// An answer then given.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) kept_for: KeptFor,
}

/// The change that an answer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptFor {
    pub(crate) tenant: String,
    /// `None` when it is not about one host.
    pub(crate) host: Option<HostId>,
    pub(crate) number: i64,
}

/// An answer to be kept.
#[derive(Debug)]
pub(crate) struct KeptAnswer<'a> {
    /// Whose key it is: a tenant, or `""`.
    pub(crate) owner: &'a str,
    pub(crate) idem_key: &'a str,
    /// The hash of the request.
    pub(crate) request: &'a [u8],
    /// The owner's data key.
    pub(crate) sealing: &'a DataKey,
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Store {
    /// What is known of a key just now.
    pub(crate) async fn replay(
        &self,
        owner: &str,
        idem_key: &str,
        request: &[u8],
    ) -> Result<Replay, StoreError> {
        let row = find(self.reader(), owner, idem_key, Millis::now()).await?;
        judge(self, row, owner, idem_key, request).await
    }
}

impl Write {
    /// What is known of a key. Until this write ends, no other may use the same key.
    pub(crate) async fn replay(
        &mut self,
        owner: &str,
        idem_key: &str,
        request: &[u8],
    ) -> Result<Replay, StoreError> {
        self.alone("idempotency", &format!("{owner}/{idem_key}")).await?;
        let at = self.at();
        let row = find(self.connection(), owner, idem_key, at).await?;
        judge(self.store(), row, owner, idem_key, request).await
    }

    /// Keeps the answer of the write at hand.
    pub(super) async fn keep_answer(
        &mut self,
        answer: &KeptAnswer<'_>,
        entry: &Entry<'_>,
        number: i64,
    ) -> Result<(), StoreError> {
        let sealed = answer
            .sealing
            .seal(row_id(answer.owner, &[answer.idem_key]), answer.body)
            .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
        let at = self.at().0;
        sqlx::query(
            "INSERT INTO idempotency (tenant_id, idem_key, request, status, generation, sealed, changed,
                                      host_id, number, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (tenant_id, idem_key) DO UPDATE SET
                 request = excluded.request, status = excluded.status, generation = excluded.generation,
                 sealed = excluded.sealed, changed = excluded.changed, host_id = excluded.host_id,
                 number = excluded.number, created_at = excluded.created_at",
        )
        .bind(answer.owner)
        .bind(answer.idem_key)
        .bind(answer.request)
        .bind(i64::from(answer.status))
        .bind(sealed.generation)
        .bind(sealed.bytes)
        .bind(entry.tenant)
        .bind(entry.host.unwrap_or_default())
        .bind(number)
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

async fn find<'e>(
    executor: impl sqlx::Executor<'e, Database = Any>,
    owner: &str,
    idem_key: &str,
    now: Millis,
) -> Result<Option<AnyRow>, StoreError> {
    sqlx::query(
        "SELECT request, status, generation, sealed, changed, host_id, number FROM idempotency
         WHERE tenant_id = $1 AND idem_key = $2 AND created_at > $3",
    )
    .bind(owner.to_owned())
    .bind(idem_key.to_owned())
    .bind(now.plus(KEPT_FOR.saturating_neg()).0)
    .fetch_optional(executor)
    .await
    .doing(DOING)
}

async fn judge(
    store: &Store,
    row: Option<AnyRow>,
    owner: &str,
    idem_key: &str,
    request: &[u8],
) -> Result<Replay, StoreError> {
    let Some(row) = row else { return Ok(Replay::New) };
    if row.try_get::<&[u8], _>("request").doing(DOING)? != request {
        return Ok(Replay::OtherRequest);
    }
    let corrupt = || StoreError::Corrupt { what: WHAT };
    let status: i64 = row.try_get("status").doing(DOING)?;
    let host: &str = row.try_get("host_id").doing(DOING)?;
    let host = if host.is_empty() { None } else { Some(host.parse().map_err(|_never_written| corrupt())?) };
    let key = store.data_key_of(owner, row.try_get("generation").doing(DOING)?).await?;
    let body = key
        .open(row_id(owner, &[idem_key]), row.try_get("sealed").doing(DOING)?)
        .map_err(|source| StoreError::Sealed { what: WHAT, source })?;
    Ok(Replay::Answer(Kept {
        status: u16::try_from(status).map_err(|_out_of_range| corrupt())?,
        body: body.to_vec(),
        kept_for: KeptFor {
            tenant: row.try_get("changed").doing(DOING)?,
            host,
            number: row.try_get("number").doing(DOING)?,
        },
    }))
}

fn row_id<'a>(tenant: &'a str, parts: &'a [&'a str]) -> RowId<'a> {
    RowId { kind: WHAT, tenant, parts }
}

/// A day: longer than any client goes on trying.
const KEPT_FOR: i64 = 24 * 60 * 60 * 1000;
const WHAT: &str = "answer";
const DOING: &str = "look an idempotency key up";
