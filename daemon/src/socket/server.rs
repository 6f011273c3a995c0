//! Accepting and serving HTTP/1.1 connections on one listening socket, within its limits. It knows
//! nothing of what is asked: that is the service it is given.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

use super::bells::Bells;
use super::connections::{Connections, Counts, DOOR};
use super::places::{Claim, Place, Places};
use super::reply::Body;
use super::stream::{LineEnds, PacedStream};
use super::turns::Turns;
use super::vigil::{Pace, Patience};
use crate::intake::Shared;
use crate::settings::Limits;
use crate::traffic::Sort;

/// How the connections of a socket are served. One for all sockets of a kind.
#[derive(Clone)]
pub(crate) struct Server {
    limits: watch::Receiver<Limits>,
    connections: fn(&Limits) -> usize,
    lines: LineEnds,
    sort: Sort,
    turns: Turns,
    places: Places,
    draining: watch::Receiver<bool>,
    shared: Shared,
}

/// What the limits that are in force come to on one socket.
struct Rules {
    http: http1::Builder,
    connections: usize,
    patience: Patience,
}

/// Where clients come in, a few at a time.
struct Door<'a> {
    listener: UnixListener,
    claim: Claim,
    connections: &'a Mutex<Connections>,
    /// Who came in since nobody was waiting.
    in_a_row: u32,
}

impl Server {
    /// A server with at most so many `connections` open at a time on each of its sockets, which stops
    /// taking new ones and finishes what it is answering once `draining` turns true. The limits may
    /// change while it serves. All sockets of the runtime share `turns`, those of the process `places`.
    pub(crate) fn new(
        limits: watch::Receiver<Limits>,
        connections: fn(&Limits) -> usize,
        (turns, places): (Turns, Places),
        draining: watch::Receiver<bool>,
        shared: Shared,
    ) -> Self {
        let (lines, sort) = (LineEnds::Any, Sort::Resource);
        Self { limits, connections, lines, sort, turns, places, draining, shared }
    }

    /// The same, counted as the server of such sockets; of the resources' unless this says otherwise.
    pub(crate) fn counted_as(self, sort: Sort) -> Self {
        Self { sort, ..self }
    }

    /// The same for clients that send heads and no bodies.
    pub(crate) fn without_bodies(self) -> Self {
        Self { lines: LineEnds::STRICT, ..self }
    }

    /// Serves a listening socket until the daemon drains. Dropping the future closes the listener and
    /// all its connections at once.
    ///
    /// All that happens on a socket happens here, a piece at a time: see [`Turns`].
    pub(crate) async fn run<S, F>(self, listener: UnixListener, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.run_for_each(listener, move |_stream: &UnixStream, _pace: &Arc<Pace>| service.clone()).await;
    }

