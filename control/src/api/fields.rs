//! Takes a JSON object apart into parsed values, and collects everything that is wrong with it, so
//! that a client learns all of it at once.

use std::fmt::Display;
use std::str::FromStr;

use miosa_injector::json;
use serde::Serialize;
use serde_json::{Map, Value};

use super::echo::echo;
use super::error::{ApiError, FieldError};
use super::query::Params;

/// The members of a body that haven't been taken yet, and what was wrong with those that have.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    given: Vec<&'static str>,
    errors: Vec<FieldError>,
}

/// A field of a partial update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<T> {
    /// Not mentioned: stays as it is.
    Absent,
    /// `null`: goes back to what it is when never given.
    Null,
    /// A new value.
    Value(T),
}

impl<T> Given<T> {
    /// The new value of a field: `null` gives the default, absence the current one.
    pub(crate) fn over(self, current: T, default: T) -> T {
        match self {
            Self::Absent => current,
            Self::Null => default,
            Self::Value(value) => value,
        }
    }

    /// The value, if one was given; `null` is none.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl Fields {
    /// Starts on an object.
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self { members, given: Vec::new(), errors: Vec::new() }
    }

    /// Takes a field and parses it; a bad one is noted and counts as absent from then on. The
    /// parser's error completes the sentence "FIELD …" and must not repeat the value.
    pub(crate) fn take<T, E: Display>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(Value) -> Result<T, E>,
    ) -> Given<T> {
        let Some(value) = self.members.remove(field) else { return Given::Absent };
        self.given.push(field);
        if value.is_null() {
            return Given::Null;
        }
        match parse(value) {
            Ok(value) => Given::Value(value),
            Err(error) => {
                self.wrong(field, error);
                Given::Absent
            }
        }
    }

    /// Takes a field that must be there and not null. `None` has been noted as an error.
    pub(crate) fn require<T, E: Display>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(Value) -> Result<T, E>,
    ) -> Option<T> {
        let errors = self.errors.len();
        match self.take(field, parse) {
            Given::Value(value) => return Some(value),
            Given::Null => self.wrong(field, "must not be null"),
            Given::Absent if self.errors.len() == errors => self.wrong(field, "is required"),
            Given::Absent => {}
        }
        None
    }

    /// Takes fields that can't be changed: they may be sent as the current record shows them, so
    /// that what was fetched can be sent back.
    pub(crate) fn must_equal(
        &mut self,
        fixed: &[&'static str],
        current: &impl Serialize,
    ) -> Result<(), ApiError> {
        if !fixed.iter().any(|field| self.members.contains_key(*field)) {
            return Ok(());
        }
        let current = serde_json::to_vec(current).and_then(|current| json::parse(&current));
        let current = current.map_err(|error| ApiError::internal(&error))?;
        for field in fixed {
            if self.members.remove(*field).is_some_and(|sent| current.get(field) != Some(&sent)) {
                self.wrong(*field, "can't be changed");
            }
        }
        Ok(())
    }

    /// Notes that a field is wrong.
    pub(crate) fn wrong(&mut self, field: impl Into<String>, what: impl Display) {
        self.errors.push(FieldError::new(field, what.to_string()));
    }

    /// Ends, and ends the query's parameters with it, so that the errors of both are told together.
    pub(crate) fn finish_with(mut self, params: Params) -> Result<Vec<&'static str>, ApiError> {
        self.errors.extend(params.into_errors());
        self.finish()
    }

    /// Ends: whatever has not been taken is unknown. Gives the names of the fields that were given,
    /// for the audit.
    pub(crate) fn finish(mut self) -> Result<Vec<&'static str>, ApiError> {
        for field in std::mem::take(&mut self.members).into_iter().map(|(field, _)| field) {
            self.errors.push(FieldError::new(echo(&field), "is not a field that is known here"));
        }
        if self.errors.is_empty() { Ok(self.given) } else { Err(ApiError::invalid(self.errors)) }
    }
}

/// Parses a string into anything that is made from one.
pub(crate) fn text<T: FromStr>(value: Value) -> Result<T, String>
where
    T::Err: Display,
{
    string(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// A string as it is.
pub(crate) fn string(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("must be a string")
        }
    }
}

/// A boolean.
pub(crate) fn boolean(value: Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("must be true or false")
}

/// An object as it is.
pub(crate) fn object(value: Value) -> Result<Map<String, Value>, &'static str> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_) => {
            Err("must be an object")
        }
    }
}

/// An array as it is.
pub(crate) fn array(value: Value) -> Result<Vec<Value>, &'static str> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::String(_) => {
            Err("must be an array")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: Value) -> Fields {
        Fields::new(object(body).unwrap())
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut fields = fields(json!({"a": 1, "b": null, "c": "yes", "x": 1, "y": 2}));
        assert_eq!(fields.require("a", string), None);
        assert_eq!(fields.require("b", string), None);
        assert_eq!(fields.take("c", boolean), Given::Absent);
        assert_eq!(fields.require("d", string), None);
        let expected = ["a", "b", "c", "d", "x", "y"];
        let error = fields.finish().unwrap_err();
        let named: Vec<_> = error.details().iter().map(|detail| detail.field.as_str()).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn a_partial_update_tells_absent_from_null() {
        let mut fields = fields(json!({"a": null, "b": "new"}));
        assert_eq!(fields.take("a", string).over("old".into(), "".into()), "");
        assert_eq!(fields.take("b", string).over("old".into(), "".into()), "new");
        assert_eq!(fields.take("c", string).over("old".into(), "".into()), "old");
        assert_eq!(fields.finish().unwrap(), ["a", "b"]);
    }
}
