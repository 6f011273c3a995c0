//! Accepting and serving HTTP/1.1 connections on one listening socket, within its limits. It knows
//! nothing of what is asked: that is the service it is given.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

use super::reply::Body;
use super::stream::{LineEnds, PacedStream};
use super::vigil::{Pace, Patience, Phase, Vigil};
use crate::intake::Shared;
use crate::ledger::Ledger;
use crate::settings::Limits;
use crate::traffic::{OnSockets, Sort};

/// How the connections of a socket are served. One for all sockets of a kind.
#[derive(Clone)]
pub(crate) struct Server {
    limits: watch::Receiver<Limits>,
    connections: fn(&Limits) -> usize,
    lines: LineEnds,
    sort: Sort,
    draining: watch::Receiver<bool>,
    shared: Shared,
    /// When it was last told that connections can't be accepted.
    exhausted: Arc<Mutex<Option<Instant>>>,
}

/// What the limits that are in force come to on one socket.
struct Rules {
    http: http1::Builder,
    connections: usize,
    patience: Patience,
}

/// The open connections of one socket.
struct Connections {
    tasks: JoinSet<()>,
    watched: BTreeMap<Id, Watched>,
    counts: Counts,
}

/// Where what happens on a socket is counted.
#[derive(Clone)]
struct Counts(Arc<Ledger>, Sort);

struct Watched {
    task: AbortHandle,
    pace: Arc<Pace>,
    vigil: Vigil,
}

impl Server {
    /// A server with at most so many `connections` open at a time on each of its sockets, which stops
    /// taking new ones and finishes what it is answering once `draining` turns true. The limits may
    /// change while it serves.
    pub(crate) fn new(
        limits: watch::Receiver<Limits>,
        connections: fn(&Limits) -> usize,
        draining: watch::Receiver<bool>,
        shared: Shared,
    ) -> Self {
        let (lines, sort) = (LineEnds::Any, Sort::Resource);
        Self { limits, connections, lines, sort, draining, shared, exhausted: Arc::default() }
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
    pub(crate) async fn run<S, F>(self, listener: UnixListener, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.run_for_each(listener, move |_stream: &UnixStream| service.clone()).await;
    }

    /// The same with a service for each connection, which `meet` makes when a client is let in.
    pub(crate) async fn run_for_each<M, S, F>(self, listener: UnixListener, meet: M)
    where
        M: Fn(&UnixStream) -> S + Send + 'static,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let mut open = Connections::counted_by(Counts(Arc::clone(&self.shared.ledger), self.sort));
        let mut draining = pin!(begun(self.draining.clone()));
        let mut limits = self.limits.clone();
        let mut rules = Rules::of(&limits.borrow_and_update(), self.connections);
        let mut looks = rules.looks();
        loop {
            // The place comes first: a connection that was accepted and then waits would hold a
            // descriptor, one in the backlog holds nothing of ours.
            let has_place = open.count() < rules.connections;
            tokio::select! {
                biased;
                () = draining.as_mut() => break,
                Ok(()) = limits.changed() => {
                    rules = Rules::of(&limits.borrow_and_update(), self.connections);
                    looks = rules.looks();
                    open.begin_anew();
                }
                _ = looks.tick(), if !open.is_empty() => open.end_those_out_of_time(&rules.patience),
                () = open.one_ended(), if !has_place => {}
                accepted = listener.accept(), if has_place => match accepted {
                    Ok((stream, _unnamed)) => {
                        let service = meet(&stream);
                        open.serve(&rules.http, stream, self.lines, service);
                    }
                    Err(error) => self.pause(&error).await,
                },
            }
        }
        drop(listener);
        // What is not finished by then is closed.
        let _finished = timeout(DRAIN, open.finish()).await;
    }

    /// After a failed accept: out of descriptors or memory nothing gets better by trying at once, so
    /// wait, and say so now and then. A connection that was gone before it was accepted needs neither.
    async fn pause(&self, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) = errno else { return };
        self.shared.ledger.traffic().count_accept_failure();
        if self.is_news() {
            let message = format!("cannot accept connections: {error}; raise LimitNOFILE or memory");
            self.shared.alarm("accept_exhausted", &message);
        }
        sleep(EXHAUSTED_PAUSE).await;
    }

    /// Whether none of the sockets has told of exhaustion lately.
    fn is_news(&self) -> bool {
        let mut told = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.is_none_or(|told| told.elapsed() > EXHAUSTED_SILENCE);
        if is_news {
            *told = Some(Instant::now());
        }
        is_news
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

impl Counts {
    fn sockets(&self) -> &OnSockets {
        self.0.traffic().on(self.1)
    }
}

impl Connections {
    fn counted_by(counts: Counts) -> Self {
        Self { tasks: JoinSet::new(), watched: BTreeMap::new(), counts }
    }

    fn serve<S, F>(&mut self, http: &http1::Builder, stream: UnixStream, lines: LineEnds, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let pace = Arc::<Pace>::default();
        let (answering, counting) = (Arc::clone(&pace), self.counts.clone());
        let service = service_fn(move |request| {
            let begun = Instant::now();
            answering.begin_answering();
            let (answer, pace, counts) = (service(request), Arc::clone(&answering), counting.clone());
            async move {
                let answer = answer.await;
                counts.sockets().count_answer(answer.status(), begun.elapsed());
                pace.begin_writing();
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = TokioIo::new(PacedStream::new(stream, Arc::clone(&pace), lines));
        let connection = http.serve_connection(stream, service);
        let counts = self.counts.clone();
        let task = self.tasks.spawn(async move {
            let _open = counts.sockets().open();
            if let Err(error) = connection.await {
                tracing::debug!(event = "connection_ended", error = %error, "connection ended early");
            }
        });
        self.watched.insert(task.id(), Watched { task, pace, vigil: Vigil::default() });
    }

    /// How many are open, once those that ended are taken off the list.
    fn count(&mut self) -> usize {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(ended);
        }
        self.watched.len()
    }

    fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    async fn one_ended(&mut self) {
        if let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.watched.remove(&id);
    }

    /// Other times hold from now on: nobody is held to them for what was before.
    fn begin_anew(&mut self) {
        for Watched { vigil, .. } in self.watched.values_mut() {
            *vigil = Vigil::default();
        }
    }

    fn end_those_out_of_time(&mut self, patience: &Patience) {
        for Watched { task, pace, vigil } in self.watched.values_mut() {
            if patience.is_over(vigil, pace) {
                self.counts.sockets().count_timed_out();
                task.abort();
            }
        }
    }

    /// Ends each as soon as it has nothing to answer.
    async fn finish(&mut self) {
        while !self.is_empty() {
            for Watched { task, pace, .. } in self.watched.values() {
                if pace.phase() == Phase::Idle {
                    task.abort();
                }
            }
            let _one_ended_or_time_to_look = timeout(DRAIN_LOOK, self.one_ended()).await;
        }
    }
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

/// How long answers in progress may take once the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);

const DRAIN_LOOK: Duration = Duration::from_millis(20);

const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
const EXHAUSTED_SILENCE: Duration = Duration::from_secs(60);
