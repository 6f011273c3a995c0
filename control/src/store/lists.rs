//! Lists of values in SQL text: neither database takes one as a single parameter.

use std::fmt::Write as _;

/// `$first, $first+1, …`
pub(super) fn placeholders(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count.saturating_mul(6));
    for number in first..first.saturating_add(count) {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String can't fail.
        let _infallible = write!(text, "{comma}${number}");
    }
    text
}

/// `count` groups of `width` placeholders: `($1, $2), ($3, $4), …`
pub(super) fn rows(count: usize, width: usize) -> String {
    let mut text = String::with_capacity(count.saturating_mul(width).saturating_mul(7));
    for row in 0..count {
        let comma = if row == 0 { "" } else { ", " };
        let first = row.saturating_mul(width).saturating_add(1);
        let _infallible = write!(text, "{comma}({})", placeholders(first, width));
    }
    text
}

/// The values for `IN (…)`, the last one repeated until there are as many as a power of two, so that
/// few statements of different text come about. Empty only when there are none.
pub(super) fn padded<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<&str> = values.into_iter().collect();
    if let Some(last) = values.last().copied() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered() {
        assert_eq!(placeholders(2, 3), "$2, $3, $4");
        assert_eq!(placeholders(1, 0), "");
        assert_eq!(rows(2, 2), "($1, $2), ($3, $4)");
    }

    #[test]
    fn lists_have_lengths_of_powers_of_two() {
        assert!(padded([]).is_empty());
        assert_eq!(padded(["a"]), ["a"]);
        assert_eq!(padded(["a", "b", "c"]), ["a", "b", "c", "c"]);
    }
}
