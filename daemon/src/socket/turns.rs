//! Whose turn it is. Each socket is one task, and works piece by piece; a piece is bounded. A socket
//! with a few pieces to do does them at once. One with more is crowded, and takes turns with all that
//! are: a single piece among all of them, then whatever arrived meanwhile, then the next one's. Only who
//! is crowded alone does several.
//!
//! To let clients in takes a turn too, for it costs several times what an answer does: at once if nobody
//! has had one since the runtime last looked, else in line. So does an answer that has waited for something
//! to happen: many wait for one thing.
//!
//! So whoever asks one thing at a time on an open connection waits for one turn of one socket, and for a few
//! pieces of what is asked on the open connections of each other that is not crowded, however many sockets
//! are and whatever is done to them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::yield_now;

/// The turns of all sockets that are served by one thread.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Line>>);

/// The sockets that have more to do than one piece, first come, first served: so it goes round.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Arc<Waiting>>,
    /// Whether somebody has had the turn since the runtime last looked for what has arrived.
    is_taken: bool,
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
    /// Whether it is its turn.
    is_called: bool,
}

impl Turns {
    /// The turns of sockets that this runtime serves.
    pub(crate) fn on(runtime: &Handle) -> Self {
        let turns = Self(Arc::default());
        runtime.spawn(turns.clone().call_one_after_another());
        turns
    }

    pub(super) fn seat(&self) -> Seat {
        Seat { turns: self.clone(), waiting: None, is_called: false }
    }

    /// Yielding makes the runtime look for what has arrived, and run that first: so what arrives waits
    /// for the one that was called, and for no other.
    async fn call_one_after_another(self) {
        loop {
            let next = poll_fn(|context| self.line().poll_next(context)).await;
            if let Some((next, is_alone)) = next {
                next.pieces.store(if is_alone { ALONE } else { 1 }, Ordering::Release);
                next.task.wake_by_ref();
            }
            yield_now().await;
            self.line().is_taken = false;
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Who is to be called, and whether alone; or nobody before the next look, for one who let clients in
    /// had the turn.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(Arc<Waiting>, bool)>> {
        if self.is_taken && !self.waiting.is_empty() {
            return Poll::Ready(None);
        }
        let next = self.waiting.pop_front();
        self.is_taken = next.is_some();
        let Some(next) = next else {
            self.caller = Some(context.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(Some((next, self.waiting.is_empty())))
    }
}

impl Seat {
    /// How many pieces the socket may do now: none while it stands in line, one when it was called, more if
    /// nobody else stood there, a few when it did not either.
    pub(super) fn pieces_now(&mut self) -> usize {
        self.is_called = false;
        let Some(waiting) = &self.waiting else { return FEW };
        let pieces = waiting.pieces.load(Ordering::Acquire);
        if pieces > 0 {
            (self.waiting, self.is_called) = (None, true);
        }
        pieces
    }

    /// Whether it may do now what takes a turn; if not, it may when it is called.
    pub(super) fn may_go_first(&mut self) -> bool {
        if self.is_called {
            return true;
        }
        let mut line = self.turns.line();
        if line.is_taken || !line.waiting.is_empty() {
            return false;
        }
        line.is_taken = true;
        // Runs after all that arrived together with these clients, and gives the turn away anew.
        let caller = line.caller.take();
        drop(line);
        if let Some(caller) = caller {
            caller.wake();
        }
        true
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

    /// A task that lets so many in, notes each, and asks to let in the next as soon as it is looked at.
    async fn reconnecting(turns: Turns, name: char, clients: usize, done: mpsc::Sender<char>) {
        let mut seat = turns.seat();
        for _ in 0..clients {
            poll_fn(|context| {
                if seat.pieces_now() > 0 && seat.may_go_first() {
                    done.try_send(name).unwrap();
                    return Poll::Ready(());
                }
                if !seat.is_in_line() {
                    seat.line_up(context.waker());
                }
                Poll::Pending
            })
            .await;
            yield_now().await;
        }
    }

    #[test]
    fn one_alone_lets_clients_in_at_once_and_of_many_one_between_two_looks() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let (done, mut order) = mpsc::channel(100);
        let turns = Turns::on(runtime.handle());
        runtime.block_on(async {
            // The caller rests.
            yield_now().await;
            let mut alone = turns.seat();
            for _ in 0..3 {
                assert!(alone.pieces_now() > 0 && alone.may_go_first() && !alone.is_in_line());
                assert!(!turns.seat().may_go_first(), "a second before the next look");
                yield_now().await;
            }
            for name in ['a', 'b', 'c'] {
                runtime.spawn(reconnecting(turns.clone(), name, 3, done.clone()));
            }
            drop(done);
            let (mut seen, mut looks) = (String::new(), 0);
            loop {
                yield_now().await;
                let before = seen.len();
                let is_over = loop {
                    match order.try_recv() {
                        Ok(name) => seen.push(name),
                        Err(mpsc::error::TryRecvError::Empty) => break false,
                        Err(mpsc::error::TryRecvError::Disconnected) => break true,
                    }
                };
                assert!(seen.len() <= before + 1, "{seen} after {before}");
                looks += 1;
                assert!(looks < 100, "{seen} only");
                if is_over {
                    break;
                }
            }
            assert_eq!(seen, "abcabcabc");
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
