//! Request bodies: one JSON object, within a size, a time and a depth, without repeated members.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use miosa_injector::json;
use serde_json::Value;
use zeroize::Zeroizing;

use super::error::{ApiError, FieldError};
use super::fields::Fields;

/// The body of a request, as sent and as parsed. Wiped on drop, as far as it is ours to wipe.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Zeroizing<Vec<u8>>,
    fields: Fields,
}

impl Body {
    /// The members of the object, to be taken out one by one.
    pub(crate) fn into_fields(self) -> Fields {
        self.fields
    }

    /// The body exactly as sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::not_json());
        }
        let read = tokio::time::timeout(READ_TIMEOUT, read(request));
        let bytes = read.await.map_err(|_elapsed| ApiError::too_slow())??;
        match json::parse(&bytes) {
            Ok(Value::Object(members)) => Ok(Self { fields: Fields::new(members), bytes }),
            Ok(_) => Err(ApiError::invalid(vec![FieldError::new("body", "must be a JSON object")])),
            // The parser's text names a place and what was expected there, never what was found.
            Err(error) => {
                Err(ApiError::malformed(format!("the request body is not JSON that is taken here: {error}")))
            }
        }
    }
}

async fn read(request: Request) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let mut body = request.into_body();
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    // Room for all that was announced, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced.min(MAX_BODY)));
    let mut seen: usize = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| ApiError::malformed("the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if seen > MAX_DISCARDED {
            break;
        }
    }
    if seen <= MAX_BODY { Ok(bytes) } else { Err(ApiError::too_large(MAX_BODY)) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = sent.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// A merged environment holds at most 1 MiB, so that no single record needs more. JSON only ever makes
/// an environment longer, so that what fits here has no more than that either.
pub(crate) const MAX_BODY: usize = 1024 * 1024;
/// A client that is still sending when the answer comes and the connection closes may never see the
/// answer, so that a body somewhat too large is read to its end, and thrown away.
const MAX_DISCARDED: usize = 16 * MAX_BODY;
const READ_TIMEOUT: Duration = Duration::from_secs(30);
