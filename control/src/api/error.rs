//! Errors as clients see them: the shape that the public SDKs parse, one code per reason.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::report::Chain;
use crate::store::StoreError;

/// An error answer. Its texts never hold a value that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    details: Vec<FieldError>,
    retry_after: Option<u32>,
}

/// What is wrong with one field of a body, or one parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// The field, such as `applies_to` or `env.HTTP_PROXY`.
    pub(crate) field: String,
    /// What it must be.
    pub(crate) message: String,
}

impl ApiError {
    /// 400: not even JSON, or not well-formed HTTP input.
    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", message)
    }

    /// 401: no key, or none that is known. Both look the same.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "a valid API key is needed: Authorization: Bearer …",
        )
    }

    /// 401: no host's token, or none that is known, or its host is revoked. All look the same.
    pub(crate) fn no_host_token() -> Self {
        let message = "an enrolled host's token is needed: Authorization: Bearer mht_…";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// 401: a join token that is unknown, used or expired. All look the same.
    pub(crate) fn no_join_token() -> Self {
        let message =
            "the join token is unknown, used or expired; make another with miosa-control host create";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// 403: the key is good, but not for this.
    pub(crate) fn forbidden(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// 404: the text names the kind of thing only, so that another tenant's id and an unknown one
    /// get the same bytes.
    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("no such {what}"))
    }

    /// 405; axum adds the `Allow` header.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this method is not allowed here")
    }

    /// 408: the body came too slowly.
    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the request body took too long to arrive")
    }

    /// 409 with a code of its own.
    pub(crate) fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 413: the body.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request body must be at most {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", message)
    }

    /// 413 for a merged environment that no program could be started with.
    pub(crate) fn env_too_large(message: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ENV_TOO_LARGE", message)
    }

    /// 415: the body says that it is something else.
    pub(crate) fn not_json() -> Self {
        let message = "the request body must be sent as Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    /// 422, with every bad field at once.
    pub(crate) fn invalid(details: Vec<FieldError>) -> Self {
        let message = match details.as_slice() {
            [one] => format!("{} {}", one.field, one.message),
            many => format!("{} fields are invalid", many.len()),
        };
        Self { details, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED", message) }
    }

    /// 422 for a reason that is no field's.
    pub(crate) fn unprocessable(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 500: logged in full here, told to the client in general.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!("{}", Chain(error));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "something went wrong here; it has been logged",
        )
    }

    /// 503: try again in so many seconds.
    pub(crate) fn unavailable(retry_after: u32) -> Self {
        let message = "the control plane is too busy at the moment";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// What is wrong, field by field.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn details(&self) -> &[FieldError] {
        &self.details
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new(), retry_after: None }
    }
}

impl FieldError {
    /// Names a field and what it must be.
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Database { source, .. } if is_passing(source) => {
                tracing::warn!("{}", Chain(&error));
                Self::unavailable(1)
            }
            StoreError::Database { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Sealed { .. }
            | StoreError::NoRandomness(_) => Self::internal(&error),
        }
    }
}

/// Whether a failure is likely to be gone when the client tries again: no connection to be had, the
/// database locked by another process, or a transaction that lost to others.
fn is_passing(error: &sqlx::Error) -> bool {
    if let Some(error) = error.as_database_error() {
        // SQLite: SQLITE_BUSY. PostgreSQL: serialization_failure, deadlock_detected, and the class of
        // operator intervention.
        let code = error.code().unwrap_or_default();
        return matches!(code.as_ref(), "5" | "40001" | "40P01") || code.starts_with("57P");
    }
    matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Detail<'a>,
        }
        #[derive(Serialize)]
        struct Detail<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            details: &'a [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_after: Option<u32>,
        }
        let body = Json(Body {
            error: Detail {
                code: self.code,
                message: &self.message,
                details: &self.details,
                retry_after: self.retry_after,
            },
        });
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_have_the_shape_that_the_sdk_parses() {
        let error = ApiError::invalid(vec![FieldError::new("name", "is required")]);
        let body = axum::body::to_bytes(error.into_response().into_body(), 4096).await.unwrap();
        assert_eq!(
            String::from_utf8(body.to_vec()).unwrap(),
            r#"{"error":{"code":"VALIDATION_FAILED","message":"name is required","details":[{"field":"name","message":"is required"}]}}"#
        );
    }
}
