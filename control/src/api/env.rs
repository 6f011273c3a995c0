//! Env maps in bodies: names to values, each entry judged by itself.

use miosa_injector::model::{EnvMap, EnvName, SecretValue, check_entry};
use serde_json::Value;

use super::echo::echo;
use super::fields::{Fields, Given, object, string};

/// Takes an env map. Each bad entry is noted as `FIELD.NAME`.
pub(crate) fn take_env(fields: &mut Fields, field: &'static str) -> Given<EnvMap> {
    match fields.take(field, object) {
        Given::Absent => Given::Absent,
        Given::Null => Given::Null,
        Given::Value(members) => {
            let mut env = EnvMap::new();
            for (name, value) in members {
                match entry(&name, value) {
                    Ok((name, value)) => drop(env.insert(name, value)),
                    Err(what) => fields.wrong(format!("{field}.{}", echo(&name)), what),
                }
            }
            Given::Value(env)
        }
    }
}

fn entry(name: &str, value: Value) -> Result<(EnvName, SecretValue), String> {
    // The value first: whatever is wrong with the name, it must end in a type that wipes it.
    let value =
        string(value).map_err(str::to_owned).and_then(|v| SecretValue::new(v).map_err(|e| e.to_string()));
    let name = EnvName::parse(name).map_err(|error| format!("is not a good name: it {error}"))?;
    if name.is_reserved() {
        return Err(RESERVED.to_owned());
    }
    let value = value?;
    check_entry(&name, &value).map_err(|error| format!("is too long: {error}"))?;
    Ok((name, value))
}

/// For a name that only the platform sets.
pub(crate) const RESERVED: &str = "is reserved: the platform sets it";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_bad_entry_is_named() {
        let body = object(json!({"env": {
            "GOOD": "x", "http_proxy": "y", "1BAD": "x", "NUM": 7, "NUL": "a\0b", "MIOSA_RUN_ID": "r",
            "MIOSA_AGENT_CWD": "/workspace", "LONG": "x".repeat(131_072),
        }}))
        .unwrap();
        let mut fields = Fields::new(body);
        let Given::Value(env) = take_env(&mut fields, "env") else { panic!("an env was given") };
        let good: Vec<_> = env.keys().map(EnvName::as_str).collect();
        assert_eq!(good, ["GOOD", "MIOSA_AGENT_CWD", "http_proxy"]);
        let error = fields.finish().unwrap_err();
        let mut named: Vec<_> = error.details().iter().map(|detail| detail.field.as_str()).collect();
        named.sort_unstable();
        assert_eq!(named, ["env.1BAD", "env.LONG", "env.MIOSA_RUN_ID", "env.NUL", "env.NUM"]);
    }
}
