//! Strict JSON, and what is read out of it: policies, connectors, kinds.

use serde_json::Value;

use super::scan::{self, Scan};
use crate::json::{MAX_DEPTH, parse};
use crate::model::{AppliesTo, CommandSpec, Connector};

/// Bytes are read exactly if they are JSON in which no member stands twice, nothing is nested too deep and
/// no name is `serde_json`'s own; and what is read is what stands there.
pub fn run(data: &[u8]) {
    let read = parse(data);
    let expected = match scan::document(data) {
        Some(Scan { depth, repeated: false, private: false }) => depth <= MAX_DEPTH,
        Some(_) => false,
        // Numbers and escapes are not the scan's concern.
        None => read.is_ok(),
    };
    // A number without end is JSON and no number of ours; a lone surrogate is no text.
    let is_json = serde_json::from_slice::<Value>(data).is_ok();
    assert_eq!(read.is_ok(), expected && is_json, "{}", data.escape_ascii());
    let Ok(value) = read else { return };
    assert_eq!(value, serde_json::from_slice::<Value>(data).expect("it was read"));
    let written = serde_json::to_vec(&value).expect("JSON");
    assert_eq!(parse(&written).expect("what was read can be written"), value);
    check_meanings(value);
}

fn check_meanings(value: Value) {
    if let Ok(applies_to) = AppliesTo::from_json(&value) {
        let again = serde_json::to_value(&applies_to).expect("JSON");
        assert_eq!(AppliesTo::from_json(&again).expect("what was read can be read"), applies_to);
    }
    if let Ok(spec) = serde_json::from_value::<CommandSpec>(value.clone()) {
        let argv = spec.to_argv();
        assert!(argv.first().is_some_and(|program| !program.is_empty()));
        assert!(argv.iter().all(|word| !word.contains('\0')));
    }
    if let Ok(connector) = Connector::from_json(value.clone()) {
        let id = connector.id().expect("a connector has an id");
        assert!(!id.is_empty() && !id.chars().any(|c| c == ',' || c.is_control()));
        assert_eq!(serde_json::to_value(&connector).expect("JSON"), value);
    }
}
