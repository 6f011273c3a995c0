//! Strict JSON: a member that stands twice is refused at any depth, and so are deep nesting and the
//! names that `serde_json` keeps for itself. serde's own maps let the last of two win in silence, and
//! `serde_json` reads an object of such a name as something else, which lets two readers of the same
//! bytes disagree.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 32;

/// Parses one JSON document, with nothing after it.
///
/// # Errors
/// On malformed JSON, trailing bytes, a repeated member, a member of a name that `serde_json` keeps
/// for itself, or nesting beyond [`MAX_DEPTH`].
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Deserialises any value strictly; `null` is `None`. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// As [`parse`].
pub fn strict_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let value = Strict { depth_left: MAX_DEPTH }.deserialize(deserializer)?;
    Ok(if value.is_null() { None } else { Some(value) })
}

/// Deserialises an object strictly. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// As [`parse`], and on anything but an object.
pub fn strict_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match (Strict { depth_left: MAX_DEPTH }).deserialize(deserializer)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::custom("must be an object"))
        }
    }
}

/// A record that is read from a JSON object only: serde's derived readers would take its members
/// from an array too, by their position.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Deserialises a record from a JSON object only. For `#[serde(deserialize_with)]`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Members(PhantomData))
}

/// Deserialises what may be `null` but must be there. For `#[serde(deserialize_with)]`, which also
/// takes away serde's leave to omit an `Option`.
pub(crate) fn or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let too_deep = || E::custom(format_args!("nested deeper than {MAX_DEPTH}"));
        Ok(Self { depth_left: depth_left.ok_or_else(too_deep)? })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom("a member stands twice in an object"));
            }
            if name.starts_with(PRIVATE_TO_SERDE_JSON) {
                return Err(A::Error::custom(format_args!(
                    "the name of a member begins with {PRIVATE_TO_SERDE_JSON}, which is reserved"
                )));
            }
            let value = map.next_value_seed(inner)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// What the names begin with by which `serde_json` tells its own types from objects: it takes an
/// object with a member `$serde_json::private::RawValue` for the JSON in that member's text.
const PRIVATE_TO_SERDE_JSON: &str = "$serde_json::private::";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_is_read_as_it_stands() {
        let text = br#"{"a":[1,-2,3.5,true,null,"x"],"b":{"c":{}}}"#;
        assert_eq!(parse(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn repeated_members_trailing_bytes_and_deep_nesting_are_refused() {
        for bad in [r#"{"a":1,"a":2}"#, r#"[{"b":{"a":1,"a":1}}]"#, "{} {}", "{}x", "\u{feff}{}", "1e400"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn no_object_passes_for_one_of_the_parsers_own_types() {
        for private in ["RawValue", "Number", ""] {
            for bad in [
                format!(r#"{{"$serde_json::private::{private}":"[1]"}}"#),
                format!(r#"[{{"a":{{"\u0024serde_json::private::{private}":1}}}}]"#),
            ] {
                let error = parse(bad.as_bytes()).unwrap_err().to_string();
                assert!(error.contains("reserved"), "{bad}: {error}");
            }
        }
        assert!(parse(br#"{"serde_json::private::RawValue":"$serde_json::private::RawValue"}"#).is_ok());
    }
}
