//! `/platform/v1/hosts`: how hosts are. They are made, and unmade, on the command line.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use miosa_snapshot::HostId;
use serde::Serialize;

use crate::api::answer::Answer;
use crate::api::caller::PlatformCaller;
use crate::api::error::ApiError;
use crate::api::query::Params;
use crate::api::record_id::{Named, RecordId, not_found};
use crate::app::App;
use crate::clock::Millis;
use crate::page::Page;
use crate::store::host_openings::Place;
use crate::store::host_status::HostStatus;

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/hosts", get(list)).route("/hosts/{id}", get(fetch))
}

async fn list(
    State(app): State<App>,
    _caller: PlatformCaller,
    mut params: Params,
) -> Result<Answer, ApiError> {
    let page = Page::new(params.take("limit"), params.take("cursor"));
    params.finish()?;
    app.publisher.note_reports().await?;
    let mut rows = app.store.host_statuses(&page).await?;
    let next_cursor = page.cut(&mut rows, HostStatus::position);
    let shown: Vec<_> = rows.iter().map(|row| Shown::of(row, &app)).collect();
    Answer::list(&shown, next_cursor)
}

async fn fetch(
    State(app): State<App>,
    _caller: PlatformCaller,
    RecordId(id): RecordId<HostId>,
    params: Params,
) -> Result<Answer, ApiError> {
    params.finish()?;
    app.publisher.note_reports().await?;
    let row = app.store.host_status(&id).await?.ok_or_else(not_found::<HostId>)?;
    Answer::record(StatusCode::OK, &Shown::of(&row, &app))
}

/// A host as the platform sees it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    /// `pending` until it enrolls, then `enrolled`, at last `revoked`.
    status: &'static str,
    /// Whether it has a stream open here; another replica may know better.
    connected: bool,
    agent: Option<&'a str>,
    last_seen_at: Option<String>,
    epoch: Option<u64>,
    version_published: Option<u64>,
    published_at: Option<String>,
    version_applied: Option<u64>,
    /// How many versions it is behind; null when there is nothing to compare.
    lag: Option<u64>,
    /// The version of the trust document that it held when it connected last.
    trust_version: Option<u64>,
    /// What it knows beyond the first description of payloads; the rest is left out of what it is sent.
    understands: Vec<&'static str>,
    /// It held an earlier state than it once did: put back from a backup, or two with one identity.
    regressed: Option<ShownRegression>,
    error: Option<ShownError<'a>>,
    created_at: String,
    enrolled_at: Option<String>,
    revoked_at: Option<String>,
}

/// A host that went back.
#[derive(Debug, Serialize)]
struct ShownRegression {
    count: u64,
    at: String,
    from: Place,
    to: Place,
}

/// What is wrong with a host.
#[derive(Debug, Serialize)]
struct ShownError<'a> {
    /// `host` for what it reported itself, `control` for what keeps it from being published to.
    from: &'static str,
    code: &'a str,
    message: String,
    at: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(row: &'a HostStatus, app: &App) -> Self {
        let now = app.publisher.host_now(&row.id);
        let published = row.published;
        let (held, version_published) = (row.held, published.map(|(_, version, _)| version));
        let ours = now.failure.map(|message| ShownError {
            from: "control",
            code: "publish_failed",
            message,
            at: None,
        });
        let ahead = row.is_ahead().then(|| ShownError {
            from: "control",
            code: "ahead_of_control",
            message: "the host holds a later version than was ever issued to it, and accepts no earlier one; if this database is an old one, run `miosa-control trust rotate --raise-epoch`"
                .to_owned(),
            at: None,
        });
        let trust_ahead = row.is_trust_ahead().then(|| ShownError {
            from: "control",
            code: "trust_ahead_of_control",
            message: "the host holds a later trust document than this database; publish the ones between, which it keeps in its state directory, with `miosa-control trust publish`"
                .to_owned(),
            at: None,
        });
        let theirs = row.error.as_ref().map(|error| ShownError {
            from: "host",
            code: &error.code,
            message: error.message.clone(),
            at: Some(error.at.rfc3339()),
        });
        Self {
            id: row.id.as_str(),
            name: &row.name,
            status: match (row.revoked_at, row.enrolled_at) {
                (Some(_), _) => "revoked",
                (None, Some(_)) => "enrolled",
                (None, None) => "pending",
            },
            connected: now.connected,
            agent: Some(row.agent.as_str()).filter(|agent| !agent.is_empty()),
            last_seen_at: row.last_seen_at.map(Millis::rfc3339),
            epoch: published.map(|(epoch, ..)| epoch),
            version_published,
            published_at: published.map(|(.., at)| at.rfc3339()),
            version_applied: held.map(|held| held.version),
            lag: version_published.zip(held).map(|(published, held)| published.saturating_sub(held.version)),
            trust_version: row.trust,
            understands: row.understands.words(),
            regressed: row.regressed.map(|regressed| ShownRegression {
                count: regressed.count,
                at: regressed.at.rfc3339(),
                from: regressed.from,
                to: regressed.to,
            }),
            error: trust_ahead.or(ours).or(ahead).or(theirs),
            created_at: row.created_at.rfc3339(),
            enrolled_at: row.enrolled_at.map(Millis::rfc3339),
            revoked_at: row.revoked_at.map(Millis::rfc3339),
        }
    }
}

impl Named for HostId {
    const NAME: &'static str = "host";
}
