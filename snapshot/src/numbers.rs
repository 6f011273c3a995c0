//! The range of the numbers that travel in JSON.

/// The largest number in a statement or trust document: 2^53 − 1, the largest integer that every
/// JSON implementation reads exactly (RFC 8259 §6). As a time it means "never".
pub const MAX_NUMBER: u64 = 9_007_199_254_740_991;
