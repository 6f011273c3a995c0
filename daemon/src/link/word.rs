//! How the link fares, in one word of a fixed set: sent along when it asks `serve` where it stands, so
//! that whoever looks at `serve` sees both. Only a word: nothing depends on it.

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The header that carries the word.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("miosa-link");

/// The stream of updates is open.
pub(crate) const CONNECTED: &str = "connected";
/// No attempt has ended yet, or the next one follows at once.
pub(crate) const CONNECTING: &str = "connecting";
/// The control plane can't be reached.
pub(crate) const UNREACHABLE: &str = "control_unreachable";
/// It does not know this host any more.
pub(crate) const DENIED: &str = "control_denied";
/// It answered with another status than 200.
pub(crate) const REFUSED: &str = "control_refused";
/// The stream ended, fell silent, or was no stream of ours.
pub(crate) const BROKEN: &str = "stream_broken";
/// `serve` could not keep what it was handed.
pub(crate) const NOT_KEPT: &str = "not_kept";
/// `serve` could use nothing of what was sent.
pub(crate) const USELESS: &str = "nothing_useful";

/// The word in a request's head, if it is one of these.
pub(crate) fn heard(headers: &HeaderMap) -> Option<&'static str> {
    let said = headers.get(HEADER)?.as_bytes();
    WORDS.into_iter().find(|word| word.as_bytes() == said)
}

/// All of them.
pub(crate) const WORDS: [&str; 8] =
    [CONNECTED, CONNECTING, UNREACHABLE, DENIED, REFUSED, BROKEN, NOT_KEPT, USELESS];
