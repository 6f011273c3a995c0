//! Identifiers: opaque strings of a fixed alphabet, one type each, so that a run's id can't be given
//! where a resource's is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, longer than 64 bytes, or with a character outside `[A-Za-z0-9_-]` (first: `[A-Za-z0-9]`).
    #[error("must be 1 to 64 of A-Z a-z 0-9 _ -, and begin with a letter or digit")]
    Malformed,
    /// A resource id with an upper-case letter: it names a directory and must not differ by case only.
    #[error("must be 1 to 64 of a-z 0-9 _ -, and begin with a letter or digit")]
    NotLowerCase,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $check:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    TenantId, check_any_case;
    /// A workspace, within a tenant.
    WorkspaceId, check_any_case;
    /// A project, within a tenant.
    ProjectId, check_any_case;
    /// A sandbox, computer or agent harness; lower case only, because it names a directory.
    ResourceId, check_lower_case;
    /// One agent run on a resource.
    RunId, check_any_case;
    /// An agent runtime profile.
    ProfileId, check_any_case;
    /// A runtime env variable.
    VariableId, check_any_case;
}

fn check_any_case(text: &str) -> Result<(), IdError> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(IdError::Malformed)?;
    let well_formed = text.len() <= MAX_ID_BYTES
        && first.is_ascii_alphanumeric()
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if well_formed { Ok(()) } else { Err(IdError::Malformed) }
}

fn check_lower_case(text: &str) -> Result<(), IdError> {
    if check_any_case(text).is_err() || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(IdError::NotLowerCase);
    }
    Ok(())
}

const MAX_ID_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_their_alphabet_and_nothing_else() {
        for good in ["a", "ws_123", "A-b_9", &"x".repeat(64)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "_a", "-a", "a/b", "..", "a b", "a\0", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<TenantId>(), Err(IdError::Malformed), "{bad}");
        }
    }

    #[test]
    fn resource_ids_are_lower_case() {
        assert!("sbx-1".parse::<ResourceId>().is_ok());
        assert_eq!("Sbx".parse::<ResourceId>(), Err(IdError::NotLowerCase));
        assert!(serde_json::from_str::<ResourceId>("\"../x\"").is_err());
    }
}
