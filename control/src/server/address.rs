//! Where to listen: an IP address and port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `IP:PORT`
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix(PathBuf),
}

/// Neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be IP:PORT, such as 127.0.0.1:7400, or unix:PATH")]
pub(crate) struct AddressSyntax;

impl Address {
    /// Whether only processes of this machine can connect.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Removes the socket file, which would otherwise outlive the process.
    pub(super) fn remove_socket(&self) {
        if let Self::Unix(path) = self
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, path = %path.display(), "cannot remove the socket file");
        }
    }
}

impl FromStr for Address {
    type Err = AddressSyntax;
    fn from_str(text: &str) -> Result<Self, AddressSyntax> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AddressSyntax),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).or(Err(AddressSyntax)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => write!(f, "{socket}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_unix_are_local() {
        for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/run/x"] {
            assert!(local.parse::<Address>().unwrap().is_local(), "{local}");
        }
        for beyond in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!beyond.parse::<Address>().unwrap().is_local(), "{beyond}");
        }
        for bad in ["", "unix:", "localhost:1", "127.0.0.1"] {
            assert_eq!(bad.parse::<Address>(), Err(AddressSyntax), "{bad}");
        }
    }
}
