//! How many connections all sockets together may have open, so that descriptors never run out: each
//! socket has a few places of its own that nobody can take from it, and there are as many for all.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The places for connections under the limit of open files.
#[derive(Clone)]
pub(crate) struct Places {
    /// For everybody, first come, first served.
    common: Arc<Semaphore>,
    /// For listening sockets, and for a few connections on each.
    reserved: usize,
    sockets: Arc<AtomicUsize>,
    /// When it was told last that they run out.
    told: Arc<Mutex<Option<Instant>>>,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<OwnedSemaphorePermit>);

/// One socket's claim to places.
pub(super) struct Claim {
    places: Places,
    /// Standing in line for a place that everybody may have.
    line: Option<Pin<Box<Acquiring>>>,
}

type Acquiring = dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send;

impl Places {
    /// As many as the limit of open files leaves, which is not to be changed any more.
    pub(crate) fn within_limit() -> Self {
        // Cannot fail for this resource.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _hard)| soft);
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn of(limit: usize) -> Self {
        let left = limit.saturating_sub(OTHERS);
        let common = (left / 2).min(Semaphore::MAX_PERMITS);
        Self {
            common: Arc::new(Semaphore::new(common)),
            reserved: left.saturating_sub(common),
            sockets: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Whether none of the sockets has told lately that they run out; from here on one has.
    pub(super) fn is_news(&self) -> bool {
        // A panic while it was held left nothing half done.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.is_none_or(|told| told.elapsed() > SILENCE);
        if is_news {
            *told = Some(Instant::now());
        }
        is_news
    }

    /// For a socket that begins to listen.
    pub(super) fn claim(&self) -> Claim {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        Claim { places: self.clone(), line: None }
    }

    /// How many places each socket has to itself; one, be there none left.
    fn own(&self) -> usize {
        let sockets = self.sockets.load(Ordering::Relaxed).max(1);
        let listeners = sockets.saturating_mul(DESCRIPTORS_OF_A_SOCKET);
        let left = self.reserved.saturating_sub(listeners);
        left.checked_div(sockets).unwrap_or(0).max(1)
    }
}

impl Claim {
    /// A place for one more connection beside those that are in `taken` places of this socket's own.
    pub(super) fn poll_place(&mut self, taken: usize, context: &mut Context<'_>) -> Poll<Place> {
        if taken < self.places.own() {
            self.line = None;
            return Poll::Ready(Place(None));
        }
        if self.line.is_none()
            && let Ok(permit) = Arc::clone(&self.places.common).try_acquire_owned()
        {
            return Poll::Ready(Place(Some(permit)));
        }
        let common = &self.places.common;
        let line = self.line.get_or_insert_with(|| Box::pin(Arc::clone(common).acquire_owned()));
        let permit = ready!(line.as_mut().poll(context));
        self.line = None;
        // The line is never closed.
        Poll::Ready(Place(permit.ok()))
    }

    /// Leaves the line: nobody waits to be let in.
    pub(super) fn leave_line(&mut self) {
        self.line = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.places.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Whether it is one of those that nobody else could have had.
    pub(super) fn is_own(&self) -> bool {
        self.0.is_none()
    }
}

/// Descriptors that are no connections: locks, the event loop, pipes of signals, the watch of the drop
/// directory, and the files that are open while an update is kept and logs are written.
const OTHERS: usize = 32;

/// How long one word of it holds.
const SILENCE: Duration = Duration::from_secs(60);

/// Its own, and once more while the service manager has no room to keep it.
const DESCRIPTORS_OF_A_SOCKET: usize = 2;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn try_place(claim: &mut Claim, taken: usize) -> Option<Place> {
        match claim.poll_place(taken, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    /// As many as it gets.
    fn take_all(claim: &mut Claim) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        while let Some(place) = try_place(claim, places.iter().filter(|place| place.is_own()).count()) {
            places.push(place);
        }
        places
    }

    #[test]
    fn who_takes_all_there_is_leaves_others_their_own() {
        let places = Places::of(1_024);
        let mut claims: Vec<Claim> = (0..10).map(|_| places.claim()).collect();
        let greedy = take_all(&mut claims[0]);
        assert!(greedy.len() > 400, "{}", greedy.len());
        let others: Vec<usize> = claims[1..].iter_mut().map(|claim| take_all(claim).len()).collect();
        assert!(others.iter().all(|count| *count == others[0] && *count > 20), "{others:?}");
        let all = greedy.len() + others.iter().sum::<usize>() + 10 * DESCRIPTORS_OF_A_SOCKET;
        assert!(all + OTHERS <= 1_024, "{all}");
    }

    #[test]
    fn a_place_that_is_free_again_goes_to_who_waits_longest() {
        let places = Places::of(64);
        let [mut greedy, mut first, mut second] = [places.claim(), places.claim(), places.claim()];
        let mut taken = take_all(&mut greedy);
        let (own_of_first, own_of_second) = (take_all(&mut first), take_all(&mut second));
        assert_eq!((own_of_first.len(), own_of_second.len()), (3, 3));
        taken.retain(Place::is_own);
        assert!(try_place(&mut second, 3).is_none_or(|place| !place.is_own()));
        assert!(try_place(&mut first, 3).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn that_they_run_out_is_told_once_a_minute_for_all_sockets() {
        let places = Places::of(64);
        let of_others = places.clone();
        assert!(places.is_news() && !of_others.is_news());
        tokio::time::advance(SILENCE).await;
        assert!(!of_others.is_news());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(of_others.is_news() && !places.is_news());
    }

    #[test]
    fn under_the_lowest_of_limits_each_socket_has_one() {
        let places = Places::of(20);
        let mut claims: Vec<Claim> = (0..50).map(|_| places.claim()).collect();
        assert!(claims.iter_mut().all(|claim| take_all(claim).len() == 1));
    }

    #[test]
    fn a_socket_that_is_gone_has_no_share() {
        let places = Places::of(1_024);
        let claim = places.claim();
        let alone = places.own();
        drop([places.claim(), places.claim()]);
        assert_eq!(places.own(), alone);
        drop(claim);
    }
}
