//! `GET /v1/watch`: an answer that waits until it differs from what the client has. It is the answer of
//! `/v1/resolve`, or its error, only later.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, Request};
use miosa_injector::Moving;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use super::reply::Reply;
use super::request::{Rejection, query};
use super::session::{Asked, NoAnswer, Visit, not_modified, whole};
use crate::access::Given;
use crate::generation::{Built, Generation};

/// What a client has, and how long it waits for something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Watch {
    /// The tag without its quotes.
    tag: Option<String>,
    timeout: Duration,
}

/// What there is, at one look.
struct Seen {
    built: Arc<Built>,
    moving: Moving,
    /// When it may not be given any more, unless it is confirmed before.
    expires_at: Instant,
}

/// Why a watch stopped waiting.
enum Woken {
    /// Something may be other than it was.
    Change,
    /// The client's time is up.
    Time,
    /// The client sent more before it was answered.
    Client,
}

impl Watch {
    /// The run that a request names, and what else it says.
    pub(super) fn read<B>(request: &Request<B>) -> Result<(Option<String>, Self), Rejection> {
        // A client that relies on it and is not heard would ask again and again.
        if request.headers().contains_key(IF_NONE_MATCH) {
            return Err(Rejection::bad("a watch has its tag in the query: etag=TAG, and no If-None-Match"));
        }
        let [run, tag, timeout] = query(request.uri().query(), ["run", "etag", "timeout"])?;
        let timeout = timeout.map_or(Some(DEFAULT_TIMEOUT), |text| seconds(&text));
        let timeout = timeout.ok_or_else(|| {
            Rejection::bad(format!("timeout takes whole seconds from 0 to {}", MOST_TIMEOUT.as_secs()))
        })?;
        let tag = tag.map(|tag| unquoted(&tag).to_owned());
        Ok((run, Self { tag, timeout }))
    }

    /// Whether this is what the client has (the comparison is the weak one of RFC 9110 §8.8.3.2).
    fn knows(&self, etag: &HeaderValue) -> bool {
        let etag = etag.as_bytes();
        let held = etag.strip_prefix(b"\"").and_then(|etag| etag.strip_suffix(b"\"")).unwrap_or(etag);
        self.tag.as_ref().is_some_and(|tag| tag.as_bytes() == held)
    }
}

impl Visit {
    /// Waits for an answer that the client has not. What is refused is refused at once, be it refused from
    /// the beginning or from a change on.
    pub(super) async fn watched(&self, asked: &Asked, watch: &Watch) -> Result<Reply, NoAnswer> {
        let watchers = &self.socket.watchers;
        let ends_at = after(watch.timeout);
        let mut place = None;
        loop {
            let change = watchers.next_change();
            let Seen { built, moving, expires_at } = self.look(asked).await?;
            let (etag, tally) = (built.etag().clone(), Arc::clone(built.tally()));
            if !watch.knows(&etag) {
                self.note(&tally, Given::Whole);
                return Ok(whole(&built, moving, HeaderMap::new()));
            }
            // Few answers of a heavy resource may be held, and who waits needs none.
            drop(built);
            if place.is_none() && !watch.timeout.is_zero() {
                place = Some(watchers.join().ok_or(NoAnswer::TooManyWatchers)?);
            }
            match self.wait(change, ends_at, expires_at).await {
                Woken::Change => {}
                Woken::Time => {
                    let current = self.sources.current.load();
                    Generation::servable(current.as_ref(), self.sources.clock.boot_ms())?;
                    self.note(&tally, Given::Unchanged);
                    return Ok(not_modified(&etag));
                }
                Woken::Client => return Err(Rejection::bad(MORE_SENT).into()),
            }
        }
    }

    async fn look(&self, asked: &Asked) -> Result<Seen, NoAnswer> {
        if let Some(seen) = self.look_at_once(asked)? {
            return Ok(seen);
        }
        let current = self.sources.current.generation();
        let boot_ms = self.sources.clock.boot_ms();
        let (generation, aged) = Generation::servable(current.as_ref(), boot_ms)?;
        let expires_at = after(generation.freshness.lasts(boot_ms));
        let built = generation.content.answer_in_turn(self.asks(asked), &self.sources.workshop).await?;
        Ok(Seen { built, moving: generation.moving(aged), expires_at })
    }

