//! What is looked at: the settings, the running daemon if there is one, and who asks.

use nix::unistd::geteuid;

use crate::admin::{ResourceList, StatusReport};
use crate::cli::Options;
use crate::clock::{Clock, Now};
use crate::commands::{CommandError, ask_admin};
use crate::failure::in_one_line;
use crate::settings::{Settings, SettingsError};

/// A host.
pub(super) struct Patient {
    /// The settings; those without the configuration file where that can't be used.
    pub(super) settings: Settings,
    /// Why the configuration file can't be used.
    pub(super) misconfigured: Option<String>,
    /// What the daemon says.
    pub(super) status: Result<Box<StatusReport>, Silence>,
    /// What it says of its resources.
    pub(super) resources: Option<ResourceList>,
    /// Whether whoever asks may see everything.
    pub(super) is_root: bool,
    /// Both clocks.
    pub(super) now: Now,
}

/// Why the daemon says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing listens.
    NotRunning,
    /// Whoever asks may not ask it.
    Denied,
    /// It was asked, and this came of it.
    Odd(String),
}

impl Patient {
    pub(super) fn meet(options: &Options) -> Result<Self, SettingsError> {
        let (settings, misconfigured) = match Settings::load(options) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::without_file(options)?, Some(in_one_line(&error))),
        };
        let asked = ask_admin(&settings, "/v1/status").map(Box::new);
        let status = asked.map_err(|error| Silence::of(&error));
        let resources = status.is_ok().then(|| ask_admin(&settings, "/v1/resources").ok()).flatten();
        let is_root = geteuid().is_root();
        Ok(Self { settings, misconfigured, status, resources, is_root, now: Clock::System.now() })
    }

    /// What the daemon says, if it says anything.
    pub(super) fn told(&self) -> Option<&StatusReport> {
        self.status.as_deref().ok()
    }
}

impl Silence {
    fn of(error: &CommandError) -> Self {
        if let CommandError::NotRunning(_) = error {
            return Self::NotRunning;
        }
        if let CommandError::Ask(no_answer) = error
            && no_answer.is_denied()
        {
            return Self::Denied;
        }
        Self::Odd(in_one_line(error))
    }
}
