//! Telling the control plane where this host stands. Only the newest word counts, so a slow control
//! plane holds back no update.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, StatusCode};
use miosa_snapshot::Digest;
use serde::Serialize;
use tokio::sync::watch;

use crate::client::{Client, ClientError, Connection};
use crate::failure::in_one_line;
use crate::intake::Position;

/// Where this host stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    pub(super) epoch: Option<u64>,
    pub(super) version: Option<u64>,
    pub(super) digest: Option<Digest>,
    /// Whether a full update is needed: the control plane sends it on the same stream.
    #[serde(skip_serializing_if = "is_not")]
    pub(super) need_full: bool,
    /// What was refused last, if that was the last that happened.
    pub(super) error: Option<Refusal>,
}

/// A refusal by `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

impl Standing {
    /// A position, and what was refused just now.
    pub(super) fn at(position: &Position, error: Option<Refusal>) -> Self {
        let Position { epoch, version, digest, need_full, .. } = *position;
        Self { epoch, version, digest, need_full, error }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// Reports each new standing, on a connection that is kept. Returns when there will be none.
pub(super) async fn report(
    control: &Client,
    authorization: &HeaderValue,
    mut standings: watch::Receiver<Option<Standing>>,
) {
    let mut connection = None;
    while standings.changed().await.is_ok() {
        let Some(standing) = standings.borrow_and_update().clone() else { continue };
        match post(control, authorization, connection.take(), &standing).await {
            Ok(kept) => connection = Some(kept),
            // The stream has its own ways of noticing; the next standing is reported anew.
            Err(error) => {
                tracing::warn!(event = "not_reported", error = in_one_line(&error), "status not reported")
            }
        }
    }
}

async fn post(
    control: &Client,
    authorization: &HeaderValue,
    kept: Option<Connection>,
    standing: &Standing,
) -> Result<Connection, ClientError> {
    if let Some(mut connection) = kept
        && try_post(control, authorization, &mut connection, standing).await.is_ok()
    {
        return Ok(connection);
    }
    // The kept one may have been closed as idle.
    let mut connection = control.connect().await?;
    try_post(control, authorization, &mut connection, standing).await?;
    Ok(connection)
}

async fn try_post(
    control: &Client,
    authorization: &HeaderValue,
    connection: &mut Connection,
    standing: &Standing,
) -> Result<(), ClientError> {
    // Numbers and strings only: always JSON.
    let body = Bytes::from(serde_json::to_vec(standing).unwrap_or_default());
    let mut request = control.request(Method::POST, "/host/v1/status", body)?;
    request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    let answer = connection.ask(request).await?;
    if answer.status != StatusCode::OK {
        tracing::warn!(event = "not_reported", status = answer.status.as_u16(), "status not accepted");
    }
    Ok(())
}
