//! Who calls, as the first argument of every handler: nothing else of a request is looked at before
//! its key.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use miosa_injector::model::TenantId;

use super::error::ApiError;
use super::request::RequestId;
use crate::app::App;
use crate::auth::{Access, Role};
use crate::store::Origin;
use crate::store::api_keys::ApiKey;
use crate::token::TokenKind;

/// A caller of the tenant API, who may read.
#[derive(Debug)]
pub(crate) struct TenantCaller {
    tenant: TenantId,
    access: Access,
    origin: Origin,
}

/// A caller of the tenant API who may write as well. A type of its own, so that nothing of a request
/// is read for a caller who may not make it.
#[derive(Debug)]
pub(crate) struct TenantWriter(pub(crate) TenantCaller);

/// A caller of the platform API.
#[derive(Debug)]
pub(crate) struct PlatformCaller {
    origin: Origin,
}

impl TenantCaller {
    /// The tenant whose key it is.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who the audit names.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl PlatformCaller {
    /// Who the audit names.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl FromRequestParts<App> for TenantCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key =
            key_of(parts, app, TokenKind::Tenant, "a platform key can't be used in the tenant API").await?;
        let Role::Tenant(tenant, access) = &key.role else { return Err(ApiError::unauthorized()) };
        // A client that thinks it acts for one tenant must not write into another.
        let mut named = parts.headers.get_all(&X_MIOSA_TENANT).iter();
        if named.any(|named| named.as_bytes() != tenant.as_str().as_bytes()) {
            return Err(ApiError::forbidden("X-MIOSA-Tenant names another tenant than the key"));
        }
        Ok(Self { tenant: tenant.clone(), access: *access, origin: origin(parts, &key.id) })
    }
}

impl FromRequestParts<App> for TenantWriter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = TenantCaller::from_request_parts(parts, app).await?;
        match caller.access {
            Access::Write => Ok(Self(caller)),
            Access::Read => Err(ApiError::forbidden("this key may only read")),
        }
    }
}

impl FromRequestParts<App> for PlatformCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = key_of(parts, app, TokenKind::Platform, "a tenant's key can't be used in the platform API")
            .await?;
        match &key.role {
            Role::Platform => Ok(Self { origin: origin(parts, &key.id) }),
            Role::Tenant(..) => Err(ApiError::unauthorized()),
        }
    }
}

/// The stored key that was presented. A good key of the other kind is 403, so that its owner learns
/// what is wrong; anything else is 401.
async fn key_of(
    parts: &Parts,
    app: &App,
    kind: TokenKind,
    other_kind: &'static str,
) -> Result<Arc<ApiKey>, ApiError> {
    let presented = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
    if let Some(hash) = kind.hash_of(presented) {
        return app.store.api_key(&hash).await?.ok_or_else(ApiError::unauthorized);
    }
    let other = match kind {
        TokenKind::Tenant => TokenKind::Platform,
        TokenKind::Platform | TokenKind::Join | TokenKind::Host => TokenKind::Tenant,
    };
    let hash = other.hash_of(presented).ok_or_else(ApiError::unauthorized)?;
    match app.store.api_key(&hash).await? {
        Some(_) => Err(ApiError::forbidden(other_kind)),
        None => Err(ApiError::unauthorized()),
    }
}

/// The secret of `Authorization: Bearer …`; two such headers are none.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn origin(parts: &Parts, actor: &str) -> Origin {
    let request_id = parts.extensions.get::<RequestId>().map_or("", RequestId::as_str);
    Origin { actor: actor.to_owned(), request_id: request_id.to_owned() }
}

static X_MIOSA_TENANT: HeaderName = HeaderName::from_static("x-miosa-tenant");
