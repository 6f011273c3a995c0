//! What is done when: the course of a command from its start to its end, or to the start of the next one.
//! It decides; it reads no clock, sends no signal and waits for nothing.

use std::time::{Duration, Instant};

/// Where things stand with the command.
pub(super) struct Course {
    grace: Duration,
    settle: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    /// Something else is to be started, and may yet change again.
    Settling {
        since: Instant,
        until: Instant,
    },
    /// It was asked to end. What comes then?
    Ending {
        then: Then,
        kill: Kill,
        ended: Option<i32>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Exit,
    StartAgain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kill {
    At(Instant),
    /// When it was done.
    Done(Instant),
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Bring the change about.
    Change,
    /// Kill the whole group.
    Kill,
    /// Look whether anything of the group is left, and start the next if not.
    AwaitGroup,
    /// Start the next, whatever is left: nothing could end it.
    StartAgain,
    /// End with this status.
    Exit(i32),
}

impl Course {
    pub(super) fn new(grace: Duration, settle: Duration) -> Self {
        Self { grace, settle, phase: Phase::Running }
    }

    /// The command was started again.
    pub(super) fn started(&mut self) {
        self.phase = Phase::Running;
    }

    /// Whether nothing else comes after this command.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.phase, Phase::Ending { then: Then::Exit, .. })
    }

    /// Whether the command was asked to end.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// We were asked to end, and the command with us. Asking twice gives no more time, and no less.
    pub(super) fn asked_to_stop(&mut self, now: Instant) {
        let (kill, ended) = match self.phase {
            Phase::Ending { kill, ended, .. } => (kill, ended),
            Phase::Running | Phase::Settling { .. } => (Kill::At(later(now, self.grace)), None),
        };
        self.phase = Phase::Ending { then: Then::Exit, kill, ended };
    }

    /// There is something else to start. It counts once it has rested a while, or long enough anyway.
    pub(super) fn changed(&mut self, now: Instant) {
        let since = match self.phase {
            Phase::Running => now,
            Phase::Settling { since, .. } => since,
            Phase::Ending { .. } => return,
        };
        let most = later(since, self.settle.saturating_mul(LONGEST_SETTLE));
        self.phase = Phase::Settling { since, until: later(now, self.settle).min(most) };
    }

    /// The change asks for nothing more.
    pub(super) fn change_is_done(&mut self) {
        self.phase = Phase::Running;
    }

    /// The change can't be brought about now: it rests again, a while at least.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.phase = Phase::Settling { since: now, until: later(now, self.settle.max(SHORTEST_RETRY)) };
    }

    /// For the change, the command was asked to end.
    pub(super) fn replacing(&mut self, now: Instant) {
        let kill = Kill::At(later(now, self.grace));
        self.phase = Phase::Ending { then: Then::StartAgain, kill, ended: None };
    }

    /// The command has ended. By itself, it is the end of us too.
    pub(super) fn ended(&mut self, status: i32, now: Instant) {
        self.phase = match self.phase {
            Phase::Ending { then, kill, .. } => Phase::Ending { then, kill, ended: Some(status) },
            Phase::Running | Phase::Settling { .. } => {
                Phase::Ending { then: Then::Exit, kill: Kill::Done(now), ended: Some(status) }
            }
        };
    }

    /// The next thing to do, if it is time. Each is told until it is done; killing is told once.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        match &mut self.phase {
            Phase::Running => None,
            Phase::Settling { until, .. } => (now >= *until).then_some(Step::Change),
            Phase::Ending { then: Then::Exit, ended: Some(status), .. } => Some(Step::Exit(*status)),
            Phase::Ending { kill: kill @ Kill::At(_), .. } if kill.is_due(now) => {
                *kill = Kill::Done(now);
                Some(Step::Kill)
            }
            Phase::Ending { then: Then::StartAgain, ended: Some(_), kill } => {
                Some(if kill.is_in_vain(now) { Step::StartAgain } else { Step::AwaitGroup })
            }
            Phase::Ending { .. } => None,
        }
    }

    /// When to look again, if nothing happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Settling { until, .. } => Some(until),
            // Not all of a group are children of ours, whose end we would be told.
            Phase::Ending { then: Then::StartAgain, ended: Some(_), .. } => Some(later(now, GROUP_PAUSE)),
            Phase::Ending { kill: Kill::At(at), .. } => Some(at),
            Phase::Ending { kill: Kill::Done(_), .. } => None,
        }
    }
}

impl Kill {
    fn is_due(self, now: Instant) -> bool {
        matches!(self, Self::At(at) if now >= at)
    }

    /// Something is still there, long after it was killed: the kernel can't end it, or its parent, who is
    /// none of the group, does not ask how it ended.
    fn is_in_vain(self, now: Instant) -> bool {
        matches!(self, Self::Done(at) if now >= later(at, LONGEST_DEATH))
    }
}

fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

