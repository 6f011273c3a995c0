//! What of a payload is younger than its first description, which refuses it: a reader says of what it
//! knows, and a publisher leaves out the rest.

use std::fmt;

use crate::model::Deliver;
use crate::state::Records;

/// What a reader of payloads knows beyond the first description of them. As text the words of it, with commas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Understands {
    /// `deliver` of a variable.
    pub deliver: bool,
}

impl Understands {
    /// All that is known here.
    pub const ALL: Self = Self { deliver: true };

    /// What a reader says. A later one may say more than is known here, and is sent nothing of that.
    #[must_use]
    pub fn read(words: &str) -> Self {
        Self { deliver: words.split(',').any(|word| word.trim_ascii() == DELIVER) }
    }

    /// Its words.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        if self.deliver { vec![DELIVER] } else { Vec::new() }
    }

    /// Leaves out of records what such a reader refuses: then it means there what it meant before there was
    /// such a thing. The words of what was left out of any.
    pub fn reduce(self, records: &mut Records) -> Vec<&'static str> {
        let mut left_out = Vec::new();
        if !self.deliver {
            for variable in records.variables.values_mut().filter(|variable| !variable.deliver.is_env()) {
                variable.deliver = Deliver::Env;
                left_out = vec![DELIVER];
            }
        }
        left_out
    }
}

impl fmt::Display for Understands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

const DELIVER: &str = "deliver";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::Change;

    #[test]
    fn what_is_said_is_read_and_what_is_not_known_here_is_not() {
        assert_eq!(Understands::read(&Understands::ALL.to_string()), Understands::ALL);
        assert_eq!(Understands::read("later, deliver"), Understands::ALL);
        for nothing in ["", ",", "later", "Deliver", "deliver2", "de,liver"] {
            assert_eq!(Understands::read(nothing), Understands::default(), "{nothing}");
        }
    }

    #[test]
    fn who_knows_nothing_is_sent_what_the_first_description_has() {
        let records = |deliver: Option<&str>| {
            let mut variable = json!({"id": "env_1", "tenant_id": "t", "scope": "tenant", "target": "all",
                "name": "KEY", "value": "x", "enabled": true});
            if let Some(deliver) = deliver {
                variable["deliver"] = json!(deliver);
            }
            let put = json!({"env": [variable], "profiles": [], "resources": [], "runs": []});
            let nothing = json!({"env": [], "profiles": [], "resources": [], "runs": []});
            Change::decode(json!({"put": put, "delete": nothing}).to_string().as_bytes()).unwrap().put
        };
        for (deliver, left_out) in [(None, &[][..]), (Some("file"), &["deliver"]), (Some("fd"), &["deliver"])]
        {
            let (mut reduced, mut whole) = (records(deliver), records(deliver));
            assert_eq!(Understands::default().reduce(&mut reduced), left_out);
            assert_eq!(reduced, records(None));
            assert!(Understands::ALL.reduce(&mut whole).is_empty());
            assert_eq!(whole, records(deliver));
        }
    }
}
