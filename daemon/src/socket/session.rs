//! One request on a resource's socket, from what is asked to the answer. Whose socket it came in by
//! is who asks; nothing in the request can name another resource.

use std::sync::Arc;

use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, Request, StatusCode};
use miosa_injector::model::{ResourceId, RunId, TenantId};
use miosa_injector::{Moving, ResolveError};

use super::reply::{self, Reply};
use super::request::{Rejection, check_plain_get, query};
use crate::access::{AccessLog, Given, Tally, Visitor};
use crate::clock::Clock;
use crate::generation::{Built, Current, Generation, Unservable};

/// All that the sockets of all resources answer from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) current: Arc<Current>,
    pub(crate) clock: Clock,
    pub(crate) access: AccessLog,
}

/// Whose socket it is.
#[derive(Clone)]
pub(crate) struct Socket {
    resource: Arc<ResourceId>,
    refusals: Arc<Tally>,
}

impl Socket {
    pub(crate) fn new(tenant: TenantId, resource: ResourceId) -> Self {
        let refusals = Arc::new(Tally::of_refusals(tenant, resource.clone()));
        Self { resource: Arc::new(resource), refusals }
    }
}

/// Answers a request of `visitor` that came in by a resource's socket.
pub(crate) fn answer<B: Body>(
    socket: &Socket,
    sources: &Sources,
    visitor: &Visitor,
    request: Request<B>,
) -> Reply {
    resolved(&socket.resource, sources, visitor, request).unwrap_or_else(|reason| {
        let given = Given::Refusal(reason.code());
        sources.access.note(&socket.refusals, visitor, given, sources.clock.boot_ms());
        Reply::from(reason)
    })
}

fn resolved<B: Body>(
    resource: &ResourceId,
    sources: &Sources,
    visitor: &Visitor,
    request: Request<B>,
) -> Result<Reply, NoAnswer> {
    let asked = Asked::read(&request)?;
    let current = sources.current.load();
    let boot_ms = sources.clock.boot_ms();
    let (generation, aged) = Generation::servable(current.as_ref(), boot_ms)?;
    match asked.what {
        What::Resolve => {
            let built = generation.content.answer(resource, asked.run.as_ref())?;
            if knows(&request, built.etag()) {
                sources.access.note(built.tally(), visitor, Given::Unchanged, boot_ms);
                return Ok(not_modified(&built));
            }
            sources.access.note(built.tally(), visitor, Given::Whole, boot_ms);
            Ok(whole(&built, generation.moving(aged), request.into_parts().0.headers))
        }
        What::Explain => {
            let explanation = generation.content.explanation(resource, asked.run.as_ref())?;
            Ok(reply::bytes(StatusCode::OK, "application/json", explanation))
        }
    }
}

/// What a request asks for.
struct Asked {
    what: What,
    run: Option<RunId>,
}

enum What {
    Resolve,
    Explain,
}

impl Asked {
    fn read<B: Body>(request: &Request<B>) -> Result<Self, Rejection> {
        check_plain_get(request)?;
        let what = match request.uri().path() {
            "/v1/resolve" => What::Resolve,
            "/v1/explain" => What::Explain,
            _ => return Err(Rejection::unknown_path()),
        };
        let [run] = query(request.uri().query(), ["run"])?;
        let run = run.map(RunId::try_from).transpose();
        Ok(Self { what, run: run.map_err(|error| Rejection::bad(format!("run {error}")))? })
    }
}

/// Whether the client has this content already (RFC 9110 §13.1.2; the comparison is the weak one).
fn knows<B>(request: &Request<B>, etag: &HeaderValue) -> bool {
    request.headers().get_all(IF_NONE_MATCH).iter().any(|known| {
        let tags = known.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
            .any(|tag| tag == b"*" || tag == etag.as_bytes())
    })
}

/// The headers of the request have served their time; those of the answer take over their memory.
fn whole(built: &Built, moving: Moving, mut headers: HeaderMap) -> Reply {
    headers.clear();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ETAG, built.etag().clone());
    let mut reply = reply::pieces(StatusCode::OK, built.body(moving));
    *reply.headers_mut() = headers;
    reply
}

fn not_modified(built: &Built) -> Reply {
    let mut reply = reply::pieces(StatusCode::NOT_MODIFIED, Default::default());
    reply.headers_mut().insert(ETAG, built.etag().clone());
    reply
}

/// Why a request gets an error.
enum NoAnswer {
    Rejected(Rejection),
    Unservable(Unservable),
    Unresolved(ResolveError),
}

impl NoAnswer {
    /// The stable word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::Unservable(reason) => reason.code(),
            Self::Unresolved(error) => error.code(),
        }
    }
}

impl From<NoAnswer> for Reply {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::Rejected(rejection) => rejection.into(),
            NoAnswer::Unservable(reason) => {
                reply::error(StatusCode::SERVICE_UNAVAILABLE, reason.code(), reason.to_string())
            }
            NoAnswer::Unresolved(error) => unresolved(&error),
        }
    }
}

impl From<Rejection> for NoAnswer {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Unservable> for NoAnswer {
    fn from(reason: Unservable) -> Self {
        Self::Unservable(reason)
    }
}

impl From<ResolveError> for NoAnswer {
    fn from(error: ResolveError) -> Self {
        Self::Unresolved(error)
    }
}

/// A resolution that the rules refuse, as the answer that says so: the status follows from the code,
/// which is what the rules promise.
pub(crate) fn unresolved(error: &ResolveError) -> Reply {
    let status = match error.code() {
        "resource_not_found" | "run_not_found" => StatusCode::NOT_FOUND,
        "profile_not_found" | "profile_not_applicable" => StatusCode::CONFLICT,
        "env_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    reply::error(status, error.code(), error.to_string())
}
