//! `Idempotency-Key`: a POST that is sent again with the same key gets the first one's answer, and
//! happens once. Only answers of success are kept: a request that failed changed nothing.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;

use super::answer::Answer;
use super::error::ApiError;
use crate::at_rest::{DataKey, MasterKey};
use crate::store::idempotency::{Kept, KeptAnswer, KeptFor, Replay};
use crate::store::{Entry, Origin, Store, Write};

/// The key of a request, if it has one, and what the request is known by.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    key: Option<String>,
    method: Method,
    uri: Uri,
}

/// A request that may have been answered before; one without a key never was.
#[derive(Debug)]
pub(crate) struct Idempotent<'a> {
    keyed: Option<Keyed<'a>>,
}

/// An answer that was given before, and the change that it is about.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response,
    pub(crate) kept_for: KeptFor,
}

/// What beginning a write came to.
#[derive(Debug)]
pub(crate) enum Begun {
    Write(Write),
    /// The same request was answered meanwhile.
    Answered(Answered),
}

/// A key and the hash of the request that came with it.
#[derive(Debug)]
struct Keyed<'a> {
    /// Whose key it is: a tenant, or nobody in particular.
    owner: &'a str,
    key: String,
    request: Vec<u8>,
    /// What the answer is to be sealed with; there once the write has begun.
    sealing: Option<Arc<DataKey>>,
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
    /// Joins the key with the hash of its request: all that says what is to be done. How long the
    /// client waits for hosts is no part of that.
    pub(crate) fn with<'a>(self, owner: &'a str, body: &[u8], master: &MasterKey) -> Idempotent<'a> {
        let parameters = self.uri.query().unwrap_or_default().split('&');
        let parameters: Vec<_> =
            parameters.filter(|sent| sent.split('=').next().is_some_and(|name| name != "wait")).collect();
        let request = master.keyed_hash(&[
            self.method.as_str().as_bytes(),
            self.uri.path().as_bytes(),
            parameters.join("&").as_bytes(),
            body,
        ]);
        Idempotent { keyed: self.key.map(|key| Keyed { owner, key, request, sealing: None }) }
    }
}

impl Idempotent<'_> {
    /// Without the key, where it is not to be used up.
    pub(crate) fn unless(self, dry_run: bool) -> Self {
        if dry_run { Self { keyed: None } } else { self }
    }

    /// The answer given before, if this request was. To be asked before the body is judged: what it
    /// refers to may be gone by now, and the answer is the first one all the same.
    pub(crate) async fn answered(&self, store: &Store) -> Result<Option<Answered>, ApiError> {
        match &self.keyed {
            None => Ok(None),
            Some(keyed) => answered(store.replay(keyed.owner, &keyed.key, &keyed.request).await?),
        }
    }

    /// Begins the write that answers the request; of several at once, one comes to that.
    pub(crate) async fn begin(&mut self, store: &Store, origin: &Origin) -> Result<Begun, ApiError> {
        let Some(keyed) = &mut self.keyed else { return Ok(Begun::Write(store.begin(origin).await?)) };
        // It can't be made once the write has begun.
        keyed.sealing = Some(store.data_key(keyed.owner).await?);
        let mut write = store.begin(origin).await?;
        match answered(write.replay(keyed.owner, &keyed.key, &keyed.request).await?)? {
            None => Ok(Begun::Write(write)),
            Some(answered) => {
                write.rollback().await?;
                Ok(Begun::Answered(answered))
            }
        }
    }

    /// Commits the write, and keeps its answer along with it. Gives the change number.
    pub(crate) async fn commit(
        &self,
        write: Write,
        entry: Entry<'_>,
        answer: &Answer,
    ) -> Result<i64, ApiError> {
        let kept = self.keyed.as_ref().and_then(|keyed| {
            Some(KeptAnswer {
                owner: keyed.owner,
                idem_key: &keyed.key,
                request: &keyed.request,
                sealing: keyed.sealing.as_deref()?,
                status: answer.status().as_u16(),
                body: answer.body(),
            })
        });
        Ok(write.commit_keeping(entry, kept.as_ref()).await?)
    }
}

fn answered(replay: Replay) -> Result<Option<Answered>, ApiError> {
    match replay {
        Replay::New => Ok(None),
        Replay::OtherRequest => Err(ApiError::unprocessable(
            "IDEMPOTENCY_KEY_REUSED",
            "this Idempotency-Key was used with another request",
        )),
        Replay::Answer(Kept { status, body, kept_for }) => {
            let status = StatusCode::from_u16(status).map_err(|error| ApiError::internal(&error))?;
            let mut response = Answer::new(status, body).into();
            Response::headers_mut(&mut response)
                .insert(IDEMPOTENCY_REPLAYED.clone(), HeaderValue::from_static("true"));
            Ok(Some(Answered { response, kept_for }))
        }
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
