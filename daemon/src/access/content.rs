//! What the log says of one content: whose it is, and where each of its variables comes from. Names and
//! ids of records; no value comes near it.

use std::collections::BTreeMap;

use hyper::header::HeaderValue;
use miosa_injector::Resolution;
use miosa_injector::model::{ResourceId, RunId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// One content of a resource, or of a run on it.
pub(crate) struct Content {
    pub(super) tenant: TenantId,
    pub(super) resource: ResourceId,
    pub(super) run: Option<RunId>,
    pub(super) etag: HeaderValue,
    pub(super) epoch: u64,
    pub(super) version: u64,
    /// How many variables it has.
    pub(super) variables: u64,
    /// Where they come from, as JSON, for as many as there is room.
    pub(super) sources: Box<RawValue>,
}

/// The variables that one record won.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Its layer.
    pub(crate) layer: String,
    /// Its id.
    pub(crate) record: String,
    /// The names.
    pub(crate) names: Vec<String>,
}

impl Content {
    /// The content that `resolution` comes to, in the state of this epoch and version.
    pub(crate) fn new(resolution: &Resolution, etag: &HeaderValue, (epoch, version): (u64, u64)) -> Self {
        let (mut sources, mut room, mut variables) = (BTreeMap::<_, Vec<_>>::new(), NAME_BYTES, 0_u64);
        for (name, layer, record) in resolution.origins() {
            variables = variables.saturating_add(1);
            let needs = name.as_str().len().saturating_add(record.len()).saturating_add(AROUND_A_NAME);
            if let Some(left) = room.checked_sub(needs) {
                room = left;
                sources.entry((layer.to_string(), record.to_owned())).or_default().push(name.to_string());
            }
        }
        let sources: Vec<_> =
            sources.into_iter().map(|((layer, record), names)| Source { layer, record, names }).collect();
        Self {
            tenant: resolution.resource().tenant_id.clone(),
            resource: resolution.resource().id.clone(),
            run: resolution.run_id().cloned(),
            etag: etag.clone(),
            epoch,
            version,
            variables,
            // Only a map with keys that are no strings could fail.
            sources: to_raw_value(&sources).unwrap_or_default(),
        }
    }
}

/// How much of a record names may take up: a line must fit a file many times.
const NAME_BYTES: usize = 64 * 1024;

/// What stands around a name whose record has no other one.
const AROUND_A_NAME: usize = 64;
