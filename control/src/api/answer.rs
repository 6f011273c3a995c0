//! Answers of success: the envelopes around records, lists and deletions, serialised once.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;

/// A JSON answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// What a request with `dry_run` would do.
#[derive(Debug, Serialize)]
pub(crate) struct DryRun<T> {
    dry_run: bool,
    /// `create`, `update` or `delete`.
    action: &'static str,
    /// The record as it is now.
    before: Option<T>,
    /// The record as it would be; a new one has no id yet.
    data: Option<T>,
    /// Ids of other records that would change too.
    also: Vec<String>,
}

impl Answer {
    /// An answer of these bytes.
    pub(crate) fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body }
    }

    /// `{"data": record}`
    pub(crate) fn record<T: Serialize>(status: StatusCode, data: &T) -> Result<Self, ApiError> {
        #[derive(Serialize)]
        struct Record<'a, T> {
            data: &'a T,
        }
        Self::json(status, &Record { data })
    }

    /// `{"data": [records]}`, and `next_cursor` for a page.
    pub(crate) fn list<T: Serialize>(
        data: &[T],
        next_cursor: Option<Option<String>>,
    ) -> Result<Self, ApiError> {
        #[derive(Serialize)]
        struct List<'a, T> {
            data: &'a [T],
            #[serde(skip_serializing_if = "Option::is_none")]
            next_cursor: Option<Option<String>>,
        }
        Self::json(StatusCode::OK, &List { data, next_cursor })
    }

    /// `{"ok": true, "id": id}`
    pub(crate) fn deleted(id: &str) -> Result<Self, ApiError> {
        #[derive(Serialize)]
        struct Deleted<'a> {
            ok: bool,
            id: &'a str,
        }
        Self::json(StatusCode::OK, &Deleted { ok: true, id })
    }

    /// What a write would have done.
    pub(crate) fn dry_run<T: Serialize>(
        action: &'static str,
        before: Option<T>,
        data: Option<T>,
        also: Vec<String>,
    ) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, &DryRun { dry_run: true, action, before, data, also })
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::internal(&error))?;
        Ok(Self { status, body })
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.into()
    }
}
