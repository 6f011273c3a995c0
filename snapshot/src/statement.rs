//! The statement: what a signer says to one host, around a payload that is not looked into.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    digest::Digest,
    host::HostId,
    numbers::{MAX_NUMBER, number, number_or_null},
    signing::KeyId,
};

/// What an update says, apart from its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The host it is for.
    pub host_id: HostId,
    /// The key whose signature the envelope carries.
    pub signer: KeyId,
    /// The lineage of versions; only the roots can start another one.
    pub epoch: u64,
    /// The version of the state that the host has after accepting it.
    pub version: u64,
    /// What it carries, and on top of what.
    pub kind: Kind,
    /// Its three times.
    pub times: Times,
}

/// What an update carries, and what it applies on top of.
///
/// `prev` is the digest of the last accepted envelope that carried state (full or incremental):
/// heartbeats do not move it, so a lost heartbeat breaks no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole state.
    Full,
    /// The change from version `from` to a later one.
    Incremental {
        /// The version that it applies on top of.
        from: u64,
        /// The envelope that made that version.
        prev: Digest,
    },
    /// Only newer times for the state at version `from`; its own version is the same.
    Heartbeat {
        /// The version that is still current.
        from: u64,
        /// The envelope that made that version.
        prev: Digest,
    },
}

/// The times of an update, in Unix milliseconds. [`MAX_NUMBER`] means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub issued_at: u64,
    /// Past this it is no longer accepted, and a state that it refreshed is stale.
    pub expires_at: u64,
    /// Past this a state that it refreshed is no longer served.
    pub serve_until: u64,
}

/// How old a held state is. Too old to accept and too old to serve are two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Up to `expires_at`.
    Fresh,
    /// Past `expires_at`: served, and said to be stale.
    Stale,
    /// Past `serve_until`: no longer served.
    Expired,
}

/// Why a statement is not one. None of them quotes the statement, which is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not exactly one JSON object with exactly the known members, each of its type and in range.
    #[error("the statement is not of the documented form at line {line}, column {column}")]
    Json {
        /// Where reading stopped, counted from 1.
        line: usize,
        /// Where in that line, counted from 1.
        column: usize,
    },
    /// `format` is not 1.
    #[error("the statement is of a format that this version does not know")]
    Format,
    /// A number above 2^53 − 1.
    #[error("a number of the statement is above 2^53-1")]
    Number,
    /// `from` and `prev` are not null for a full update, or do not fit another kind: an incremental
    /// one leads to a later version, a heartbeat to the same.
    #[error("kind, version, from and prev of the statement do not fit together")]
    Kind,
    /// Not `issued_at` ≤ `expires_at` ≤ `serve_until`.
    #[error("the times of the statement are not in order")]
    Times,
    /// Not a JSON object, or not `{}` for a heartbeat.
    #[error("the payload of the statement is not of the documented form")]
    Payload,
}

impl Times {
    /// How old a state with these times is at `now_ms`, on whichever clock the caller trusts.
    pub fn age_at(&self, now_ms: u64) -> Age {
        if now_ms <= self.expires_at {
            Age::Fresh
        } else if now_ms <= self.serve_until {
            Age::Stale
        } else {
            Age::Expired
        }
    }
}

