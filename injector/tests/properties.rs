//! The merge rules as properties over random worlds, against a second implementation that is naive
//! on purpose: it walks the layers of the design top down and takes the first that speaks.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that panics fails, as it should"
)]

use std::collections::BTreeMap;

use miosa_injector::model::{
    AppliesTo, Deliver, EnvMap, EnvName, Profile, Resource, ResourceKind, Run, Runtime, Scope, SecretValue,
    Selection, Target, Variable,
};
use miosa_injector::protocol::ResolveResponse;
use miosa_injector::{Change, Moving, Records, ResolveError, State, Touched, resolve};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_merge_agrees_with_the_naive_one(world in world()) {
        let state = State::new(world.records()).unwrap();
        match (answer(&state, &world), naive_profile(&world)) {
            (Ok(answer), Ok(profile)) => {
                let mut env = exposed(&answer.env);
                env.retain(|name, _| !name.starts_with("MIOSA_"));
                prop_assert_eq!(env, naive_env(&world, profile));
            }
            (Err(error), Err(code)) => prop_assert_eq!(error.code(), code),
            (answer, profile) => prop_assert!(false, "{:?} against {:?}", answer.is_ok(), profile.is_ok()),
        }
    }

    #[test]
    fn any_order_of_records_gives_one_result(world in world(), order in any::<u64>()) {
        // Records arrive one by one, as increments would bring them, in an order of chance.
        let whole = State::new(world.records()).unwrap();
        let records = world.records();
        let mut pieces: Vec<Records> = Vec::new();
        for (id, record) in &records.variables {
            pieces.push(Records { variables: BTreeMap::from([(id.clone(), record.clone())]), ..Records::default() });
        }
        for (id, record) in &records.profiles {
            pieces.push(Records { profiles: BTreeMap::from([(id.clone(), record.clone())]), ..Records::default() });
        }
        pieces.push(Records { resources: records.resources, runs: records.runs, ..Records::default() });
        let mut seed = order;
        pieces.sort_by_cached_key(|_| { seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); seed >> 33 });
        let grown = pieces.into_iter().fold(State::default(), |state, put| state.apply(Change::full(put)).unwrap());
        prop_assert_eq!(&grown, &whole);
        if let (Ok(one), Ok(other)) = (resolution(&grown, &world), resolution(&whole, &world)) {
            prop_assert_eq!(content(&one), content(&other));
        }
    }

    #[test]
    fn ids_do_not_decide_who_wins(world in world()) {
        let mut renamed = world.clone();
        for (position, variable) in renamed.variables.iter_mut().enumerate() {
            variable.id = format!("env_{}", 1000 - position).parse().unwrap();
        }
        let (one, other) = (State::new(world.records()).unwrap(), State::new(renamed.records()).unwrap());
        if let (Ok(one), Ok(other)) = (answer(&one, &world), answer(&other, &renamed)) {
            prop_assert_eq!(exposed(&one.env), exposed(&other.env));
        }
    }

    #[test]
    fn a_disabled_variable_is_as_if_absent(world in world()) {
        let mut without = world.clone();
        without.variables.retain(|variable| variable.enabled);
        let (with, without_state) = (State::new(world.records()).unwrap(), State::new(without.records()).unwrap());
        if let (Ok(one), Ok(other)) = (resolution(&with, &world), resolution(&without_state, &without)) {
            prop_assert_eq!(content(&one), content(&other));
        }
    }

    #[test]
    fn a_more_specific_layer_always_wins(world in world(), name in select(&NAMES[..])) {
        let mut world = world;
        world.run = Some(world.run.clone().unwrap_or_else(run));
        let top = world.run.as_mut().unwrap();
        top.selection = Selection { skip: true, profile_id: None };
        top.env = EnvMap::from([(EnvName::parse(name).unwrap(), secret("from the run"))]);
        let state = State::new(world.records()).unwrap();
        let answer = answer(&state, &world).unwrap();
        prop_assert_eq!(answer.env[&EnvName::parse(name).unwrap()].expose(), "from the run");
    }

    #[test]
    fn explain_agrees_with_the_merge_for_every_name(world in world()) {
        let state = State::new(world.records()).unwrap();
        let Ok(resolution) = resolution(&state, &world) else { return Ok(()) };
        let answer = parse(&resolution);
        let explanation = resolution.explain(7);
        let names: Vec<&str> = explanation.variables.iter().map(|variable| variable.name.as_str()).collect();
        prop_assert_eq!(&names, &answer.env.keys().map(EnvName::as_str).collect::<Vec<_>>());
        for variable in &explanation.variables {
            let name = EnvName::parse(&variable.name).unwrap();
            let merged = &answer.env[&name];
            prop_assert_eq!(&variable.delivery, &world.delivery_in(&variable.source_id));
            prop_assert_eq!(&variable.delivery, &answer.delivery.get(&name).cloned());
            if variable.layer == "platform" {
                prop_assert_eq!(&variable.preview, merged.expose());
                continue;
            }
            prop_assert_eq!(&variable.preview, &merged.preview());
            prop_assert_eq!(world.value_in(&variable.source_id, &variable.name), merged.expose());
            let said = naive_history(&world, naive_profile(&world).unwrap(), &variable.name);
            let (winner, lost) = said.split_first().unwrap();
            prop_assert_eq!((&variable.layer, &variable.source_id), (&winner.0, &winner.1));
            let overrode: Vec<(String, String)> =
                variable.overrode.iter().map(|entry| (entry.layer.clone(), entry.source_id.clone())).collect();
            prop_assert_eq!(&overrode[..], lost);
        }
    }

    #[test]
    fn another_tenants_records_change_nothing(world in world()) {
        let mut alone = world.clone();
        alone.variables.retain(|variable| variable.tenant_id.as_str() == "t1");
        alone.profiles.retain(|profile| profile.tenant_id.as_str() == "t1");
        let (both, one) = (State::new(world.records()).unwrap(), State::new(alone.records()).unwrap());
        match (resolution(&both, &world), resolution(&one, &alone)) {
            (Ok(both), Ok(one)) => prop_assert_eq!(content(&both), content(&one)),
            (Err(both), Err(one)) => prop_assert_eq!(both, one),
            _ => prop_assert!(false, "only one of them resolves"),
        }
    }

    #[test]
    fn what_a_change_does_not_concern_resolves_as_before(world in world(), one in any::<Index>(), value in any_value()) {
        let before = world.records();
        let ids: Vec<_> = before.variables.keys().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let changed = one.get(&ids);
        for value in [None, Some(value)] {
            let mut after = before.clone();
            match value {
                Some(value) => after.variables.get_mut(changed).unwrap().value = value,
                None => drop(after.variables.remove(changed)),
            }
            let (before, after) = (State::new(before.clone()).unwrap(), State::new(after).unwrap());
            for (before, after) in [(&before, &after), (&after, &before)] {
                if Touched::between(before, after).concerns(&world.resource.id) {
                    continue;
                }
                match (resolution(before, &world), resolution(after, &world)) {
                    (Ok(before), Ok(after)) => prop_assert_eq!(content(&before), content(&after)),
                    (before, after) => prop_assert_eq!(before.err(), after.err()),
                }
            }
        }
    }

    #[test]
    fn a_payload_survives_its_bytes(world in world()) {
        let change = Change::full(world.records());
        let bytes = change.encode();
        let read = Change::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &change);
        prop_assert_eq!(&*read.encode(), &*bytes);
    }
}

