//! Commands that come out of the environment (`MIOSA_AGENT_COMMAND`).

use crate::model::{CommandSpec, CommandSpecError};

/// Why a value does not spell a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// It begins with `[` but is no JSON array of strings.
    #[error("begins with [ but is not a JSON array of strings")]
    Array,
    /// A quote is not closed, or a backslash ends it.
    #[error("has an unclosed quote or ends in a backslash")]
    Quote,
    /// No word in it.
    #[error("names no program")]
    Empty,
    /// A NUL in a word, which no argument can carry.
    #[error("must not contain a NUL character")]
    Nul,
}

/// Splits a command: a JSON array of strings is taken as it is, anything else is split into words as
/// a POSIX shell does (quotes, backslashes, `#` comments), with nothing expanded.
///
/// # Errors
/// When no command can be read from it.
pub fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let words: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|_json| SplitError::Array)?
    } else {
        shlex::split(text).ok_or(SplitError::Quote)?
    };
    match CommandSpec::argv(words) {
        Ok(spec) => Ok(spec.to_argv()),
        Err(CommandSpecError::Empty) => Err(SplitError::Empty),
        Err(CommandSpecError::Nul) => Err(SplitError::Nul),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_in_a_shell_and_nothing_is_expanded() {
        assert_eq!(
            split("agent --name 'a b' \"$HOME\" c\\ d").unwrap(),
            ["agent", "--name", "a b", "$HOME", "c d"]
        );
        assert_eq!(split(r#"["agent", "a b", ""]"#).unwrap(), ["agent", "a b", ""]);
    }

    #[test]
    fn what_spells_no_command_is_told_why() {
        assert_eq!(split("[agent]"), Err(SplitError::Array));
        assert_eq!(split("agent 'x"), Err(SplitError::Quote));
        assert_eq!(split("   "), Err(SplitError::Empty));
        assert_eq!(split("[]"), Err(SplitError::Empty));
        assert_eq!(split("''"), Err(SplitError::Empty));
        assert_eq!(split(r#"["agent","a\u0000b"]"#), Err(SplitError::Nul));
    }
}
