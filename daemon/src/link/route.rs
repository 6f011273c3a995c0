//! Where the link leads, as it was read from the enrollment, and what changes while it runs: other times
//! to wait from the next connection on, another control plane or token at once.

use std::rc::Rc;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::LinkError;
use super::carry::Carrier;
use crate::client::{Client, Endpoint};
use crate::credentials::Credentials;
use crate::failure::in_one_line;
use crate::host::LinkFile;
use crate::reload::{Reloadable, Standing};
use crate::settings::{LinkPatience, Settings};

/// From one control plane to one `serve`.
pub(super) struct Route {
    pub(super) carrier: Carrier,
    /// The longest pause between two tries.
    pub(super) longest_pause: Duration,
    enrollment: Enrollment,
}

/// What `link.json` says.
#[derive(Clone, PartialEq, Eq)]
struct Enrollment {
    control: String,
    ca: Option<String>,
    authorization: HeaderValue,
}

/// A link that runs.
pub(super) struct Linking {
    pub(super) settings: Settings,
    pub(super) routes: watch::Sender<Rc<Route>>,
}

impl Route {
    /// The route that the enrollment and the settings have now.
    pub(super) fn find(settings: &Settings) -> Result<Self, LinkError> {
        let LinkFile { control, ca, token } =
            LinkFile::find(&settings.state, &Credentials::from_environment())?;
        let endpoint =
            Endpoint::parse(&control).map_err(|source| LinkError::Url { url: control.clone(), source })?;
        let client =
            Client::new(endpoint, ca.as_deref())?.within_limits(settings.link.connect, MAX_ANSWER_BYTES);
        let intake = Client::unix(settings.runtime.intake_socket());
        let enrollment = Enrollment { control, ca, authorization: token.authorization() };
        let carrier = Carrier::new(client, intake, &token, settings.link);
        Ok(Self { carrier, longest_pause: settings.link.retry, enrollment })
    }

    /// The same with other times to wait.
    fn with_patience(&self, patience: LinkPatience) -> Self {
        let carrier = self.carrier.with_patience(patience, MAX_ANSWER_BYTES);
        Self { carrier, longest_pause: patience.retry, enrollment: self.enrollment.clone() }
    }
}

impl Reloadable for Linking {
    fn apply(&mut self, settings: &Settings) {
        self.settings = settings.clone();
        self.routes.send_modify(|route| *route = Rc::new(route.with_patience(settings.link)));
    }

    /// The log has told, and nobody else can be told here; `serve` reads the same file.
    fn note(&mut self, _standing: Standing<'_>) {}

    async fn look_again(&mut self) {
        let settings = self.settings.clone();
        let found = spawn_blocking(move || Route::find(&settings)).await;
        match found {
            // The same one is taken too: the certificates that the system trusts were read anew.
            Ok(Ok(route)) => drop(self.routes.send_replace(Rc::new(route))),
            Ok(Err(error)) => tracing::error!(
                event = "enrollment_refused",
                error = in_one_line(&error),
                "the enrollment can't be used; the link stays as it was"
            ),
            Err(error) => tracing::warn!(event = "enrollment_not_read", %error, "the link stays as it was"),
        }
    }

    fn in_short(&self) -> String {
        self.routes.borrow().carrier.word().to_owned()
    }
}

/// Waits until the routes lead somewhere else than now, or by another token.
pub(super) async fn diverted(mut routes: watch::Receiver<Rc<Route>>) {
    let now = routes.borrow_and_update().enrollment.clone();
    let diverted = routes.wait_for(|route| route.enrollment != now).await.is_ok();
    if !diverted {
        // Nobody is left who could divert them.
        std::future::pending::<()>().await;
    }
}

/// For an answer to a report, of which only the status counts.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
