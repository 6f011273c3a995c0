//! `GET /host/v1/updates`: the stream of a host.

use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use miosa_injector::Understands;
use miosa_snapshot::{Digest, MAX_NUMBER};

use super::caller::HostCaller;
use crate::api::error::ApiError;
use crate::api::query::Params;
use crate::app::App;
use crate::publisher::{Holding, Told, Version};

/// The route.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/updates", get(updates))
}

async fn updates(
    State(app): State<App>,
    HostCaller(host): HostCaller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let told = Told { understands: understands(&headers), ..told(params)? };
    let lines = app.publisher.open_stream(host, told, app.ending.clone());
    let mut response = Response::new(Body::new(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    // A proxy that gathers lines would keep updates from hosts.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// What the host says it holds: the state with all three of its parameters or without any, and the
/// version of its trust document.
fn told(mut params: Params) -> Result<Told, ApiError> {
    let sent = ["epoch", "version", "digest"].map(|name| params.has(name));
    if sent.contains(&true) {
        for (name, _) in ["epoch", "version", "digest"].iter().zip(sent).filter(|(_, sent)| !sent) {
            params.wrong(*name, "must be given together with the other two of epoch, version and digest");
        }
    }
    let (epoch, version) = (params.take::<Number>("epoch"), params.take::<Number>("version"));
    let digest = params.take::<Digest>("digest");
    let trust = params.take::<Number>("trust_version").map(|Number(version)| version);
    params.finish()?;
    let version = epoch.zip(version).map(|(Number(epoch), Number(version))| Version { epoch, version });
    let held = version.map(|version| Holding { version, digest });
    Ok(Told { held, trust, understands: Understands::default() })
}

/// What it says it knows: in a header, which an earlier control plane passes over.
fn understands(headers: &HeaderMap) -> Understands {
    let said = headers.get(UNDERSTANDS).and_then(|value| value.to_str().ok());
    Understands::read(said.unwrap_or_default())
}

const UNDERSTANDS: &str = "miosa-understands";

struct Number(u64);

impl FromStr for Number {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| *number <= MAX_NUMBER);
        number.map(Self).ok_or("must be a whole number of at most 2^53-1")
    }
}
