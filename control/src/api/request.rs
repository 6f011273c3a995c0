//! What surrounds every request: its id, on the answer and in the log.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use crate::app::App;
use crate::token::generate_id;

/// The id of the request at hand, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives the request an id, puts it on the answer whatever the answer is, and logs one line.
pub(crate) async fn envelope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = match sent_id(&request) {
        Some(id) => Ok(id),
        None => new_id(),
    };
    let id = match id {
        Ok(id) => id,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(id.clone());
    let logged = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));

    let mut response = next.run(request).await;

    app.metrics.answered(response.status());
    if let Some((method, path)) = logged {
        let (status, micros) = (response.status().as_u16(), started.elapsed().as_micros());
        tracing::debug!(request_id = id.as_str(), %method, path, status, micros, "answered");
    }
    response.headers_mut().insert(X_REQUEST_ID.clone(), id.0);
    response
}

/// A client's own id is kept if it can't do harm in a log.
fn sent_id(request: &Request) -> Option<RequestId> {
    let sent = request.headers().get(&X_REQUEST_ID)?;
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let fits = (1..=MAX_SENT_ID).contains(&sent.len());
    (fits && sent.as_bytes().iter().all(harmless)).then(|| RequestId(sent.clone()))
}

fn new_id() -> Result<RequestId, ApiError> {
    let id = generate_id("req_").map_err(|error| ApiError::internal(&error))?;
    HeaderValue::try_from(id).map(RequestId).map_err(|error| ApiError::internal(&error))
}

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_SENT_ID: usize = 128;
