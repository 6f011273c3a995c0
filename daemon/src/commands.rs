//! The commands that print what a running `serve` says, or what it would say: JSON for programs, words
//! for people. They change nothing but by handing `serve` an update; only `verify` reads a secret.

mod access;
mod check_config;
mod push;
mod verify;
mod words;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use miosa_injector::protocol::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;

pub use access::{NoMoment, Since, access};
pub use check_config::check_config;
pub use push::push;
pub use verify::verify;

use crate::admin::{Explained, ResourceList, StatusReport};
use crate::cli::{Explain, Print};
use crate::client::{Answer, Client, ClientError};
use crate::disk::DiskError;
use crate::host::HostError;
use crate::serve::StateUnusable;
use crate::settings::Settings;

/// Why a command has nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing listens on the socket.
    #[error("`miosad serve` is not running on {0}; start it, or name its --runtime-dir")]
    NotRunning(PathBuf),
    /// Something holds the socket open, and nobody answers.
    #[error(
        "nobody answers on {0}, though it is open: `miosad serve` is starting, fails at each start, or hangs; \
         `journalctl -u miosad` says which"
    )]
    Silent(PathBuf),
    /// It could not be asked.
    #[error("cannot ask `miosad serve`")]
    Ask(#[source] NoAnswer),
    /// It answered with an error.
    #[error("{}", told(.code, .message))]
    Refused {
        /// The stable word.
        code: String,
        /// What it said.
        message: String,
    },
    /// It answered with something else.
    #[error("cannot read the answer of `miosad serve`; is it of the same version?")]
    Answer,
    /// The file to push.
    #[error(transparent)]
    File(#[from] DiskError),
    /// The file to push is neither an update nor a trust document.
    #[error("cannot push {0}: it is neither an update nor a trust document")]
    NoEnvelope(PathBuf),
    /// The file that was verified would not be accepted; why was printed.
    #[error("this host would not accept it: {0}")]
    NotAcceptable(String),
    /// Something is wrong with this host; what was printed.
    #[error("{failed} {} failed; what to do is said above", if *failed == 1 { "check" } else { "checks" })]
    Unwell {
        /// How many checks failed.
        failed: usize,
    },
    /// The enrollment, which it takes to verify anything.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The state directory can't be read.
    #[error(transparent)]
    State(#[from] StateUnusable),
    /// No event loop.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    /// Standard output is closed.
    #[error("cannot print the result")]
    Print(#[from] io::Error),
}

/// Why `serve` could not be asked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoAnswer(#[from] ClientError);

impl NoAnswer {
    /// Whether the socket may not be used by whoever asks.
    pub(crate) fn is_denied(&self) -> bool {
        self.0.is_denied()
    }
}

/// Shows what `serve` holds and how it fares.
///
/// # Errors
/// When it does not run or can't be asked.
pub fn status(settings: &Settings, print: Print) -> Result<(), CommandError> {
    let report: StatusReport = ask_admin(settings, "/v1/status")?;
    show(print, &report, words::status)
}

/// Lists the resources that `serve` serves.
///
/// # Errors
/// When it does not run or can't be asked.
pub fn resources(settings: &Settings, print: Print) -> Result<(), CommandError> {
    let list: ResourceList = ask_admin(settings, "/v1/resources")?;
    show(print, &list, words::resources)
}

/// Shows where every variable of a resource, or of a run on it, comes from.
///
/// # Errors
/// When `serve` does not run, or knows no such resource or run.
pub fn explain(settings: &Settings, what: &Explain) -> Result<(), CommandError> {
    let mut path = format!("/v1/resources/{}/explain", what.id);
    if let Some(run) = &what.run {
        path.push_str(&format!("?run={run}"));
    }
    let explained: Explained = ask_admin(settings, &path)?;
    show(what.print, &explained, words::explained)
}

pub(crate) fn ask_admin<T: DeserializeOwned>(settings: &Settings, path: &str) -> Result<T, CommandError> {
    let client = Client::unix(settings.runtime.admin_socket()).within(SOON);
    let answer = ask(&client, settings.runtime.admin_socket(), Method::GET, path, Bytes::new())?;
    serde_json::from_slice(&answer.body).ok().ok_or(CommandError::Answer)
}

/// One request on one of the sockets of `serve`. An answer that is an error is one.
fn ask(
    client: &Client,
    socket: PathBuf,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Answer, CommandError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let answer = runtime.block_on(async {
        let request = client.request(method, path, body)?;
        client.ask(request).await
    });
    let answer = answer.map_err(|error| match (error.is_absent(), error.is_late()) {
        (true, _) => CommandError::NotRunning(socket),
        (false, true) => CommandError::Silent(socket),
        (false, false) => CommandError::Ask(error.into()),
    })?;
    if answer.status == StatusCode::OK {
        return Ok(answer);
    }
    let ErrorBody { error } = serde_json::from_slice(&answer.body).ok().ok_or(CommandError::Answer)?;
    Err(CommandError::Refused { code: error.code, message: error.message })
}

pub(crate) fn show<T: Serialize>(
    print: Print,
    value: &T,
    words: impl Fn(&T) -> String,
) -> Result<(), CommandError> {
    let text = if print.json {
        let json = serde_json::to_string_pretty(value).ok();
        json.ok_or(CommandError::Answer)?
    } else {
        words(value)
    };
    Ok(writeln!(io::stdout(), "{}", text.trim_end())?)
}

/// What was said, with the stable word where that is not in it: of an update that was refused, it is.
fn told(code: &str, message: &str) -> String {
    let names_it = message.split_once(':').is_some_and(|(head, _)| head.split(' ').any(|word| word == code));
    if names_it { message.to_owned() } else { format!("{message} ({code})") }
}

/// The admin socket answers at once, if it does.
const SOON: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_once() {
        let said = "E2 malformed_envelope: cannot verify the update";
        assert_eq!(told("malformed_envelope", said), said);
        let said = "J5 wrong_base: cannot apply the update";
        assert_eq!(told("need_full", said), format!("{said} (need_full)"));
        let said = "resource sbx-1 is not on this host";
        assert_eq!(told("resource_not_found", said), format!("{said} (resource_not_found)"));
    }
}
