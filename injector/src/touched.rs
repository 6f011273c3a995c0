//! Which resources a change of state may concern, without resolving any of them. It errs to one side
//! only: a resource that resolves differently is always among them, be it by a run on it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Resource, ResourceId, Scope, TenantId};
use crate::state::State;

/// What differs between two states, as far as a resolution can see it.
#[derive(Debug)]
pub struct Touched<'a> {
    after: &'a State,
    /// Where a variable differs.
    scopes: BTreeSet<(&'a TenantId, &'a Scope)>,
    /// Whose profiles differ: which one a resource starts with is chosen among all of its tenant's.
    tenants: BTreeSet<&'a TenantId>,
    /// Those that differ themselves, or by a run on them.
    resources: BTreeSet<&'a ResourceId>,
}

impl<'a> Touched<'a> {
    /// Compares two states.
    #[must_use]
    pub fn between(before: &'a State, after: &'a State) -> Self {
        let mut touched =
            Self { after, scopes: BTreeSet::new(), tenants: BTreeSet::new(), resources: BTreeSet::new() };
        let (before, after) = (before.records(), after.records());
        each_that_differs(&before.variables, &after.variables, |variable| {
            touched.scopes.insert((&variable.tenant_id, &variable.scope));
        });
        each_that_differs(&before.profiles, &after.profiles, |profile| {
            touched.tenants.insert(&profile.tenant_id);
        });
        each_that_differs(&before.resources, &after.resources, |resource| {
            touched.resources.insert(&resource.id);
        });
        each_that_differs(&before.runs, &after.runs, |run| {
            touched.resources.insert(&run.resource_id);
        });
        touched
    }

    /// Whether the resource, or a run on it, may resolve differently in the state after.
    #[must_use]
    pub fn concerns(&self, resource: &ResourceId) -> bool {
        let records = self.after.records();
        self.resources.contains(resource)
            || records.resources.get(resource).is_some_and(|resource| self.concerns_layers_of(resource))
    }

    fn concerns_layers_of(&self, resource: &Resource) -> bool {
        let tenant = &resource.tenant_id;
        let workspace = resource.workspace_id.clone().map(Scope::Workspace);
        let project = resource.project_id.clone().map(Scope::Project);
        self.tenants.contains(tenant)
            || [Some(Scope::Tenant), workspace, project]
                .iter()
                .flatten()
                .any(|scope| self.scopes.contains(&(tenant, scope)))
    }
}

