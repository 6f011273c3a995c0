//! One file per command. What a script needs stands alone on standard output.

pub(crate) mod backup;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod restore;
pub(crate) mod serve;
mod table;
pub(crate) mod trust;

use std::io::{self, Write as _};

use crate::store::{Origin, StoreError};
use crate::token::NoRandomness;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The terminal, file or pipe behind standard output.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Roles and tenants that don't go together.
    #[error("{0}")]
    Usage(&'static str),
    /// Something named that is not there.
    #[error("there is no {what} {name}, or it is revoked")]
    NotThere { what: &'static str, name: String },
    /// A name in use.
    #[error("a host named {0} exists; revoke it first or choose another name")]
    HostNameTaken(String),
    /// A name that can't be one.
    #[error("a host's name must be 1 to 64 of A-Z a-z 0-9 . _ -")]
    HostName,
    /// No trust document.
    #[error("the database holds no trust document")]
    NoTrust,
}

/// Who the audit names for what is done on the command line.
fn origin() -> Origin {
    Origin { actor: "cli".to_owned(), request_id: String::new() }
}

fn print_line(line: &str) -> Result<(), CommandError> {
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(())
}
