//! `miosad push FILE`: hands an envelope to `serve`, byte for byte.

use bytes::Bytes;
use hyper::Method;
use miosa_snapshot::MAX_ENVELOPE_BYTES;
use serde_json::Value;

use super::{CommandError, ask, show};
use crate::cli::Push;
use crate::client::Client;
use crate::disk;
use crate::intake::{Claim, claimed};
use crate::settings::Settings;

/// Hands an update or a trust document to `serve`.
///
/// # Errors
/// When the file is neither, when `serve` does not run, or when it refuses.
pub fn push(settings: &Settings, what: &Push) -> Result<(), CommandError> {
    let bytes = disk::read_named(&what.file, MAX_ENVELOPE_BYTES)?;
    let path = claimed(&bytes).map(path_for).ok_or_else(|| CommandError::NoEnvelope(what.file.clone()))?;
    let socket = settings.runtime.intake_socket();
    let client = Client::unix(socket.clone());
    let answer = ask(&client, socket, Method::PUT, path, Bytes::from_owner(bytes))?;
    let receipt: Value = serde_json::from_slice(&answer.body).ok().ok_or(CommandError::Answer)?;
    show(what.print, &receipt, words)
}

fn path_for(claim: Claim) -> &'static str {
    match claim {
        Claim::Update => "/v1/updates",
        Claim::Trust => "/v1/trust",
    }
}

fn words(receipt: &Value) -> String {
    let member = |name: &str| receipt.get(name).map(ToString::to_string).unwrap_or_default();
    match receipt.get("trust_version") {
        Some(version) => format!("accepted: trust document version {version}"),
        None => format!(
            "accepted: epoch {}, version {} ({})",
            member("epoch"),
            member("version"),
            receipt.get("verdict").and_then(Value::as_str).unwrap_or_default()
        ),
    }
}
