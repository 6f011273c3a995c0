//! Which profile a resource or a run asks for, as it stands in bodies.

use miosa_injector::model::{ProfileId, Selection};

use crate::api::fields::{Fields, Given, boolean, text};

/// A selection as sent.
#[derive(Debug)]
pub(super) struct SelectionFields {
    skip: Given<bool>,
    pub(super) profile_id: Given<ProfileId>,
}

impl SelectionFields {
    /// Takes `skip_agent_runtime_profile`, `agent_runtime_profile_id` and its alias.
    pub(super) fn take(fields: &mut Fields) -> Self {
        let skip = fields.take("skip_agent_runtime_profile", boolean);
        let id = fields.take(PROFILE_ID, text::<ProfileId>);
        let alias = fields.take(ALIAS, text::<ProfileId>);
        let profile_id = match (id, alias) {
            (id, Given::Absent) => id,
            (Given::Absent, alias) => alias,
            (id, alias) => {
                if id != alias {
                    fields.wrong(ALIAS, format!("must be the same as {PROFILE_ID}, or be left out"));
                }
                id
            }
        };
        Self { skip, profile_id }
    }

    /// The selection of a new record.
    pub(super) fn into_selection(self) -> Selection {
        Selection { skip: self.skip.value().unwrap_or(false), profile_id: self.profile_id.value() }
    }

    /// What changes of a stored one: skip, and the id or an empty text for none.
    pub(super) fn changes(&self) -> (Option<bool>, Option<&str>) {
        let skip = match self.skip {
            Given::Absent => None,
            Given::Null => Some(false),
            Given::Value(skip) => Some(skip),
        };
        let profile_id = match &self.profile_id {
            Given::Absent => None,
            Given::Null => Some(""),
            Given::Value(id) => Some(id.as_str()),
        };
        (skip, profile_id)
    }
}

pub(super) const PROFILE_ID: &str = "agent_runtime_profile_id";
const ALIAS: &str = "agent_profile_id";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::fields::object;

    fn take(body: Value) -> Result<SelectionFields, Vec<String>> {
        let mut fields = Fields::new(object(body).unwrap());
        let taken = SelectionFields::take(&mut fields);
        match fields.finish() {
            Ok(_given) => Ok(taken),
            Err(error) => Err(error.details().iter().map(|detail| detail.field.clone()).collect()),
        }
    }

    #[test]
    fn a_profile_has_two_names_but_one_id() {
        for body in [
            json!({"agent_runtime_profile_id": "arp_1"}),
            json!({"agent_profile_id": "arp_1"}),
            json!({"agent_runtime_profile_id": "arp_1", "agent_profile_id": "arp_1"}),
        ] {
            let selection = take(body).unwrap().into_selection();
            assert_eq!(selection, Selection { skip: false, profile_id: Some("arp_1".parse().unwrap()) });
        }
        for body in [
            json!({"agent_runtime_profile_id": "arp_1", "agent_profile_id": "arp_2"}),
            json!({"agent_runtime_profile_id": "arp_1", "agent_profile_id": null}),
        ] {
            assert_eq!(take(body).unwrap_err(), ["agent_profile_id"]);
        }
    }

    #[test]
    fn null_clears_and_absence_keeps() {
        assert_eq!(take(json!({})).unwrap().changes(), (None, None));
        let cleared = take(json!({"skip_agent_runtime_profile": null, "agent_profile_id": null})).unwrap();
        assert_eq!(cleared.changes(), (Some(false), Some("")));
    }
}
