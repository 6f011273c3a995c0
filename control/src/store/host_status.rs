//! How hosts are: what they say about themselves, beside what was issued to them. Reports of hosts are
//! nobody's change of anything, so they go past audit and change numbers.

use miosa_injector::Understands;
use miosa_snapshot::{Digest, HostId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::host_openings::Regressed;
use super::updates::{column, counter};
use super::{Database, Doing as _, Store, StoreError};
use crate::clock::Millis;
use crate::page::{Page, Position};

/// What a host said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) at: Millis,
    /// The update it accepted last; `None` when it holds none.
    pub(crate) held: Option<HeldPosition>,
    /// What was wrong; `None` when nothing is.
    pub(crate) error: Option<ReportedError>,
}

/// The state that a host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldPosition {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    /// Of the update that made it; heartbeats leave it as it is.
    pub(crate) digest: Option<Digest>,
}

/// An error as a host reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportedError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) at: Millis,
}

/// A host as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostStatus {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) agent: String,
    pub(crate) created_at: Millis,
    pub(crate) enrolled_at: Option<Millis>,
    pub(crate) revoked_at: Option<Millis>,
    pub(crate) last_seen_at: Option<Millis>,
    pub(crate) held: Option<HeldPosition>,
    pub(crate) error: Option<ReportedError>,
    /// Epoch, version and time of the newest update issued to it.
    pub(crate) published: Option<(u64, u64, Millis)>,
    /// The version of the trust document that it said it holds when it opened its stream.
    pub(crate) trust: Option<u64>,
    /// The version of the newest trust document here.
    newest_trust: u64,
    /// It held less than it once did.
    pub(crate) regressed: Option<Regressed>,
    /// What it said that it knows when it opened its stream.
    pub(crate) understands: Understands,
}

impl HostStatus {
    /// Whether it holds something later than was ever issued to it. A control plane that was restored
    /// from an older backup finds this, and nothing that it issues will be accepted.
    pub(crate) fn is_ahead(&self) -> bool {
        let published = self.published.map(|(epoch, version, _)| (epoch, version));
        self.held.is_some_and(|held| Some((held.epoch, held.version)) > published)
    }

    /// Whether it holds a later trust document than this database, which nothing from here can follow.
    pub(crate) fn is_trust_ahead(&self) -> bool {
        self.trust.is_some_and(|trust| trust > self.newest_trust)
    }

    /// Its place in lists.
    pub(crate) fn position(&self) -> Position<'_> {
        Position { created_at: self.created_at, id: self.id.as_str() }
    }
}

