//! `POST /host/v1/enroll`: a join token and a public key for a host's own token and the trust documents.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use data_encoding::BASE64;
use miosa_snapshot::HostPublicKey;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::answer::Answer;
use crate::api::body::Body;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, string};
use crate::api::query::Params;
use crate::api::request::RequestId;
use crate::app::App;
use crate::store::enrollment::NewHost;
use crate::store::trust::StoredTrust;
use crate::store::{Origin, StoreError};
use crate::token::{Token, TokenKind};

/// The route.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/enroll", post(enroll))
}

async fn enroll(
    State(app): State<App>,
    params: Params,
    Extension(request_id): Extension<RequestId>,
    body: Body,
) -> Result<Answer, ApiError> {
    let input = Input::parse(body.into_fields(), params)?;
    let join = TokenKind::Join.hash_of(&input.token).ok_or_else(ApiError::no_join_token)?;
    // Before the token is used up.
    let documents = app.store.trust_documents().await?;
    let token = Token::generate(TokenKind::Host).map_err(StoreError::from)?;
    let host = NewHost { public_key: &input.public_key, token: &token.hash(), agent: &input.agent };
    let origin = Origin { actor: "enrollment".to_owned(), request_id: request_id.as_str().to_owned() };
    let enrolled = app.store.begin(&origin).await?.enroll(&join, &host).await?;
    let enrolled = enrolled.ok_or_else(ApiError::no_join_token)?;
    let trust = from_pinned(documents, enrolled.pinned_trust)?;
    tracing::info!(host_id = %enrolled.id, name = enrolled.name, agent = input.agent, "a host enrolled");
    let shown =
        Shown { host_id: enrolled.id.as_str(), name: &enrolled.name, host_token: token.expose(), trust };
    Answer::record(StatusCode::CREATED, &shown)
}

/// The trust documents from the one that the join token names on: bytes as they were signed.
fn from_pinned(documents: Vec<StoredTrust>, pinned: u64) -> Result<Vec<Box<RawValue>>, ApiError> {
    documents
        .into_iter()
        .filter(|trust| trust.version.unsigned_abs() >= pinned)
        .map(|trust| {
            let text = String::from_utf8(trust.envelope).map_err(|error| ApiError::internal(&error))?;
            RawValue::from_string(text).map_err(|error| ApiError::internal(&error))
        })
        .collect()
}

struct Input {
    token: String,
    public_key: HostPublicKey,
    agent: String,
}

impl Input {
    fn parse(mut fields: Fields, params: Params) -> Result<Self, ApiError> {
        let token = fields.require("token", string);
        let public_key = fields.require("public_key", public_key);
        let agent = fields.take("agent", agent).value().unwrap_or_default();
        fields.finish_with(params)?;
        match (token, public_key) {
            (Some(token), Some(public_key)) => Ok(Self { token, public_key, agent }),
            // Unreachable: each of them has left an error behind.
            _ => Err(ApiError::invalid(Vec::new())),
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    host_id: &'a str,
    name: &'a str,
    host_token: &'a str,
    trust: Vec<Box<RawValue>>,
}

fn public_key(value: Value) -> Result<HostPublicKey, String> {
    let bytes = BASE64.decode(string(value)?.as_bytes());
    let bytes = bytes.map_err(|_malformed| "must be an X25519 public key in base64")?;
    HostPublicKey::from_bytes(&bytes).map_err(|error| format!("is not usable: {error}"))
}

/// It ends in logs and on screens.
fn agent(value: Value) -> Result<String, String> {
    let agent = string(value)?;
    let is_harmless = agent.len() <= MAX_AGENT && agent.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if is_harmless {
        Ok(agent)
    } else {
        Err(format!("must be at most {MAX_AGENT} printable ASCII characters"))
    }
}

const MAX_AGENT: usize = 128;
