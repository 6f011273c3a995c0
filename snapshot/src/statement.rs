//! The statement: what a signer says to one host, around a payload that is not looked into.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    digest::Digest,
    host::HostId,
    json::{nullable, read_object, word},
    numbers::MAX_NUMBER,
    signing::KeyId,
};

/// What an update says, apart from its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The host it is for.
    pub host_id: HostId,
    /// The key whose signature the envelope carries.
    pub signer: KeyId,
    /// The lineage of versions; only the roots can start another one.
    pub epoch: u64,
    /// The version of the state that the host has after accepting it.
    pub version: u64,
    /// What it carries, and on top of what.
    pub kind: Kind,
    /// Its three times.
    pub times: Times,
}

/// What an update carries, and what it applies on top of.
///
/// `prev` is the digest of the last accepted envelope that carried state (full or incremental):
/// heartbeats do not move it, so a lost heartbeat breaks no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole state.
    Full,
    /// The change from version `from` to a later one.
    Incremental {
        /// The version that it applies on top of.
        from: u64,
        /// The envelope that made that version.
        prev: Digest,
    },
    /// Only newer times for the state at version `from`; its own version is the same.
    Heartbeat {
        /// The version that is still current.
        from: u64,
        /// The envelope that made that version.
        prev: Digest,
    },
}

/// The times of an update, in Unix milliseconds. [`MAX_NUMBER`] means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub issued_at: u64,
    /// Past this it is no longer accepted, and a state that it refreshed is stale.
    pub expires_at: u64,
    /// Past this a state that it refreshed is no longer served.
    pub serve_until: u64,
}

/// How old a held state is. Too old to accept and too old to serve are two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Up to `expires_at`.
    Fresh,
    /// Past `expires_at`: served, and said to be stale.
    Stale,
    /// Past `serve_until`: no longer served.
    Expired,
}

/// Why a statement is not one. None of them quotes the statement, which is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not exactly one JSON object with exactly the known members, each of its type.
    #[error("the statement is not of the documented form at line {line}, column {column}")]
    Json {
        /// Where reading stopped, counted from 1.
        line: usize,
        /// Where in that line, counted from 1.
        column: usize,
    },
    /// `format` is not 1.
    #[error("the statement is of a format that this version does not know")]
    Format,
    /// A number above 2^53 − 1.
    #[error("a number of the statement is above 2^53-1")]
    Number,
    /// `from` and `prev` are not null for a full update, or do not fit another kind: an incremental
    /// one leads to a later version, a heartbeat to the same.
    #[error("kind, version, from and prev of the statement do not fit together")]
    Kind,
    /// Not `issued_at` ≤ `expires_at` ≤ `serve_until`.
    #[error("the times of the statement are not in order")]
    Times,
    /// Not a JSON object, or not `{}` for a heartbeat.
    #[error("the payload of the statement is not of the documented form")]
    Payload,
}

impl Times {
    /// How old a state with these times is at `now_ms`, on whichever clock the caller trusts.
    pub fn age_at(&self, now_ms: u64) -> Age {
        if now_ms <= self.expires_at {
            Age::Fresh
        } else if now_ms <= self.serve_until {
            Age::Stale
        } else {
            Age::Expired
        }
    }
}

