//! Answers as they go on the wire: JSON, the one error shape, and whether the connection goes on.

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use miosa_injector::protocol::ErrorBody;
use serde::Serialize;

/// The body of every answer: up to three pieces, so that an answer built once is sent without being
/// put together anew.
pub(crate) type Body = Full<Chain<Bytes, Chain<Bytes, Bytes>>>;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// Something as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    // Only a map with keys that are no strings could fail, and no answer has one.
    let body = serde_json::to_vec(value).unwrap_or_default();
    bytes(status, "application/json", body.into())
}

/// Bytes of a type.
pub(crate) fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = pieces(status, [body, Bytes::new(), Bytes::new()]);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Bytes in three pieces, and no header.
pub(crate) fn pieces(status: StatusCode, [first, second, third]: [Bytes; 3]) -> Reply {
    let mut reply = Response::new(Full::new(first.chain(second.chain(third))));
    *reply.status_mut() = status;
    reply
}

/// An error of what was asked for; the connection goes on.
pub(crate) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Reply {
    json(status, &ErrorBody::new(code, message))
}

/// An error of the asking itself; the connection ends, so that nothing more of a client that does not
/// keep to the protocol is read.
pub(crate) fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Reply {
    let mut reply = error(status, code, message);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}
