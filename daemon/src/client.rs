//! HTTP/1.1 as a client: to our own Unix sockets and to the control plane, with a deadline on every
//! phase. It knows no path and no message.

mod endpoint;
mod tls;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use endpoint::{Endpoint, EndpointError};
pub(crate) use tls::{TlsError, connector};

use endpoint::Target;

/// How to reach one server.
#[derive(Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
    connect: Duration,
    answer: Duration,
    max_answer_bytes: usize,
}

/// An open connection. Dropping it closes it.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    endpoint: Endpoint,
    answer: Duration,
    max_answer_bytes: usize,
    _driver: JoinSet<()>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot connect to {endpoint}")]
    Connect { endpoint: String, source: io::Error },
    #[error(
        "cannot agree on TLS 1.3 with {endpoint}, which needs a certificate for that name from an authority that was named at enrollment or that the system knows"
    )]
    Tls { endpoint: String, source: io::Error },
    #[error("{endpoint} took longer than {seconds} s to {phase}")]
    Timeout { endpoint: String, phase: &'static str, seconds: u64 },
    #[error("cannot exchange messages with {endpoint}")]
    Exchange { endpoint: String, source: hyper::Error },
    #[error("the answer of {endpoint} is larger than {limit} bytes or was cut off")]
    Body { endpoint: String, limit: usize },
    #[error("cannot make a request to {endpoint}")]
    Request { endpoint: String, source: hyper::http::Error },
}

impl Client {
    /// A client of a Unix socket.
    pub(crate) fn unix(path: std::path::PathBuf) -> Self {
        Self {
            endpoint: Endpoint::unix(path),
            tls: None,
            connect: CONNECT,
            answer: ANSWER,
            max_answer_bytes: MAX_ANSWER_BYTES,
        }
    }

    /// A client of a control plane. `ca`: certificates (PEM) to trust instead of the system's.
    pub(crate) fn new(endpoint: Endpoint, ca: Option<&str>) -> Result<Self, TlsError> {
        let tls = matches!(endpoint.target, Target::Tls { .. }).then(|| connector(ca)).transpose()?;
        Ok(Self { endpoint, tls, connect: CONNECT, answer: ANSWER, max_answer_bytes: MAX_ANSWER_BYTES })
    }

    /// With so much time for each step of getting a connection, and so much room for an answer.
    pub(crate) fn within_limits(self, connect: Duration, max_answer_bytes: usize) -> Self {
        Self { connect, max_answer_bytes, ..self }
    }

    /// With so much time for each step of getting a connection and an answer.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { connect: limit, answer: limit, ..self }
    }

    /// Connects, with TLS where the endpoint has it.
    pub(crate) async fn connect(&self) -> Result<Connection, ClientError> {
        let failed = |source| ClientError::Connect { endpoint: self.endpoint.to_string(), source };
        let stream: Box<dyn Stream> = match &self.endpoint.target {
            Target::Unix(path) => Box::new(
                self.timed("connect", self.connect, UnixStream::connect(path)).await?.map_err(failed)?,
            ),
            Target::Loopback { host, port } => Box::new(self.dial(host, *port).await?),
            Target::Tls { name, host, port } => {
                let stream = self.dial(host, *port).await?;
                Box::new(self.secure(stream, name.clone()).await?)
            }
        };
        let agreed = self.timed("begin", self.connect, handshake(TokioIo::new(stream))).await?;
        let (sender, connection) = agreed.map_err(|source| self.exchange_failed(source))?;
        let mut driver = JoinSet::new();
        driver.spawn(async {
            // Its end shows as an error of whatever is being exchanged.
            let _ended = connection.await;
        });
        Ok(Connection {
            sender,
            endpoint: self.endpoint.clone(),
            answer: self.answer,
            max_answer_bytes: self.max_answer_bytes,
            _driver: driver,
        })
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        self.connect().await?.ask(request).await
    }

    /// A request for a path of this server.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri = format!("{}{path}", self.endpoint.base);
        let mut request =
            Request::builder().method(method).uri(uri).header(HOST, self.endpoint.host_header());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let endpoint = || self.endpoint.to_string();
        request.body(Full::new(body)).map_err(|source| ClientError::Request { endpoint: endpoint(), source })
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, ClientError> {
        let connected = self.timed("connect", self.connect, TcpStream::connect((host, port))).await?;
        let failed = |source| ClientError::Connect { endpoint: self.endpoint.to_string(), source };
        let stream = connected.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if self.tls.is_none() && !stream.peer_addr().map_err(failed)?.ip().is_loopback() {
            return Err(failed(io::Error::other("without TLS only loopback is spoken to, and this is not")));
        }
        Ok(stream)
    }

    async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let failed = |source| ClientError::Tls { endpoint: self.endpoint.to_string(), source };
        let tls = self.tls.as_ref().ok_or_else(|| failed(io::Error::other("no TLS was set up")))?;
        self.timed("agree on TLS", self.connect, tls.connect(name, stream)).await?.map_err(failed)
    }

    async fn timed<F: Future>(
        &self,
        phase: &'static str,
        limit: Duration,
        work: F,
    ) -> Result<F::Output, ClientError> {
        within(&self.endpoint, phase, limit, work).await
    }

    fn exchange_failed(&self, source: hyper::Error) -> ClientError {
        ClientError::Exchange { endpoint: self.endpoint.to_string(), source }
    }
}

impl Connection {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = within(&self.endpoint, "answer", limit, self.sender.send_request(request)).await?;
        answer.map_err(|source| ClientError::Exchange { endpoint: self.endpoint.to_string(), source })
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let (head, body) = self.send(request, self.answer).await?.into_parts();
        let limit = self.max_answer_bytes;
        let body = Limited::new(body, limit).collect();
        let body = within(&self.endpoint, "finish its answer", self.answer, body).await?;
        let too_large = |_| ClientError::Body { endpoint: self.endpoint.to_string(), limit };
        Ok(Answer { status: head.status, body: body.map_err(too_large)?.to_bytes() })
    }
}

impl ClientError {
    /// Whether nothing listens there.
    pub(crate) fn is_absent(&self) -> bool {
        let Self::Connect { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }

    /// Whether it took too long.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Whether this process may not use the way there.
    pub(crate) fn is_denied(&self) -> bool {
        let Self::Connect { source, .. } = self else { return false };
        source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// What a connection runs on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn within<F: Future>(
    endpoint: &Endpoint,
    phase: &'static str,
    limit: Duration,
    work: F,
) -> Result<F::Output, ClientError> {
    let late = |_| ClientError::Timeout { endpoint: endpoint.to_string(), phase, seconds: limit.as_secs() };
    timeout(limit, work).await.map_err(late)
}

/// For each step of getting a connection, unless set otherwise.
const CONNECT: Duration = Duration::from_secs(10);

/// For an answer's head, and again for its body. The intake answers once an update is on disk; the
/// admin socket is asked to wait no longer than this by us.
const ANSWER: Duration = Duration::from_secs(60);

const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