    fn look_at_once(&self, asked: &Asked) -> Result<Option<Seen>, NoAnswer> {
        let current = self.sources.current.load();
        let boot_ms = self.sources.clock.boot_ms();
        let (generation, aged) = Generation::servable(current.as_ref(), boot_ms)?;
        let expires_at = after(generation.freshness.lasts(boot_ms));
        let built = generation.content.answer(self.asks(asked))?;
        Ok(built.map(|built| Seen { built, moving: generation.moving(aged), expires_at }))
    }

    async fn wait(&self, change: Notified<'_>, ends_at: Instant, expires_at: Instant) -> Woken {
        let begun = Instant::now();
        self.pace.begin_watching();
        let woken = tokio::select! {
            biased;
            () = self.pace.something_behind() => Woken::Client,
            () = change => Woken::Change,
            () = sleep_until(ends_at.min(expires_at)) => {
                if ends_at <= expires_at { Woken::Time } else { Woken::Change }
            }
        };
        self.pace.end_watching(begun.elapsed());
        woken
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let timeout = digits.and_then(|digits| digits.parse().ok()).map(Duration::from_secs);
    timeout.filter(|timeout| *timeout <= MOST_TIMEOUT)
}

/// The tag in what may be a whole `ETag`, its quotes percent-encoded: no URI has them as they are.
fn unquoted(tag: &str) -> &str {
    let tag = ["W/", "W%2F", "W%2f"].iter().find_map(|weak| tag.strip_prefix(weak)).unwrap_or(tag);
    tag.strip_prefix("%22").and_then(|tag| tag.strip_suffix("%22")).unwrap_or(tag)
}

/// What lasts longer than any watch need not be told from what lasts for ever.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time.min(LONGER_THAN_ANY)).unwrap_or(now)
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const MOST_TIMEOUT: Duration = Duration::from_secs(300);
const LONGER_THAN_ANY: Duration = Duration::from_secs(3_600);

const MORE_SENT: &str = "nothing may be sent after a watch until it is answered";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<(Option<String>, Watch)> {
        Watch::read(&Request::get(format!("/v1/watch?{query}")).body(()).unwrap()).ok()
    }

    fn watch(tag: Option<&str>, seconds: u64) -> Watch {
        Watch { tag: tag.map(str::to_owned), timeout: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!(read(""), Some((None, watch(None, 60))));
        assert_eq!(read("run=&etag=&timeout="), Some((None, watch(None, 60))));
        assert_eq!(read("timeout=0&run=r&etag=ff"), Some((Some("r".to_owned()), watch(Some("ff"), 0))));
        assert_eq!(read("timeout=300"), Some((None, watch(None, 300))));
        for bad in
            ["timeout=301", "timeout=-1", "timeout=+1", "timeout=1.0", "timeout=0x1", "timeout=1,", "wait=1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tag_is_known_with_its_quotes_and_without() {
        let etag = HeaderValue::from_static("\"00ff\"");
        for tag in ["00ff", "%2200ff%22", "W/%2200ff%22", "W%2F%2200ff%22", "W%2f00ff"] {
            assert!(read(&format!("etag={tag}")).unwrap().1.knows(&etag), "{tag}");
        }
        for tag in ["00FF", "00f", "00fff", "%2200ff", "00ff%22", "*", "w/00ff", "00ff,00ff", "%22%22"] {
            assert!(!read(&format!("etag={tag}")).unwrap().1.knows(&etag), "{tag}");
        }
        assert!(!watch(None, 0).knows(&etag));
    }

    #[test]
    fn a_tag_in_the_wrong_place_is_refused() {
        let request = Request::get("/v1/watch").header(IF_NONE_MATCH, "\"00ff\"").body(()).unwrap();
        assert!(Watch::read(&request).is_err());
    }
}
