//! What has something to do within the one task of a socket: its door and each of its connections have
//! a bell, and who rings stands in line once. It knows nothing of what is done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The bells of one socket.
#[derive(Clone, Default)]
pub(super) struct Bells(Arc<Mutex<Rung>>);

/// Whose bell it is.
pub(super) type Number = u64;

/// Those who rang, first come, first served.
#[derive(Default)]
struct Rung {
    line: VecDeque<Arc<Bell>>,
    /// The socket's task, while it rests.
    task: Option<Waker>,
}

/// One bell. To its owner it is a waker like any other.
struct Bell {
    number: Number,
    is_rung: AtomicBool,
    bells: Bells,
}

impl Bells {
    /// The bell of a number.
    pub(super) fn hang(&self, number: Number) -> Waker {
        Waker::from(Arc::new(Bell { number, is_rung: AtomicBool::new(false), bells: self.clone() }))
    }

    /// Who rang first, off the line.
    pub(super) fn next(&self) -> Option<Number> {
        let bell = self.rung().line.pop_front()?;
        // Before its owner is looked after: what happens from here on rings again.
        bell.is_rung.store(false, Ordering::Release);
        Some(bell.number)
    }

    /// Whether nobody stands in line; then `task` is woken by the next who rings.
    pub(super) fn are_still(&self, task: &Waker) -> bool {
        let mut rung = self.rung();
        let are_still = rung.line.is_empty();
        if are_still {
            rung.task = Some(task.clone());
        }
        are_still
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if self.is_rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let bells = self.bells.clone();
        let mut rung = bells.rung();
        rung.line.push_back(self);
        let task = rung.task.take();
        drop(rung);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.load(Ordering::Acquire) {
            Arc::clone(self).wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rings_twice_stands_in_line_once() {
        let bells = Bells::default();
        let [first, second] = [1, 2].map(|number| bells.hang(number));
        first.wake_by_ref();
        second.wake_by_ref();
        first.wake_by_ref();
        assert_eq!([bells.next(), bells.next(), bells.next()], [Some(1), Some(2), None]);
        second.wake_by_ref();
        second.wake_by_ref();
        first.wake_by_ref();
        assert_eq!([bells.next(), bells.next(), bells.next()], [Some(2), Some(1), None]);
    }

    #[test]
    fn a_task_at_rest_is_woken_once_and_one_at_work_is_not() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                assert!(!self.0.swap(true, Ordering::Relaxed), "woken again");
            }
        }
        let (bells, woken) = (Bells::default(), Arc::new(Woken(AtomicBool::new(false))));
        let task = Waker::from(Arc::clone(&woken));
        let bell = bells.hang(1);
        bell.wake_by_ref();
        assert!(!bells.are_still(&task));
        assert_eq!(bells.next(), Some(1));
        bell.wake_by_ref();
        assert_eq!(bells.next(), Some(1));
        assert!(bells.are_still(&task));
        assert!(!woken.0.load(Ordering::Relaxed));
        bell.wake_by_ref();
        bells.hang(2).wake();
        assert!(woken.0.load(Ordering::Relaxed));
    }
}