fn naive_env(world: &World, profile: Option<&Profile>) -> BTreeMap<String, String> {
    let resource = &world.resource;
    let mut targets = vec![resource.kind.target(), Target::All];
    if world.run.is_some() && resource.kind != ResourceKind::Agent {
        targets.insert(0, Target::Agent);
    }
    let mut scopes = vec![Scope::Tenant];
    scopes.splice(0..0, resource.workspace_id.clone().map(Scope::Workspace));
    scopes.splice(0..0, resource.project_id.clone().map(Scope::Project));
    let mut env = BTreeMap::new();
    for name in NAMES {
        let key = EnvName::parse(name).unwrap();
        let mut said = world.run.as_ref().and_then(|run| run.env.get(&key));
        said = said.or_else(|| resource.env.get(&key));
        for scope in &scopes {
            for target in &targets {
                said = said.or_else(|| {
                    let fits = |v: &&Variable| {
                        v.enabled
                            && v.tenant_id == resource.tenant_id
                            && &v.scope == scope
                            && &v.target == target
                            && v.name == key
                    };
                    world.variables.iter().find(fits).map(|variable| &variable.value)
                });
            }
        }
        said = said.or_else(|| profile.and_then(|profile| profile.env.get(&key)));
        if let Some(value) = said {
            env.insert(name.to_owned(), value.expose().to_owned());
        }
    }
    env
}

