//! Names of environment variables, and the size of one entry.

use std::fmt;

use serde::Deserialize;

use super::SecretValue;

/// The longest `NAME=value`, in bytes, without its NUL: Linux refuses a longer single string at
/// `execve` (`MAX_ARG_STRLEN`, 32 pages, execve(2)).
pub const MAX_ENTRY_BYTES: usize = 131_071;

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct EnvName(Box<str>);

/// Why a string is not a variable's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `[A-Za-z_][A-Za-z0-9_]*`.
    #[error("must be letters, digits and _, and not begin with a digit")]
    Malformed,
    /// Not `[A-Z_][A-Z0-9_]*`, which runtime env asks for.
    #[error("must be upper-case letters, digits and _, and not begin with a digit")]
    NotUpperCase,
    /// Longer than an entry may be.
    #[error("must be at most {} bytes", MAX_ENTRY_BYTES - 1)]
    TooLong,
}

/// `NAME=value` is longer than Linux passes to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("NAME=value is {0} bytes; Linux passes at most {MAX_ENTRY_BYTES} to a program")]
pub struct EntryError(pub usize);

impl EnvName {
    /// Takes a name as profile, resource and run env allow it.
    ///
    /// # Errors
    /// When the name is empty, malformed or too long.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Self::checked(text, |b| b.is_ascii_alphabetic(), NameError::Malformed)
    }

    /// Takes a name as runtime env allows it: upper case only.
    ///
    /// # Errors
    /// When the name is empty, malformed, lower case or too long.
    pub fn parse_upper(text: &str) -> Result<Self, NameError> {
        Self::checked(text, |b| b.is_ascii_uppercase(), NameError::NotUpperCase)
    }

    fn checked(text: &str, letter: fn(u8) -> bool, error: NameError) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(error)?;
        if text.len() >= MAX_ENTRY_BYTES {
            return Err(NameError::TooLong);
        }
        let head = letter(first) || first == b'_';
        if head && bytes.all(|b| letter(b) || b == b'_' || b.is_ascii_digit()) {
            Ok(Self(text.into()))
        } else {
            Err(error)
        }
    }

    /// The name of a platform variable, which is always in order.
    pub(crate) fn platform(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only the platform may set it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }

    /// Whether it can be delivered in the environment only: what the platform sets, and what it reads
    /// there itself to start the agent.
    #[must_use]
    pub fn is_env_only(&self) -> bool {
        self.is_reserved() || [CWD_NAME, COMMAND_NAME].contains(&self.as_str())
    }
}

impl TryFrom<String> for EnvName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that an entry fits into one string of `execve`.
///
/// # Errors
/// With the entry's size when it does not.
pub fn check_entry(name: &EnvName, value: &SecretValue) -> Result<(), EntryError> {
    let size = name.as_str().len().saturating_add(1).saturating_add(value.expose().len());
    if size <= MAX_ENTRY_BYTES { Ok(()) } else { Err(EntryError(size)) }
}

/// The variable that names the working directory.
pub(crate) const CWD_NAME: &str = "MIOSA_AGENT_CWD";
/// The variable that names the command.
pub(crate) const COMMAND_NAME: &str = "MIOSA_AGENT_COMMAND";
const RESERVED: [&str; 13] = [
    "MIOSA_TENANT_ID",
    "MIOSA_WORKSPACE_ID",
    "MIOSA_PROJECT_ID",
    "MIOSA_RESOURCE_ID",
    "MIOSA_RESOURCE_KIND",
    "MIOSA_RUN_ID",
    "MIOSA_SNAPSHOT_VERSION",
    "MIOSA_AGENT_PROFILE_ID",
    "MIOSA_AGENT_RUNTIME",
    "MIOSA_AGENT_TOOLS",
    "MIOSA_AGENT_CONNECTORS",
    "MIOSA_AGENT_POLICY",
    "MIOSA_SOCKET",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_alphabet_of_their_layer() {
        for good in ["A", "_", "ANTHROPIC_API_KEY", "X9"] {
            assert!(EnvName::parse(good).is_ok() && EnvName::parse_upper(good).is_ok(), "{good}");
        }
        assert!(EnvName::parse("http_proxy").is_ok());
        assert_eq!(EnvName::parse_upper("http_proxy"), Err(NameError::NotUpperCase));
        for bad in ["", "9A", "A-B", "A=B", "A\0", "A B", "Ä"] {
            assert_eq!(EnvName::parse(bad), Err(NameError::Malformed), "{bad}");
        }
    }

    #[test]
    fn an_entry_may_be_as_long_as_linux_takes_and_no_longer() {
        let name = EnvName::parse("N").unwrap();
        let longest = SecretValue::new("v".repeat(MAX_ENTRY_BYTES - 2)).unwrap();
        assert_eq!(check_entry(&name, &longest), Ok(()));
        let longer = SecretValue::new("v".repeat(MAX_ENTRY_BYTES - 1)).unwrap();
        assert_eq!(check_entry(&name, &longer), Err(EntryError(MAX_ENTRY_BYTES + 1)));
    }

    #[test]
    fn users_may_set_cwd_and_command_but_no_other_platform_name() {
        assert!(!EnvName::parse("MIOSA_AGENT_CWD").unwrap().is_reserved());
        assert!(!EnvName::parse("MIOSA_AGENT_COMMAND").unwrap().is_reserved());
        assert!(EnvName::parse("MIOSA_SOCKET").unwrap().is_reserved());
    }

    #[test]
    fn what_the_platform_reads_or_sets_is_delivered_as_env_only() {
        for (name, expected) in [
            ("MIOSA_AGENT_CWD", true),
            ("MIOSA_AGENT_COMMAND", true),
            ("MIOSA_SOCKET", true),
            ("MIOSA_AGENT_CWD_", false),
            ("ANTHROPIC_API_KEY", false),
        ] {
            assert_eq!(EnvName::parse(name).unwrap().is_env_only(), expected, "{name}");
        }
    }
}