/// Calls `note` with each record that is in one only, and with both where they are not equal.
fn each_that_differs<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
    mut note: impl FnMut(&'a V),
) {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = if order.is_le() { before.next() } else { None };
        let is = if order.is_ge() { after.next() } else { None };
        if was.map(|(_, record)| record) != is.map(|(_, record)| record) {
            was.into_iter().chain(is).for_each(|(_, record)| note(record));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::payload::Change;
    use crate::resolve::resolve;

    fn state(put: &Value) -> State {
        let nothing = json!({"env": [], "profiles": [], "resources": [], "runs": []});
        let payload = json!({"put": put, "delete": nothing});
        let change = Change::decode(payload.to_string().as_bytes()).unwrap();
        State::default().apply(change).unwrap()
    }

    /// Two resources, and all that each can read.
    fn records() -> Value {
        let variable = |id: &str, tenant: &str, scope: Value| {
            json!({"id": id, "tenant_id": tenant, "scope": scope, "target": "all", "name": "A", "value": id,
                   "enabled": true})
        };
        let profile = |id: &str, tenant: &str| {
            json!({"id": id, "tenant_id": tenant, "workspace_id": null, "project_id": null, "name": "p",
                   "runtime": "custom", "applies_to": [], "tools": null, "connectors": [], "env": {"P": id},
                   "policy": {}, "is_default": true})
        };
        let resource = |id: &str, tenant: &str, workspace: &str, project: &str| {
            json!({"id": id, "tenant_id": tenant, "workspace_id": workspace, "project_id": project,
                   "kind": "sandbox", "env": {}, "selection": {"skip": false, "profile_id": null}})
        };
        let run = |id: &str, resource: &str| {
            json!({"id": id, "resource_id": resource, "env": {},
                   "selection": {"skip": false, "profile_id": null}, "instruction": null, "cwd": null,
                   "command": null, "runtime_command": null, "model": null, "provider": null,
                   "approval_policy": null})
        };
        json!({
            "env": [
                variable("env_t1", "t1", json!("tenant")),
                variable("env_w1", "t1", json!({"workspace": "w1"})),
                variable("env_p1", "t1", json!({"project": "p1"})),
                variable("env_w2", "t1", json!({"workspace": "w2"})),
                variable("env_t2", "t2", json!("tenant")),
            ],
            "profiles": [profile("arp_1", "t1"), profile("arp_2", "t2")],
            "resources": [
                resource("one", "t1", "w1", "p1"),
                resource("two", "t1", "w2", "p2"),
                resource("other", "t2", "w1", "p1"),
            ],
            "runs": [run("run_1", "one"), run("run_2", "two")],
        })
    }

    /// Of these three, those that are concerned.
    fn concerned(before: &State, after: &State) -> Vec<&'static str> {
        let touched = Touched::between(before, after);
        let concerns = |id: &&str| touched.concerns(&id.parse().unwrap());
        let concerned: Vec<_> = ["one", "two", "other"].into_iter().filter(concerns).collect();
        for (id, run) in [("one", "run_1"), ("two", "run_2"), ("other", "run_none")] {
            let (resource, run) = (id.parse().unwrap(), run.parse().unwrap());
            for run in [None, Some(&run)] {
                let content = |state: &State| {
                    let resolved = resolve(state, &resource, run);
                    resolved.map(|resolution| resolution.answer().content().concat())
                };
                let is_equal = content(before) == content(after);
                assert!(is_equal || concerned.contains(&id), "{id} {run:?}");
            }
        }
        concerned
    }

    #[test]
    fn a_change_concerns_those_that_can_read_the_record() {
        let before = state(&records());
        for (record, fields, expected) in [
            ("/env/0", &["value", "name", "id"][..], &["one", "two"][..]),
            ("/env/1", &["value", "name", "id"], &["one"]),
            ("/env/2", &["value", "name", "id"], &["one"]),
            ("/env/3", &["value", "name", "id"], &["two"]),
            ("/env/4", &["value", "name", "id"], &["other"]),
            ("/profiles/0", &["name"], &["one", "two"]),
            ("/profiles/1", &["name"], &["other"]),
            ("/resources/0", &["workspace_id", "project_id"], &["one"]),
            ("/resources/2", &["workspace_id", "project_id", "tenant_id"], &["other"]),
            ("/runs/0", &["instruction", "cwd"], &["one"]),
            ("/runs/1", &["resource_id"], &["one", "two"]),
        ] {
            for field in fields {
                let mut records = records();
                let of = records.pointer_mut(record).unwrap();
                of[field] = json!(if *field == "resource_id" { "one" } else { "X_OTHER" });
                let after = state(&records);
                assert_eq!(concerned(&before, &after), expected, "{record} {field}");
                assert_eq!(concerned(&after, &before), expected, "{record} {field}, back");
            }
        }
    }

    #[test]
    fn a_record_that_comes_concerns_whom_it_concerns_when_it_goes() {
        let with = state(&records());
        for (kind, position, expected) in [
            ("env", 0, &["one", "two"][..]),
            ("env", 2, &["one"]),
            ("env", 4, &["other"]),
            ("profiles", 0, &["one", "two"]),
            ("profiles", 1, &["other"]),
            ("runs", 1, &["two"]),
            ("resources", 2, &["other"]),
        ] {
            let mut records = records();
            records[kind].as_array_mut().unwrap().remove(position);
            let without = state(&records);
            assert_eq!(concerned(&with, &without), expected, "{kind} {position}");
            assert_eq!(concerned(&without, &with), expected, "{kind} {position}, back");
        }
    }

    #[test]
    fn a_variable_that_changes_its_place_concerns_both_places() {
        let mut records = records();
        records["env"][1]["scope"] = json!({"workspace": "w2"});
        assert_eq!(concerned(&state(&self::records()), &state(&records)), ["one", "two"]);
    }

    #[test]
    fn nothing_concerns_nobody() {
        let (one, other) = (state(&records()), state(&records()));
        assert!(concerned(&one, &other).is_empty());
        assert!(concerned(&State::default(), &State::default()).is_empty());
        assert_eq!(concerned(&State::default(), &one), ["one", "two", "other"]);
    }
}
