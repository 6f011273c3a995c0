//! The admin socket: what operators and orchestrators may see. It reads and waits; it changes nothing
//! and shows no value.

mod metrics;
mod process;
mod report;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper::{Request, StatusCode};
use miosa_injector::model::{ResourceId, RunId};
use miosa_injector::resolve;
use miosa_snapshot::{Age, HostId};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use report::{
    Explained, RaisedAlarm, RefusedNow, ResourceLine, ResourceList, StatusReport, limits_by_name,
};

use crate::generation::{Generation, Unservable};
use crate::host::KeySource;
use crate::hygiene::Memory;
use crate::intake::Shared;
use crate::layout::RuntimeDir;
use crate::manager::Keeper;
use crate::settings::Limits;
use crate::socket::reply::{self, Reply};
use crate::socket::request::{Rejection, check_plain_get, query};
use crate::socket::tampering::Patrol;
use crate::socket::{SocketReport, unresolved};

/// What the admin socket answers from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) host_id: HostId,
    pub(crate) name: Arc<str>,
    pub(crate) key_source: KeySource,
    pub(crate) runtime: RuntimeDir,
    pub(crate) shared: Shared,
    pub(crate) sockets: watch::Receiver<Arc<SocketReport>>,
    pub(crate) memory: Memory,
    pub(crate) limits: watch::Receiver<Limits>,
    pub(crate) keeper: Keeper,
    pub(crate) patrol: Patrol,
}

/// Answers a request on the admin socket.
pub(crate) async fn answer<B: Body>(admin: Admin, request: Request<B>) -> Reply {
    match Asked::read(&request) {
        Ok(asked) => admin.answer(asked).await,
        Err(rejection) => rejection.into(),
    }
}

enum Asked {
    Status,
    Resources,
    Resource { id: ResourceId, wait: Duration },
    Explain { id: ResourceId, run: Option<RunId> },
    Metrics,
    Health,
    Readiness,
}

impl Asked {
    fn read<B: Body>(request: &Request<B>) -> Result<Self, Rejection> {
        check_plain_get(request)?;
        let parameters = request.uri().query();
        let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        let asked = match path.as_slice() {
            ["v1", "status"] => Self::Status,
            ["v1", "resources"] => Self::Resources,
            ["v1", "resources", id] => {
                let [wait] = query(parameters, ["wait"])?;
                return Ok(Self::Resource { id: resource(id)?, wait: seconds(wait)? });
            }
            ["v1", "resources", id, "explain"] => {
                let [run] = query(parameters, ["run"])?;
                let run = run.map(RunId::try_from).transpose();
                let run = run.map_err(|error| Rejection::bad(format!("run {error}")))?;
                return Ok(Self::Explain { id: resource(id)?, run });
            }
            ["metrics"] => Self::Metrics,
            ["healthz"] => Self::Health,
            ["readyz"] => Self::Readiness,
            _ => return Err(Rejection::unknown_path()),
        };
        let [] = query(parameters, [])?;
        Ok(asked)
    }
}

impl Admin {
    /// Whether a verified snapshot is held and may be resolved.
    pub(crate) fn is_ready(&self) -> bool {
        self.unservable().is_none()
    }

    /// How the daemon fares, for the line that a service manager shows.
    pub(crate) fn in_short(&self) -> String {
        let Some(generation) = self.shared.current.generation() else {
            return "waiting for a full update".to_owned();
        };
        let content = &generation.content;
        let resources = content.state.records().resources.len();
        let problem =
            self.unservable().map_or(String::new(), |reason| format!("; refusing: {}", reason.code()));
        let aged = generation.freshness.at(self.shared.clock.boot_ms());
        let stale = if aged.age == Age::Fresh { "" } else { "; stale" };
        format!(
            "epoch {}, version {}, resources: {resources}{stale}{problem}",
            content.epoch, content.version
        )
    }

    async fn answer(mut self, asked: Asked) -> Reply {
        if let Asked::Status | Asked::Resources | Asked::Resource { .. } = &asked {
            self.patrol.refresh().await;
        }
        match asked {
            Asked::Status => reply::json(StatusCode::OK, &self.status()),
            Asked::Resources => reply::json(StatusCode::OK, &self.resources()),
            Asked::Resource { id, wait } => self.resource(&id, wait).await,
            Asked::Explain { id, run } => self.explain(&id, run.as_ref()),
            Asked::Metrics => {
                let ledger = &self.shared.ledger;
                let text = metrics::text(&self.status(), &ledger.facts(), ledger.traffic());
                reply::bytes(StatusCode::OK, "text/plain; version=0.0.4", text.into())
            }
            Asked::Health => reply::json(StatusCode::OK, &serde_json::json!({ "alive": true })),
            Asked::Readiness => self.readiness(),
        }
    }

    /// Waits until the resource's socket takes connections.
    async fn resource(&mut self, id: &ResourceId, wait: Duration) -> Reply {
        let served = |report: &Arc<SocketReport>| report.get(id).is_some_and(Result::is_ok);
        // Whether it came in time or not shows in what is there afterwards.
        let _in_time = timeout(wait, self.sockets.wait_for(served)).await.is_ok();
        match self.resource_line(id) {
            Some(line) => reply::json(StatusCode::OK, &line),
            None => reply::error(
                StatusCode::NOT_FOUND,
                "resource_not_found",
                format!("resource {id} is not on this host"),
            ),
        }
    }

    /// Explains what is held, be it too old to be served.
    fn explain(&self, id: &ResourceId, run: Option<&RunId>) -> Reply {
        let Some(generation) = self.shared.current.generation() else {
            return reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                "this host holds no verified snapshot",
            );
        };
        match resolve(&generation.content.state, id, run) {
            Ok(resolution) => {
                let refused = self.unservable();
                let refused = refused
                    .map(|reason| RefusedNow { code: reason.code().to_owned(), message: reason.to_string() });
                let explanation = resolution.explain(generation.content.version);
                reply::json(StatusCode::OK, &Explained { refused, explanation })
            }
            Err(error) => unresolved(&error),
        }
    }

    fn readiness(&self) -> Reply {
        match self.unservable() {
            None => reply::json(StatusCode::OK, &serde_json::json!({ "ready": true })),
            Some(reason) => reply::error(StatusCode::SERVICE_UNAVAILABLE, reason.code(), reason.to_string()),
        }
    }

    fn unservable(&self) -> Option<Unservable> {
        Generation::servable(self.shared.current.load().as_ref(), self.shared.clock.boot_ms()).err()
    }
}

fn resource(id: &str) -> Result<ResourceId, Rejection> {
    id.parse().map_err(|error| Rejection::bad(format!("resource id {error}")))
}

fn seconds(wait: Option<String>) -> Result<Duration, Rejection> {
    let Some(wait) = wait else { return Ok(Duration::ZERO) };
    match wait.parse() {
        Ok(seconds) if seconds <= MAX_WAIT_SECONDS => Ok(Duration::from_secs(seconds)),
        _ => Err(Rejection::bad(format!("wait takes whole seconds up to {MAX_WAIT_SECONDS}"))),
    }
}

const MAX_WAIT_SECONDS: u64 = 300;
