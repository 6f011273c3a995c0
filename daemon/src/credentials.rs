//! Files that the service manager hands to this process alone (systemd.exec(5), `LoadCredential=`).
//! It knows where they are and what they are named; what is in them is `host`'s.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The credentials of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials(Option<PathBuf>);

impl Credentials {
    /// What the environment names; none outside of a service.
    pub(crate) fn from_environment() -> Self {
        let directory = env::var_os(DIRECTORY).map(PathBuf::from);
        Self(directory.filter(|directory| directory.is_absolute()))
    }

    /// The file of a credential, if it was handed over. One that can't be looked at was: what is in its
    /// place must not be used silently.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.0.as_ref()?.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(path),
        }
    }

    /// Those in a directory.
    #[cfg(test)]
    pub(crate) fn in_directory(directory: &std::path::Path) -> Self {
        Self(Some(directory.to_owned()))
    }
}

/// Set by systemd for a service that has credentials.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
