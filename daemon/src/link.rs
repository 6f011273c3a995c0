//! `miosad link`: carries updates from the control plane to `serve`, line by line and byte for byte.
//! It holds no key and verifies nothing: at worst it delays, drops or repeats, and `serve` notices.

mod backoff;
mod carry;
pub(crate) mod lines;
mod reporter;
pub(crate) mod word;

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::client::{Client, Endpoint, EndpointError, TlsError};
use crate::credentials::Credentials;
use crate::failure::in_one_line;
use crate::host::{HostError, LinkFile};
use crate::settings::Settings;
use crate::stop::Stop;
use backoff::Backoff;
use carry::{Beginning, Carrier, SessionEnd};

/// Why `link` can't start. Once started it tries until it is stopped.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The enrollment.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The URL in `link.json`.
    #[error("cannot use the control plane's address {url}")]
    Url {
        /// The address.
        url: String,
        /// Why.
        source: EndpointError,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A signal handler or the event loop.
    #[error("cannot start the event loop")]
    Start(#[source] io::Error),
}

/// Carries updates until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start.
pub fn run(settings: &Settings) -> Result<(), LinkError> {
    let LinkFile { control, ca, token } = LinkFile::find(&settings.state, &Credentials::from_environment())?;
    let endpoint =
        Endpoint::parse(&control).map_err(|source| LinkError::Url { url: control.clone(), source })?;
    let patience = settings.link;
    let control = Client::new(endpoint, ca.as_deref())?.within_limits(patience.connect, MAX_ANSWER_BYTES);
    let intake = Client::unix(settings.runtime.intake_socket());
    let carrier = Carrier::new(control, intake, &token, patience);

    let runtime = Builder::new_current_thread().enable_all().build().map_err(LinkError::Start)?;
    runtime.block_on(async {
        let mut stop = Stop::on_signals().map_err(LinkError::Start)?;
        tokio::select! {
            () = stop.requested() => tracing::info!(event = "stopping", "closing the link"),
            () = keep_linked(&carrier, Backoff::new(patience.retry)) => {}
        }
        Ok(())
    })
}

impl LinkError {
    /// Whether trying again can't help until somebody changes something.
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::Host(HostError::Disk(_)) | Self::Start(_) => false,
            Self::Host(_) | Self::Url { .. } | Self::Tls(_) => true,
        }
    }
}

/// Never returns: whatever ends a session, another one begins after a pause that grows while none
/// brings anything.
async fn keep_linked(carrier: &Carrier, mut backoff: Backoff) {
    let mut beginning = Beginning::Position;
    let mut is_serve_missing = false;
    loop {
        let end = carrier.session(beginning, &mut backoff).await;
        if matches!(end, SessionEnd::Moved) {
            tracing::info!(event = "moved", "`miosad serve` was restarted or fed by hand; linking anew");
            beginning = Beginning::Position;
            continue;
        }
        if matches!(end, SessionEnd::Intake(_)) {
            // No fault of the control plane's, and it costs it nothing: `serve` is asked first.
            if !is_serve_missing {
                let error = in_one_line(&end);
                tracing::warn!(event = "no_serve", error, "waiting for `miosad serve`");
            }
            is_serve_missing = true;
            tokio::time::sleep(SERVE_PAUSE).await;
            continue;
        }
        is_serve_missing = false;
        let need_full = matches!(end, SessionEnd::NeedFull);
        let was_position = beginning == Beginning::Position;
        beginning = if need_full { Beginning::Nothing } else { Beginning::Position };
        if need_full && was_position {
            // Asking for everything is new, so there is nothing to wait for.
            continue;
        }
        let pause = backoff.next().saturating_add(end.retry_after());
        tracing::warn!(
            event = "link_down",
            error = in_one_line(&end),
            retry_in_ms = pause.as_millis(),
            "no link to the control plane"
        );
        tokio::time::sleep(pause).await;
    }
}

/// For an answer to a report, of which only the status counts.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How often `serve` is looked for while it is not there: a restart of it costs no more.
const SERVE_PAUSE: Duration = Duration::from_secs(1);