impl Store {
    /// One host.
    pub(crate) async fn host_status(&self, id: &HostId) -> Result<Option<HostStatus>, StoreError> {
        let row = sqlx::query(
            "SELECT hosts.id, name, agent, created_at, enrolled_at, revoked_at, last_seen_at, reported_epoch,
                    reported_version, reported_digest, error_code, error_message, error_at, newest.epoch,
                    newest.version, newest.issued_at, reported_trust, regressions, regressed_at, regressed_from,
                    regressed_to, hosts.understands,
                    (SELECT MAX(version) FROM trust_documents) AS newest_trust
             FROM hosts LEFT JOIN host_updates AS newest ON newest.host_id = hosts.id
             WHERE hosts.id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        row.as_ref().map(read).transpose()
    }

    /// Hosts, oldest first.
    pub(crate) async fn host_statuses(&self, page: &Page) -> Result<Vec<HostStatus>, StoreError> {
        let after = page.after();
        let rows = sqlx::query(
            "SELECT hosts.id, name, agent, created_at, enrolled_at, revoked_at, last_seen_at, reported_epoch,
                    reported_version, reported_digest, error_code, error_message, error_at, newest.epoch,
                    newest.version, newest.issued_at, reported_trust, regressions, regressed_at, regressed_from,
                    regressed_to, hosts.understands,
                    (SELECT MAX(version) FROM trust_documents) AS newest_trust
             FROM hosts LEFT JOIN host_updates AS newest ON newest.host_id = hosts.id
             WHERE (created_at, hosts.id) > ($1, $2)
             ORDER BY created_at, hosts.id LIMIT $3",
        )
        .bind(after.created_at.0)
        .bind(after.id)
        .bind(page.fetch())
        .fetch_all(self.reader())
        .await
        .doing("list the hosts")?;
        rows.iter().map(read).collect()
    }

    /// Whether a resource may be placed on a host: it exists and isn't revoked.
    pub(crate) async fn host_takes_resources(&self, id: &HostId) -> Result<bool, StoreError> {
        let found: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM hosts WHERE id = $1 AND revoked_at IS NULL")
                .bind(id.as_str())
                .fetch_one(self.reader())
                .await
                .doing("look for a host")?;
        Ok(found != 0)
    }

    /// Notes what hosts said, all of it or nothing.
    pub(crate) async fn note_reports(&self, reports: &[(HostId, Report)]) -> Result<(), StoreError> {
        const DOING: &str = "note what hosts reported";
        let statement = match self.0.database {
            Database::Sqlite(_) => "BEGIN IMMEDIATE",
            Database::Postgres(_) => "BEGIN",
        };
        let mut transaction = self.writer().begin_with(statement).await.doing(DOING)?;
        for (host, report) in reports {
            let held = report.held.as_ref();
            let error = report.error.as_ref();
            sqlx::query(
                "UPDATE hosts SET last_seen_at = $1, reported_epoch = $2, reported_version = $3,
                        reported_digest = $4, error_code = $5, error_message = $6, error_at = $7,
                        highest_version = CASE WHEN $2 > highest_epoch THEN $3
                            WHEN $2 = highest_epoch AND $3 > highest_version THEN $3 ELSE highest_version END,
                        highest_epoch = CASE WHEN $2 > highest_epoch THEN $2 ELSE highest_epoch END
                 WHERE id = $8",
            )
            .bind(report.at.0)
            .bind(held.map(|held| column(held.epoch)))
            .bind(held.map(|held| column(held.version)))
            .bind(held.and_then(|held| held.digest).map(|digest| digest.as_bytes().to_vec()))
            .bind(error.map(|error| error.code.as_str()))
            .bind(error.map(|error| error.message.as_str()))
            .bind(error.map(|error| error.at.0))
            .bind(host.as_str())
            .execute(&mut *transaction)
            .await
            .doing(DOING)?;
        }
        transaction.commit().await.doing(DOING)
    }
}

fn read(row: &AnyRow) -> Result<HostStatus, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "host" };
    let number = |column: &str| row.try_get::<Option<i64>, _>(column).doing(DOING);
    let text = |column: &str| row.try_get::<Option<String>, _>(column).doing(DOING);
    let digest: Option<Vec<u8>> = row.try_get("reported_digest").doing(DOING)?;
    let digest = digest.map(|bytes| bytes.try_into().map(Digest::from_bytes));
    let digest = digest.transpose().map_err(|_never_written| corrupt())?;
    let counted = |column: &str| number(column)?.map(counter).transpose();
    let held = counted("reported_epoch")?.zip(counted("reported_version")?);
    let error = text("error_code")?.zip(text("error_message")?).zip(number("error_at")?);
    let published = counted("epoch")?.zip(counted("version")?).zip(number("issued_at")?);
    Ok(HostStatus {
        id: row.try_get::<&str, _>("id").doing(DOING)?.parse().map_err(|_never_written| corrupt())?,
        name: row.try_get("name").doing(DOING)?,
        agent: row.try_get("agent").doing(DOING)?,
        created_at: Millis(row.try_get("created_at").doing(DOING)?),
        enrolled_at: number("enrolled_at")?.map(Millis),
        revoked_at: number("revoked_at")?.map(Millis),
        last_seen_at: number("last_seen_at")?.map(Millis),
        held: held.map(|(epoch, version)| HeldPosition { epoch, version, digest }),
        error: error.map(|((code, message), at)| ReportedError { code, message, at: Millis(at) }),
        published: published.map(|((epoch, version), issued_at)| (epoch, version, Millis(issued_at))),
        trust: counted("reported_trust")?,
        newest_trust: counter(row.try_get("newest_trust").doing(DOING)?)?,
        regressed: read_regressed(row)?,
        understands: Understands::read(row.try_get("understands").doing(DOING)?),
    })
}

fn read_regressed(row: &AnyRow) -> Result<Option<Regressed>, StoreError> {
    let at: Option<i64> = row.try_get("regressed_at").doing(DOING)?;
    let Some(at) = at else { return Ok(None) };
    let place = |column: &str| {
        let text: &str = row.try_get(column).doing(DOING)?;
        serde_json::from_str(text).map_err(|_never_written| StoreError::Corrupt { what: "host" })
    };
    Ok(Some(Regressed {
        count: counter(row.try_get("regressions").doing(DOING)?)?,
        at: Millis(at),
        from: place("regressed_from")?,
        to: place("regressed_to")?,
    }))
}

const DOING: &str = "read a host";