    /// The same with a service for each connection, which `meet` makes when a client is let in.
    pub(crate) async fn run_for_each<M, S, F>(self, listener: UnixListener, meet: M)
    where
        M: Fn(&UnixStream, &Arc<Pace>) -> S + Send + 'static,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let bells = Bells::default();
        let bell = bells.hang(DOOR);
        bell.wake_by_ref();
        let counts = Counts(Arc::clone(&self.shared.ledger), self.sort);
        let connections = Mutex::new(Connections::new(bells.clone(), bell.clone(), counts));
        let mut seat = self.turns.seat();
        let mut door = pin!(self.keep_door(listener, &connections, meet));
        poll_fn(|context| {
            for _ in 0..seat.pieces_now() {
                match bells.next() {
                    Some(DOOR) if !seat.may_go_first() => {
                        bell.wake_by_ref();
                        break;
                    }
                    Some(DOOR) => {
                        if door.as_mut().poll(&mut Context::from_waker(&bell)).is_ready() {
                            return Poll::Ready(());
                        }
                    }
                    Some(number) => {
                        if !open(&connections).look_after(number, || seat.may_go_first()) {
                            break;
                        }
                    }
                    None => break,
                }
            }
            if !seat.is_in_line() && !bells.are_still(context.waker()) {
                seat.line_up(context.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets clients in and those out whose time is up, until the daemon drains and they are gone.
    async fn keep_door<M, S, F>(&self, listener: UnixListener, connections: &Mutex<Connections>, meet: M)
    where
        M: Fn(&UnixStream, &Arc<Pace>) -> S,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let mut draining = pin!(begun(self.draining.clone()));
        let mut limits = self.limits.clone();
        let mut rules = Rules::of(&limits.borrow_and_update(), self.connections);
        let mut looks = rules.looks();
        let mut door = Door { listener, claim: self.places.claim(), connections, in_a_row: 0 };
        loop {
            let is_empty = open(connections).count() == 0;
            tokio::select! {
                biased;
                () = draining.as_mut() => break,
                Ok(()) = limits.changed() => {
                    rules = Rules::of(&limits.borrow_and_update(), self.connections);
                    looks = rules.looks();
                    open(connections).begin_anew();
                }
                _ = looks.tick(), if !is_empty => open(connections).end_those_out_of_time(&rules.patience),
                client = poll_fn(|context| self.poll_client(&mut door, rules.connections, context)) => match client {
                    Ok((stream, place)) => {
                        let pace = Arc::default();
                        let service = meet(&stream, &pace);
                        self.serve(connections, &rules.http, (stream, pace), place, service);
                    }
                    Err(error) => self.pause(&error).await,
                },
            }
        }
        drop(door);
        // What is not finished by then is closed.
        let _finished = timeout(DRAIN, finish(connections)).await;
    }

    /// The next client, and its place. The place comes first: a connection that was accepted and then
    /// waits would hold a descriptor, one in the backlog holds nothing of ours.
    fn poll_client(
        &self,
        door: &mut Door<'_>,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Place)>> {
        let mut open = open(door.connections);
        if open.count() >= limit {
            door.claim.leave_line();
            open.await_end();
            return Poll::Pending;
        }
        if door.in_a_row >= AT_ONCE {
            door.in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(place) = door.claim.poll_place(open.in_own_places(), context) else {
            open.await_end();
            self.tell_of_exhaustion("as many are open as the limit of open files allows");
            return Poll::Pending;
        };
        let accepted = door.listener.poll_accept(context);
        door.in_a_row = if accepted.is_ready() { door.in_a_row.saturating_add(1) } else { 0 };
        let (stream, _unnamed) = ready!(accepted)?;
        Poll::Ready(Ok((stream, place)))
    }

    fn serve<S, F>(
        &self,
        connections: &Mutex<Connections>,
        http: &http1::Builder,
        (stream, pace): (UnixStream, Arc<Pace>),
        place: Place,
        service: S,
    ) where
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let service = Arc::new(Mutex::new(service));
        let counts = Counts(Arc::clone(&self.shared.ledger), self.sort);
        let answering = Arc::clone(&pace);
        let service = service_fn(move |request| {
            answering.begin_answering();
            let begun = Instant::now();
            let (pace, counts) = (Arc::clone(&answering), counts.clone());
            // Of requests that came in one piece, each but the first waits until others had a turn.
            let answer = if pace.takes_answer() {
                Ok(begin(&service, request))
            } else {
                Err((Arc::clone(&service), request))
            };
            async move {
                let answer = match answer {
                    Ok(answer) => answer.await,
                    Err((service, request)) => {
                        pace.answers_again().await;
                        begin(&service, request).await
                    }
                };
                let took = begun.elapsed().saturating_sub(pace.waited());
                counts.sockets().count_answer(answer.status(), took);
                pace.begin_writing();
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = TokioIo::new(PacedStream::new(stream, Arc::clone(&pace), self.lines));
        let connection = http.serve_connection(stream, service);
        let work = async move {
            if let Err(error) = connection.await {
                tracing::debug!(event = "connection_ended", error = %error, "connection ended early");
            }
        };
        open(connections).insert(work, pace, place);
    }

    /// After a failed accept: out of descriptors or memory nothing gets better by trying at once, so
    /// wait, and say so now and then. A connection that was gone before it was accepted needs neither.
    async fn pause(&self, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) = errno else { return };
        self.shared.ledger.traffic().count_accept_failure();
        self.tell_of_exhaustion(&error.to_string());
        sleep(EXHAUSTED_PAUSE).await;
    }

    fn tell_of_exhaustion(&self, why: &str) {
        if self.places.is_news() {
            let message = format!("cannot accept connections: {why}; raise LimitNOFILE or memory");
            self.shared.alarm("accept_exhausted", &message);
        }
    }
}

impl Rules {
    fn of(limits: &Limits, connections: fn(&Limits) -> usize) -> Self {
        Self { http: protocol(limits), connections: connections(limits), patience: Patience::new(limits) }
    }

    /// When to look for connections that are out of time.
    fn looks(&self) -> Interval {
        let mut looks = interval(self.patience.period());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks
    }
}

/// Ends each connection as soon as it has nothing to answer.
async fn finish(connections: &Mutex<Connections>) {
    let mut looks = interval(DRAIN_LOOK);
    while open(connections).count() > 0 {
        open(connections).end_those_at_rest();
        looks.tick().await;
    }
}

/// The lock is free: one request of a connection is begun at a time, by the socket's only task.
fn begin<R, F>(service: &Mutex<impl Fn(R) -> F>, request: R) -> F {
    service.lock().unwrap_or_else(PoisonError::into_inner)(request)
}

/// A panic while this was held is a panic of the socket's only task.
fn open(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

/// HTTP as it is spoken on every socket here.
pub(crate) fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The time for a head is kept by the vigil; hyper's own would set a timer for each request.
    http.header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.saturating_mul(2));
    http
}

/// Waits until the daemon drains; or until nobody is left who could say so, which is the same.
async fn begun(mut draining: watch::Receiver<bool>) {
    let _begun = draining.wait_for(|draining| *draining).await;
}

/// Who is let in before others have a turn. The second is mostly nobody, which tells that none waits.
const AT_ONCE: u32 = 2;

/// How long answers in progress may take once the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);

const DRAIN_LOOK: Duration = Duration::from_millis(20);

const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
