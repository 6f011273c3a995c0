//! JSON that is kept as it was sent, within a size.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::fields;

/// Keeps a value.
pub(crate) fn any(value: &impl Serialize) -> Result<Box<RawValue>, String> {
    let raw = to_raw_value(value).map_err(|error| error.to_string())?;
    if raw.get().len() > MAX_BYTES {
        return Err(format!("must be at most {MAX_BYTES} bytes as JSON"));
    }
    Ok(raw)
}

/// Keeps an object, such as `metadata`.
pub(crate) fn object(value: Value) -> Result<Box<RawValue>, String> {
    any(&fields::object(value)?)
}

/// `{}`, which is stored when nothing was sent.
pub(crate) fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_never| RawValue::NULL.to_owned())
}

/// Labels, lists and policies, not documents. What of it reaches a program does so in one variable,
/// which can hold twice as much.
const MAX_BYTES: usize = 64 * 1024;
