//! One request on a resource's socket, from what is asked to the answer. Whose socket it came in by
//! is who asks; nothing in the request can name another resource.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use hyper::{HeaderMap, Request, StatusCode};
use miosa_injector::model::{ResourceId, RunId, TenantId};
use miosa_injector::{Moving, ResolveError};

use super::reply::{self, Reply};
use super::request::{Rejection, check_plain_get, query};
use super::vigil::Pace;
use super::watch::Watch;
use super::watchers::{MOST_WATCHERS, Watchers};
use crate::access::{AccessLog, Given, Tally, Visitor};
use crate::clock::Clock;
use crate::generation::{Asks, Built, Current, Generation, Unservable, Workshop};

/// All that the sockets of all resources answer from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) current: Arc<Current>,
    pub(crate) clock: Clock,
    pub(crate) access: AccessLog,
    pub(crate) workshop: Workshop,
}

/// Whose socket it is.
#[derive(Clone)]
pub(crate) struct Socket {
    of: Arc<(TenantId, ResourceId)>,
    refusals: Arc<Tally>,
    pub(super) watchers: Arc<Watchers>,
}

/// One connection, from the first request to the last.
pub(crate) struct Visit {
    pub(super) socket: Socket,
    pub(super) sources: Sources,
    visitor: Visitor,
    pub(super) pace: Arc<Pace>,
}

impl Socket {
    pub(crate) fn new(tenant: TenantId, resource: ResourceId, watchers: Arc<Watchers>) -> Self {
        let refusals = Arc::new(Tally::of_refusals(tenant.clone(), resource.clone()));
        Self { of: Arc::new((tenant, resource)), refusals, watchers }
    }
}

impl Visit {
    pub(crate) fn new(socket: Socket, sources: Sources, visitor: Visitor, pace: Arc<Pace>) -> Self {
        Self { socket, sources, visitor, pace }
    }

    /// Answers a request that came in by the resource's socket.
    pub(crate) async fn answer<B: Body>(self: Arc<Self>, request: Request<B>) -> Reply {
        self.resolved(request).await.unwrap_or_else(|reason| {
            let given = Given::Refusal(reason.code());
            let Self { socket, sources, visitor, .. } = &*self;
            sources.access.note(&socket.refusals, visitor, given, sources.clock.boot_ms());
            Reply::from(reason)
        })
    }

    async fn resolved<B: Body>(&self, request: Request<B>) -> Result<Reply, NoAnswer> {
        let asked = Asked::read(&request)?;
        let headers = request.into_parts().0.headers;
        if let Some(watch) = &asked.watch {
            // Nothing of the head is held while it waits, and no other answer is larger for it.
            drop(headers);
            return Box::pin(self.watched(&asked, watch)).await;
        }
        match self.at_once(&asked, headers)? {
            Ok(reply) => Ok(reply),
            Err(headers) => self.in_turn(&asked, headers).await,
        }
    }

    /// The answer; or the headers again, if it has to be built and that may take long.
    fn at_once(&self, asked: &Asked, headers: HeaderMap) -> Result<Result<Reply, HeaderMap>, NoAnswer> {
        let current = self.sources.current.load();
        let (generation, aged) = Generation::servable(current.as_ref(), self.sources.clock.boot_ms())?;
        let content = &generation.content;
        Ok(match asked.what {
            What::Resolve => match content.answer(self.asks(asked))? {
                Some(built) => Ok(self.give(&built, generation.moving(aged), headers)),
                None => Err(headers),
            },
            What::Explain => content.explanation(self.asks(asked))?.map(explained).ok_or(headers),
        })
    }

    async fn in_turn(&self, asked: &Asked, headers: HeaderMap) -> Result<Reply, NoAnswer> {
        let current = self.sources.current.generation();
        let (generation, aged) = Generation::servable(current.as_ref(), self.sources.clock.boot_ms())?;
        let (content, workshop, asks) = (&generation.content, &self.sources.workshop, self.asks(asked));
        Ok(match asked.what {
            What::Resolve => {
                let built = content.answer_in_turn(asks, workshop).await?;
                self.give(&built, generation.moving(aged), headers)
            }
            What::Explain => explained(content.explanation_in_turn(asks, workshop).await?),
        })
    }

    pub(super) fn asks<'a>(&'a self, asked: &'a Asked) -> Asks<'a> {
        let (tenant, resource) = &*self.socket.of;
        Asks { tenant, resource, run: asked.run.as_ref() }
    }

    fn give(&self, built: &Built, moving: Moving, headers: HeaderMap) -> Reply {
        let is_known = knows(&headers, built.etag());
        self.note(built.tally(), if is_known { Given::Unchanged } else { Given::Whole });
        if is_known { not_modified(built.etag()) } else { whole(built, moving, headers) }
    }

    pub(super) fn note(&self, tally: &Arc<Tally>, given: Given) {
        let Self { sources, visitor, .. } = self;
        sources.access.note(tally, visitor, given, sources.clock.boot_ms());
    }
}

fn explained(explanation: Bytes) -> Reply {
    reply::bytes(StatusCode::OK, "application/json", explanation)
}

/// What a request asks for.
pub(super) struct Asked {
    what: What,
    run: Option<RunId>,
    /// How long it may wait.
    watch: Option<Watch>,
}

enum What {
    Resolve,
    Explain,
}

impl Asked {
    fn read<B: Body>(request: &Request<B>) -> Result<Self, Rejection> {
        check_plain_get(request)?;
        let (what, is_watch) = match request.uri().path() {
            "/v1/resolve" => (What::Resolve, false),
            "/v1/explain" => (What::Explain, false),
            "/v1/watch" => (What::Resolve, true),
            _ => return Err(Rejection::unknown_path()),
        };
        let (run, watch) = if is_watch {
            let (run, watch) = Watch::read(request)?;
            (run, Some(watch))
        } else {
            let [run] = query(request.uri().query(), ["run"])?;
            (run, None)
        };
        let run = run.map(RunId::try_from).transpose();
        let run = run.map_err(|error| Rejection::bad(format!("run {error}")))?;
        Ok(Self { what, run, watch })
    }
}

/// Whether the client has this content already (RFC 9110 §13.1.2; the comparison is the weak one).
fn knows(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|known| {
        let tags = known.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
            .any(|tag| tag == b"*" || tag == etag.as_bytes())
    })
}

/// The headers of the request have served their time; those of the answer take over their memory.
pub(super) fn whole(built: &Built, moving: Moving, mut headers: HeaderMap) -> Reply {
    headers.clear();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ETAG, built.etag().clone());
    let mut reply = reply::pieces(StatusCode::OK, built.body(moving));
    *reply.headers_mut() = headers;
    reply
}

pub(super) fn not_modified(etag: &HeaderValue) -> Reply {
    let mut reply = reply::pieces(StatusCode::NOT_MODIFIED, Default::default());
    reply.headers_mut().insert(ETAG, etag.clone());
    reply
}

/// Why a request gets an error.
pub(super) enum NoAnswer {
    Rejected(Rejection),
    Unservable(Unservable),
    Unresolved(ResolveError),
    TooManyWatchers,
}

impl NoAnswer {
    /// The stable word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::Unservable(reason) => reason.code(),
            Self::Unresolved(error) => error.code(),
            Self::TooManyWatchers => "too_many_watchers",
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
            NoAnswer::TooManyWatchers => {
                let message = format!("{MOST_WATCHERS} clients watch this resource, and no more may");
                let mut reply = reply::error(StatusCode::TOO_MANY_REQUESTS, reason.code(), message);
                reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                reply
            }
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
