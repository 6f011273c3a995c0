//! The answer of `/v1/resolve` as bytes. Between two updates only its version, its staleness and its
//! age move, so it is built once and these are written into its middle.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::model::{Connector, Policy};
use crate::payload::to_bytes;
use crate::resolve::Resolution;

/// A built answer: the bytes before and after the moving fields. Wiped on drop.
pub struct Answer {
    before: Zeroizing<Vec<u8>>,
    after: Zeroizing<Vec<u8>>,
}

/// The fields that move without the content changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// The version of the snapshot it was resolved from.
    pub snapshot_version: u64,
    /// Whether the snapshot is past its `expires_at`.
    pub stale: bool,
    /// Seconds since the host last heard that the snapshot is current.
    pub age_seconds: u64,
}

impl Answer {
    /// The content, without what moves: what an `ETag` is computed over.
    #[must_use]
    pub fn content(&self) -> [&[u8]; 2] {
        [&self.before, &self.after]
    }

    /// The whole JSON body.
    #[must_use]
    pub fn body(&self, moving: Moving) -> Zeroizing<Vec<u8>> {
        let Moving { snapshot_version, stale, age_seconds } = moving;
        let length = self.before.len().saturating_add(self.after.len()).saturating_add(MOVING_BYTES);
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        body.extend_from_slice(&self.before);
        // Writing to a Vec cannot fail.
        let _infallible = write!(
            body,
            r#""snapshot_version":{snapshot_version},"stale":{stale},"age_seconds":{age_seconds},"env":{{"MIOSA_SNAPSHOT_VERSION":"{snapshot_version}""#
        );
        body.extend_from_slice(&self.after);
        body
    }
}

impl Resolution {
    /// Builds the answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let mut before = to_bytes(&Head {
            resource_id: self.resource.id.as_str(),
            run_id: self.run_id.as_ref().map(|id| id.as_str()),
        });
        // `{"resource_id":…,"run_id":…}` goes on with the moving fields.
        let _brace = before.pop();
        before.push(b',');
        let env: BTreeMap<&str, &str> =
            self.merged.histories().map(|(name, winner, _)| (name.as_str(), winner.value.expose())).collect();
        let env = to_bytes(&env);
        let tail = to_bytes(&self.tail());
        let mut after = Zeroizing::new(Vec::with_capacity(env.len().saturating_add(tail.len())));
        // `{"A":…}` continues the object that MIOSA_SNAPSHOT_VERSION opened, and is never empty: the
        // tenant and the resource always have their ids.
        after.push(b',');
        after.extend_from_slice(env.get(1..).unwrap_or_default());
        after.push(b',');
        after.extend_from_slice(tail.get(1..).unwrap_or_default());
        Answer { before, after }
    }

    fn tail(&self) -> Tail<'_> {
        let command = self.launch.command.as_ref();
        Tail {
            delivery: self
                .merged
                .histories()
                .filter(|(_, winner, _)| !winner.deliver.is_env())
                .map(|(name, winner, _)| (name.as_str(), winner.deliver.as_str()))
                .collect(),
            files: [],
            cwd: self.launch.cwd.as_ref().map(|cwd| cwd.path.expose()),
            cwd_source: self.launch.cwd.as_ref().map(|cwd| cwd.source.as_str()),
            command: command.ok().map(|command| command.argv.as_slice()),
            command_source: command.ok().map(|command| command.source.as_str()),
            command_error: command.err().map(|error| ErrorOut { code: error.code, message: &error.message }),
            profile: self.profile.as_ref().map(|profile| ProfileOut {
                id: profile.id.as_str(),
                name: &profile.name,
                runtime: profile.runtime.as_str(),
                tools: profile.tools.as_deref(),
                connectors: &profile.connectors,
                policy: self.policy.as_ref(),
            }),
        }
    }
}

#[derive(Serialize)]
struct Head<'a> {
    resource_id: &'a str,
    run_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Tail<'a> {
    /// The names that are not delivered as env.
    delivery: BTreeMap<&'a str, &'static str>,
    files: [Value; 0],
    cwd: Option<&'a str>,
    cwd_source: Option<&'static str>,
    command: Option<&'a [String]>,
    command_source: Option<&'static str>,
    command_error: Option<ErrorOut<'a>>,
    profile: Option<ProfileOut<'a>>,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ProfileOut<'a> {
    id: &'a str,
    name: &'a str,
    runtime: &'a str,
    tools: Option<&'a [String]>,
    connectors: &'a [Connector],
    policy: Option<&'a Policy>,
}

/// Room for the names and digits of the moving fields.
const MOVING_BYTES: usize = 160;