/// Who says something of a name, the strongest first: (layer, record).
fn naive_history(world: &World, profile: Option<&Profile>, name: &str) -> Vec<(String, String)> {
    let key = EnvName::parse(name).unwrap();
    let resource = &world.resource;
    let mut said = Vec::new();
    if let Some(run) = world.run.as_ref().filter(|run| run.env.contains_key(&key)) {
        said.push(("run".to_owned(), run.id.to_string()));
    }
    if resource.env.contains_key(&key) {
        said.push(("resource".to_owned(), resource.id.to_string()));
    }
    let mut targets = vec![resource.kind.target(), Target::All];
    if world.run.is_some() && resource.kind != ResourceKind::Agent {
        targets.insert(0, Target::Agent);
    }
    let places = [
        resource.project_id.clone().map(Scope::Project),
        resource.workspace_id.clone().map(Scope::Workspace),
        Some(Scope::Tenant),
    ];
    for scope in places.into_iter().flatten() {
        for target in &targets {
            let fits = |v: &&Variable| {
                v.enabled
                    && v.tenant_id == resource.tenant_id
                    && v.scope == scope
                    && v.target == *target
                    && v.name == key
            };
            if let Some(variable) = world.variables.iter().find(fits) {
                said.push((format!("{}/{target}", scope.name()), variable.id.to_string()));
            }
        }
    }
    if let Some(profile) = profile.filter(|profile| profile.env.contains_key(&key)) {
        said.push(("profile".to_owned(), profile.id.to_string()));
    }
    said
}

fn naive_profile(world: &World) -> Result<Option<&Profile>, &'static str> {
    let resource = &world.resource;
    let records = [world.run.as_ref().map(|run| &run.selection), Some(&resource.selection)];
    for selection in records.into_iter().flatten() {
        if selection.skip {
            return Ok(None);
        }
        if let Some(id) = &selection.profile_id {
            let found = world
                .profiles
                .iter()
                .find(|profile| &profile.id == id && profile.tenant_id == resource.tenant_id);
            let found = found.ok_or("profile_not_found")?;
            let allowed = found.applies_to.allows(resource.kind, world.run.is_some());
            return if allowed { Ok(Some(found)) } else { Err("profile_not_applicable") };
        }
    }
    let mut places = vec![(None, None)];
    if let Some(workspace) = &resource.workspace_id {
        places.insert(0, (Some(workspace), None));
    }
    if let Some(project) = &resource.project_id {
        places.insert(0, (None, Some(project)));
        if let Some(workspace) = &resource.workspace_id {
            places.insert(0, (Some(workspace), Some(project)));
        }
    }
    Ok(places.into_iter().find_map(|(workspace, project)| {
        world.profiles.iter().find(|profile| {
            profile.is_default
                && profile.tenant_id == resource.tenant_id
                && profile.workspace_id.as_ref() == workspace
                && profile.project_id.as_ref() == project
                && profile.applies_to.allows(resource.kind, world.run.is_some())
        })
    }))
}

fn resolution(state: &State, world: &World) -> Result<miosa_injector::Resolution, ResolveError> {
    resolve(state, &world.resource.id, world.run.as_ref().map(|run| &run.id))
}

fn answer(state: &State, world: &World) -> Result<ResolveResponse, ResolveError> {
    resolution(state, world).map(|resolution| parse(&resolution))
}

fn content(resolution: &miosa_injector::Resolution) -> Vec<u8> {
    resolution.answer().content().concat()
}

fn parse(resolution: &miosa_injector::Resolution) -> ResolveResponse {
    let body = resolution.answer().body(Moving { snapshot_version: 7, stale: false, age_seconds: 1 });
    serde_json::from_slice(&body).unwrap()
}

fn exposed(env: &EnvMap) -> BTreeMap<String, String> {
    env.iter().map(|(name, value)| (name.to_string(), value.expose().to_owned())).collect()
}

fn secret(text: &str) -> SecretValue {
    SecretValue::new(text.to_owned()).unwrap()
}

#[derive(Debug, Clone)]
struct World {
    variables: Vec<Variable>,
    profiles: Vec<Profile>,
    resource: Resource,
    run: Option<Run>,
}

impl World {
    fn records(&self) -> Records {
        Records {
            variables: self.variables.iter().map(|v| (v.id.clone(), v.clone())).collect(),
            profiles: self.profiles.iter().map(|p| (p.id.clone(), p.clone())).collect(),
            resources: BTreeMap::from([(self.resource.id.clone(), self.resource.clone())]),
            runs: self.run.iter().map(|run| (run.id.clone(), run.clone())).collect(),
        }
    }

    fn value_in(&self, record: &str, name: &str) -> &str {
        let name = EnvName::parse(name).unwrap();
        let variable = self.variables.iter().find(|v| v.id.as_str() == record).map(|v| &v.value);
        let profile = self.profiles.iter().find(|p| p.id.as_str() == record).and_then(|p| p.env.get(&name));
        let resource =
            Some(&self.resource).filter(|r| r.id.as_str() == record).and_then(|r| r.env.get(&name));
        let run = self.run.as_ref().filter(|r| r.id.as_str() == record).and_then(|r| r.env.get(&name));
        variable.or(profile).or(resource).or(run).unwrap().expose()
    }

    /// Only variables say it, and what says nothing goes into the environment.
    fn delivery_in(&self, record: &str) -> Option<String> {
        let variable = self.variables.iter().find(|v| v.id.as_str() == record)?;
        Some(variable.deliver).filter(|deliver| *deliver != Deliver::Env).map(|deliver| deliver.to_string())
    }
}

