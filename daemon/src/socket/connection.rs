//! Accepting and serving HTTP/1.1 connections on one listening socket, within its limits. It knows
//! nothing of what is asked: that is the service it is given.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::reply::Body;
use super::write_limit::WriteLimit;
use crate::settings::Limits;

/// How the connections of a socket are served. One for all sockets of a kind.
#[derive(Clone)]
pub(crate) struct Server {
    http: http1::Builder,
    connections: usize,
    write: Duration,
    draining: watch::Receiver<bool>,
    exhausted: Arc<AtomicBool>,
}

impl Server {
    /// A server with `connections` open at a time on each of its sockets, which stops taking new ones
    /// and lets those in an answer finish once `draining` turns true.
    pub(crate) fn new(limits: &Limits, connections: usize, draining: watch::Receiver<bool>) -> Self {
        let mut http = http1::Builder::new();
        // Without a timer hyper has no deadlines at all.
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.saturating_mul(2));
        Self { http, connections, write: limits.write, draining, exhausted: Arc::default() }
    }

    /// Serves a listening socket until the daemon drains. Dropping the future closes the listener and
    /// all its connections at once.
    pub(crate) async fn run<S, F>(self, listener: UnixListener, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.connections));
        let mut connections = JoinSet::new();
        let mut draining = self.draining.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = begun(&mut draining) => break,
                accepted = accept(&listener, &slots) => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, slot)) => {
                    self.exhausted.store(false, Ordering::Relaxed);
                    let connection = self.clone().converse(stream, service.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => self.pause(&error).await,
            }
        }
        drop(listener);
        let finish = async { while connections.join_next().await.is_some() {} };
        // What is not finished by then is closed.
        let _finished = timeout(DRAIN, finish).await;
    }

    async fn converse<S, F>(mut self, stream: UnixStream, service: S)
    where
        S: Fn(Request<Incoming>) -> F,
        F: Future<Output = Response<Body>>,
    {
        let stream = TokioIo::new(WriteLimit::new(stream, self.write));
        let service = service_fn(move |request| {
            let answer = service(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = std::pin::pin!(self.http.serve_connection(stream, service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = begun(&mut self.draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(event = "connection_ended", error = %error, "connection ended early");
        }
    }

    /// After a failed accept: out of descriptors or memory nothing gets better by trying at once, so
    /// wait, and say so once. A connection that was gone before it was accepted needs neither.
    async fn pause(&self, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) = errno else { return };
        if !self.exhausted.swap(true, Ordering::Relaxed) {
            tracing::error!(
                event = "alarm", alarm = "accept_exhausted", error = %error,
                "cannot accept connections; raise LimitNOFILE or memory"
            );
        }
        sleep(EXHAUSTED_PAUSE).await;
    }
}

/// Waits until the daemon drains; also when nobody is left who could say so.
async fn begun(draining: &mut watch::Receiver<bool>) {
    let _begun = draining.wait_for(|draining| *draining).await;
}

/// The slot comes first: a connection that was accepted and then waits would hold a descriptor, one in
/// the backlog holds nothing of ours.
async fn accept(
    listener: &UnixListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _unnamed) = listener.accept().await?;
    Ok((stream, slot))
}

/// How long answers in progress may take once the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);

const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
