//! A client that shows everything of an answer, and sends what no polite client would.

use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// A caller: a socket and a key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) socket: PathBuf,
    pub(crate) key: Option<String>,
}

/// A request under construction.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: &'a str,
    path: &'a str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
}

/// An answer with everything in it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn get<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call("GET", path)
    }

    pub(crate) fn delete<'a>(&'a self, path: &'a str) -> Call<'a> {
        self.call("DELETE", path)
    }

    pub(crate) fn post<'a>(&'a self, path: &'a str, body: Value) -> Call<'a> {
        self.call("POST", path).json(&body)
    }

    pub(crate) fn put<'a>(&'a self, path: &'a str, body: Value) -> Call<'a> {
        self.call("PUT", path).json(&body)
    }

    pub(crate) fn patch<'a>(&'a self, path: &'a str, body: Value) -> Call<'a> {
        self.call("PATCH", path).json(&body)
    }

    pub(crate) fn call<'a>(&'a self, method: &'a str, path: &'a str) -> Call<'a> {
        let call = Call { client: self, method, path, headers: Vec::new(), body: None };
        match &self.key {
            Some(key) => call.header("authorization", &format!("Bearer {key}")),
            None => call,
        }
    }
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.parse().unwrap(), value.parse().unwrap()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn raw(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.header("content-type", content_type)
    }

    /// Sends the request on a connection of its own.
    pub(crate) async fn send(self) -> Answer {
        let stream = UnixStream::connect(&self.client.socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Full::new(Bytes::from(self.body.unwrap_or_default())));
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = self.path.parse().unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("control"));
        for (name, value) in self.headers {
            request.headers_mut().append(name, value);
        }
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        drop(sender);
        connection.abort();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The record in `data`, after checking the status.
    #[track_caller]
    pub(crate) fn data(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self.json()["data"].clone()
    }

    /// The error's code, after checking the status and the shape.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        error["code"].as_str().unwrap().to_owned()
    }

    /// The fields that a 422 names, sorted.
    #[track_caller]
    pub(crate) fn bad_fields(&self) -> Vec<String> {
        assert_eq!(self.error(422), "VALIDATION_FAILED", "{self:?}");
        let error = &self.json()["error"];
        let details = error["details"].as_array().unwrap();
        let mut fields: Vec<_> = details
            .iter()
            .map(|detail| {
                assert!(detail["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
                detail["field"].as_str().unwrap().to_owned()
            })
            .collect();
        fields.sort();
        fields
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
