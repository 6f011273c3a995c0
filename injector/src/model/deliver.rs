//! How a variable reaches the program: in its environment, or as what need not be in /proc/PID/environ.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// How a variable is delivered. In JSON the word of each; a delivery as env is mostly not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Deliver {
    /// `NAME=value` in the environment.
    #[default]
    Env,
    /// A file in memory that only the program's user can read; `NAME_FILE` is its path.
    File,
    /// An open descriptor to read it from; `NAME_FD` is its number.
    Fd,
}

/// A word that names no delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of env, file, fd")]
pub struct DeliverError;

impl Deliver {
    /// The delivery's word in every API and message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Fd => "fd",
        }
    }

    /// Whether it is in the environment, as all is of which nothing is said.
    #[must_use]
    pub fn is_env(self) -> bool {
        self == Self::Env
    }
}

impl FromStr for Deliver {
    type Err = DeliverError;
    fn from_str(word: &str) -> Result<Self, DeliverError> {
        [Self::Env, Self::File, Self::Fd]
            .into_iter()
            .find(|deliver| deliver.as_str() == word)
            .ok_or(DeliverError)
    }
}

impl TryFrom<String> for Deliver {
    type Error = DeliverError;
    fn try_from(word: String) -> Result<Self, DeliverError> {
        word.parse()
    }
}

impl fmt::Display for Deliver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
