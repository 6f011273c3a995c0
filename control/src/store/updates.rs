//! Updates issued to hosts: of each host the newest one, with a hash of the state inside, by which the
//! publisher sees that nothing changed. Envelopes are not kept: from the state they can be made anew.
//!
//! None of this is a change of anybody's data, so it goes past audit and change numbers.

use std::collections::{BTreeMap, BTreeSet};

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
    /// A keyed hash of the state inside.
    pub(crate) content: Vec<u8>,
    pub(crate) positions: Positions,
    pub(crate) issued_at: Millis,
}

/// An update to be issued, or to be issued once more.
#[derive(Debug)]
pub(crate) struct NewUpdate {
    pub(crate) host_id: HostId,
    pub(crate) issued: Issued,
    /// The update of the same version and state that it takes the place of, if there is one.
    pub(crate) replaces: Option<Digest>,
    pub(crate) envelope: Vec<u8>,
}

/// A heartbeat's place in the order of everything that was issued to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Not before anything that was issued to the host, by any replica.
    pub(crate) issued_at: Millis,
    /// The newest update of the host, as stored.
    pub(crate) newest: Option<Digest>,
}

impl Store {
    /// Notes that updates are issued: a new version unless it or a later one was issued by somebody
    /// else meanwhile, and one that replaces another only while that is the newest. Gives the hosts
    /// whose updates were noted: only those may be sent.
    pub(crate) async fn issue(&self, updates: &[NewUpdate]) -> Result<BTreeSet<HostId>, StoreError> {
        let (new, again): (Vec<_>, Vec<_>) = updates.iter().partition(|update| update.replaces.is_none());
        let mut issued = BTreeSet::new();
        for updates in new.chunks(MAX_ROWS) {
            issued.append(&mut self.issue_new(updates).await?);
        }
        if !again.is_empty() {
            issued.append(&mut self.issue_again(&again).await?);
        }
        Ok(issued)
    }

    async fn issue_new(&self, updates: &[&NewUpdate]) -> Result<BTreeSet<HostId>, StoreError> {
        let text = format!(
            "INSERT INTO host_updates (host_id, epoch, version, digest, content, positions, issued_at)
             VALUES {}
             ON CONFLICT (host_id) DO UPDATE SET
                 epoch = excluded.epoch, version = excluded.version, digest = excluded.digest,
                 content = excluded.content, positions = excluded.positions, issued_at = excluded.issued_at
             WHERE host_updates.version < excluded.version
             RETURNING host_id",
            value_rows(updates.len(), 7)
        );
        let is_common = [1, MAX_ROWS].contains(&updates.len());
        let mut query = sqlx::query_scalar(AssertSqlSafe(text)).persistent(is_common);
        for NewUpdate { host_id, issued, .. } in updates {
            query = query
                .bind(host_id.as_str())
                .bind(column(issued.epoch))
                .bind(column(issued.version))
                .bind(issued.digest.as_bytes().as_slice())
                .bind(issued.content.as_slice())
                .bind(positions_column(&issued.positions))
                .bind(issued.issued_at.0);
        }
        let hosts: Vec<String> = query.fetch_all(self.writer()).await.doing("note updates of hosts")?;
        hosts.iter().map(|id| host_id(id)).collect()
    }

    async fn issue_again(&self, updates: &[&NewUpdate]) -> Result<BTreeSet<HostId>, StoreError> {
        const DOING: &str = "note updates of hosts once more";
        let mut transaction = self.begin_note().await?;
        let mut issued = BTreeSet::new();
        for NewUpdate { host_id, issued: update, replaces, .. } in updates {
            let replaced = replaces.as_ref().map(|digest| digest.as_bytes().as_slice());
            let updated = sqlx::query(
                "UPDATE host_updates SET digest = $1, positions = $2, issued_at = $3
                 WHERE host_id = $4 AND epoch = $5 AND version = $6 AND digest = $7",
            )
            .bind(update.digest.as_bytes().as_slice())
            .bind(positions_column(&update.positions))
            .bind(update.issued_at.0)
            .bind(host_id.as_str())
            .bind(column(update.epoch))
            .bind(column(update.version))
            .bind(replaced)
            .execute(&mut *transaction)
            .await
            .doing(DOING)?;
            if updated.rows_affected() > 0 {
                issued.insert(host_id.clone());
            }
        }
        transaction.commit().await.doing(DOING)?;
        Ok(issued)
    }

    /// The newest update of a host.
    pub(crate) async fn newest_update(&self, host: &HostId) -> Result<Option<Issued>, StoreError> {
        let row = sqlx::query(
            "SELECT epoch, version, digest, content, positions, issued_at FROM host_updates WHERE host_id = $1",
        )
        .bind(host.as_str())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        row.as_ref().map(read_issued).transpose()
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
                 (SELECT digest FROM host_updates WHERE host_updates.host_id = hosts.id) AS newest",
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

    /// The change numbers of all tenants, and every host whose newest update does not include them,
    /// or does not say what it includes.
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

/// What the newest update of each host includes; `None` where that can't be read.
async fn newest_positions(read: &mut Read) -> Result<BTreeMap<String, Option<Positions>>, StoreError> {
    let rows = sqlx::query("SELECT host_id, positions FROM host_updates")
        .fetch_all(&mut **read)
        .await
        .doing(DOING)?;
    rows.iter().map(|row| Ok((row.try_get("host_id").doing(DOING)?, read_positions(row).ok()))).collect()
}

/// Reads what was issued from a row of `host_updates`.
pub(super) fn read_issued(row: &AnyRow) -> Result<Issued, StoreError> {
    Ok(Issued {
        epoch: counter(row.try_get("epoch").doing(DOING)?)?,
        version: counter(row.try_get("version").doing(DOING)?)?,
        digest: read_digest(row.try_get("digest").doing(DOING)?)?,
        content: row.try_get("content").doing(DOING)?,
        positions: read_positions(row)?,
        issued_at: Millis(row.try_get("issued_at").doing(DOING)?),
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

/// Seven parameters a row. `SQLite` looks each parameter up in a list of all before it.
const MAX_ROWS: usize = 64;
const WHAT: &str = "update of a host";
const DOING: &str = "read an update of a host";
