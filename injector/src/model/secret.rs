//! Values that must not be seen. A value leaves this type only through [`SecretValue::expose`], so
//! that every place that handles plaintext can be listed.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::EnvName;

/// The value of an env variable: UTF-8 without NUL. It can't be printed or serialised by accident,
/// and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

/// Why a string can't be the value of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not contain a NUL character")]
pub struct ValueError;

/// Variables by name.
pub type EnvMap = BTreeMap<EnvName, SecretValue>;

impl SecretValue {
    /// Takes a value.
    ///
    /// # Errors
    /// When it contains a NUL, which no environment can carry (environ(7)).
    pub fn new(value: String) -> Result<Self, ValueError> {
        let value = Zeroizing::new(value);
        if value.contains('\0') { Err(ValueError) } else { Ok(Self(value)) }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The plaintext.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of the value: its first 6 and last 4 characters, and of a value under 32
    /// characters nothing, since that would be too much of it.
    #[must_use]
    pub fn preview(&self) -> String {
        let length = self.0.chars().count();
        if length < PREVIEW_FROM {
            return HIDDEN.to_owned();
        }
        let head = self.0.chars().take(PREVIEW_HEAD);
        let tail = self.0.chars().skip(length.saturating_sub(PREVIEW_TAIL));
        head.chain("...".chars()).chain(tail).map(|c| if is_printable(c) { c } else { '?' }).collect()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether a character may be shown on a terminal: no control character, which could move its cursor,
/// and no directional format character, which could make a line read as another (Unicode TR 36).
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Deserialises an env map and refuses a name that stands in it twice, which serde's maps let pass.
///
/// # Errors
/// On a malformed or repeated name, and on a value that is not a string without NUL.
pub fn strict_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EnvMap, D::Error> {
    by_name(deserializer)
}

/// As [`strict_env`], of words that are no secrets.
pub(crate) fn strict_words<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<EnvName, String>, D::Error> {
    by_name(deserializer)
}

fn by_name<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<EnvName, V>, D::Error> {
    struct Entries<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = BTreeMap<EnvName, V>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of names and string values")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some(text) = map.next_key::<String>()? {
                let name = EnvName::parse(&text).map_err(A::Error::custom)?;
                if entries.insert(name, map.next_value()?).is_some() {
                    return Err(A::Error::custom(format_args!("{text} stands twice")));
                }
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries(PhantomData))
}

const HIDDEN: &str = "***";
const PREVIEW_FROM: usize = 32;
const PREVIEW_HEAD: usize = 6;
const PREVIEW_TAIL: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_preview_shows_at_most_ten_characters_and_only_of_long_values() {
        assert_eq!(secret("").preview(), "***");
        assert_eq!(secret(&"x".repeat(31)).preview(), "***");
        assert_eq!(secret("sk-ant-0123456789012345678901abcd").preview(), "sk-ant...abcd");
        assert_eq!(secret(&"é".repeat(32)).preview(), format!("{}...{}", "é".repeat(6), "é".repeat(4)));
        assert_eq!(secret(&"\u{1b}".repeat(40)).preview(), "??????...????");
    }

    #[test]
    fn debug_output_holds_nothing_of_the_value() {
        assert_eq!(format!("{:?}", secret("hunter2")), "***");
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let read = |text: &str| strict_env(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(read(r#"{"A":"1","B":"2"}"#).unwrap().len(), 2);
        assert!(read(r#"{"A":"1","A":"2"}"#).unwrap_err().to_string().contains("A stands twice"));
        assert!(read(r#"{"A":"\u0000"}"#).is_err());
        assert!(read(r#"{"A":1}"#).is_err());
    }
}
