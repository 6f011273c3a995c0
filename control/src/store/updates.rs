//! Updates issued to hosts, and where each host stands. Of each host the newest update is kept, as a
//! full one, with a hash of the state inside, by which the publisher sees that nothing changed.
//!
//! None of this is a change of anybody's data, so it goes past audit and change numbers.

use std::collections::{BTreeMap, BTreeSet};

use miosa_injector::Understands;
use miosa_snapshot::{Digest, HostId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::lists::rows as value_rows;
use super::{Doing as _, Read, Store, StoreError, changes};
use crate::clock::Millis;

/// Change numbers by tenant: what of each tenant a state includes.
pub(crate) type Positions = BTreeMap<String, i64>;

/// An update as it was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) epoch: u64,
    /// Counted per host, and never lowered, whatever the epoch.
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    /// Of the incremental update that the same version was issued as too.
    pub(crate) increment: Option<Digest>,
    /// A keyed hash of the state inside.
    pub(crate) content: Vec<u8>,
    pub(crate) positions: Positions,
    pub(crate) issued_at: Millis,
    pub(crate) expires_at: Millis,
    /// The version of the trust document that it was signed under.
    pub(crate) trust: u64,
    /// What the host knew that it was made for.
    pub(crate) understands: Understands,
}

/// An update to be stored.
#[derive(Debug)]
pub(crate) struct NewUpdate {
    pub(crate) host_id: HostId,
    pub(crate) issued: Issued,
    pub(crate) envelope: Vec<u8>,
}

/// An update as it can be sent.
#[derive(Debug)]
pub(crate) struct NewestUpdate {
    pub(crate) issued: Issued,
    pub(crate) envelope: Vec<u8>,
    /// The time of the newest heartbeat issued to the host.
    pub(crate) beat_at: Millis,
}

/// A heartbeat's place in the order of everything that was issued to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Not before anything that was issued to the host, by any replica.
    pub(crate) issued_at: Millis,
    /// The newest update of the host, as stored.
    pub(crate) newest: Option<Digest>,
    /// The version of the newest trust document.
    pub(crate) trust: u64,
}

