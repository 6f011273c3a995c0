//! The exchange with the control plane: `POST /host/v1/enroll`. The join token's first half is shown
//! to the control plane, its second half never leaves: it is what the answer must match.

use bytes::Bytes;
use data_encoding::BASE64;
use hyper::{Method, StatusCode};
use miosa_injector::protocol::ErrorBody;
use miosa_snapshot::{Digest, HostId, HostPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::runtime::Builder;
use zeroize::Zeroizing;

use super::EnrollError;
use crate::client::{Client, ClientError, Endpoint};
use crate::host::HostToken;

/// A control plane, and the token that this host may join it with.
pub(crate) struct Join {
    client: Client,
    token: JoinToken,
}

/// What the control plane says of a host that joined.
#[derive(Deserialize)]
pub(crate) struct Joined {
    host_id: HostId,
    name: String,
    host_token: HostToken,
    trust: Vec<Box<RawValue>>,
}

/// Why this host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It can't be read.
    #[error(
        "cannot use the join token: it must be as `miosa-control host create` printed it, mjt_….<64 hex digits>"
    )]
    Token,
    /// The control plane does not know the token, or has seen it before.
    #[error(
        "the control plane refused the join token ({message}); make another with `miosa-control host create`"
    )]
    TokenRefused {
        /// What it said.
        message: String,
    },
    /// The control plane answered with something else.
    #[error("the control plane answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// The answer can't be read. It holds a secret, so it is not quoted.
    #[error("cannot read the control plane's answer; is --control the address of a miosa-control?")]
    Answer,
    /// It can't be reached.
    #[error("cannot reach the control plane")]
    Unreachable(#[source] Unreachable),
    /// No event loop.
    #[error("cannot start the event loop")]
    Runtime(#[source] std::io::Error),
}

/// Why the control plane could not be asked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unreachable(#[from] ClientError);

struct JoinToken {
    secret: Zeroizing<String>,
    trust: Digest,
}

#[derive(Serialize)]
struct Asking<'a> {
    token: &'a str,
    public_key: String,
    agent: &'static str,
}

#[derive(Deserialize)]
struct Answered {
    data: Joined,
}

impl Join {
    /// Reads the URL and the token, and sets up TLS.
    pub(super) fn new(url: &str, token: &str, ca: Option<&str>) -> Result<Self, EnrollError> {
        let token = JoinToken::parse(token).ok_or(JoinError::Token)?;
        let endpoint = Endpoint::parse(url);
        let endpoint = endpoint.map_err(|source| EnrollError::Url { url: url.to_owned(), source })?;
        Ok(Self { client: Client::new(endpoint, ca)?, token })
    }

    /// The digest of the first trust document.
    pub(super) fn pinned(&self) -> &Digest {
        &self.token.trust
    }

    /// Uses up the token.
    pub(super) fn ask(&self, public: &HostPublicKey) -> Result<Joined, JoinError> {
        let asking = Asking {
            token: &self.token.secret,
            public_key: BASE64.encode(public.as_bytes()),
            agent: concat!("miosad ", env!("CARGO_PKG_VERSION")),
        };
        // Strings only: always JSON.
        let body = Bytes::from_owner(Zeroizing::new(serde_json::to_vec(&asking).unwrap_or_default()));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(JoinError::Runtime)?;
        let answer = runtime.block_on(async {
            let request = self.client.request(Method::POST, "/host/v1/enroll", body)?;
            self.client.ask(request).await
        });
        let answer = answer.map_err(|error| JoinError::Unreachable(error.into()))?;
        match answer.status {
            StatusCode::CREATED | StatusCode::OK => {
                let answered: Answered =
                    serde_json::from_slice(&answer.body).ok().ok_or(JoinError::Answer)?;
                Ok(answered.data)
            }
            StatusCode::UNAUTHORIZED => Err(JoinError::TokenRefused { message: said(&answer.body) }),
            status => Err(JoinError::Refused { status, message: said(&answer.body) }),
        }
    }
}

impl Joined {
    /// The exact bytes of each trust document, the pinned one first.
    pub(super) fn trust(&self) -> impl Iterator<Item = &[u8]> {
        self.trust.iter().map(|document| document.get().as_bytes())
    }

    pub(super) fn into_host(self) -> (HostId, String, HostToken) {
        (self.host_id, self.name, self.host_token)
    }
}

impl JoinToken {
    fn parse(token: &str) -> Option<Self> {
        let (secret, trust) = token.trim().split_once('.')?;
        let random = secret.strip_prefix("mjt_")?;
        let is_base64url =
            random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if random.len() != RANDOM_CHARACTERS || !is_base64url {
            return None;
        }
        Some(Self { secret: Zeroizing::new(secret.to_owned()), trust: trust.parse().ok()? })
    }
}

/// The message of an error body, if it is one.
fn said(body: &[u8]) -> String {
    let parsed: Result<ErrorBody, _> = serde_json::from_slice(body);
    parsed.map_or_else(|_| "no reason given".to_owned(), |body| body.error.message)
}

/// 32 bytes in base64url without padding.
const RANDOM_CHARACTERS: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_is_read_strictly() {
        let (random, digest) = ("A".repeat(43), Digest::of(b"trust").to_string());
        let parsed = JoinToken::parse(&format!("mjt_{random}.{digest}\n")).unwrap();
        assert_eq!(*parsed.secret, format!("mjt_{random}"));
        assert_eq!(parsed.trust, Digest::of(b"trust"));
        for bad in [
            format!("mjt_{random}"),
            format!("mht_{random}.{digest}"),
            format!("mjt_{}.{digest}", "A".repeat(42)),
            format!("mjt_{}+.{digest}", "A".repeat(42)),
            format!("mjt_{random}.{}", digest.to_uppercase()),
        ] {
            assert!(JoinToken::parse(&bad).is_none(), "{bad}");
        }
    }
}
