//! Listening and connections: addresses, TLS, limits, and an orderly end. Knows nothing of what is
//! served.

mod address;
mod tls;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

pub(crate) use address::Address;
pub(crate) use tls::{TlsError, load as load_tls};

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// Plain http beyond this machine.
    #[error(
        "refusing to serve plain http on {0}: it is reachable from other machines; give --tls-cert and --tls-key, or listen on a loopback address or unix:PATH"
    )]
    PlainBeyondLoopback(Address),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Bind { address: Address, source: io::Error },
    /// A socket file that another process serves.
    #[error("another process is listening on {0}")]
    InUse(PathBuf),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A bound listener.
pub(crate) struct Server {
    listener: Listener,
    address: Address,
}

enum Listener {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    /// Listens. Without TLS only where no other machine can connect.
    pub(crate) async fn bind(address: &Address, tls: Option<TlsAcceptor>) -> Result<Self, ServerError> {
        if tls.is_none() && !address.is_local() {
            return Err(ServerError::PlainBeyondLoopback(address.clone()));
        }
        let failed = |source| ServerError::Bind { address: address.clone(), source };
        let (listener, address) = match address {
            Address::Tcp(socket) => {
                let listener = TcpListener::bind(socket).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                (Listener::Tcp(listener, tls), Address::Tcp(bound))
            }
            Address::Unix(path) => {
                clear_stale_socket(path).await?;
                (Listener::Unix(UnixListener::bind(path).map_err(failed)?), address.clone())
            }
        };
        Ok(Self { listener, address })
    }

    /// Where it really listens: a port 0 has become a real one.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until `ending` turns true, then lets requests under way finish for a while.
    pub(crate) async fn run(self, router: Router, mut ending: watch::Receiver<bool>) {
        let connections = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The permit comes first: what can't be served waits in the kernel's queue.
            let permit = Arc::clone(&permits).acquire_owned().await;
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                _ = ending.wait_for(|ending| *ending) => break,
            };
            match accepted {
                Ok(accepted) => {
                    let serving = self.serve(accepted, router.clone(), connections.watcher());
                    tokio::spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: pausing lets some be freed; ending would not.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let Listener::Unix(_) = self.listener {
            self.address.remove_socket();
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match &self.listener {
            Listener::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    fn serve(
        &self,
        accepted: Accepted,
        router: Router,
        watcher: Watcher,
    ) -> impl Future<Output = ()> + Send + use<> {
        let tls = match &self.listener {
            Listener::Tcp(_, tls) => tls.clone(),
            Listener::Unix(_) => None,
        };
        async move {
            match (accepted, tls) {
                (Accepted::Unix(stream), _) => serve_stream(stream, router, watcher).await,
                (Accepted::Tcp(stream), tls) => {
                    // Answers are small and complete: waiting to fill a packet only delays them.
                    if stream.set_nodelay(true).is_err() {
                        return;
                    }
                    match tls {
                        None => serve_stream(stream, router, watcher).await,
                        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                            Ok(Ok(stream)) => serve_stream(stream, router, watcher).await,
                            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                            Err(_elapsed) => tracing::debug!("TLS handshake took too long"),
                        },
                    }
                }
            }
        }
    }
}

async fn serve_stream<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = %crate::report::Chain(&error), "connection ended");
    }
}

/// A socket file outlives its process. One that nobody serves is removed.
async fn clear_stale_socket(path: &std::path::Path) -> Result<(), ServerError> {
    match UnixStream::connect(path).await {
        Ok(_) => Err(ServerError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|source| ServerError::Bind { address: Address::Unix(path.to_owned()), source }),
        Err(_not_there_or_not_a_socket) => Ok(()),
    }
}

/// Enough for the hosts that one process is meant for; each costs two descriptors at most.
const MAX_CONNECTIONS: usize = 16_384;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Counts from the end of the last request, and so bounds idle connections too. Longer than the
/// Python SDK keeps an idle connection (60 s), so that the client closes first.
const HEADER_READ: Duration = Duration::from_secs(75);
const MAX_HEAD: usize = 64 * 1024;
const DRAIN: Duration = Duration::from_secs(10);
