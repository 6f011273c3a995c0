//! One session of the link: ask `serve` where it stands, open the stream from there, hand over line by
//! line, report each verdict.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use miosa_injector::protocol::ErrorBody;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::lines::{Line, Lines, LinesEnd};
use super::reporter::{self, Refusal, Standing};
use super::word;
use crate::client::{Answer, Client, ClientError, Connection};
use crate::host::HostToken;
use crate::intake::Position;
use crate::settings::LinkPatience;

/// Both ends of the link.
pub(super) struct Carrier {
    control: Client,
    intake: Client,
    authorization: HeaderValue,
    patience: LinkPatience,
    /// How the link fares, in a word that `serve` is told.
    word: Cell<&'static str>,
}

/// Where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Where `serve` stands.
    Position,
    /// As on first contact, which makes the control plane send everything.
    Nothing,
}

/// Why a session ended. None of them is for good.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error("cannot hand anything to `miosad serve`")]
    Intake(#[source] ClientError),
    #[error("`miosad serve` answered {0} where it should have given a verdict")]
    IntakeAnswer(StatusCode),
    #[error("cannot reach the control plane")]
    Control(#[source] ClientError),
    #[error("the control plane answered {status}{}", hint(*status))]
    Refused {
        status: StatusCode,
        /// How long it asked to be left alone.
        retry_after: Duration,
    },
    #[error(transparent)]
    Lines(#[from] LinesEnd),
    #[error("`miosad serve` needs a full update")]
    NeedFull,
    #[error("`miosad serve` does not stand where this session left it")]
    Moved,
    /// The stream went past what was not kept, so it has to be sent again.
    #[error("`miosad serve` could not keep what it was handed ({0})")]
    NotKept(String),
    #[error("the control plane sent more than {MAX_NOISE} lines without content in a minute")]
    Noise,
    #[error("`miosad serve` could use none of the last {MAX_USELESS} things sent, the last for {0}")]
    Useless(String),
}

/// What `serve` made of an envelope.
enum Verdict {
    Taken,
    /// It is what `serve` holds already.
    Unchanged,
    Refused(Refusal),
}

/// What `serve` says of an envelope that it took.
#[derive(Deserialize)]
struct Receipt {
    verdict: String,
}

/// Lines without content, which must not keep a processor busy.
#[derive(Default)]
struct Noise {
    since: Option<Instant>,
    lines: u32,
}

impl Noise {
    fn hear(&mut self) -> Result<(), SessionEnd> {
        if self.since.is_none_or(|since| since.elapsed() > NOISE_PERIOD) {
            *self = Self { since: Some(Instant::now()), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > MAX_NOISE { Err(SessionEnd::Noise) } else { Ok(()) }
    }
}

impl SessionEnd {
    /// How long the control plane wants to be left alone, on top of the usual pause.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Intake(_) | Self::IntakeAnswer(_) | Self::Control(_) | Self::Lines(_) => Duration::ZERO,
            Self::NeedFull | Self::Moved | Self::NotKept(_) => Duration::ZERO,
            Self::Noise | Self::Useless(_) => Duration::ZERO,
        }
    }
}

impl SessionEnd {
    /// The same in a word, for whoever asks `serve` how the link fares.
    fn word(&self) -> &'static str {
        match self {
            Self::Control(_) => word::UNREACHABLE,
            Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. } => word::DENIED,
            Self::Refused { .. } => word::REFUSED,
            Self::Lines(_) | Self::Noise => word::BROKEN,
            Self::NotKept(_) => word::NOT_KEPT,
            Self::Useless(_) => word::USELESS,
            Self::Intake(_) | Self::IntakeAnswer(_) | Self::NeedFull | Self::Moved => word::CONNECTING,
        }
    }
}

impl Carrier {
    pub(super) fn new(control: Client, intake: Client, token: &HostToken, patience: LinkPatience) -> Self {
        let authorization = token.authorization();
        Self { control, intake, authorization, patience, word: Cell::new(word::CONNECTING) }
    }

    /// The same with other times to wait.
    pub(super) fn with_patience(&self, patience: LinkPatience, max_answer_bytes: usize) -> Self {
        Self {
            control: self.control.clone().within_limits(patience.connect, max_answer_bytes),
            intake: self.intake.clone(),
            authorization: self.authorization.clone(),
            patience,
            word: self.word.clone(),
        }
    }