impl Statement {
    /// The JSON text of this statement around `payload`, wiped on drop.
    pub(crate) fn write(&self, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, StatementError> {
        let payload = serde_json::from_slice(payload).ok().ok_or(StatementError::Payload)?;
        let (kind, from, prev) = match self.kind {
            Kind::Full => (KindName::Full, None, None),
            Kind::Incremental { from, prev } => (KindName::Incremental, Some(from), Some(prev)),
            Kind::Heartbeat { from, prev } => (KindName::Heartbeat, Some(from), Some(prev)),
        };
        let Times { issued_at, expires_at, serve_until } = self.times;
        let wire = Wire {
            format: FORMAT,
            host_id: self.host_id.clone(),
            signer: self.signer,
            epoch: self.epoch,
            version: self.version,
            kind,
            from,
            prev,
            issued_at,
            expires_at,
            serve_until,
            payload,
        };
        wire.check()?;
        // Never grown, since growing would leave an unwiped copy behind.
        let mut text =
            Zeroizing::new(Vec::with_capacity(payload.get().len().saturating_add(MAX_FRAME_BYTES)));
        serde_json::to_writer(&mut *text, &wire).ok().ok_or(StatementError::Payload)?;
        Ok(text)
    }

    /// Reads a statement, and says where in `text` its payload stands.
    pub(crate) fn read(text: &[u8]) -> Result<(Self, Range<usize>), StatementError> {
        let wire: Wire<'_> = read_object(text)
            .map_err(|error| StatementError::Json { line: error.line(), column: error.column() })?;
        let kind = wire.check()?;
        let payload = wire.payload.get();
        let start =
            payload.as_ptr().addr().checked_sub(text.as_ptr().addr()).ok_or(StatementError::Payload)?;
        let end = start.checked_add(payload.len()).ok_or(StatementError::Payload)?;
        let statement = Self {
            host_id: wire.host_id,
            signer: wire.signer,
            epoch: wire.epoch,
            version: wire.version,
            kind,
            times: Times {
                issued_at: wire.issued_at,
                expires_at: wire.expires_at,
                serve_until: wire.serve_until,
            },
        };
        Ok((statement, start..end))
    }
}

/// The members in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    format: u64,
    host_id: HostId,
    signer: KeyId,
    epoch: u64,
    version: u64,
    #[serde(deserialize_with = "word")]
    kind: KindName,
    #[serde(deserialize_with = "nullable")]
    from: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    prev: Option<Digest>,
    issued_at: u64,
    expires_at: u64,
    serve_until: u64,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Full,
    Incremental,
    Heartbeat,
}

impl Wire<'_> {
    fn check(&self) -> Result<Kind, StatementError> {
        if self.format != FORMAT {
            return Err(StatementError::Format);
        }
        // `from` is never above `version`.
        let numbers = [self.epoch, self.version, self.issued_at, self.expires_at, self.serve_until];
        if numbers.into_iter().any(|number| number > MAX_NUMBER) {
            return Err(StatementError::Number);
        }
        if self.issued_at > self.expires_at || self.expires_at > self.serve_until {
            return Err(StatementError::Times);
        }
        let kind = match (self.kind, self.from, self.prev) {
            (KindName::Full, None, None) => Kind::Full,
            (KindName::Incremental, Some(from), Some(prev)) if from < self.version => {
                Kind::Incremental { from, prev }
            }
            (KindName::Heartbeat, Some(from), Some(prev)) if from == self.version => {
                Kind::Heartbeat { from, prev }
            }
            (KindName::Full | KindName::Incremental | KindName::Heartbeat, _, _) => {
                return Err(StatementError::Kind);
            }
        };
        let payload = self.payload.get();
        let fits = if self.kind == KindName::Heartbeat { payload == "{}" } else { payload.starts_with('{') };
        if !fits {
            return Err(StatementError::Payload);
        }
        Ok(kind)
    }
}

const FORMAT: u64 = 1;

