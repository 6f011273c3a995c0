//! How a run of the program ends badly: one line on standard error and an exit status. It decides
//! nothing else.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::commands::CommandError;
use crate::disk;
use crate::enroll::EnrollError;
use crate::host::HostError;
use crate::hygiene::HygieneError;
use crate::link::LinkError;
use crate::serve::ServeError;
use crate::settings::SettingsError;

/// Why the program ends with another status than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting that can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The kernel refused a protection.
    #[error(transparent)]
    Hygiene(#[from] HygieneError),
    /// Enrolling or unenrolling.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// `serve`.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// `link`.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A command that talks to a running `serve`.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Failure {
    /// Prints the failure as one line on standard error.
    pub fn print(&self) {
        // With standard error closed there is nobody left to tell.
        let advice = self.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        let _unheard = writeln!(io::stderr(), "miosad: {}{advice}", in_one_line(self));
    }

    /// What to do about a disk; errors of a network have the same numbers and other reasons.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Serve(ServeError::Disk(_) | ServeError::State(_) | ServeError::Host(_))
            | Self::Enroll(EnrollError::Disk(_))
            | Self::Link(LinkError::Host(_))
            | Self::Command(CommandError::Host(_) | CommandError::State(_)) => disk::advice_on(self),
            Self::Settings(_)
            | Self::Hygiene(_)
            | Self::Enroll(_)
            | Self::Serve(_)
            | Self::Link(_)
            | Self::Command(_) => None,
        }
    }

    /// The exit status: 78 (`EX_CONFIG`) for what stays wrong until somebody changes the
    /// configuration, so that a service manager need not try again; else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let configuration = match self {
            Self::Settings(_) => true,
            Self::Serve(error) => error.is_configuration(),
            Self::Link(error) => error.is_configuration(),
            Self::Command(CommandError::Host(error)) => !matches!(error, HostError::Disk(_)),
            Self::Hygiene(_) | Self::Enroll(_) | Self::Command(_) => false,
        };
        ExitCode::from(if configuration { EX_CONFIG } else { 1 })
    }
}

/// An error and its sources as one line: `a: b: c`. A transparent wrapper repeats its source's text,
/// and some libraries repeat theirs; what was already said is left out.
pub(crate) fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line.replace('\n', " ")
}

/// sysexits.h
const EX_CONFIG: u8 = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot replace /x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_error_is_told_with_its_sources_in_one_line() {
        let error = Outer(io::Error::other("disk\nfull"));
        assert_eq!(in_one_line(&error), "cannot replace /x: disk full");
    }

    #[test]
    fn bad_configuration_exits_with_78() {
        let (path, source) = ("/x".into(), io::Error::other("disk full"));
        let failure = Failure::Settings(SettingsError::Directory { path, source });
        assert_eq!(failure.exit_code(), ExitCode::from(78));
    }
}
