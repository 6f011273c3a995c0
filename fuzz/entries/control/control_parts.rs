//! What surrounds a request of the control plane: queries, cursors, bearer secrets, idempotency keys, and the
//! JSON of bodies.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderValue, Request, header, request::Parts};
use miosa_injector::json;
use serde_json::Value;

use crate::api::caller::bearer;
use crate::api::fields::{Fields, string};
use crate::api::idempotency::IdempotencyKey;
use crate::api::query::Params;
use crate::page::{Cursor, Limit, Page};
use crate::token::TokenKind;

/// Each is taken in its one form or refused, and what is refused is told without end and without control
/// characters to nobody.
pub fn run(data: &[u8]) {
    check_body(data);
    check_header(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_page(text);
    check_token(text);
    check_query(text);
}

fn check_body(data: &[u8]) {
    let Ok(Value::Object(members)) = json::parse(data) else { return };
    let count = members.len();
    let mut fields = Fields::new(members);
    let mut taken = 0;
    for field in ["name", "value", "a"] {
        taken += usize::from(fields.require(field, string).is_some());
    }
    match fields.finish() {
        Ok(given) => assert!(taken == 3 && given.len() == 3 && count == 3),
        Err(error) => {
            assert!(!error.details().is_empty());
            for detail in error.details() {
                let line = format!("{}{}", detail.field, detail.message);
                assert!(detail.field.chars().count() <= 64 && !line.chars().any(char::is_control));
            }
        }
    }
}

fn check_header(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())]);
    if let Some(secret) = bearer(&headers) {
        assert!(data.to_ascii_lowercase().starts_with(b"bearer "));
        assert_eq!(secret, secret.trim());
    }
    let mut twice = headers.clone();
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(bearer(&twice), None);

    let is_key = (1..=255).contains(&data.len()) && data.iter().all(u8::is_ascii_graphic);
    let parts = parts(Request::post("/x").header("Idempotency-Key", value));
    assert_eq!(from_parts::<IdempotencyKey>(parts).is_some(), is_key);
}

fn check_page(text: &str) {
    if let Ok(limit) = text.parse::<Limit>() {
        let page = Page::new(Some(limit), None);
        assert!((2..=1001).contains(&page.fetch()));
    }
    let Ok(cursor) = text.parse::<Cursor>() else { return };
    let page = Page::new(Some("1".parse().expect("a limit")), Some(cursor));
    let after = page.after();
    assert!(after.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    // The cursor of a row at this very place leads to this very place.
    let mut rows = vec![(after.created_at, after.id.to_owned()); 2];
    let next = page.cut(&mut rows, |row| crate::page::Position { created_at: row.0, id: &row.1 });
    let next: Cursor = next.flatten().expect("a next page").parse().expect("what was given out is taken");
    assert_eq!(Page::new(None, Some(next)).after(), after);
}

fn check_token(text: &str) {
    let kinds = [TokenKind::Tenant, TokenKind::Platform, TokenKind::Join, TokenKind::Host];
    let fitting = kinds.into_iter().filter(|kind| kind.hash_of(text).is_some()).count();
    assert!(fitting <= 1);
    let is_token = ["msk_live_", "mpk_live_", "mjt_", "mht_"].iter().any(|prefix| {
        let random = text.strip_prefix(prefix).unwrap_or_default();
        random.len() == 43 && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    });
    assert_eq!(fitting == 1, is_token);
}

/// Against a second reading of the query, which knows no escapes.
fn check_query(text: &str) {
    let Ok(request) = Request::get(format!("/x?{text}")).body(()) else { return };
    let Some(mut params) = from_parts::<Params>(request.into_parts().0) else { return };
    let mut sent: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let is_plain = !text.contains(['%', '+', '#']);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        sent.entry(name).or_default().push(value);
    }
    if is_plain {
        assert_eq!(params.has("limit"), sent.contains_key("limit"));
    }
    let limit = params.take::<Limit>("limit");
    let dry_run = params.switch("dry_run");
    let finished = params.finish();
    if is_plain {
        let known =
            |(name, values): (&&str, &Vec<&str>)| ["limit", "dry_run"].contains(name) && values.len() == 1;
        let limit_is_good = !sent.contains_key("limit") || limit.is_some();
        let switch = sent.get("dry_run").and_then(|values| values.first());
        let switch_is_good = switch.is_none_or(|word| ["", "true", "1", "false", "0"].contains(word));
        assert_eq!(finished.is_ok(), sent.iter().all(known) && limit_is_good && switch_is_good, "{text}");
        assert!(!dry_run || switch.is_some());
    }
}

fn parts(request: axum::http::request::Builder) -> Parts {
    request.body(()).expect("a request").into_parts().0
}

fn from_parts<T: FromRequestParts<()>>(mut parts: Parts) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(T::from_request_parts(&mut parts, &())).ok()
}
