//! Where a server is, and whether it may be spoken to without TLS: only where nobody is in between.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use hyper::Uri;
use rustls::pki_types::ServerName;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// What to connect to.
    pub(super) target: Target,
    /// What every path begins with; empty, or beginning and not ending with a slash.
    pub(super) base: String,
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Unix(PathBuf),
    Loopback { host: String, port: u16 },
    Tls { name: ServerName<'static>, host: String, port: u16 },
}

/// Why a URL is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is none of the three forms.
    #[error("give https://HOST[:PORT], http://127.0.0.1:PORT or unix:/PATH")]
    Form,
    /// It would carry secrets in the clear.
    #[error("http:// is for loopback only, since anybody on the way could read along; use https://")]
    Plaintext,
    /// It holds a user name, a query or a fragment.
    #[error("it must be a server's address without user, query or fragment")]
    Surplus,
}

impl Endpoint {
    /// A Unix socket.
    pub(crate) fn unix(path: PathBuf) -> Self {
        Self { target: Target::Unix(path), base: String::new() }
    }

    /// Reads a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, EndpointError> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::unix(path)) } else { Err(EndpointError::Form) };
        }
        if url.contains(['?', '#', '@']) {
            return Err(EndpointError::Surplus);
        }
        let uri: Uri = url.parse().ok().ok_or(EndpointError::Form)?;
        let host = uri.host().ok_or(EndpointError::Form)?.trim_matches(['[', ']']).to_owned();
        let target = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).ok().ok_or(EndpointError::Form)?;
                Target::Tls { name, host, port: uri.port_u16().unwrap_or(443) }
            }
            Some("http") if is_loopback(&host) => {
                Target::Loopback { host, port: uri.port_u16().unwrap_or(80) }
            }
            Some("http") => return Err(EndpointError::Plaintext),
            _ => return Err(EndpointError::Form),
        };
        Ok(Self { target, base: uri.path().trim_end_matches('/').to_owned() })
    }

    /// What the `Host` header says.
    pub(super) fn host_header(&self) -> String {
        let bracketed = |host: &String| if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match &self.target {
            Target::Unix(_) => "localhost".to_owned(),
            Target::Tls { host, port: 443, .. } => bracketed(host),
            Target::Loopback { host, port } | Target::Tls { host, port, .. } => {
                format!("{}:{port}", bracketed(host))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Loopback { .. } => write!(f, "http://{}{}", self.host_header(), self.base),
            Target::Tls { .. } => write!(f, "https://{}{}", self.host_header(), self.base),
        }
    }
}

/// By name only; what the name resolves to is checked again once connected.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_three_forms_are_read() {
        for (url, shown) in [
            ("https://control.example", "https://control.example"),
            ("https://control.example:7400/miosa/", "https://control.example:7400/miosa"),
            ("https://[2001:db8::1]:7400", "https://[2001:db8::1]:7400"),
            ("http://127.0.0.1:7400", "http://127.0.0.1:7400"),
            ("http://[::1]:7400/", "http://[::1]:7400"),
            ("http://localhost", "http://localhost:80"),
            ("unix:/run/c.sock", "unix:/run/c.sock"),
        ] {
            assert_eq!(
                Endpoint::parse(url).map(|endpoint| endpoint.to_string()),
                Ok(shown.to_owned()),
                "{url}"
            );
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for url in
            ["http://control.example", "http://10.0.0.1:7400", "http://127.0.0.1.example", "http://0.0.0.0"]
        {
            assert_eq!(Endpoint::parse(url), Err(EndpointError::Plaintext), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for url in ["", "control.example", "ftp://x", "unix:relative", "https://", "/path"] {
            assert_eq!(Endpoint::parse(url), Err(EndpointError::Form), "{url}");
        }
        for url in ["https://user:pass@c", "https://c/?a=1", "https://c/#x"] {
            assert_eq!(Endpoint::parse(url), Err(EndpointError::Surplus), "{url}");
        }
    }
}
