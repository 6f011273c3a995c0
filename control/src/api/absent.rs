//! What is absent: stored as `''`, and `null` to clients.

/// The text, unless it stands for nothing.
pub(crate) fn absent_if_empty(stored: &str) -> Option<&str> {
    if stored.is_empty() { None } else { Some(stored) }
}
