//! Names that a client made up, as they are repeated to it in an error: not at any length, and
//! without what could do something to a terminal or a log.

/// The name, harmless.
pub(crate) fn echo(name: &str) -> String {
    name.chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

const MAX_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_repeated_without_control_characters_and_not_at_any_length() {
        assert_eq!(echo("http_proxy"), "http_proxy");
        assert_eq!(echo("a\n\u{1b}[31m\0é\u{9b}"), "a\u{fffd}\u{fffd}[31m\u{fffd}é\u{fffd}");
        assert_eq!(echo(&"é".repeat(65)), "é".repeat(64));
    }
}
