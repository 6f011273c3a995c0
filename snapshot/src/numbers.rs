//! The range of the numbers that travel in JSON.

use serde::{Deserialize, Deserializer, de::Error};

/// The largest number in a statement or trust document: 2^53 − 1, the largest integer that every
/// JSON implementation reads exactly (RFC 8259 §6). As a time it means "never".
pub const MAX_NUMBER: u64 = 9_007_199_254_740_991;

/// Reads a number of at most [`MAX_NUMBER`].
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if value > MAX_NUMBER {
        return Err(D::Error::custom("number above 2^53-1"));
    }
    Ok(value)
}

/// Reads a number of at most [`MAX_NUMBER`], or null; the member itself must be there.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(value) if value > MAX_NUMBER => Err(D::Error::custom("number above 2^53-1")),
        value => Ok(value),
    }
}
