//! Where the daemon is reached: a Unix socket, or a port of the host by vsock. It reads and writes such an
//! address and begins a connection; it sends nothing and waits for nothing.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrLike, UnixAddr, VsockAddr, sockopt::SocketError,
};

use crate::failure::Failure;

/// The daemon's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// A socket by its absolute path.
    Unix(PathBuf),
    /// A port of the machine with this context id; the host of a VM is 2.
    Vsock { cid: u32, port: u32 },
}

/// How far a connection is that was begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It is made.
    Connected,
    /// It is made when the socket can be written to and [`outcome`] finds nothing wrong.
    Begun,
}

impl Address {
    /// Reads `vsock:CID:PORT` or a path, which is made absolute: the command may start elsewhere. `origin`
    /// is how the person wrote it.
    pub(crate) fn parse(origin: &str, value: &OsStr) -> Result<Self, Failure> {
        if let Some(numbers) = value.as_bytes().strip_prefix(VSOCK) {
            return vsock(numbers).ok_or_else(|| {
                let text =
                    "takes vsock:CID:PORT in decimal numbers, such as vsock:2:7007 for the host of a VM";
                Failure::usage(format_args!("{origin} {text}"))
            });
        }
        std::path::absolute(Path::new(value))
            .map(Self::Unix)
            .map_err(|error| Failure::usage(format_args!("{origin} takes the path of a socket: {error}")))
    }

    /// What `MIOSA_SOCKET` says of it; reading that gives the same address.
    pub(crate) fn text(&self) -> Cow<'_, OsStr> {
        match self {
            Self::Unix(path) => Cow::Borrowed(path.as_os_str()),
            Self::Vsock { .. } => Cow::Owned(self.to_string().into()),
        }
    }

    /// Begins a connection, and never waits. The socket does not block and is closed by `execve`.
    ///
    /// # Errors
    /// The kernel's; EAGAIN while the queue of a Unix socket is full.
    pub(crate) fn connect(&self) -> Result<(OwnedFd, Progress), Errno> {
        match self {
            Self::Unix(path) => connect(AddressFamily::Unix, &UnixAddr::new(path)?),
            Self::Vsock { cid, port } => connect(AddressFamily::Vsock, &VsockAddr::new(*cid, *port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

/// What became of a connection that was begun. Asked once: the kernel forgets the error with it.
pub(crate) fn outcome(connection: &impl AsFd) -> Result<(), Errno> {
    match socket::getsockopt(connection, SocketError)? {
        0 => Ok(()),
        error => Err(Errno::from_raw(error)),
    }
}

fn connect(family: AddressFamily, address: &dyn SockaddrLike) -> Result<(OwnedFd, Progress), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connection = socket::socket(family, SockType::Stream, flags, None)?;
    match socket::connect(connection.as_raw_fd(), address) {
        Ok(()) => Ok((connection, Progress::Connected)),
        Err(Errno::EINPROGRESS) => Ok((connection, Progress::Begun)),
        Err(error) => Err(error),
    }
}

/// The two numbers after the prefix.
fn vsock(numbers: &[u8]) -> Option<Address> {
    let (cid, port) = std::str::from_utf8(numbers).ok()?.split_once(':')?;
    Some(Address::Vsock { cid: number(cid)?, port: number(port)? })
}

/// The highest number stands for "any" (vsock(7)), which nothing can be connected to.
fn number(digits: &str) -> Option<u32> {
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| decimal && *number != u32::MAX)
}

const VSOCK: &[u8] = b"vsock:";

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        Address::parse("--socket", OsStr::new(text)).map_err(|failure| failure.text().to_owned())
    }

    fn unix(path: &Path) -> Address {
        Address::Unix(path.to_owned())
    }

    #[test]
    fn an_address_is_a_path_or_a_port_of_a_machine() {
        assert_eq!(read("/s").unwrap(), unix(Path::new("/s")));
        assert_eq!(read("vsock:2:7007").unwrap(), Address::Vsock { cid: 2, port: 7007 });
        let largest = Address::Vsock { cid: u32::MAX - 1, port: 0 };
        assert_eq!(read("vsock:4294967294:0").unwrap(), largest);
        let here = std::env::current_dir().unwrap();
        assert_eq!(read("a/b.sock").unwrap(), unix(&here.join("a/b.sock")));
        assert_eq!(read("./vsock:2:7007").unwrap(), unix(&here.join("vsock:2:7007")));
    }

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in ["/run/miosa/miosa.sock", "vsock:2:7007"] {
            let address = read(text).unwrap();
            assert_eq!((address.text().as_ref(), address.to_string().as_str()), (OsStr::new(text), text));
        }
        let not_text = OsStr::from_bytes(b"/s\xff");
        let address = Address::parse("--socket", not_text).ok().unwrap();
        assert_eq!(address.text(), not_text);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "vsock:",
            "vsock:2",
            "vsock:2:",
            "vsock::7007",
            "vsock:2:7007:",
            "vsock:+2:7007",
            "vsock:2:-1",
            "vsock:2: 7007",
            "vsock:0x2:7007",
            "vsock:host:7007",
            "vsock:2:4294967295",
            "vsock:4294967295:1",
            "vsock:4294967298:7007",
        ] {
            let expected = "--socket takes vsock:CID:PORT in decimal numbers, such as vsock:2:7007 for the host of a VM; see miosa-exec --help";
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        assert!(read("").unwrap_err().starts_with("--socket takes the path of a socket: "));
    }

    #[test]
    fn a_connection_neither_blocks_nor_outlives_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (connection, progress) = unix(&path).connect().unwrap();
        assert_eq!(progress, Progress::Connected);
        assert_eq!(outcome(&connection), Ok(()));
        let (status, flags) =
            (fcntl(&connection, FcntlArg::F_GETFL).unwrap(), fcntl(&connection, FcntlArg::F_GETFD).unwrap());
        assert!(OFlag::from_bits_retain(status).contains(OFlag::O_NONBLOCK));
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
        listener.accept().unwrap();
    }

    #[test]
    fn a_socket_that_is_missing_deserted_or_too_busy_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert_eq!(unix(&path).connect().err(), Some(Errno::ENOENT));
        let listener = UnixListener::bind(&path).unwrap();
        socket::listen(&listener, socket::Backlog::new(0).unwrap()).unwrap();
        let waiting: Vec<_> = std::iter::from_fn(|| unix(&path).connect().ok()).take(16).collect();
        assert!(waiting.len() < 16, "a queue of length 0 takes {} and more", waiting.len());
        assert_eq!(unix(&path).connect().err(), Some(Errno::EAGAIN));
        drop(listener);
        assert_eq!(unix(&path).connect().err(), Some(Errno::ECONNREFUSED));
        let long = Path::new("/").join("x".repeat(200));
        assert_eq!(unix(&long).connect().err(), Some(Errno::ENAMETOOLONG));
    }
}