impl Statement {
    /// The JSON text of this statement around `payload`, wiped on drop.
    pub(crate) fn write(&self, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, StatementError> {
        let payload = serde_json::from_slice(payload).ok().ok_or(StatementError::Payload)?;
        let (kind, from, prev) = match self.kind {
            Kind::Full => (KindName::Full, None, None),
            Kind::Incremental { from, prev } => (KindName::Incremental, Some(from), Some(prev)),
            Kind::Heartbeat { from, prev } => (KindName::Heartbeat, Some(from), Some(prev)),
        };
        let Times { issued_at, expires_at, serve_until } = self.times;
        let wire = Wire {
            format: FORMAT,
            host_id: self.host_id.clone(),
            signer: self.signer,
            epoch: self.epoch,
            version: self.version,
            kind,
            from,
            prev,
            issued_at,
            expires_at,
            serve_until,
            payload,
        };
        wire.check()?;
        // Never grown, since growing would leave an unwiped copy behind.
        let mut text =
            Zeroizing::new(Vec::with_capacity(payload.get().len().saturating_add(MAX_FRAME_BYTES)));
        serde_json::to_writer(&mut *text, &wire).ok().ok_or(StatementError::Payload)?;
        Ok(text)
    }

    /// Reads a statement, and says where in `text` its payload stands.
    pub(crate) fn read(text: &[u8]) -> Result<(Self, Range<usize>), StatementError> {
        let wire: Wire<'_> = serde_json::from_slice(text)
            .map_err(|error| StatementError::Json { line: error.line(), column: error.column() })?;
        let kind = wire.check()?;
        let payload = wire.payload.get();
        let start =
            payload.as_ptr().addr().checked_sub(text.as_ptr().addr()).ok_or(StatementError::Payload)?;
        let end = start.checked_add(payload.len()).ok_or(StatementError::Payload)?;
        let statement = Self {
            host_id: wire.host_id,
            signer: wire.signer,
            epoch: wire.epoch,
            version: wire.version,
            kind,
            times: Times {
                issued_at: wire.issued_at,
                expires_at: wire.expires_at,
                serve_until: wire.serve_until,
            },
        };
        Ok((statement, start..end))
    }
}

/// The members in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(deserialize_with = "number")]
    format: u64,
    host_id: HostId,
    signer: KeyId,
    #[serde(deserialize_with = "number")]
    epoch: u64,
    #[serde(deserialize_with = "number")]
    version: u64,
    kind: KindName,
    #[serde(deserialize_with = "number_or_null")]
    from: Option<u64>,
    #[serde(deserialize_with = "digest_or_null")]
    prev: Option<Digest>,
    #[serde(deserialize_with = "number")]
    issued_at: u64,
    #[serde(deserialize_with = "number")]
    expires_at: u64,
    #[serde(deserialize_with = "number")]
    serve_until: u64,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Full,
    Incremental,
    Heartbeat,
}

impl Wire<'_> {
    fn check(&self) -> Result<Kind, StatementError> {
        if self.format != FORMAT {
            return Err(StatementError::Format);
        }
        let numbers = [self.epoch, self.version, self.issued_at, self.expires_at, self.serve_until];
        if numbers.into_iter().any(|number| number > MAX_NUMBER) {
            return Err(StatementError::Number);
        }
        if self.issued_at > self.expires_at || self.expires_at > self.serve_until {
            return Err(StatementError::Times);
        }
        let kind = match (self.kind, self.from, self.prev) {
            (KindName::Full, None, None) => Kind::Full,
            (KindName::Incremental, Some(from), Some(prev)) if from < self.version => {
                Kind::Incremental { from, prev }
            }
            (KindName::Heartbeat, Some(from), Some(prev)) if from == self.version => {
                Kind::Heartbeat { from, prev }
            }
            (KindName::Full | KindName::Incremental | KindName::Heartbeat, _, _) => {
                return Err(StatementError::Kind);
            }
        };
        let payload = self.payload.get();
        let fits = if self.kind == KindName::Heartbeat { payload == "{}" } else { payload.starts_with('{') };
        if !fits {
            return Err(StatementError::Payload);
        }
        Ok(kind)
    }
}

/// Reads a digest or null; the member itself must be there, which a plain `Option` would not ask for.
fn digest_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    Option::deserialize(deserializer)
}

const FORMAT: u64 = 1;

/// More than a statement can have around its payload: three 64-digit texts, six numbers of at most
/// 16 digits, and the names of the members.
const MAX_FRAME_BYTES: usize = 1024;
