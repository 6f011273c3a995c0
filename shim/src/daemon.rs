//! Asks the daemon, and waits until it can answer: its socket may not be there yet, it may be
//! restarting, and the resource or the run may still be on its way to this host.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use miosa_injector::model::RunId;
use miosa_injector::protocol::{ErrorBody, Explanation, ResolveResponse};

use crate::failure::Failure;
use crate::http::{self, Answer, Deadline, Trouble};
use crate::options::Options;

/// The daemon behind one socket, asked about one run.
pub(crate) struct Daemon<'a> {
    socket: &'a Path,
    run: Option<&'a RunId>,
    wait: Duration,
}

impl<'a> Daemon<'a> {
    /// The daemon that the options name.
    pub(crate) fn of(options: &'a Options) -> Self {
        Self { socket: &options.socket, run: options.run.as_ref(), wait: options.wait }
    }

    /// What to start with.
    pub(crate) fn resolve(&self) -> Result<ResolveResponse, Failure> {
        let body = self.ask("/v1/resolve")?;
        let resolution: ResolveResponse = serde_json::from_slice(&body).map_err(unreadable)?;
        if !resolution.delivery.is_empty() || !resolution.files.is_empty() {
            return Err(Failure::own(
                "miosad asks for variables to be delivered as files, which this version can't do; put a newer miosa-exec into the image",
            ));
        }
        Ok(resolution)
    }

    /// Where each variable comes from.
    pub(crate) fn explain(&self) -> Result<Explanation, Failure> {
        serde_json::from_slice(&self.ask("/v1/explain")?).map_err(unreadable)
    }

    /// Asks again until there is an answer, no hope, or no time.
    fn ask(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let started = Instant::now();
        // Even the single try of `--wait 0` must be able to get its answer.
        let deadline = Deadline::after(started, self.wait.max(SHORTEST_TRY));
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble = match http::get(self.socket, &self.target(path), deadline).and_then(judge) {
                Ok(body) => return Ok(body),
                Err(trouble) => trouble,
            };
            let left = self.wait.saturating_sub(started.elapsed());
            match trouble {
                Trouble::Lasting(why) => return Err(Failure::own(why)),
                Trouble::Passing(why) if left < LEAST_TIME => {
                    let waited = self.wait.as_secs();
                    return Err(Failure::own(format_args!("{why} (waited {waited} s; see --wait)")));
                }
                // Towards the end the tries come closer, so that what comes late is still found.
                Trouble::Passing(_) => thread::sleep(pause.min(left.checked_div(2).unwrap_or_default())),
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// An id needs no escaping: its alphabet is that of a query.
    fn target(&self, path: &str) -> String {
        match self.run {
            Some(run) => format!("{path}?run={run}"),
            None => path.to_owned(),
        }
    }
}

/// Sorts the answers: the one that was asked for, those that a little patience may mend, the rest.
fn judge(answer: Answer) -> Result<Vec<u8>, Trouble> {
    if answer.status == 200 {
        return Ok(answer.body);
    }
    let status = answer.status;
    let Ok(ErrorBody { error }) = serde_json::from_slice(&answer.body) else {
        return Err(Trouble::Lasting(format!(
            "the answer is HTTP {status} without a reason; is it really miosad that listens there?"
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
fn unreadable(error: serde_json::Error) -> Failure {
    Failure::own(format_args!(
        "the answer of miosad can't be read (line {}, column {}); do the versions of miosad and miosa-exec match?",
        error.line(),
        error.column()
    ))
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
const LONGEST_QUOTE: usize = 500;