    /// How the link fares, in a word.
    pub(super) fn word(&self) -> &'static str {
        self.word.get()
    }

    /// Carries until something ends the session.
    pub(super) async fn session(&self, beginning: Beginning, backoff: &mut Backoff) -> SessionEnd {
        let (standings, receiver) = watch::channel(None);
        let mut reports = pin!(reporter::report(&self.control, &self.authorization, receiver));
        let carried = async move {
            match self.carry(beginning, backoff, &standings).await {
                Ok(never) => match never {},
                Err(end) => end,
            }
        };
        let end = tokio::select! {
            end = carried => end,
            // Ends only after the other branch, which holds what it reads from.
            () = reports.as_mut() => return SessionEnd::NeedFull,
        };
        self.word.set(end.word());
        // The last standing may not have been reported yet.
        let _in_time = timeout(LAST_REPORT, reports).await;
        end
    }

    async fn carry(
        &self,
        beginning: Beginning,
        backoff: &mut Backoff,
        standings: &watch::Sender<Option<Standing>>,
    ) -> Result<Infallible, SessionEnd> {
        let mut position = self.position().await?;
        let mut stream = self.control.connect().await.map_err(SessionEnd::Control)?;
        let mut lines = self.open(&mut stream, beginning, &position).await?;
        self.word.set(word::CONNECTED);
        tracing::info!(event = "link_up", version = position.version, "linked to the control plane");
        standings.send_replace(Some(Standing::at(&position, None)));
        let (mut useless_in_a_row, mut noise) = (0_u32, Noise::default());
        loop {
            let verdict = match self.next_line(&mut lines, &position).await? {
                Line::Empty | Line::Unknown => {
                    noise.hear()?;
                    continue;
                }
                Line::Trust(envelope) => {
                    let verdict = self.hand_over("/v1/trust", envelope).await?;
                    if matches!(verdict, Verdict::Unchanged) {
                        // The way to a document that is missing leads through all that are not, and
                        // there may be any number of these.
                        noise.hear()?;
                        continue;
                    }
                    verdict
                }
                Line::Update(envelope) => self.hand_over("/v1/updates", envelope).await?,
            };
            let (useless, refusal) = match verdict {
                Verdict::Taken => (None, None),
                Verdict::Unchanged => (Some("unchanged".to_owned()), None),
                Verdict::Refused(refusal) => {
                    let Refusal { code, message } = &refusal;
                    tracing::warn!(event = "refused", code, problem = message, "not accepted");
                    (Some(code.clone()), Some(refusal))
                }
            };
            if useless.is_some() {
                useless_in_a_row = useless_in_a_row.saturating_add(1);
            } else {
                backoff.reset();
                useless_in_a_row = 0;
            }
            position = self.position().await?;
            standings.send_replace(Some(Standing::at(&position, refusal)));
            match useless {
                // Without trust too it takes everything, which the control plane begins with the trust.
                Some(code) if code == NEED_FULL || code == NO_TRUST => return Err(SessionEnd::NeedFull),
                Some(code) if useless_in_a_row >= MAX_USELESS => return Err(SessionEnd::Useless(code)),
                _ => {}
            }
        }
    }

    /// The next line; meanwhile looks now and then whether `serve` still stands where it did. It may
    /// have been restarted, and have found its cache damaged: the control plane would not know.
    async fn next_line(&self, lines: &mut Lines<Incoming>, known: &Position) -> Result<Line, SessionEnd> {
        // One future throughout, since its time limits begin with it.
        let mut next = pin!(lines.next());
        loop {
            tokio::select! {
                line = &mut next => return Ok(line?),
                () = tokio::time::sleep(LOOK) => {
                    if self.position().await? != *known {
                        return Err(SessionEnd::Moved);
                    }
                }
            }
        }
    }

    /// Where `serve` stands.
    async fn position(&self) -> Result<Position, SessionEnd> {
        let mut request =
            self.intake.request(Method::GET, "/v1/position", Bytes::new()).map_err(SessionEnd::Intake)?;
        request.headers_mut().insert(word::HEADER, HeaderValue::from_static(self.word.get()));
        let answer = self.intake.ask(request).await.map_err(SessionEnd::Intake)?;
        serde_json::from_slice(&answer.body).ok().ok_or(SessionEnd::IntakeAnswer(answer.status))
    }

    /// Opens the stream of updates.
    async fn open(
        &self,
        stream: &mut Connection,
        beginning: Beginning,
        position: &Position,
    ) -> Result<Lines<Incoming>, SessionEnd> {
        let path = match beginning {
            Beginning::Position => format!("/host/v1/updates{}", query(position)),
            Beginning::Nothing => "/host/v1/updates".to_owned(),
        };
        let mut request =
            self.control.request(Method::GET, &path, Bytes::new()).map_err(SessionEnd::Control)?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        if let Ok(words) = HeaderValue::try_from(position.understands.join(",")) {
            request.headers_mut().insert(UNDERSTANDS, words);
        }
        let answer = stream.send(request, self.patience.answer).await.map_err(SessionEnd::Control)?;
        if answer.status() != StatusCode::OK {
            let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
            return Err(SessionEnd::Refused { status, retry_after });
        }
        Ok(Lines::new(answer.into_body(), self.patience))
    }

    /// Hands an envelope to `serve`, which answers once it is durable and served, or says why not. What
    /// it could not keep was not judged, and is handed over again.
    async fn hand_over(&self, path: &str, envelope: String) -> Result<Verdict, SessionEnd> {
        let envelope = Bytes::from(envelope);
        let mut tries_left = TRIES;
        loop {
            let answer = self.ask_intake(Method::PUT, path, envelope.clone()).await?;
            if answer.status == StatusCode::OK {
                let receipt: Option<Receipt> = serde_json::from_slice(&answer.body).ok();
                let Receipt { verdict } = receipt.ok_or(SessionEnd::IntakeAnswer(answer.status))?;
                return Ok(if verdict == "unchanged" { Verdict::Unchanged } else { Verdict::Taken });
            }
            let body: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
            let ErrorBody { error } = body.ok_or(SessionEnd::IntakeAnswer(answer.status))?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(Verdict::Refused(Refusal { code: error.code, message: error.message }));
            }
            tracing::warn!(event = "not_kept", code = error.code, problem = error.message, "not kept");
            tries_left = tries_left.saturating_sub(1);
            if tries_left == 0 {
                return Err(SessionEnd::NotKept(error.code));
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// On a connection of its own each time: between two updates `serve` may have been restarted.
    async fn ask_intake(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, SessionEnd> {
        let request = self.intake.request(method, path, body).map_err(SessionEnd::Intake)?;
        self.intake.ask(request).await.map_err(SessionEnd::Intake)
    }
}

/// What the control plane must know to send no more than is missing: the state held, if it is a base
/// for anything, and the trust document held.
fn query(position: &Position) -> String {
    let mut known = Vec::new();
    if let Position {
        epoch: Some(epoch),
        version: Some(version),
        digest: Some(digest),
        need_full: false,
        ..
    } = position
    {
        known.push(format!("epoch={epoch}&version={version}&digest={digest}"));
    }
    known.extend(position.trust_version.map(|version| format!("trust_version={version}")));
    if known.is_empty() { String::new() } else { format!("?{}", known.join("&")) }
}

/// What an operator can do about an answer.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; if this host was revoked there, run `miosad unenroll` and enroll anew"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "; it is left alone for a while",
        status if status.is_redirection() => {
            "; redirects are not followed: if its address has changed, enroll anew with the new one"
        }
        status if status.is_server_error() => "; see its log",
        _ => "; is it a control plane, and of the same version?",
    }
}

