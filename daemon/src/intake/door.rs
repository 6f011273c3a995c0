//! The intake socket: `PUT /v1/updates`, `PUT /v1/trust`, `GET /v1/position`. Whoever may connect may
//! offer anything; what is accepted depends on the bytes alone.

use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, StatusCode};
use miosa_injector::Understands;
use miosa_snapshot::{Digest, HostId, MAX_ENVELOPE_BYTES, MAX_TRUST_BYTES};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Accepted, Offer, Queue, Refused, Shared, numbered};
use crate::generation::Standing;
use crate::ledger::{Facts, LinkWord};
use crate::link::word;
use crate::socket::reply::{self, Reply};
use crate::socket::request::check_plain;

/// What this host holds: what a publisher must know to send the next update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Who it is.
    pub(crate) host_id: HostId,
    /// The lineage of versions held.
    pub(crate) epoch: Option<u64>,
    /// The version held.
    pub(crate) version: Option<u64>,
    /// The digest of the envelope that made this version.
    pub(crate) digest: Option<Digest>,
    /// The version of the trust document held.
    pub(crate) trust_version: Option<u64>,
    /// Whether a full update is needed; without a trust document, all of them and then that.
    pub(crate) need_full: bool,
    /// Why. `not_ready`, `no_trust`, `signer_revoked`: nothing else will do. `many_increments`,
    /// `large_increments`: a full one should come soon, and what is held is served and extended meanwhile.
    pub(crate) need_full_because: Option<String>,
    /// What this host knows beyond the first description of payloads: whatever else is in one, it refuses.
    #[serde(default)]
    pub(crate) understands: Vec<String>,
}

/// The answer to an accepted update.
#[derive(Serialize)]
struct Receipt {
    epoch: Option<u64>,
    version: Option<u64>,
    digest: Option<Digest>,
    verdict: &'static str,
}

/// Answers a request on the intake socket.
pub(crate) async fn answer(
    host_id: HostId,
    shared: Shared,
    queue: Queue,
    request: Request<Incoming>,
) -> Reply {
    if let Err(rejection) = check_plain(&request) {
        return rejection.into();
    }
    if request.uri().query().is_some() {
        return reply::refuse(StatusCode::BAD_REQUEST, "bad_request", "no path here takes a query");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/position") => {
            if let Some(word) = word::heard(request.headers()) {
                let at = shared.clock.now().unix_ms;
                shared.ledger.set_link(LinkWord { state: word.to_owned(), at });
            }
            reply::json(StatusCode::OK, &Position::now(&host_id, &shared))
        }
        (&Method::PUT, "/v1/updates") => match receive(request, MAX_ENVELOPE_BYTES).await {
            Ok(bytes) => update_verdict(queue.offer(Offer::Update(bytes)).await, &host_id, &shared),
            Err(reply) => reply,
        },
        (&Method::PUT, "/v1/trust") => match receive(request, MAX_TRUST_BYTES).await {
            Ok(bytes) => trust_verdict(queue.offer(Offer::Trust(bytes)).await, &shared),
            Err(reply) => reply,
        },
        (_, "/v1/position" | "/v1/updates" | "/v1/trust") => reply::refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path takes another method",
        ),
        _ => reply::refuse(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"),
    }
}

impl Position {
    /// The position now. What rests on a revoked signer's word counts as not held.
    pub(crate) fn now(host_id: &HostId, shared: &Shared) -> Self {
        let current = shared.current.generation();
        let generation = current.as_ref().filter(|generation| generation.standing == Standing::Good);
        let content = generation.map(|generation| &generation.content);
        let Facts { trust_version, increments, .. } = shared.ledger.facts();
        let because = match (trust_version, &current, content) {
            (None, _, _) => Some("no_trust"),
            (Some(_), None, _) => Some("not_ready"),
            (Some(_), Some(_), None) => Some("signer_revoked"),
            (Some(_), Some(_), Some(_)) => increments.wish(),
        };
        Self {
            host_id: host_id.clone(),
            epoch: content.map(|content| content.epoch),
            version: content.map(|content| content.version),
            digest: content.map(|content| content.digest),
            trust_version,
            need_full: because.is_some(),
            need_full_because: because.map(str::to_owned),
            understands: Understands::ALL.words().into_iter().map(str::to_owned).collect(),
        }
    }
}

async fn receive(request: Request<Incoming>, limit: usize) -> Result<Vec<u8>, Reply> {
    let too_large = || {
        reply::refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("at most {limit} bytes are taken here"),
        )
    };
    if request.body().size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match timeout(RECEIVE, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(reply::refuse(StatusCode::BAD_REQUEST, "bad_request", "the body did not arrive whole"))
        }
        Err(_) => {
            Err(reply::refuse(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not arrive in time"))
        }
    }
}

fn update_verdict(verdict: Result<Accepted, Refused>, host_id: &HostId, shared: &Shared) -> Reply {
    match verdict {
        Ok(Accepted { verdict }) => {
            let Position { epoch, version, digest, .. } = Position::now(host_id, shared);
            reply::json(StatusCode::OK, &Receipt { epoch, version, digest, verdict })
        }
        Err(refused) => refusal(&refused, shared),
    }
}

fn trust_verdict(verdict: Result<Accepted, Refused>, shared: &Shared) -> Reply {
    match verdict {
        Ok(Accepted { verdict }) => {
            let trust_version = shared.ledger.facts().trust_version;
            let receipt = serde_json::json!({ "trust_version": trust_version, "verdict": verdict });
            reply::json(StatusCode::OK, &receipt)
        }
        Err(refused) => refusal(&refused, shared),
    }
}

fn refusal(refused: &Refused, shared: &Shared) -> Reply {
    let (status, code) = refused.status_and_code();
    reply::error(status, code, numbered(refused, &shared.explained(refused)))
}

/// From a request's head to the end of its body.
const RECEIVE: Duration = Duration::from_secs(30);
