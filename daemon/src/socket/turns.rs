//! Whose turn it is. Each socket is one task, and works piece by piece; a piece is bounded. A socket
//! with a few pieces to do does them at once. One with more is crowded, and takes turns with all that
//! are: a single piece among all of them, then whatever arrived meanwhile, then the next one's. Only who
//! is crowded alone does several.
//!
//! So whoever asks one thing at a time waits for one piece of one crowded socket, and for a few of each
//! other that is not crowded, however many sockets are and whatever is done to them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::yield_now;

/// The turns of all sockets that are served by one thread.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Line>>);

/// The sockets that have more to do than one piece, first come, first served: so it goes round.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Arc<Waiting>>,
    /// Who calls them, while there is nobody to call.
    caller: Option<Waker>,
}

struct Waiting {
    /// How many pieces it was called for; none yet.
    pieces: AtomicUsize,
    task: Waker,
}

/// One socket's place in the round.
pub(super) struct Seat {
    turns: Turns,
    waiting: Option<Arc<Waiting>>,
}

impl Turns {
    /// The turns of sockets that this runtime serves.
    pub(crate) fn on(runtime: &Handle) -> Self {
        let turns = Self(Arc::default());
        runtime.spawn(turns.clone().call_one_after_another());
        turns
    }

    pub(super) fn seat(&self) -> Seat {
        Seat { turns: self.clone(), waiting: None }
    }

    /// Yielding makes the runtime look for what has arrived, and run that first: so what arrives waits
    /// for the one that was called, and for no other.
    async fn call_one_after_another(self) {
        loop {
            let next = poll_fn(|context| {
                let mut line = self.line();
                let next = line.waiting.pop_front().map(|next| (next, line.waiting.is_empty()));
                if next.is_none() {
                    line.caller = Some(context.waker().clone());
                }
                next.map_or(Poll::Pending, Poll::Ready)
            });
            let (next, is_alone) = next.await;
            next.pieces.store(if is_alone { ALONE } else { 1 }, Ordering::Release);
            next.task.wake_by_ref();
            yield_now().await;
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How many pieces the socket may do now: none while it stands in line, one when it was called, more if
    /// nobody else stood there, a few when it did not either.
    pub(super) fn pieces_now(&mut self) -> usize {
        let Some(waiting) = &self.waiting else { return FEW };
        let pieces = waiting.pieces.load(Ordering::Acquire);
        if pieces > 0 {
            self.waiting = None;
        }
        pieces
    }

    /// Whether it waits to be called.
    pub(super) fn is_in_line(&self) -> bool {
        self.waiting.is_some()
    }

    /// Stands in line for one more piece; `task` is woken when it is called.
    pub(super) fn line_up(&mut self, task: &Waker) {
        let waiting = Arc::new(Waiting { pieces: AtomicUsize::new(0), task: task.clone() });
        self.waiting = Some(Arc::clone(&waiting));
        let mut line = self.turns.line();
        line.waiting.push_back(waiting);
        let caller = line.caller.take();
        drop(line);
        if let Some(caller) = caller {
            caller.wake();
        }
    }
}

/// A client that comes again and again is let out while it comes in anew.
const FEW: usize = 2;

/// To look for what has arrived costs a third of a piece. Who is crowded alone pays that for each of these.
const ALONE: usize = 8;

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::sync::mpsc;

    use super::*;

    /// A task that does so many pieces and notes each.
    async fn crowded(turns: Turns, name: char, pieces: usize, done: mpsc::Sender<char>) {
        let (mut seat, mut left) = (turns.seat(), pieces);
        poll_fn(|context| {
            for _ in 0..seat.pieces_now() {
                done.try_send(name).unwrap();
                left = left.saturating_sub(1);
                if left == 0 {
                    return Poll::Ready(());
                }
            }
            if !seat.is_in_line() {
                seat.line_up(context.waker());
            }
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn the_crowded_go_round() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let (done, mut order) = mpsc::channel(100);
        let turns = Turns::on(runtime.handle());
        runtime.block_on(async {
            for name in ['a', 'b', 'c'] {
                runtime.spawn(crowded(turns.clone(), name, FEW + 3, done.clone()));
            }
            drop(done);
            let mut seen = String::new();
            while let Some(name) = order.recv().await {
                seen.push(name);
            }
            assert_eq!(seen, "aabbccabcabcabc");
        });
    }

    #[test]
    fn what_arrives_waits_for_one_piece_of_one_crowded_socket() {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        let (done, mut order) = mpsc::channel(10_000);
        let turns = Turns::on(runtime.handle());
        runtime.block_on(async {
            for _ in 0..8 {
                runtime.spawn(crowded(turns.clone(), '.', 1_000, done.clone()));
            }
            // From here on they are crowded.
            yield_now().await;
            let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
            let echo = done.clone();
            runtime.spawn(async move {
                for _ in 0..100 {
                    tokio::io::AsyncReadExt::read_u8(&mut far).await.unwrap();
                    echo.try_send('!').unwrap();
                    tokio::io::AsyncWriteExt::write_u8(&mut far, 0).await.unwrap();
                }
            });
            for _ in 0..100 {
                done.try_send('?').unwrap();
                tokio::io::AsyncWriteExt::write_u8(&mut near, 0).await.unwrap();
                tokio::io::AsyncReadExt::read_u8(&mut near).await.unwrap();
            }
            drop(done);
            order.close();
            let mut since = None;
            while let Ok(seen) = order.try_recv() {
                match (seen, since) {
                    ('?', _) => since = Some(0),
                    ('!', Some(pieces)) => assert!(pieces <= 2, "{pieces} pieces went before"),
                    (_, since_asked) => since = since_asked.map(|pieces| pieces + 1),
                }
            }
        });
    }
}
