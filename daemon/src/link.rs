//! `miosad link`: carries updates from the control plane to `serve`, line by line and byte for byte.
//! It holds no key and verifies nothing: at worst it delays, drops or repeats, and `serve` notices.

mod backoff;
mod carry;
pub(crate) mod lines;
mod reporter;
mod route;
pub(crate) mod word;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::client::{EndpointError, TlsError};
use crate::failure::in_one_line;
use crate::host::HostError;
use crate::reload::Reload;
use crate::settings::Settings;
use crate::stop::Stop;
use backoff::Backoff;
use carry::{Beginning, SessionEnd};
use route::{Linking, Route, diverted};

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

/// Carries updates until SIGTERM or SIGINT, taking in other settings as they come.
///
/// # Errors
/// When it can't start.
pub fn run(settings: &Settings) -> Result<(), LinkError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(LinkError::Start)?;
    runtime.block_on(async {
        let mut stop = Stop::on_signals().map_err(LinkError::Start)?;
        let reload = Reload::of(settings).map_err(LinkError::Start)?;
        let (routes, route) = watch::channel(Rc::new(Route::find(settings)?));
        let mut linking = Linking { settings: settings.clone(), routes };
        tokio::select! {
            () = stop.requested() => tracing::info!(event = "stopping", "closing the link"),
            never = reload.run(&mut linking) => match never {},
            () = follow(route) => {}
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

/// Never returns: where the link leads elsewhere, what it was at is left at once.
async fn follow(route: watch::Receiver<Rc<Route>>) {
    loop {
        tokio::select! {
            () = keep_linked(&route) => {}
            () = diverted(route.clone()) => {
                tracing::info!(event = "enrollment_changed", "linking anew, as link.json has it now");
            }
        }
    }
}

/// Never returns: whatever ends a session, another one begins after a pause that grows while none
/// brings anything.
async fn keep_linked(route: &watch::Receiver<Rc<Route>>) {
    let mut backoff = Backoff::new(route.borrow().longest_pause);
    let mut beginning = Beginning::Position;
    let mut is_serve_missing = false;
    loop {
        let now = Rc::clone(&route.borrow());
        backoff.limit(now.longest_pause);
        let end = now.carrier.session(beginning, &mut backoff).await;
        if matches!(end, SessionEnd::Moved) {
            tracing::info!(
                event = "position_moved",
                "`miosad serve` was restarted or fed by hand; linking anew"
            );
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

/// How often `serve` is looked for while it is not there: a restart of it costs no more.
const SERVE_PAUSE: Duration = Duration::from_secs(1);
