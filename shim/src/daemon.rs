//! Asks the daemon, and waits until it can answer: its socket may not be there yet, it may be
//! restarting, and the resource or the run may still be on its way to this host.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use miosa_injector::model::{EnvMap, RunId};
use miosa_injector::protocol::{ErrorBody, Explanation, ResolveResponse};

use crate::address::Address;
use crate::failure::Failure;
use crate::http::{Answer, Exchange, Trouble};
use crate::options::Options;
use crate::patience::{Patience, Woken};

/// The daemon behind one socket, asked about one run.
pub(crate) struct Daemon<'a> {
    address: &'a Address,
    run: Option<&'a RunId>,
    wait: Duration,
}

/// A resolution, and what its content is called.
pub(crate) struct Resolved {
    pub(crate) resolution: ResolveResponse,
    pub(crate) etag: Option<String>,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// In words for people.
    Failed(Failure),
    /// We were asked to stop before there was one.
    Stopped(i32),
}

impl From<NoAnswer> for Failure {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::Failed(failure) => failure,
            NoAnswer::Stopped(signal) => Self::stopped(signal),
        }
    }
}

impl<'a> Daemon<'a> {
    /// The daemon that the options name.
    pub(crate) fn of(options: &'a Options) -> Self {
        Self { address: &options.socket, run: options.run.as_ref(), wait: options.wait }
    }

    /// What to start with.
    pub(crate) fn resolve(&self, patience: &mut Patience<'_>) -> Result<Resolved, NoAnswer> {
        let answer = self.ask("/v1/resolve", patience)?;
        self.resolved(answer).map_err(|trouble| NoAnswer::Failed(Failure::own(trouble.text())))
    }

