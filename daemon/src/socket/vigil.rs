//! How long a client may hold a connection without getting anywhere, and how much it gets at once. Each
//! connection notes what it is at, which costs an answer a few stores; now and then all connections of
//! a socket are looked at. So no answer sets or clears a timer.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::settings::Limits;

/// What a connection is at. Written by the connection, read by its socket.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    phases: AtomicU32,
    /// Whether a request was answered in this piece of work.
    has_answered: AtomicBool,
    /// The bytes that were written in this piece of work.
    written: AtomicUsize,
    /// What was found of what comes behind the request that is being answered.
    behind: AtomicU8,
    /// How long its answer has waited for something to happen, in microseconds.
    waited: AtomicU64,
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request's head, or for the rest of it.
    Idle,
    /// A request is being answered. How long that may take is up to whoever answers.
    Answering,
    /// The answer is being written.
    Writing,
    /// A request is being answered, and waits for something to happen, of which it is up to whoever answers.
    Watching,
}

/// One connection as it was when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    seen: Option<u32>,
    quiet_for: Duration,
}

/// The times of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    idle: Duration,
    write: Duration,
}

impl Pace {
    /// A request's head has come.
    pub(super) fn begin_answering(&self) {
        self.behind.store(UNKNOWN, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.enter(Phase::Answering);
    }

    /// The answer waits for something to happen.
    pub(super) fn begin_watching(&self) {
        self.enter(Phase::Watching);
    }

    /// It has waited so long, and is made now.
    pub(super) fn end_watching(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        self.enter(Phase::Answering);
    }

    /// How long the answer has waited, all in all.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Somebody tried to read what comes behind the request; and whether something was there.
    pub(super) fn note_read(&self, has_come: bool) {
        let behind = self.behind.load(Ordering::Relaxed);
        if has_come {
            self.behind.store(SOMETHING, Ordering::Relaxed);
        } else if behind == UNKNOWN {
            self.behind.store(NOTHING, Ordering::Relaxed);
        }
    }

    /// Waits until something comes behind the request that is being answered. hyper reads on while it has
    /// read nothing, and so learns that the client is gone; once something came it does not until the
    /// answer is written, and what came together with the request it has never tried to read.
    pub(super) async fn something_behind(&self) {
        let is_there = || self.behind.load(Ordering::Relaxed) != NOTHING;
        // Polled with its connection, so that whatever is read is noted before.
        poll_fn(|_| if is_there() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The answer is known.
    pub(super) fn begin_writing(&self) {
        self.enter(Phase::Writing);
    }

    /// Everything that was to be written is.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Writing {
            self.enter(Phase::Idle);
        }
    }

    /// What the connection is at.
    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.phases.load(Ordering::Relaxed))
    }

    /// A piece of work begins: one request at most is answered in it, and so much is written.
    pub(super) fn begin_piece(&self) {
        self.has_answered.store(false, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
    }

    /// Whether a request may be answered in this piece; from here on none may.
    pub(super) fn takes_answer(&self) -> bool {
        !self.has_answered.swap(true, Ordering::Relaxed)
    }

    /// Waits for a piece in which a request may be answered.
    pub(super) async fn answers_again(&self) {
        poll_fn(|context| if self.takes_answer() { Poll::Ready(()) } else { put_off(context) }).await;
    }

    /// How many bytes may be written in this piece; with none left, the connection goes on with the next.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<usize> {
        match PIECE_BYTES.saturating_sub(self.written.load(Ordering::Relaxed)) {
            0 => put_off(context),
            room => Poll::Ready(room),
        }
    }

    /// So many bytes were.
    pub(super) fn count_written(&self, bytes: usize) {
        let written = self.written.load(Ordering::Relaxed);
        self.written.store(written.saturating_add(bytes), Ordering::Relaxed);
    }

    /// A count of the phases so far, in steps of four; what the connection is at is in the remainder.
    /// So two readings are equal only if nothing has happened in between. One task writes at a time.
    fn enter(&self, phase: Phase) {
        let count = self.phases.load(Ordering::Relaxed) | 3;
        self.phases.store(count.wrapping_add(1) | phase.bits(), Ordering::Relaxed);
    }
}

impl Phase {
    fn bits(self) -> u32 {
        match self {
            Self::Idle => 0,
            Self::Answering => 1,
            Self::Writing => 2,
            Self::Watching => 3,
        }
    }

    fn of(count: u32) -> Self {
        match count & 3 {
            1 => Self::Answering,
            2 => Self::Writing,
            3 => Self::Watching,
            _ => Self::Idle,
        }
    }
}