const NAMES: [&str; 4] = ["A", "B", "HTTP_PROXY", "lower_case"];

fn world() -> impl Strategy<Value = World> {
    (variables(), profiles(), resource(), proptest::option::of(random_run()))
        .prop_map(|(variables, profiles, resource, run)| World { variables, profiles, resource, run })
}

/// Variables with the store's identity kept: one per tenant, scope, name and target.
fn variables() -> impl Strategy<Value = Vec<Variable>> {
    let identity = (
        select(vec!["t1", "t1", "t1", "t2"]),
        select(vec![
            Scope::Tenant,
            Scope::Workspace("w1".parse().unwrap()),
            Scope::Workspace("w2".parse().unwrap()),
            Scope::Project("p1".parse().unwrap()),
            Scope::Project("p2".parse().unwrap()),
        ]),
        select(vec![Target::All, Target::Sandbox, Target::Computer, Target::Agent]),
        select(NAMES.to_vec()),
    );
    let deliver = select(vec![Deliver::Env, Deliver::Env, Deliver::File, Deliver::Fd]);
    btree_map(identity, (any_value(), proptest::bool::weighted(0.8), deliver), 0..40).prop_map(|map| {
        let records = map.into_iter().enumerate().map(
            |(position, ((tenant, scope, target, name), (value, enabled, deliver)))| Variable {
                id: format!("env_{position}").parse().unwrap(),
                tenant_id: tenant.parse().unwrap(),
                scope,
                target,
                name: EnvName::parse(name).unwrap(),
                value,
                enabled,
                deliver,
            },
        );
        records.collect()
    })
}

/// Profiles with the store's rule kept: one default per tenant, workspace and project.
fn profiles() -> impl Strategy<Value = Vec<Profile>> {
    let place = (
        select(vec!["t1", "t1", "t2"]),
        select(vec![None, Some("w1"), Some("w2")]),
        select(vec![None, Some("p1")]),
    );
    let rest = (applies_to(), env(), any::<bool>());
    btree_map(place, rest, 0..6).prop_map(|map| {
        let records = map.into_iter().enumerate().map(
            |(position, ((tenant, workspace, project), (applies_to, env, is_default)))| Profile {
                id: format!("arp_{position}").parse().unwrap(),
                tenant_id: tenant.parse().unwrap(),
                workspace_id: workspace.map(|id| id.parse().unwrap()),
                project_id: project.map(|id| id.parse().unwrap()),
                name: format!("profile {position}"),
                runtime: Runtime::Custom,
                applies_to,
                tools: None,
                connectors: Vec::new(),
                env,
                policy: serde_json::Map::new(),
                is_default,
            },
        );
        records.collect()
    })
}

fn applies_to() -> impl Strategy<Value = AppliesTo> {
    vec(select(vec!["sandbox", "computer", "agent"]), 0..3)
        .prop_map(|kinds| AppliesTo::from_json(&serde_json::json!(kinds)).unwrap())
}

fn resource() -> impl Strategy<Value = Resource> {
    (select(ResourceKind::EVERY.to_vec()), any::<bool>(), any::<bool>(), env(), selection()).prop_map(
        |(kind, workspace, project, env, selection)| Resource {
            id: "r1".parse().unwrap(),
            tenant_id: "t1".parse().unwrap(),
            workspace_id: workspace.then(|| "w1".parse().unwrap()),
            project_id: project.then(|| "p1".parse().unwrap()),
            kind,
            env,
            selection,
        },
    )
}

fn random_run() -> impl Strategy<Value = Run> {
    (env(), selection()).prop_map(|(env, selection)| Run { env, selection, ..run() })
}

fn run() -> Run {
    Run {
        id: "run_1".parse().unwrap(),
        resource_id: "r1".parse().unwrap(),
        env: EnvMap::new(),
        selection: Selection::default(),
        instruction: None,
        cwd: None,
        command: None,
        runtime_command: None,
        model: None,
        provider: None,
        approval_policy: None,
    }
}

fn selection() -> impl Strategy<Value = Selection> {
    let id = select(vec![None, None, None, Some("arp_0"), Some("arp_1"), Some("arp_gone")]);
    (proptest::bool::weighted(0.1), id)
        .prop_map(|(skip, id)| Selection { skip, profile_id: id.map(|id| id.parse().unwrap()) })
}

fn env() -> impl Strategy<Value = EnvMap> {
    btree_map(select(NAMES.to_vec()), any_value(), 0..3)
        .prop_map(|map| map.into_iter().map(|(name, value)| (EnvName::parse(name).unwrap(), value)).collect())
}

fn any_value() -> impl Strategy<Value = SecretValue> {
    "[^\\x00]{1,40}".prop_map(|text| secret(&text))
}
