//! The id in a path. One that can't be an id is one that nobody has: 404, and no question to the
//! database.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use miosa_injector::model::{ProfileId, VariableId};

use super::error::ApiError;

/// The single `{id}` of a path.
#[derive(Debug)]
pub(crate) struct RecordId<T>(pub(crate) T);

/// What a record of some id is called in a 404.
pub(crate) trait Named {
    /// Completes the sentence "no such …".
    const NAME: &'static str;
}

impl Named for VariableId {
    const NAME: &'static str = "runtime env variable";
}

impl Named for ProfileId {
    const NAME: &'static str = "agent runtime profile";
}

/// 404 for a record of this kind of id.
pub(crate) fn not_found<T: Named>() -> ApiError {
    ApiError::not_found(T::NAME)
}

impl<T: FromStr + Named, S: Send + Sync> FromRequestParts<S> for RecordId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.ok().and_then(|Path(id)| id.parse().ok()).map(Self).ok_or_else(not_found::<T>)
    }
}