impl Store {
    /// Stores new updates, full ones, each in the place of the one before, unless its version or a later
    /// one was issued by somebody else meanwhile. Gives the hosts whose updates were stored: only those
    /// may be sent.
    pub(crate) async fn issue(&self, updates: &[&NewUpdate]) -> Result<BTreeSet<HostId>, StoreError> {
        const DOING: &str = "store updates of hosts";
        // In one order, so that no two replicas wait for each other.
        let mut updates = updates.to_vec();
        updates.sort_by_key(|update| &update.host_id);
        let mut stored = BTreeSet::new();
        for updates in updates.chunks(MAX_ROWS) {
            let text = format!(
                "INSERT INTO host_updates (host_id, epoch, version, digest, increment, content, positions,
                                           envelope, issued_at, expires_at, trust, understands)
                 VALUES {}
                 ON CONFLICT (host_id) DO UPDATE
                 SET epoch = excluded.epoch, version = excluded.version, digest = excluded.digest,
                     increment = excluded.increment, content = excluded.content,
                     positions = excluded.positions, envelope = excluded.envelope,
                     issued_at = excluded.issued_at, expires_at = excluded.expires_at,
                     trust = excluded.trust, understands = excluded.understands
                 WHERE host_updates.version < excluded.version
                 RETURNING host_id",
                value_rows(updates.len(), 12)
            );
            let mut query = sqlx::query_scalar(AssertSqlSafe(text)).persistent(updates.len() == 1);
            for NewUpdate { host_id, issued, envelope } in updates {
                let increment = issued.increment.as_ref().map_or(&[][..], |digest| digest.as_bytes());
                query = query
                    .bind(host_id.as_str())
                    .bind(column(issued.epoch))
                    .bind(column(issued.version))
                    .bind(issued.digest.as_bytes().as_slice())
                    .bind(increment)
                    .bind(issued.content.as_slice())
                    .bind(positions_column(&issued.positions))
                    .bind(envelope.as_slice())
                    .bind(issued.issued_at.0)
                    .bind(issued.expires_at.0)
                    .bind(column(issued.trust))
                    .bind(issued.understands.to_string());
            }
            let hosts: Vec<String> = query.fetch_all(self.writer()).await.doing(DOING)?;
            for host in hosts {
                stored.insert(host_id(&host)?);
            }
        }
        Ok(stored)
    }

    /// Puts an update of the same version and state in the place of `replaced`, only with newer times.
    /// It was not issued as an incremental one: whoever holds that is sent this. `false` when somebody
    /// else was first.
    pub(crate) async fn reissue(&self, update: &NewUpdate, replaced: &Digest) -> Result<bool, StoreError> {
        let NewUpdate { host_id, issued, envelope } = update;
        let updated = sqlx::query(
            "UPDATE host_updates SET digest = $1, increment = $2, envelope = $3, positions = $4, issued_at = $5,
                    expires_at = $6, trust = $7, understands = $8
             WHERE host_id = $9 AND epoch = $10 AND version = $11 AND digest = $12",
        )
        .bind(issued.digest.as_bytes().as_slice())
        .bind(&[][..])
        .bind(envelope.as_slice())
        .bind(positions_column(&issued.positions))
        .bind(issued.issued_at.0)
        .bind(issued.expires_at.0)
        .bind(column(issued.trust))
        .bind(issued.understands.to_string())
        .bind(host_id.as_str())
        .bind(column(issued.epoch))
        .bind(column(issued.version))
        .bind(replaced.as_bytes().as_slice())
        .execute(self.writer())
        .await
        .doing("store an update of a host again")?;
        Ok(updated.rows_affected() > 0)
    }

    /// The newest update of a host.
    pub(crate) async fn newest_update(&self, host: &HostId) -> Result<Option<NewestUpdate>, StoreError> {
        let row = sqlx::query(
            "SELECT epoch, version, digest, increment, content, positions, issued_at, expires_at, trust,
                    host_updates.understands AS made_for, envelope, beat_at
             FROM host_updates JOIN hosts ON hosts.id = host_id
             WHERE host_id = $1",
        )
        .bind(host.as_str())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(NewestUpdate {
            issued: read_issued(&row)?,
            envelope: row.try_get("envelope").doing(DOING)?,
            beat_at: Millis(row.try_get("beat_at").doing(DOING)?),
        }))
    }

    /// Takes the next time at which something may be said to have been issued to a host: now, but
    /// never before what was taken earlier. `None` when the host is revoked.
    pub(crate) async fn take_beat(
        &self,
        host: &HostId,
        now: Millis,
        last_believable: Millis,
    ) -> Result<Option<Beat>, StoreError> {
        const DOING: &str = "note a heartbeat";
        let row = sqlx::query(
            "UPDATE hosts SET beat_at = CASE WHEN beat_at > $2 AND beat_at <= $3 THEN beat_at ELSE $2 END
             WHERE id = $1 AND revoked_at IS NULL
             RETURNING beat_at,
                 (SELECT digest FROM host_updates WHERE host_updates.host_id = hosts.id) AS newest,
                 (SELECT MAX(version) FROM trust_documents) AS trust",
        )
        .bind(host.as_str())
        .bind(now.0)
        .bind(last_believable.0)
        .fetch_optional(self.writer())
        .await
        .doing(DOING)?;
        let Some(row) = row else { return Ok(None) };
        let newest: Option<Vec<u8>> = row.try_get("newest").doing(DOING)?;
        Ok(Some(Beat {
            issued_at: Millis(row.try_get("beat_at").doing(DOING)?),
            newest: newest.as_deref().map(read_digest).transpose()?,
            trust: counter(row.try_get("trust").doing(DOING)?)?,
        }))
    }

    /// The hosts that have resources of a tenant, but for those that are revoked: they get nothing
    /// any more, so that nobody is to wait for them.
    pub(crate) async fn hosts_of_tenant(&self, tenant: &str) -> Result<BTreeSet<HostId>, StoreError> {
        let hosts: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM hosts WHERE revoked_at IS NULL
             AND id IN (SELECT host_id FROM resources WHERE tenant_id = $1)",
        )
        .bind(tenant)
        .fetch_all(self.reader())
        .await
        .doing("find a tenant's hosts")?;
        hosts.iter().map(|id| host_id(id)).collect()
    }

    /// The enrolled hosts whose newest update was signed under another trust document than this one.
    pub(crate) async fn hosts_not_under(&self, trust: u64) -> Result<BTreeSet<HostId>, StoreError> {
        let hosts: Vec<String> = sqlx::query_scalar(
            "SELECT hosts.id FROM hosts LEFT JOIN host_updates AS newest ON newest.host_id = hosts.id
             WHERE hosts.public_key IS NOT NULL AND hosts.revoked_at IS NULL
               AND (newest.trust IS NULL OR newest.trust <> $1)",
        )
        .bind(column(trust))
        .fetch_all(self.reader())
        .await
        .doing("find hosts to be told of a trust document")?;
        hosts.iter().map(|id| host_id(id)).collect()
    }

    /// The change numbers of all tenants, and every host whose newest update does not include them,
    /// does not say what it includes, or was made for another understanding.
    pub(crate) async fn hosts_behind(&self) -> Result<(Positions, BTreeSet<HostId>), StoreError> {
        let mut read = self.read().await?;
        let numbers: Positions = changes::change_numbers(&mut read).await?.into_iter().collect();
        let mut wanted: BTreeMap<String, Positions> = BTreeMap::new();
        for (host, tenant) in placements(&mut read).await? {
            let number = numbers.get(&tenant).copied().unwrap_or_default();
            wanted.entry(host).or_default().insert(tenant, number);
        }
        let issued = newest_positions(&mut read).await?;
        // A host that lost its last resource wants nothing, and may still have something.
        for host in issued.keys() {
            wanted.entry(host.clone()).or_default();
        }
        let is_current = |host, wanted| issued.get(host).and_then(Option::as_ref) == Some(wanted);
        let behind = wanted.iter().filter(|(host, wanted)| !is_current(*host, wanted));
        let behind = behind.map(|(host, _)| host_id(host)).collect::<Result<_, _>>()?;
        Ok((numbers, behind))
    }
}

