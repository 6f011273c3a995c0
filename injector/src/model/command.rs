//! A command as a run gives it: a string for the shell, or the argument vector itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command as written. In JSON a string or an array of strings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", untagged)]
pub enum CommandSpec {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// The argument vector as it is; never empty.
    Argv(Vec<String>),
}

/// Why a command can't be run as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandSpecError {
    /// An empty line, an empty array or an empty program name.
    #[error("must not be empty")]
    Empty,
    /// A NUL, which no argument can carry.
    #[error("must not contain a NUL character")]
    Nul,
}

impl CommandSpec {
    /// Takes a line for the shell.
    ///
    /// # Errors
    /// When it is blank or contains a NUL.
    pub fn shell(line: String) -> Result<Self, CommandSpecError> {
        if line.contains('\0') {
            return Err(CommandSpecError::Nul);
        }
        if line.trim().is_empty() { Err(CommandSpecError::Empty) } else { Ok(Self::Shell(line)) }
    }

    /// Takes an argument vector.
    ///
    /// # Errors
    /// When it is empty, begins with an empty name or contains a NUL.
    pub fn argv(argv: Vec<String>) -> Result<Self, CommandSpecError> {
        if argv.iter().any(|word| word.contains('\0')) {
            return Err(CommandSpecError::Nul);
        }
        match argv.first() {
            Some(program) if !program.is_empty() => Ok(Self::Argv(argv)),
            _ => Err(CommandSpecError::Empty),
        }
    }

    /// What would be executed.
    #[must_use]
    pub fn to_argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Argv(argv) => argv.clone(),
        }
    }
}

impl fmt::Debug for CommandSpec {
    /// A command may carry a secret, so only its shape is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(_) => f.write_str("Shell(***)"),
            Self::Argv(argv) => write!(f, "Argv({} words)", argv.len()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Line(String),
    Words(Vec<String>),
}

impl TryFrom<Written> for CommandSpec {
    type Error = CommandSpecError;
    fn try_from(written: Written) -> Result<Self, CommandSpecError> {
        match written {
            Written::Line(line) => Self::shell(line),
            Written::Words(words) => Self::argv(words),
        }
    }
}
