//! `Idempotency-Key`: a POST that is sent again with the same key gets the first one's answer, and
//! happens once. Only answers of success are kept: a request that failed changed nothing.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;

use super::answer::Answer;
use super::error::ApiError;
use crate::at_rest::{DataKey, MasterKey};
use crate::store::idempotency::Replay;
use crate::store::{StoreError, Write};

/// The key of a request, if it has one, and what the request is known by.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    key: Option<String>,
    method: Method,
    uri: Uri,
}

/// A key and the hash of the request that came with it.
#[derive(Debug)]
pub(crate) struct Idempotent {
    key: String,
    request: Vec<u8>,
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let key = match parts.headers.get(&IDEMPOTENCY_KEY) {
            None => None,
            Some(sent) => Some(checked(sent).ok_or_else(|| {
                ApiError::malformed("Idempotency-Key must be 1 to 255 visible ASCII characters")
            })?),
        };
        Ok(Self { key, method: parts.method.clone(), uri: parts.uri.clone() })
    }
}

impl IdempotencyKey {
    /// Joins the key with the hash of its request.
    pub(crate) fn with(self, body: &[u8], master: &MasterKey) -> Option<Idempotent> {
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let request = master.keyed_hash(&[self.method.as_str().as_bytes(), target.as_bytes(), body]);
        Some(Idempotent { key: self.key?, request })
    }
}

impl Idempotent {
    /// The answer given before, if this request was.
    pub(crate) async fn replay(&self, write: &mut Write, tenant: &str) -> Result<Option<Response>, ApiError> {
        match write.replay(tenant, &self.key, &self.request).await? {
            Replay::New => Ok(None),
            Replay::OtherRequest => Err(ApiError::unprocessable(
                "IDEMPOTENCY_KEY_REUSED",
                "this Idempotency-Key was used with another request",
            )),
            Replay::Answer { status, body } => {
                let status = StatusCode::from_u16(status).map_err(|error| ApiError::internal(&error))?;
                let mut response = Answer::new(status, body).into();
                Response::headers_mut(&mut response)
                    .insert(IDEMPOTENCY_REPLAYED.clone(), HeaderValue::from_static("true"));
                Ok(Some(response))
            }
        }
    }

    /// Keeps an answer, in the write that it answers.
    pub(crate) async fn keep(
        &self,
        write: &mut Write,
        tenant: &str,
        key: &DataKey,
        answer: &Answer,
    ) -> Result<(), StoreError> {
        let kept = (answer.status().as_u16(), answer.body());
        write.keep_answer(tenant, &self.key, &self.request, key, kept).await
    }
}

fn checked(sent: &HeaderValue) -> Option<String> {
    let key = sent.to_str().ok()?;
    let fits = (1..=MAX_KEY).contains(&key.len());
    (fits && key.bytes().all(|b| b.is_ascii_graphic())).then(|| key.to_owned())
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 255;
