//! Query parameters: each known one at most once, unknown ones refused, since a misspelt filter
//! that is ignored shows more than was asked for.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::echo::echo;
use super::error::{ApiError, FieldError};

/// The parameters that haven't been taken yet, and what was wrong with those that have.
#[derive(Debug, Default)]
pub(crate) struct Params {
    sent: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let mut params = Self { sent: BTreeMap::new(), errors: Vec::new() };
        if parts.uri.query().is_none() {
            return Ok(params);
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| ApiError::malformed("the query can't be decoded"))?;
        for (name, value) in pairs {
            if params.sent.insert(name.clone(), value).is_some() {
                params.wrong(echo(&name), "must be given once only");
            }
        }
        Ok(params)
    }
}

impl Params {
    /// Takes and parses a parameter.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match self.sent.remove(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(name, error);
                None
            }
        }
    }

    /// Whether a parameter was sent and not yet taken.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.sent.contains_key(name)
    }

    /// Takes a switch: `true`, `1` or nothing after its name turn it on.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        match self.sent.remove(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("" | "true" | "1") => true,
            Some(_) => {
                self.wrong(name, "must be true or false");
                false
            }
        }
    }

    /// Notes that a parameter is wrong.
    pub(crate) fn wrong(&mut self, name: impl Into<String>, what: impl Display) {
        self.errors.push(FieldError::new(name, what.to_string()));
    }

    /// Ends: whatever has not been taken is unknown.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(errors)) }
    }

    /// Ends, for whoever has more to complain about.
    pub(super) fn into_errors(mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.sent).into_keys() {
            self.wrong(echo(&name), "is not a parameter that is known here");
        }
        self.errors
    }
}