async fn placements(read: &mut Read) -> Result<Vec<(String, String)>, StoreError> {
    const DOING: &str = "find where tenants have resources";
    let rows = sqlx::query("SELECT DISTINCT host_id, tenant_id FROM resources")
        .fetch_all(&mut **read)
        .await
        .doing(DOING)?;
    rows.iter().map(|row| Ok((row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?))).collect()
}

/// What the newest update of each host includes; `None` where that can't be read, or is to be put otherwise.
async fn newest_positions(read: &mut Read) -> Result<BTreeMap<String, Option<Positions>>, StoreError> {
    let rows = sqlx::query(
        "SELECT host_id, CASE WHEN host_updates.understands = hosts.understands THEN positions ELSE '' END
                AS positions
         FROM host_updates JOIN hosts ON hosts.id = host_id",
    )
    .fetch_all(&mut **read)
    .await
    .doing(DOING)?;
    rows.iter().map(|row| Ok((row.try_get("host_id").doing(DOING)?, read_positions(row).ok()))).collect()
}

/// Reads what was issued from a row of `host_updates`.
pub(super) fn read_issued(row: &AnyRow) -> Result<Issued, StoreError> {
    let increment: &[u8] = row.try_get("increment").doing(DOING)?;
    Ok(Issued {
        epoch: counter(row.try_get("epoch").doing(DOING)?)?,
        version: counter(row.try_get("version").doing(DOING)?)?,
        digest: read_digest(row.try_get("digest").doing(DOING)?)?,
        increment: (!increment.is_empty()).then(|| read_digest(increment)).transpose()?,
        content: row.try_get("content").doing(DOING)?,
        positions: read_positions(row)?,
        issued_at: Millis(row.try_get("issued_at").doing(DOING)?),
        expires_at: Millis(row.try_get("expires_at").doing(DOING)?),
        trust: counter(row.try_get("trust").doing(DOING)?)?,
        understands: Understands::read(row.try_get("made_for").doing(DOING)?),
    })
}

fn read_positions(row: &AnyRow) -> Result<Positions, StoreError> {
    let text: &str = row.try_get("positions").doing(DOING)?;
    serde_json::from_str(text).map_err(|_never_written| StoreError::Corrupt { what: WHAT })
}

fn positions_column(positions: &Positions) -> String {
    serde_json::json!(positions).to_string()
}

fn read_digest(bytes: &[u8]) -> Result<Digest, StoreError> {
    let bytes = bytes.try_into().map_err(|_never_written| StoreError::Corrupt { what: WHAT })?;
    Ok(Digest::from_bytes(bytes))
}

/// A number of at most 2^53 − 1, as all in an update are.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn counter(stored: i64) -> Result<u64, StoreError> {
    stored.try_into().map_err(|_never_written| StoreError::Corrupt { what: WHAT })
}

/// Reads the id of a host.
pub(super) fn host_id(stored: &str) -> Result<HostId, StoreError> {
    stored.parse().map_err(|_never_written| StoreError::Corrupt { what: "host id" })
}

/// Twelve parameters a row; `SQLite` takes 32,766 in one statement.
const MAX_ROWS: usize = 128;
const WHAT: &str = "update of a host";
const DOING: &str = "read an update of a host";
