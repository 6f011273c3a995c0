//! `POST /host/v1/status`: what a host holds, and what is wrong with it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use miosa_snapshot::{Digest, MAX_NUMBER};
use serde_json::Value;

use super::caller::HostCaller;
use crate::api::answer::Answer;
use crate::api::body::Body;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, boolean, object, string};
use crate::api::query::Params;
use crate::app::App;
use crate::clock::Millis;
use crate::store::host_status::{HeldPosition, Report, ReportedError};

/// The route.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/status", post(status))
}

async fn status(
    State(app): State<App>,
    HostCaller(host): HostCaller,
    params: Params,
    body: Body,
) -> Result<Answer, ApiError> {
    let (report, needs_full) = parse(body.into_fields(), params, Millis::now())?;
    if let Some(error) = &report.error {
        tracing::warn!(host_id = %host.id, code = error.code, message = error.message, "a host reports an error");
    }
    app.publisher.hear(&host.id, report, needs_full);
    Ok(Answer::new(StatusCode::OK, br#"{"ok":true}"#.to_vec()))
}

/// The report, and whether the host asks for a full update.
fn parse(mut fields: Fields, params: Params, now: Millis) -> Result<(Report, bool), ApiError> {
    let epoch = fields.take("epoch", number).value();
    let version = fields.take("version", number).value();
    let digest = fields.take("digest", digest).value();
    let needs_full = fields.take("need_full", boolean).value().unwrap_or_default();
    let error = fields.take("error", |value| error(value, now)).value();
    if epoch.is_some() != version.is_some() {
        fields.wrong("version", "must be given together with epoch");
    }
    fields.finish_with(params)?;
    let held = epoch.zip(version).map(|(epoch, version)| HeldPosition { epoch, version, digest });
    Ok((Report { at: now, held, error }, needs_full))
}

fn number(value: Value) -> Result<u64, &'static str> {
    let number = value.as_u64().filter(|number| *number <= MAX_NUMBER);
    number.ok_or("must be a whole number of at most 2^53-1")
}

fn digest(value: Value) -> Result<Digest, &'static str> {
    string(value)?.parse().map_err(|_malformed| "must be 64 lower-case hexadecimal digits")
}

fn error(value: Value, at: Millis) -> Result<ReportedError, &'static str> {
    let mut members = object(value)?;
    let mut text = |name: &str| members.remove(name).and_then(|value| string(value).ok());
    match (text("code"), text("message")) {
        (Some(code), Some(message)) if members.is_empty() => Ok(ReportedError {
            code: printable(&code, MAX_CODE),
            message: printable(&message, MAX_MESSAGE),
            at,
        }),
        _ => Err("must be an object of the strings code and message"),
    }
}

/// What a host says ends on screens and in logs.
fn printable(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Report, ApiError> {
        parse(Fields::new(object(body).unwrap()), Params::default(), Millis(7)).map(|(report, _)| report)
    }

    #[test]
    fn a_host_may_ask_for_a_full_update() {
        let asks = |body| parse(Fields::new(object(body).unwrap()), Params::default(), Millis(7)).unwrap().1;
        assert!(asks(
            json!({"epoch": null, "version": null, "digest": null, "need_full": true, "error": null})
        ));
        assert!(!asks(json!({"need_full": false})) && !asks(json!({})));
    }

    #[test]
    fn a_host_may_hold_nothing_and_report_an_error() {
        let nothing = json!({"epoch": null, "version": null, "digest": null, "error": null});
        assert_eq!(read(nothing).unwrap(), Report { at: Millis(7), held: None, error: None });
        let error = json!({"code": "wrong_host", "message": "a\u{1b}[2Jb"});
        let report =
            read(json!({"epoch": 1, "version": 2, "digest": "0".repeat(64), "error": error})).unwrap();
        assert_eq!(report.error.unwrap().message, "a [2Jb");
        assert_eq!(report.held.unwrap().version, 2);
    }

    #[test]
    fn reports_that_make_no_sense_are_refused() {
        for bad in [
            json!({"epoch": 1}),
            json!({"epoch": 1, "version": -1}),
            json!({"epoch": 1, "version": 9_007_199_254_740_992_u64}),
            json!({"digest": "xyz"}),
            json!({"error": "text"}),
            json!({"error": {"code": "c", "message": "m", "more": 1}}),
            json!({"host_id": "host_2"}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
