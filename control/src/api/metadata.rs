//! `metadata`: an object that is the client's own business, kept as it was sent.

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::fields::object;

/// Takes an object of bounded size.
pub(crate) fn parse(value: Value) -> Result<Box<RawValue>, String> {
    let raw = to_raw_value(&object(value)?).map_err(|error| error.to_string())?;
    if raw.get().len() > MAX_BYTES {
        return Err(format!("must be at most {MAX_BYTES} bytes as JSON"));
    }
    Ok(raw)
}

/// `{}`, which is stored when nothing was sent.
pub(crate) fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_never| RawValue::NULL.to_owned())
}

/// Labels and ids, not documents.
const MAX_BYTES: usize = 64 * 1024;
