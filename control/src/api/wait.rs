//! `?wait=SECONDS` on a write: the answer comes when the hosts have the change, or when the time is up.
//! It changes neither status nor body; the header `Miosa-Applied` says which of the two it was.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use miosa_snapshot::HostId;

use super::idempotency::Answered;
use super::query::Params;
use crate::app::App;
use crate::publisher::{Applied, Change};
use crate::report::Chain;
use crate::store::StoreError;
use crate::store::idempotency::KeptFor;

/// How long to wait; not at all when it wasn't asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(Option<Duration>);

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) tenant: &'a str,
    /// The host it is about; `None` for all that have resources of the tenant.
    pub(crate) host: Option<&'a HostId>,
    /// The change number.
    pub(crate) number: i64,
}

impl Wait {
    /// Takes the parameter.
    pub(crate) fn take(params: &mut Params) -> Self {
        Self(params.take::<Seconds>("wait").map(|Seconds(seconds)| Duration::from_secs(seconds.into())))
    }

    /// Waits for what was written, and says on its answer what came of that.
    pub(crate) async fn answer(self, app: &App, written: Written<'_>, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        if let Some(patience) = self.0 {
            // What was written stays written, whatever becomes of the waiting.
            let applied = applied(app, written, patience).await.unwrap_or_else(|error| {
                tracing::error!("cannot tell whether hosts have a change: {}", Chain(&error));
                Applied::Lagging
            });
            response.headers_mut().insert(MIOSA_APPLIED.clone(), header(applied));
        }
        response
    }

    /// Waits for what an earlier request wrote, whose answer is given again.
    pub(crate) async fn again(self, app: &App, answered: Answered) -> Response {
        let KeptFor { tenant, host, number } = &answered.kept_for;
        let written = Written { tenant, host: host.as_ref(), number: *number };
        self.answer(app, written, answered.response).await
    }
}

async fn applied(app: &App, written: Written<'_>, patience: Duration) -> Result<Applied, StoreError> {
    let Written { tenant, host, number } = written;
    app.publisher.applied(Change { tenant, host, number }, patience).await
}

fn header(applied: Applied) -> HeaderValue {
    HeaderValue::from_static(match applied {
        Applied::Yes => "yes",
        Applied::Lagging => "no; reason=lagging",
        Applied::Offline => "no; reason=offline",
        Applied::Refused => "no; reason=refused",
    })
}

struct Seconds(u8);

impl FromStr for Seconds {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS);
        seconds.map(Self).ok_or("must be a whole number of seconds from 0 to 60")
    }
}

static MIOSA_APPLIED: HeaderName = HeaderName::from_static("miosa-applied");
const MAX_SECONDS: u8 = 60;