/// RFC 9110 §10.2.3; a date is not understood, and asks for nothing then. Bounded, since a longer
/// wait would only keep this host from learning that things are well again.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST_RETRY_AFTER)
}

/// What `serve` knows of payloads, in words. A header, which an earlier control plane passes over.
const UNDERSTANDS: HeaderName = HeaderName::from_static("miosa-understands");

const NEED_FULL: &str = "need_full";
const NO_TRUST: &str = "no_trust";

/// How often an envelope is handed over to a `serve` that can't keep it, and how far apart.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A control plane that only sends what is refused or known is left alone for a while.
const MAX_USELESS: u32 = 16;

/// An honest control plane sends four signs of life a minute; a later one may say more that is not
/// understood here.
const MAX_NOISE: u32 = 1_000;
const NOISE_PERIOD: Duration = Duration::from_secs(60);

const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How often `serve` is asked where it stands while the stream is quiet: what a restart of it with a
/// damaged cache costs at most, before the control plane is asked for everything.
const LOOK: Duration = Duration::from_secs(2);

const LAST_REPORT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_no_noise_and_a_flood_is() {
        let mut noise = Noise::default();
        for _ in 0..10_000 {
            assert!(noise.hear().is_ok());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let mut flood = (0..=MAX_NOISE + 60).map(|_| noise.hear());
        assert!(flood.any(|heard| matches!(heard, Err(SessionEnd::Noise))));
    }

    #[test]
    fn a_wait_that_the_control_plane_asks_for_is_read_and_bounded() {
        for (value, seconds) in
            [("7", 7), (" 7 ", 7), ("0", 0), ("99999999999", 600), ("-1", 0), ("soon", 0), ("", 0)]
        {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers).as_secs(), seconds, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), Duration::ZERO);
    }

    #[test]
    fn an_answer_that_is_no_stream_is_told_with_what_to_do() {
        for (status, words) in
            [(401, "enroll anew"), (301, "its address"), (503, "left alone"), (404, "same version")]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let told = SessionEnd::Refused { status, retry_after: Duration::ZERO }.to_string();
            assert!(told.contains(words), "{told}");
        }
    }
}
