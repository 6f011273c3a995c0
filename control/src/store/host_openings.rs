//! What hosts tell when they open their streams, held against what they told before. Nobody's change of
//! anything, so it goes past audit and change numbers.

use miosa_injector::Understands;
use miosa_snapshot::HostId;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::updates::{column, counter};
use super::{Doing as _, Store, StoreError};
use crate::clock::Millis;

/// A place in the order of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

/// A host that held less than it once did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Regressed {
    /// How often that was seen.
    pub(crate) count: u64,
    /// When it was seen last.
    pub(crate) at: Millis,
    /// The latest state that it ever said it holds.
    pub(crate) from: Place,
    /// What it said it holds.
    pub(crate) to: Place,
}

/// What is other than before as a stream opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The latest state that the host once held, if that is a later one.
    pub(crate) regressed_from: Option<Place>,
    /// It knows more or less than it did.
    pub(crate) understands_other: bool,
}

impl Store {
    /// Notes what a host tells as its stream opens. Whatever it told before, it told before this, so that
    /// nothing overtakes.
    pub(crate) async fn note_opening(
        &self,
        host: &HostId,
        held: Option<Place>,
        trust: Option<u64>,
        understands: Understands,
        at: Millis,
    ) -> Result<Opening, StoreError> {
        const DOING: &str = "look at what a host told before";
        let row = sqlx::query(
            "SELECT highest_epoch, highest_version, reported_trust, understands FROM hosts WHERE id = $1",
        )
        .bind(host.as_str())
        .fetch_optional(self.reader())
        .await
        .doing(DOING)?;
        let Some(row) = row else { return Ok(Opening::default()) };
        let highest = Place {
            epoch: counter(row.try_get("highest_epoch").doing(DOING)?)?,
            version: counter(row.try_get("highest_version").doing(DOING)?)?,
        };
        let known: Option<i64> = row.try_get("reported_trust").doing(DOING)?;
        // Most hosts come back with what is known: a thousand of them should not cost as many writes.
        if trust.is_some() && known != trust.map(column) {
            self.note_trust_of(host, trust).await?;
        }
        let understood = Understands::read(row.try_get("understands").doing(DOING)?);
        if understood != understands {
            self.note_understanding_of(host, understands).await?;
        }
        let mut opening = Opening { regressed_from: None, understands_other: understood != understands };
        if let Some(held) = held.filter(|held| *held < highest) {
            self.note_regression(host, highest, held, at).await?;
            opening.regressed_from = Some(highest);
        }
        Ok(opening)
    }

    async fn note_understanding_of(&self, host: &HostId, understands: Understands) -> Result<(), StoreError> {
        sqlx::query("UPDATE hosts SET understands = $1 WHERE id = $2")
            .bind(understands.to_string())
            .bind(host.as_str())
            .execute(self.writer())
            .await
            .map(drop)
            .doing("note what a host knows")
    }

    async fn note_trust_of(&self, host: &HostId, trust: Option<u64>) -> Result<(), StoreError> {
        sqlx::query("UPDATE hosts SET reported_trust = $1 WHERE id = $2")
            .bind(trust.map(column))
            .bind(host.as_str())
            .execute(self.writer())
            .await
            .map(drop)
            .doing("note the trust document of a host")
    }

    async fn note_regression(
        &self,
        host: &HostId,
        from: Place,
        to: Place,
        at: Millis,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE hosts SET regressions = regressions + 1, regressed_at = $1, regressed_from = $2,
                    regressed_to = $3
             WHERE id = $4",
        )
        .bind(at.0)
        .bind(serde_json::json!(from).to_string())
        .bind(serde_json::json!(to).to_string())
        .bind(host.as_str())
        .execute(self.writer())
        .await
        .map(drop)
        .doing("note that a host went back")
    }
}
