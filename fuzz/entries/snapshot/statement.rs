//! What is sealed: any bytes, read as a statement.

use serde_json::Value;

use crate::statement::{Kind, Statement};

/// What is read says to every other JSON parser what it says to us, and survives being written.
pub fn run(data: &[u8]) {
    let Ok((statement, place)) = Statement::read(data) else { return };
    let payload = data.get(place).expect("the payload stands in the text");
    check_against_others(&statement, payload, data);

    let written = statement.write(payload).expect("what was read can be written");
    let (again, place) = Statement::read(&written).expect("what was written can be read");
    assert_eq!(again, statement);
    assert_eq!(written.get(place), Some(payload));
}

fn check_against_others(statement: &Statement, payload: &[u8], data: &[u8]) {
    // Deeper than others go. We pass over payloads without recursion; their reader has a limit.
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let number = |name: &str| json.get(name).and_then(Value::as_u64);
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let times = statement.times;
    let numbers = [
        ("format", 1),
        ("epoch", statement.epoch),
        ("version", statement.version),
        ("issued_at", times.issued_at),
        ("expires_at", times.expires_at),
        ("serve_until", times.serve_until),
    ];
    for (name, value) in numbers {
        assert_eq!(number(name), Some(value), "{name}");
    }
    assert!(times.issued_at <= times.expires_at && times.expires_at <= times.serve_until);
    assert_eq!(text("host_id").as_deref(), Some(statement.host_id.as_str()));
    assert_eq!(text("signer"), Some(statement.signer.to_string()));
    let (kind, from, prev) = match statement.kind {
        Kind::Full => ("full", None, None),
        Kind::Incremental { from, prev } => ("incremental", Some(from), Some(prev.to_string())),
        Kind::Heartbeat { from, prev } => ("heartbeat", Some(from), Some(prev.to_string())),
    };
    assert_eq!((text("kind").as_deref(), number("from"), text("prev")), (Some(kind), from, prev));
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(12));
    let theirs: Value = serde_json::from_slice(payload).expect("a payload is JSON");
    assert!(theirs.is_object());
    assert_eq!(json.get("payload"), Some(&theirs));
}