/// More than a statement can have around its payload: three 64-digit texts, six numbers of at most
/// 16 digits, and the names of the members.
const MAX_FRAME_BYTES: usize = 1024;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: &str = r#"{"format":1,"host_id":"host_1","signer":"SSSS","epoch":3,"version":7,"kind":"full","from":null,"prev":null,"issued_at":10,"expires_at":20,"serve_until":30,"payload":{"put":{}}}"#;

    #[test]
    fn the_text_is_exactly_this() {
        let (statement, payload) = Statement::read(full().as_bytes()).unwrap();
        assert_eq!(&full()[payload], r#"{"put":{}}"#);
        let written = statement.write(br#"{"put":{}}"#).unwrap();
        assert_eq!(str::from_utf8(&written).unwrap(), full());

        let heartbeat = Statement { kind: Kind::Heartbeat { from: 7, prev: Digest::of(b"") }, ..statement };
        let written = heartbeat.write(b"{}").unwrap();
        let expected = replaced(r#""full","from":null,"prev":null"#, &on_top("heartbeat", 7));
        assert_eq!(str::from_utf8(&written).unwrap(), expected.replace(r#"{"put":{}}"#, "{}"));
    }

    #[test]
    fn order_and_white_space_are_free_since_the_text_is_already_verified() {
        let moved =
            replaced(r#""format":1,"#, "").replace(r#","payload""#, ",\n \"format\" : 1, \"payload\"");
        let (statement, payload) = Statement::read(moved.as_bytes()).unwrap();
        assert_eq!(statement, Statement::read(full().as_bytes()).unwrap().0);
        assert_eq!(&moved[payload], r#"{"put":{}}"#);
    }

    #[test]
    fn every_member_must_be_there_once_and_no_other() {
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&full()).unwrap();
        assert_eq!(members.len(), 12);
        for (name, value) in &members {
            let mut fewer = members.clone();
            fewer.remove(name);
            assert_eq!(refusal(&serde_json::to_string(&fewer).unwrap()), "form", "without {name}");
            let twice = full().replacen('{', &format!("{{\"{name}\":{value},"), 1);
            assert_eq!(refusal(&twice), "form", "{name} twice");
            let mut null = members.clone();
            null[name] = serde_json::Value::Null;
            let expected = if ["from", "prev"].contains(&name.as_str()) { "none" } else { "form" };
            let found = refusal(&serde_json::to_string(&null).unwrap());
            assert_eq!(found, if name == "payload" { "payload" } else { expected }, "{name} null");
        }
        assert_eq!(refusal(&replaced("{", r#"{"extra":1,"#)), "form");
    }

    #[test]
    fn every_other_content_is_refused() {
        let signer = Digest::of(b"signer").to_string();
        let on_top = |kind, from| replaced(r#""full","from":null,"prev":null"#, &on_top(kind, from));
        let prev = Digest::of(b"");
        let table = [
            ("form", String::new()),
            ("form", "null".to_owned()),
            ("form", "[]".to_owned()),
            ("form", positional()),
            ("form", format!("[{}]", full())),
            ("form", format!("{}x", full())),
            ("form", format!("{}{}", full(), full())),
            ("form", format!("\u{feff}{}", full())),
            ("format", replaced("\"format\":1", "\"format\":2")),
            ("format", replaced("\"format\":1", "\"format\":0")),
            ("form", replaced("\"format\":1", "\"format\":\"1\"")),
            ("form", replaced("host_1", "host.1")),
            ("form", replaced("host_1", "")),
            ("form", replaced(&signer, &signer.to_uppercase())),
            ("number", replaced("\"epoch\":3", "\"epoch\":9007199254740992")),
            ("none", replaced("\"epoch\":3", "\"epoch\":9007199254740991")),
            ("number", replaced("\"epoch\":3", "\"epoch\":18446744073709551615")),
            ("form", replaced("\"epoch\":3", "\"epoch\":18446744073709551616")),
            ("form", replaced("\"epoch\":3", "\"epoch\":1e400")),
            ("form", replaced("\"epoch\":3", "\"epoch\":3.0")),
            ("form", replaced("\"epoch\":3", "\"epoch\":3e0")),
            ("form", replaced("\"epoch\":3", "\"epoch\":-0")),
            ("form", replaced("\"epoch\":3", "\"epoch\":-1")),
            ("form", replaced("\"epoch\":3", "\"epoch\":03")),
            ("form", replaced("\"epoch\":3", "\"epoch\":\"3\"")),
            ("form", replaced("\"epoch\":3", "\"epoch\":true")),
            ("number", replaced("\"version\":7", "\"version\":9007199254740992")),
            ("form", replaced("\"full\"", "\"Full\"")),
            ("form", replaced("\"full\"", "\"delta\"")),
            ("form", replaced("\"full\"", "0")),
            ("form", replaced("\"full\"", "null")),
            ("form", replaced("\"full\"", r#"{"full":null}"#)),
            ("form", replaced("\"full\"", r#"["full"]"#)),
            ("none", replaced("\"full\"", r#""f\u0075ll""#)),
            ("form", replaced("\"host_1\"", r#"["host_1"]"#)),
            ("form", replaced(&format!("\"{signer}\""), &format!("[\"{signer}\"]"))),
            ("kind", replaced("\"from\":null", "\"from\":6")),
            ("kind", replaced("\"prev\":null", &format!("\"prev\":\"{prev}\""))),
            ("form", replaced("\"prev\":null", "\"prev\":\"\"")),
            ("form", replaced("\"prev\":null", "\"prev\":0")),
            ("kind", replaced("\"full\"", "\"incremental\"")),
            ("kind", replaced("\"full\"", "\"heartbeat\"")),
            ("none", on_top("incremental", 6)),
            ("none", on_top("incremental", 0)),
            ("kind", on_top("incremental", 7)),
            ("kind", on_top("incremental", 8)),
            ("kind", on_top("incremental", 9_007_199_254_740_992)),
            ("kind", on_top("heartbeat", 6)),
            ("kind", on_top("heartbeat", 8)),
            ("payload", on_top("heartbeat", 7)),
            ("none", on_top("heartbeat", 7).replace(r#"{"put":{}}"#, "{}")),
            ("payload", on_top("heartbeat", 7).replace(r#"{"put":{}}"#, "{ }")),
            ("times", replaced("\"issued_at\":10", "\"issued_at\":21")),
            ("none", replaced("\"issued_at\":10", "\"issued_at\":20")),
            ("times", replaced("\"serve_until\":30", "\"serve_until\":19")),
            ("none", replaced("\"serve_until\":30", "\"serve_until\":9007199254740991")),
            ("number", replaced("\"serve_until\":30", "\"serve_until\":9007199254740992")),
            ("payload", replaced(r#"{"put":{}}"#, "[]")),
            ("payload", replaced(r#"{"put":{}}"#, "\"{}\"")),
            ("payload", replaced(r#"{"put":{}}"#, "0")),
            ("form", replaced(r#"{"put":{}}"#, r#"{"put":{}"#)),
            ("form", replaced(r#"{"put":{}}"#, r#"{"put":}"#)),
            ("form", replaced(r#"{"put":{}}"#, "{'put':{}}")),
        ];
        for (expected, text) in table {
            assert_eq!(refusal(&text), expected, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let bytes: Vec<u8> = full().bytes().map(|byte| if byte == b'u' { 0xff } else { byte }).collect();
        assert!(Statement::read(&bytes).is_err());
        let in_payload = [full().trim_end_matches("{\"put\":{}}}").as_bytes(), b"{\"\xff\":1}}"].concat();
        assert!(Statement::read(&in_payload).is_err());
    }

    #[test]
    fn a_payload_however_deep_is_passed_over() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let text = replaced(r#"{"put":{}}"#, &deep);
        let (_, payload) = Statement::read(text.as_bytes()).unwrap();
        assert_eq!(text[payload], deep);
    }

    #[test]
    fn what_would_not_be_read_is_not_written() {
        let (statement, _) = Statement::read(full().as_bytes()).unwrap();
        let prev = Digest::of(b"");
        let times = |issued_at, expires_at, serve_until| Times { issued_at, expires_at, serve_until };
        let table = [
            (StatementError::Number, Statement { epoch: MAX_NUMBER + 1, ..statement.clone() }),
            (StatementError::Number, Statement { version: MAX_NUMBER + 1, ..statement.clone() }),
            (StatementError::Number, Statement { times: times(1, 2, MAX_NUMBER + 1), ..statement.clone() }),
            (StatementError::Times, Statement { times: times(2, 1, 3), ..statement.clone() }),
            (StatementError::Times, Statement { times: times(1, 3, 2), ..statement.clone() }),
            (
                StatementError::Kind,
                Statement { kind: Kind::Incremental { from: 7, prev }, ..statement.clone() },
            ),
            (
                StatementError::Kind,
                Statement { kind: Kind::Heartbeat { from: 6, prev }, ..statement.clone() },
            ),
            (
                StatementError::Payload,
                Statement { kind: Kind::Heartbeat { from: 7, prev }, ..statement.clone() },
            ),
        ];
        for (error, statement) in table {
            assert_eq!(statement.write(br#"{"put":{}}"#).unwrap_err(), error, "{statement:?}");
        }
        for payload in ["", "null", "[]", "{", "{}x", "{}{}", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(
                statement.write(payload.as_bytes()).unwrap_err(),
                StatementError::Payload,
                "{payload}"
            );
        }
    }

    #[test]
    fn too_old_to_accept_and_too_old_to_serve_are_two_questions() {
        let times = Times { issued_at: 10, expires_at: 20, serve_until: 30 };
        let table =
            [(0, Age::Fresh), (20, Age::Fresh), (21, Age::Stale), (30, Age::Stale), (31, Age::Expired)];
        for (now, age) in table {
            assert_eq!(times.age_at(now), age, "{now}");
        }
        let forever = Times { serve_until: MAX_NUMBER, ..times };
        assert_eq!(forever.age_at(MAX_NUMBER), Age::Stale);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in [0..=MAX_NUMBER, 0..=MAX_NUMBER, 0..=MAX_NUMBER],
            times in [0..=MAX_NUMBER, 0..=MAX_NUMBER, 0..=MAX_NUMBER],
            id in "[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
            key in "[ -~äß\u{1F600}]{0,9}",
            kind in 0..3,
        ) {
            let [epoch, version, from] = numbers;
            let mut times = times;
            times.sort_unstable();
            let [issued_at, expires_at, serve_until] = times;
            let prev = Digest::of(key.as_bytes());
            let payload = serde_json::json!({ key: epoch }).to_string();
            let (kind, payload) = match kind {
                0 => (Kind::Full, payload),
                1 if from < version => (Kind::Incremental { from, prev }, payload),
                _ => (Kind::Heartbeat { from: version, prev }, "{}".to_owned()),
            };
            let statement = Statement {
                host_id: id.parse().unwrap(),
                signer: prev.to_string().parse().unwrap(),
                epoch,
                version,
                kind,
                times: Times { issued_at, expires_at, serve_until },
            };
            let text = statement.write(payload.as_bytes()).unwrap();
            prop_assert!(text.len() <= payload.len() + MAX_FRAME_BYTES);
            let (read, place) = Statement::read(&text).unwrap();
            prop_assert_eq!(read, statement);
            prop_assert_eq!(&text[place], payload.as_bytes());
        }

        #[test]
        fn no_text_is_a_reason_to_panic(start in 0..400_usize, length in 0..40_usize, with in ".{0,20}") {
            let mut text = full().into_bytes();
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, with.bytes());
            let _read_or_refused = Statement::read(&text);
        }
    }

    fn full() -> String {
        FULL.replace("SSSS", &Digest::of(b"signer").to_string())
    }

    /// The same values without their names.
    fn positional() -> String {
        let signer = Digest::of(b"signer");
        format!(r#"[1,"host_1","{signer}",3,7,"full",null,null,10,20,30,{{"put":{{}}}}]"#)
    }

    fn replaced(from: &str, to: &str) -> String {
        assert!(full().contains(from), "{from}");
        full().replacen(from, to, 1)
    }

    fn on_top(kind: &str, from: u64) -> String {
        format!(r#""{kind}","from":{from},"prev":"{}""#, Digest::of(b""))
    }

    fn refusal(text: &str) -> &'static str {
        match Statement::read(text.as_bytes()) {
            Ok(_) => "none",
            Err(StatementError::Json { .. }) => "form",
            Err(StatementError::Format) => "format",
            Err(StatementError::Number) => "number",
            Err(StatementError::Kind) => "kind",
            Err(StatementError::Times) => "times",
            Err(StatementError::Payload) => "payload",
        }
    }
}
