//! Which host calls, as the first argument of its handlers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::caller::bearer;
use crate::api::error::ApiError;
use crate::app::App;
use crate::store::enrollment::Enrolled;
use crate::token::TokenKind;

/// An enrolled host that isn't revoked.
#[derive(Debug)]
pub(super) struct HostCaller(pub(super) Enrolled);

impl FromRequestParts<App> for HostCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).and_then(|presented| TokenKind::Host.hash_of(presented));
        let token = token.ok_or_else(ApiError::no_host_token)?;
        app.store.host_of_token(&token).await?.map(Self).ok_or_else(ApiError::no_host_token)
    }
}
