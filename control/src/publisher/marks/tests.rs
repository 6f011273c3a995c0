//! That the marks of a state give exactly the changes to the next one, and no value.

use std::collections::BTreeMap;

use miosa_injector::State;
use miosa_injector::model::{
    Deliver, EnvMap, EnvName, Profile, Resource, ResourceKind, Run, Runtime, Scope, SecretValue, Target,
    Variable,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What a control plane publishes and what a host does with it, from payload to payload.
    #[test]
    fn a_host_that_takes_one_change_after_the_other_ends_with_the_whole_state(
        states in vec(records(), 2..8)
    ) {
        let marker = Marker::new().unwrap();
        let mut marks = marker.mark(&states[0]);
        let mut host = State::new(states[0].clone()).unwrap();
        for next in &states[1..] {
            let (after, change) = marker.follow(&marks, next);
            let change = Change::decode(&change.encode()).unwrap();
            let unneeded = change.put.iter().filter(|record| host.records().iter().any(|held| held == *record));
            prop_assert_eq!(unneeded.count(), 0, "what a host has is not sent");
            host = host.apply(change).unwrap();
            prop_assert_eq!(&host, &State::new(next.clone()).unwrap());
            prop_assert_eq!(&after, &marker.mark(next));
            marks = after;
        }
    }
}

#[test]
fn a_state_that_stays_as_it_is_has_no_change() {
    let marker = Marker::new().unwrap();
    let records =
        Records { variables: BTreeMap::from([variable("a", "1"), variable("b", "2")]), ..Records::default() };
    let (marks, change) = marker.follow(&marker.mark(&records), &records);
    assert_eq!((change, marks), (Change::default(), marker.mark(&records)));
}

#[test]
fn nothing_of_a_value_is_in_its_mark_and_no_two_processes_mark_alike() {
    let records =
        Records { variables: BTreeMap::from([variable("a", "hush-hush-hush-hush")]), ..Records::default() };
    let (one, other) = (Marker::new().unwrap().mark(&records), Marker::new().unwrap().mark(&records));
    assert_ne!(one, other);
    assert_eq!(one.size(), 2 + 1 + MARK_LEN);
    assert!(!one.0.windows(4).any(|bytes| bytes == b"hush"));
}

/// States of few ids, so that what follows often has what came before, and each with few contents, so
/// that it is often the same.
fn records() -> impl Strategy<Value = Records> {
    let content = || 0_u8..3;
    let variables = btree_map(0_u8..12, (content(), 0_u8..3), 0..10);
    let profiles = btree_map(0_u8..4, content(), 0..4);
    let resources = btree_map(0_u8..4, content(), 0..4);
    let runs = btree_map(0_u8..6, (content(), 0_u8..4), 0..5);
    (variables, profiles, resources, runs).prop_map(|(variables, profiles, resources, runs)| Records {
        variables: variables
            .into_iter()
            .map(|(id, (content, scope))| {
                let (id, mut record) = variable(&format!("v{id}"), &"x".repeat(content.min(1).into()));
                record.scope = match scope {
                    0 => Scope::Tenant,
                    1 => Scope::Workspace("w".parse().unwrap()),
                    _ => Scope::Project("p".parse().unwrap()),
                };
                record.deliver = if content == 2 { Deliver::File } else { Deliver::Env };
                (id, record)
            })
            .collect(),
        profiles: profiles
            .into_iter()
            .map(|(id, content)| {
                let record = profile(&format!("p{id}"), content);
                (record.id.clone(), record)
            })
            .collect(),
        runs: runs
            .into_iter()
            // A run is on a resource that is there, as in every state that is published.
            .filter(|(_, (_, resource))| resources.contains_key(resource))
            .map(|(id, (content, resource))| {
                let record = run(&format!("r{id}"), &format!("s{resource}"), content);
                (record.id.clone(), record)
            })
            .collect(),
        resources: resources
            .into_iter()
            .map(|(id, content)| {
                let record = resource(&format!("s{id}"), content);
                (record.id.clone(), record)
            })
            .collect(),
    })
}

fn variable(id: &str, value: &str) -> (miosa_injector::model::VariableId, Variable) {
    let id: miosa_injector::model::VariableId = id.parse().unwrap();
    let variable = Variable {
        id: id.clone(),
        tenant_id: "t".parse().unwrap(),
        scope: Scope::Tenant,
        target: Target::All,
        name: EnvName::parse("NAME").unwrap(),
        value: SecretValue::new(value.to_owned()).unwrap(),
        enabled: true,
        deliver: Deliver::Env,
    };
    (id, variable)
}

fn env(content: u8) -> EnvMap {
    let value = SecretValue::new(content.to_string()).unwrap();
    [(EnvName::parse("CONTENT").unwrap(), value)].into_iter().collect()
}

fn profile(id: &str, content: u8) -> Profile {
    Profile {
        id: id.parse().unwrap(),
        tenant_id: "t".parse().unwrap(),
        workspace_id: None,
        project_id: None,
        name: id.to_owned(),
        runtime: Runtime::Custom,
        applies_to: Default::default(),
        tools: None,
        connectors: Vec::new(),
        env: env(content),
        policy: Default::default(),
        is_default: false,
    }
}

fn resource(id: &str, content: u8) -> Resource {
    Resource {
        id: id.parse().unwrap(),
        tenant_id: "t".parse().unwrap(),
        workspace_id: None,
        project_id: None,
        kind: ResourceKind::Sandbox,
        env: env(content),
        selection: Default::default(),
    }
}

fn run(id: &str, resource: &str, content: u8) -> Run {
    Run {
        id: id.parse().unwrap(),
        resource_id: resource.parse().unwrap(),
        env: env(content),
        selection: Default::default(),
        instruction: None,
        cwd: None,
        command: None,
        runtime_command: None,
        model: None,
        provider: None,
        approval_policy: None,
    }
}