impl Patience {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { idle: limits.idle, write: limits.write }
    }

    /// How often to look. A connection ends between its time and a quarter of it later.
    pub(super) fn period(&self) -> Duration {
        self.idle.min(self.write).mul_f32(0.25)
    }

    /// Looks at a connection, a period after the last look: is it out of time?
    pub(super) fn is_over(&self, vigil: &mut Vigil, pace: &Pace) -> bool {
        let now = pace.phases.load(Ordering::Relaxed);
        if vigil.seen != Some(now) {
            *vigil = Vigil { seen: Some(now), quiet_for: Duration::ZERO };
            return false;
        }
        vigil.quiet_for = vigil.quiet_for.saturating_add(self.period());
        match Phase::of(now) {
            Phase::Idle => vigil.quiet_for >= self.idle,
            Phase::Writing => vigil.quiet_for >= self.write,
            Phase::Answering | Phase::Watching => false,
        }
    }
}

/// To be polled again, once others have had their piece.
fn put_off<T>(context: &mut Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

/// What may come behind a request: not looked for yet, looked for and not there, there.
const UNKNOWN: u8 = 0;
const NOTHING: u8 = 1;
const SOMETHING: u8 = 2;

/// Copied to a client in less time than a request takes to be answered, give or take.
const PIECE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(8), write: Duration::from_secs(4) };

    /// How many looks a connection outlasts when nothing happens on it.
    fn looks(pace: &Pace) -> usize {
        let mut vigil = Vigil::default();
        (0..100).take_while(|_| !PATIENCE.is_over(&mut vigil, pace)).count()
    }

    #[test]
    fn a_connection_that_asks_nothing_is_over_after_the_idle_time() {
        assert_eq!(PATIENCE.period(), Duration::from_secs(1));
        assert_eq!(looks(&Pace::default()), 8);
    }

    #[test]
    fn an_answer_that_is_not_read_is_over_after_the_write_time() {
        let pace = Pace::default();
        pace.begin_answering();
        pace.begin_writing();
        assert_eq!(looks(&pace), 4);
    }

    #[test]
    fn an_answer_that_is_read_a_little_at_a_time_has_no_more_time() {
        let (pace, mut vigil) = (Pace::default(), Vigil::default());
        pace.begin_answering();
        pace.begin_writing();
        let reads_on = |_: &usize| {
            pace.begin_piece();
            pace.count_written(1_000);
            !PATIENCE.is_over(&mut vigil, &pace)
        };
        assert_eq!((0..100).take_while(reads_on).count(), 4);
    }

    #[test]
    fn an_answer_that_takes_long_to_make_is_waited_for() {
        let pace = Pace::default();
        pace.begin_answering();
        pace.flushed();
        assert_eq!(pace.phase(), Phase::Answering, "flushing nothing ends nothing");
        assert_eq!(looks(&pace), 100);
    }

    #[test]
    fn an_answer_that_waits_for_something_to_happen_is_waited_for() {
        let pace = Pace::default();
        pace.begin_answering();
        pace.begin_watching();
        pace.flushed();
        assert_eq!(pace.phase(), Phase::Watching);
        assert_eq!(looks(&pace), 100);
        pace.end_watching(Duration::from_secs(1));
        pace.begin_watching();
        pace.end_watching(Duration::from_secs(2));
        assert_eq!((pace.phase(), pace.waited()), (Phase::Answering, Duration::from_secs(3)));
        pace.begin_answering();
        assert_eq!(pace.waited(), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_was_not_looked_for_behind_a_request_may_be_there() {
        let pace = Pace::default();
        let is_there = async || tokio::time::timeout(Duration::ZERO, pace.something_behind()).await.is_ok();
        for (reads, expected) in
            [(&[][..], true), (&[false], false), (&[false, true], true), (&[true, false], true)]
        {
            pace.note_read(true);
            pace.begin_answering();
            reads.iter().for_each(|has_come| pace.note_read(*has_come));
            assert_eq!(is_there().await, expected, "{reads:?}");
        }
    }

    #[test]
    fn every_request_begins_the_time_anew() {
        let (pace, mut vigil) = (Pace::default(), Vigil::default());
        for _ in 0..1_000 {
            for _ in 0..8 {
                assert!(!PATIENCE.is_over(&mut vigil, &pace));
            }
            pace.begin_answering();
            pace.begin_writing();
            pace.flushed();
            assert_eq!(pace.phase(), Phase::Idle);
        }
    }
}
