//! Watches for a content that comes to something else than what was started. It asks the daemon again and
//! again, on a connection that never blocks, and leaves the waiting to the supervisor.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use miosa_injector::protocol::ResolveResponse;
use nix::poll::PollFlags;

use crate::daemon::{Daemon, Resolved};
use crate::delivery::Shelf;
use crate::failure::Failure;
use crate::http::{Answer, Exchange, Trouble};
use crate::options::{Inherited, OnChange, Options};
use crate::plan::Plan;

/// Who watches on behalf of the supervisor.
pub(crate) struct Watcher<'a> {
    daemon: Daemon<'a>,
    options: &'a Options,
    inherited: &'a Inherited,
    shelf: &'a mut Shelf,
    hasher: RandomState,
    /// What the content is called that was seen last.
    etag: Option<String>,
    /// What it came to; see [`Plan::mark`].
    mark: u64,
    /// What that came to which the command was started with, or told of.
    in_force: u64,
    state: State,
    /// When it was asked last.
    asked: Instant,
    /// How often in a row nothing was learnt.
    failures: u32,
    /// What was told last, so that it is not told again and again.
    told: String,
}

enum State {
    /// An answer is on its way, or there is none by then.
    Asking(Box<Exchange>, Instant),
    /// Asked again then.
    Resting(Instant),
}

impl<'a> Watcher<'a> {
    /// Watches what `plan` was made of: the content that is called `etag`, if there was one.
    pub(crate) fn new(
        options: &'a Options,
        inherited: &'a Inherited,
        plan: &Plan,
        etag: Option<String>,
        shelf: &'a mut Shelf,
    ) -> Self {
        let hasher = RandomState::new();
        let mark = plan.mark(&hasher);
        let now = Instant::now();
        Self {
            daemon: Daemon::of(options),
            options,
            inherited,
            shelf,
            hasher,
            etag,
            mark,
            in_force: mark,
            state: State::Resting(now),
            asked: now,
            failures: 0,
            told: String::new(),
        }
    }

    /// What to wait for before there is something to do.
    pub(crate) fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.state {
            State::Asking(exchange, _) => Some(exchange.awaits()),
            State::Resting(_) => None,
        }
    }

    /// When there is something to do at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.state {
            State::Asking(_, deadline) | State::Resting(deadline) => *deadline,
        }
    }

    /// Does what can be done without waiting, once the descriptor is ready or the deadline is over. Another
    /// plan than the one before, if that is what it came to.
    pub(crate) fn advance(&mut self, is_ready: bool) -> Option<Plan> {
        let is_late = Instant::now() >= self.deadline();
        match &mut self.state {
            State::Asking(exchange, _) if is_ready => match self.daemon.advance(exchange) {
                Ok(None) => None,
                Ok(Some(answer)) => self.take(answer),
                Err(trouble) => self.rest(&trouble),
            },
            // The daemon answers in time, if there is one: a host that was asleep has left us alone.
            State::Asking(..) if is_late => {
                self.failures = self.failures.saturating_add(1);
                self.state = State::Resting(self.after_a_pause());
                None
            }
            State::Resting(_) if is_late => {
                self.asked = Instant::now();
                match self.daemon.watch(self.etag.as_deref()) {
                    Ok(exchange) => {
                        self.state = State::Asking(Box::new(exchange), later(self.asked, LONGEST_ANSWER));
                        None
                    }
                    Err(trouble) => self.rest(&trouble),
                }
            }
            State::Asking(..) | State::Resting(_) => None,
        }
    }

    /// Whether the newest plan comes to what is in force already: a change that was taken back.
    pub(crate) fn is_in_force(&self) -> bool {
        self.mark == self.in_force
    }

    /// The newest plan is in force from now on.
    pub(crate) fn has_come_into_force(&mut self) {
        self.in_force = self.mark;
    }

    fn take(&mut self, answer: Answer) -> Option<Plan> {
        if answer.status == 304 {
            self.failures = 0;
            self.state = State::Resting(later(self.asked, SHORTEST_ROUND));
            return None;
        }
        let resolved = self.daemon.judge(answer).and_then(|answer| self.daemon.resolved(answer));
        let Resolved { resolution, etag } = match resolved {
            Ok(resolved) => resolved,
            Err(trouble) => return self.rest(&trouble),
        };
        self.failures = 0;
        // A daemon that names no content would answer at once again.
        let round = if etag.is_some() { SHORTEST_ROUND } else { LONGEST_PAUSE };
        self.state = State::Resting(later(self.asked, round));
        self.etag = etag;
        self.plan(&resolution)
    }

    fn plan(&mut self, resolution: &ResolveResponse) -> Option<Plan> {
        let plan = Plan::of(resolution, self.options, self.inherited, self.shelf);
        let is_to_start = self.options.on_change == OnChange::Restart;
        let plan =
            match plan.and_then(|plan| if is_to_start { plan.check().map(|()| plan) } else { Ok(plan) }) {
                Ok(plan) => plan,
                Err(failure) => {
                    self.tell(failure.text());
                    return None;
                }
            };
        self.told.clear();
        let mark = plan.mark(&self.hasher);
        (std::mem::replace(&mut self.mark, mark) != mark).then_some(plan)
    }

    /// Asks again later; what is of use to somebody is told.
    fn rest(&mut self, trouble: &Trouble) -> Option<Plan> {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(self.after_a_pause());
        // A daemon that restarts is nobody's business.
        if self.failures > TOLERATED || matches!(trouble, Trouble::Lasting(_)) {
            self.tell(trouble.text());
        }
        None
    }

    fn tell(&mut self, text: &str) {
        if self.told != text {
            Failure::own(format_args!("{text}; the command runs on as it was started")).tell();
            text.clone_into(&mut self.told);
        }
    }

    /// A moment within a time that doubles with each failure, so that those who wait for the same daemon do
    /// not come back together.
    fn after_a_pause(&self) -> Instant {
        let most = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        let now = Instant::now();
        let random = self.hasher.hash_one((self.failures, now));
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
        later(now, Duration::from_millis(random.checked_rem(most).unwrap_or_default()))
    }
}

fn later(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or(start)
}

/// Longer than the daemon makes anybody wait.
const LONGEST_ANSWER: Duration = Duration::from_secs(90);
/// From one question to the next: who answers all of them at once keeps neither of us busy.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many failures in a row take some ten seconds.
const TOLERATED: u32 = 5;
