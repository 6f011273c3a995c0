//! What goes over the sockets, counted as it happens: a few relaxed additions and two readings of the
//! clock for each answer, since this is on the path of every one of them. Who asked is never counted:
//! the sets are fixed, whatever the host serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

/// All that was counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    resource: OnSockets,
    admin: OnSockets,
    intake: OnSockets,
    accept_failures: AtomicU64,
    watches_begun: AtomicU64,
    watches_ended: AtomicU64,
}

/// Which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those of the resources.
    Resource,
    /// The one for operators.
    Admin,
    /// The one for updates.
    Intake,
}

/// What was counted on the sockets of a sort.
#[derive(Debug, Default)]
pub(crate) struct OnSockets {
    opened: AtomicU64,
    closed: AtomicU64,
    timed_out: AtomicU64,
    codes: [AtomicU64; CODES.len() + 1],
    latencies: [Latency; Outcome::ALL.len()],
}

/// What became of a request, as far as it matters how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 200.
    Whole,
    /// 304.
    NotModified,
    /// 4xx: the client's doing.
    Refused,
    /// 5xx: the host's.
    Unavailable,
}

/// How long answers took, from the end of a request's head to the beginning of its answer, less what a
/// watch has waited.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// Not cumulative; the last is for what took longer than every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// A connection that is open until this is dropped.
pub(crate) struct Open<'a>(&'a OnSockets);

impl Traffic {
    /// The sockets of a sort.
    pub(crate) fn on(&self, sort: Sort) -> &OnSockets {
        match sort {
            Sort::Resource => &self.resource,
            Sort::Admin => &self.admin,
            Sort::Intake => &self.intake,
        }
    }

    /// A connection could not be accepted for want of descriptors or memory.
    pub(crate) fn count_accept_failure(&self) {
        add(&self.accept_failures, 1);
    }

    /// How often that was.
    pub(crate) fn accept_failures(&self) -> u64 {
        read(&self.accept_failures)
    }

    /// Somebody waits for a resource to change.
    pub(crate) fn begin_watch(&self) {
        add(&self.watches_begun, 1);
    }

    /// And waits no longer.
    pub(crate) fn end_watch(&self) {
        add(&self.watches_ended, 1);
    }

    /// How many wait.
    pub(crate) fn watches(&self) -> u64 {
        // In this order: what ends in between is not seen as two that wait.
        let ended = read(&self.watches_ended);
        read(&self.watches_begun).saturating_sub(ended)
    }
}

impl Sort {
    /// All of them, with the word for each.
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Resource, "resource"), (Self::Admin, "admin"), (Self::Intake, "intake")];
}

impl Outcome {
    /// All of them, with the word for each.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Whole, "whole"),
        (Self::NotModified, "not_modified"),
        (Self::Refused, "refused"),
        (Self::Unavailable, "unavailable"),
    ];

    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            304 => Self::NotModified,
            400..=499 => Self::Refused,
            500.. => Self::Unavailable,
            _ => Self::Whole,
        }
    }
}

impl OnSockets {
    /// A connection was accepted.
    pub(crate) fn open(&self) -> Open<'_> {
        add(&self.opened, 1);
        Open(self)
    }

    /// A connection was ended for being idle, or for not reading its answer, for too long.
    pub(crate) fn count_timed_out(&self) {
        add(&self.timed_out, 1);
    }

    /// A request was answered.
    pub(crate) fn count_answer(&self, status: StatusCode, took: Duration) {
        let code = CODES.iter().position(|code| *code == status.as_u16()).unwrap_or(CODES.len());
        if let Some(counter) = self.codes.get(code) {
            add(counter, 1);
        }
        self.latency(Outcome::of(status)).count(took);
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> u64 {
        // In this order: what closes in between is not seen as open twice.
        let closed = read(&self.closed);
        read(&self.opened).saturating_sub(closed)
    }

    /// How many were accepted.
    pub(crate) fn opened(&self) -> u64 {
        read(&self.opened)
    }

    /// How many were ended for taking too long.
    pub(crate) fn timed_out(&self) -> u64 {
        read(&self.timed_out)
    }

    /// How many answers of each status there were; what is none of [`CODES`] counts as `other`.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (String, u64)> {
        let words = CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
        words.zip(self.codes.iter().map(read))
    }

    /// How long they took.
    pub(crate) fn latency(&self, outcome: Outcome) -> &Latency {
        let [whole, not_modified, refused, unavailable] = &self.latencies;
        match outcome {
            Outcome::Whole => whole,
            Outcome::NotModified => not_modified,
            Outcome::Refused => refused,
            Outcome::Unavailable => unavailable,
        }
    }
}

impl Latency {
    fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(_, bound)| nanos <= *bound).unwrap_or(BOUNDS.len());
        if let Some(counter) = self.buckets.get(bucket) {
            add(counter, 1);
        }
        add(&self.nanos, nanos);
    }

    /// How many took at most so long, for each of [`BOUNDS`] and for `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let words = BOUNDS.iter().map(|(word, _)| *word).chain(["+Inf"]);
        let sums = self.buckets.iter().scan(0_u64, |sum, bucket| {
            *sum = sum.saturating_add(read(bucket));
            Some(*sum)
        });
        words.zip(sums)
    }

    /// How long all of them took together.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(read(&self.nanos))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        add(&self.0.closed, 1);
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Every status that is answered on any socket, the frequent ones first.
const CODES: [u16; 12] = [200, 304, 503, 404, 400, 409, 413, 405, 422, 408, 429, 500];

/// The bounds of the buckets, in seconds as Prometheus writes them and in nanoseconds: an answer that was
/// built before takes some microseconds, one that is built anew under a millisecond.
const BOUNDS: [(&str, u64); 10] = [
    ("1e-05", 10_000),
    ("2.5e-05", 25_000),
    ("5e-05", 50_000),
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.005", 5_000_000),
    ("0.025", 25_000_000),
    ("0.25", 250_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_by_its_code_and_in_every_bucket_from_its_own_on() {
        let traffic = Traffic::default();
        let sockets = traffic.on(Sort::Resource);
        for micros in [1, 10, 11, 900, 1_000_000] {
            sockets.count_answer(StatusCode::OK, Duration::from_micros(micros));
        }
        sockets.count_answer(StatusCode::NOT_MODIFIED, Duration::from_micros(1));
        sockets.count_answer(StatusCode::IM_A_TEAPOT, Duration::from_micros(1));
        let answers: Vec<_> = sockets.answers().filter(|(_, count)| *count > 0).collect();
        assert_eq!(answers, [("200".to_owned(), 5), ("304".to_owned(), 1), ("other".to_owned(), 1)]);
        let counts: Vec<u64> = sockets.latency(Outcome::Whole).cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5]);
        assert_eq!(sockets.latency(Outcome::Whole).sum(), Duration::from_micros(1_000_922));
        assert_eq!(traffic.on(Sort::Admin).answers().map(|(_, count)| count).sum::<u64>(), 0);
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let traffic = Traffic::default();
        let sockets = traffic.on(Sort::Intake);
        let (one, two) = (sockets.open(), sockets.open());
        assert_eq!(sockets.connections(), 2);
        drop(one);
        assert_eq!((sockets.connections(), sockets.opened()), (1, 2));
        drop(two);
        assert_eq!(sockets.connections(), 0);
    }

    #[test]
    fn the_bounds_are_what_they_are_called() {
        for (word, nanos) in BOUNDS {
            let seconds: f64 = word.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos), "{word}");
        }
    }
}