    /// Where each variable comes from.
    pub(crate) fn explain(&self, patience: &mut Patience<'_>) -> Result<Explanation, NoAnswer> {
        let answer = self.ask("/v1/explain", patience)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| NoAnswer::Failed(Failure::own(self.unreadable(&error))))
    }

    /// Begins to wait for a content that is not called `etag`.
    pub(crate) fn watch(&self, etag: Option<&str>) -> Result<Exchange, Trouble> {
        let mut target = self.target("/v1/watch");
        let mut add = |name: &str, value: &str| {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.extend([name, "=", value]);
        };
        if let Some(etag) = etag {
            add("etag", etag);
        }
        add("timeout", WATCH_SECONDS);
        Exchange::begin(self.address, &target)
    }

    /// Goes on with an exchange.
    pub(crate) fn advance(&self, exchange: &mut Exchange) -> Result<Option<Answer>, Trouble> {
        exchange.advance(self.address)
    }

    /// Asks again until there is an answer, no hope, or no time.
    fn ask(&self, path: &str, patience: &mut Patience<'_>) -> Result<Answer, NoAnswer> {
        let started = Instant::now();
        // Even the single try of `--wait 0` must be able to get its answer.
        let deadline = started.checked_add(self.wait.max(SHORTEST_TRY)).unwrap_or(started);
        let mut pause = FIRST_PAUSE;
        let mut former = None;
        loop {
            let is_short = deadline.saturating_duration_since(Instant::now()) < SHORTEST_TRY;
            let trouble = match self.try_once(path, deadline, patience)?.and_then(|answer| self.judge(answer))
            {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            let left = self.wait.saturating_sub(started.elapsed());
            match trouble {
                Trouble::Lasting(why) => return Err(NoAnswer::Failed(Failure::own(why))),
                Trouble::Passing(why) if left < LEAST_TIME => {
                    let waited = self.wait.as_secs();
                    // That a short try had no time says less than why there was more than one.
                    let why = former.filter(|_| is_short && Instant::now() >= deadline).unwrap_or(why);
                    let why = format_args!("{why} (waited {waited} s; see --wait)");
                    return Err(NoAnswer::Failed(Failure::own(why)));
                }
                Trouble::Passing(why) => former = Some(why),
            }
            // Towards the end the tries come closer, so that what comes late is still found.
            let nap = pause.min(left.checked_div(2).unwrap_or_default());
            if let Woken::Stopped(signal) = patience.sleep(nap) {
                return Err(NoAnswer::Stopped(signal));
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    fn try_once(
        &self,
        path: &str,
        deadline: Instant,
        patience: &mut Patience<'_>,
    ) -> Result<Result<Answer, Trouble>, NoAnswer> {
        let mut exchange = match Exchange::begin(self.address, &self.target(path)) {
            Ok(exchange) => exchange,
            Err(trouble) => return Ok(Err(trouble)),
        };
        loop {
            match patience.wait(Some(exchange.awaits()), deadline) {
                Woken::Ready => {}
                Woken::Late => return Ok(Err(exchange.late(self.address))),
                Woken::Stopped(signal) => return Err(NoAnswer::Stopped(signal)),
            }
            match exchange.advance(self.address) {
                Ok(None) => {}
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
    }

    /// Reads an answer that holds a resolution.
    pub(crate) fn resolved(&self, answer: Answer) -> Result<Resolved, Trouble> {
        let Answer { etag, body, .. } = answer;
        let resolution: ResolveResponse =
            serde_json::from_slice(&body).map_err(|error| Trouble::Lasting(self.unreadable(&error)))?;
        if !resolution.files.is_empty() {
            let text = "miosad asks for files to be written, which this version can't do";
            return Err(Trouble::Lasting(format!("{text}; put a newer miosa-exec into the image")));
        }
        Ok(Resolved { resolution, etag })
    }

    /// Sorts the answers: the one that was asked for, those that a little patience may mend, the rest.
    pub(crate) fn judge(&self, answer: Answer) -> Result<Answer, Trouble> {
        if answer.status == 200 {
            return Ok(answer);
        }
        let status = answer.status;
        let Ok(ErrorBody { error }) = serde_json::from_slice(&answer.body) else {
            return Err(Trouble::Lasting(format!(
                "the answer on {} is HTTP {status} without a reason; is it really miosad that listens there?",
                self.address
            )));
        };
        let text = format!("miosad answers {}: {}", shortened(&error.code), shortened(&error.message));
        let passing = match status {
            404 => ["resource_not_found", "run_not_found"].contains(&error.code.as_str()),
            429 | 503 => true,
            _ => false,
        };
        Err(if passing { Trouble::Passing(text) } else { Trouble::Lasting(text) })
    }

    /// The parser's own text may quote a value, so only the place is told.
    fn unreadable(&self, error: &serde_json::Error) -> String {
        format!(
            "the answer of miosad on {} can't be read (line {}, column {}); do the versions of miosad and miosa-exec match?",
            self.address,
            error.line(),
            error.column()
        )
    }

    /// An id needs no escaping: its alphabet is that of a query.
    fn target(&self, path: &str) -> String {
        match self.run {
            Some(run) => format!("{path}?run={run}"),
            None => path.to_owned(),
        }
    }
}

/// What a host that holds nothing for this sandbox would say.
pub(crate) fn nothing() -> ResolveResponse {
    ResolveResponse {
        resource_id: String::new(),
        run_id: None,
        snapshot_version: 0,
        stale: false,
        age_seconds: 0,
        env: EnvMap::new(),
        delivery: BTreeMap::new(),
        files: Vec::new(),
        cwd: None,
        cwd_source: None,
        command: None,
        command_source: None,
        command_error: None,
        profile: None,
    }
}

/// A line for people has no room for a message without end.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).collect()
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A try in less time than this would fail for that alone, and hide the reason of the one before.
const LEAST_TIME: Duration = Duration::from_millis(50);
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// As long as the daemon takes without being asked otherwise.
const WATCH_SECONDS: &str = "60";
const LONGEST_QUOTE: usize = 500;