/// So many times the rest that a change needs, as long as it changes again and again.
const LONGEST_SETTLE: u32 = 5;
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const GROUP_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_DEATH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const SETTLE: Duration = Duration::from_secs(2);

    fn started() -> (Course, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Course::new(GRACE, SETTLE), move |seconds| later(start, Duration::from_secs(seconds)))
    }

    #[test]
    fn a_running_command_needs_no_attention() {
        let (mut course, at) = started();
        assert_eq!((course.step(at(0)), course.deadline(at(0))), (None, None));
    }

    #[test]
    fn the_end_of_the_command_is_ours() {
        let (mut course, at) = started();
        course.ended(3, at(1));
        assert_eq!(course.step(at(1)), Some(Step::Exit(3)));
        let (mut course, at) = started();
        course.changed(at(1));
        course.ended(0, at(2));
        assert_eq!(course.step(at(2)), Some(Step::Exit(0)), "we restart nothing that ends by itself");
    }

    #[test]
    fn asked_twice_to_stop_the_time_is_that_of_the_first() {
        let (mut course, at) = started();
        course.asked_to_stop(at(0));
        course.asked_to_stop(at(5));
        assert_eq!(course.deadline(at(5)), Some(at(10)));
        assert_eq!(course.step(at(9)), None);
        assert_eq!(course.step(at(10)), Some(Step::Kill));
        assert_eq!((course.step(at(11)), course.deadline(at(11))), (None, None), "killed once");
        course.ended(137, at(11));
        assert_eq!(course.step(at(11)), Some(Step::Exit(137)));
    }

    #[test]
    fn without_grace_the_kill_follows_at_once() {
        let now = Instant::now();
        let mut course = Course::new(Duration::ZERO, SETTLE);
        course.asked_to_stop(now);
        assert_eq!(course.step(now), Some(Step::Kill));
    }

    #[test]
    fn a_change_rests_before_it_counts() {
        let (mut course, at) = started();
        course.changed(at(0));
        course.changed(at(1));
        assert_eq!((course.step(at(2)), course.deadline(at(2))), (None, Some(at(3))));
        assert_eq!(course.step(at(3)), Some(Step::Change));
        course.change_is_done();
        assert_eq!((course.step(at(4)), course.deadline(at(4))), (None, None));
    }

    #[test]
    fn a_change_that_is_put_off_rests_again() {
        let (mut course, at) = started();
        course.changed(at(0));
        assert_eq!(course.step(at(2)), Some(Step::Change));
        course.put_off(at(2));
        assert_eq!((course.step(at(3)), course.deadline(at(3))), (None, Some(at(4))));
        assert_eq!(course.step(at(4)), Some(Step::Change));
        let mut course = Course::new(GRACE, Duration::ZERO);
        course.put_off(at(0));
        assert_eq!((course.step(at(0)), course.deadline(at(0))), (None, Some(at(1))), "not without a pause");
    }

    #[test]
    fn changes_without_end_count_after_five_rests() {
        let (mut course, at) = started();
        for second in 0..=9 {
            course.changed(at(second));
            assert_eq!(course.step(at(second)), None, "{second}");
        }
        assert_eq!(course.step(at(10)), Some(Step::Change));
    }

    #[test]
    fn the_next_is_started_when_the_whole_group_is_gone() {
        let (mut course, at) = started();
        course.replacing(at(0));
        assert_eq!((course.step(at(1)), course.deadline(at(1))), (None, Some(at(10))));
        course.ended(143, at(2));
        assert_eq!(course.step(at(2)), Some(Step::AwaitGroup));
        assert_eq!(course.deadline(at(2)), Some(later(at(2), GROUP_PAUSE)));
        course.started();
        assert_eq!((course.step(at(3)), course.deadline(at(3))), (None, None));
    }

    #[test]
    fn what_is_left_of_a_replaced_group_is_killed_after_the_grace() {
        let (mut course, at) = started();
        course.replacing(at(0));
        course.ended(143, at(2));
        assert_eq!(course.step(at(10)), Some(Step::Kill));
        assert_eq!(course.step(at(11)), Some(Step::AwaitGroup));
        assert_eq!(course.step(at(20)), Some(Step::StartAgain), "what can't be ended holds nothing up");
    }

    #[test]
    fn a_change_while_replacing_takes_no_further_rest() {
        let (mut course, at) = started();
        course.replacing(at(0));
        course.changed(at(1));
        course.ended(143, at(1));
        assert_eq!(course.step(at(1)), Some(Step::AwaitGroup));
    }

    #[test]
    fn asked_to_stop_while_replacing_nothing_is_started_again() {
        let (mut course, at) = started();
        course.replacing(at(0));
        course.asked_to_stop(at(4));
        assert!(course.is_last());
        assert_eq!(course.deadline(at(4)), Some(at(10)), "it had its time already");
        course.ended(143, at(5));
        assert_eq!(course.step(at(5)), Some(Step::Exit(143)));

        let (mut course, at) = started();
        course.replacing(at(0));
        course.ended(143, at(1));
        course.asked_to_stop(at(2));
        assert_eq!(course.step(at(2)), Some(Step::Exit(143)), "what is left of the group is not waited for");
    }

    #[test]
    fn asked_to_stop_while_a_change_rests_the_change_is_dropped() {
        let (mut course, at) = started();
        course.changed(at(0));
        course.asked_to_stop(at(1));
        assert_eq!(course.step(at(2)), None);
        course.changed(at(3));
        assert_eq!(course.step(at(9)), None);
        assert_eq!(course.step(at(11)), Some(Step::Kill));
    }
}
