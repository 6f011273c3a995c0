//! Names of variables, and the merge of layers against a second, slower one.

use std::collections::BTreeMap;

use arbitrary::Unstructured;

use crate::model::{
    AppliesTo, Deliver, EnvMap, EnvName, MAX_ENTRY_BYTES, NameError, Profile, Resource, ResourceKind, Run,
    Runtime, Scope, SecretValue, Selection, Target, Variable,
};
use crate::{Moving, Records, State, json, resolve};

/// A name is taken exactly if it is one, and of all that is said of a name the most specific wins.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_name(text);
    }
    let world = World::choose(&mut Unstructured::new(data));
    let state = State::new(world.records()).expect("its run is on its resource");
    let run = world.run.as_ref().map(|run| &run.id);
    let resolution = resolve(&state, &world.resource.id, run).expect("what was chosen is small and there");
    let moving = Moving { snapshot_version: 1, stale: false, age_seconds: 0 };
    let answer = json::parse(&resolution.answer().body(moving)).expect("an answer is strict JSON");
    let env = answer.get("env").and_then(|env| env.as_object()).expect("an answer has an env");
    let delivery = answer.get("delivery").and_then(|delivery| delivery.as_object()).expect("and a delivery");
    for name in NAMES {
        let imposed = (name == RESERVED).then(|| (world.resource.id.as_str(), Deliver::Env));
        let (value, deliver) = imposed.or_else(|| world.said(name)).unzip();
        assert_eq!(env.get(name).and_then(|value| value.as_str()), value, "{name} in {world:?}");
        let deliver = deliver.filter(|deliver| !deliver.is_env()).map(Deliver::as_str);
        assert_eq!(delivery.get(name).and_then(|word| word.as_str()), deliver, "{name} in {world:?}");
    }
}

fn check_name(text: &str) {
    let is_name = |letter: fn(&char) -> bool| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c == '_' || letter(&c))
            && chars.all(|c| c == '_' || letter(&c) || c.is_ascii_digit())
    };
    let too_long = text.len() >= MAX_ENTRY_BYTES;
    match EnvName::parse(text) {
        Ok(name) => assert!(is_name(char::is_ascii_alphabetic) && !too_long && name.as_str() == text),
        Err(NameError::TooLong) => assert!(too_long),
        Err(_) => assert!(!is_name(char::is_ascii_alphabetic)),
    }
    assert_eq!(EnvName::parse_upper(text).is_ok(), is_name(char::is_ascii_uppercase) && !too_long);
    let value = SecretValue::new(text.to_owned());
    assert_eq!(value.is_ok(), !text.contains('\0'));
    if let Ok(value) = value {
        let shown = value.preview();
        assert!(shown == "***" || text.chars().count() >= 32);
        assert!(shown.chars().count() <= 13 && !shown.chars().any(char::is_control));
    }
}

#[derive(Debug)]
struct World {
    variables: Vec<Variable>,
    profile: Option<Profile>,
    resource: Resource,
    run: Option<Run>,
}

impl World {
    fn choose(u: &mut Unstructured<'_>) -> Self {
        let mut resource = Resource {
            id: "r1".parse().expect("an id"),
            tenant_id: "t1".parse().expect("an id"),
            workspace_id: flip(u).then(|| "w1".parse().expect("an id")),
            project_id: flip(u).then(|| "p1".parse().expect("an id")),
            kind: pick(u, &ResourceKind::EVERY),
            env: env(u, "resource"),
            selection: Selection::default(),
        };
        let run = flip(u).then(|| Run {
            id: "run_1".parse().expect("an id"),
            resource_id: resource.id.clone(),
            env: env(u, "run"),
            selection: Selection::default(),
            instruction: None,
            cwd: None,
            command: None,
            runtime_command: None,
            model: None,
            provider: None,
            approval_policy: None,
        });
        let profile = flip(u).then(|| Profile {
            id: "arp_1".parse().expect("an id"),
            tenant_id: resource.tenant_id.clone(),
            workspace_id: None,
            project_id: None,
            name: "profile".to_owned(),
            runtime: Runtime::Custom,
            applies_to: AppliesTo::default(),
            tools: None,
            connectors: Vec::new(),
            env: env(u, "profile"),
            policy: crate::model::Policy::new(),
            is_default: flip(u),
        });
        resource.selection.skip = flip(u);
        if flip(u) {
            resource.selection.profile_id = profile.as_ref().map(|profile| profile.id.clone());
        }
        Self { variables: variables(u), profile, resource, run }
    }

    fn records(&self) -> Records {
        Records {
            variables: self.variables.iter().map(|v| (v.id.clone(), v.clone())).collect(),
            profiles: self.profile.iter().map(|p| (p.id.clone(), p.clone())).collect(),
            resources: BTreeMap::from([(self.resource.id.clone(), self.resource.clone())]),
            runs: self.run.iter().map(|run| (run.id.clone(), run.clone())).collect(),
        }
    }

    /// The last word on a name, and how that is delivered: each layer in turn, the lowest first.
    fn said(&self, name: &str) -> Option<(&str, Deliver)> {
        let name = EnvName::parse(name).expect("a name");
        let plain = |value| (value, Deliver::Env);
        let mut said = self.applying_profile().and_then(|profile| profile.env.get(&name)).map(plain);
        for scope in self.scopes() {
            for target in self.targets() {
                let fits = |v: &&Variable| {
                    v.enabled
                        && v.name == name
                        && v.tenant_id == self.resource.tenant_id
                        && v.scope == scope
                        && v.target == target
                };
                said = self.variables.iter().find(fits).map(|v| (&v.value, v.deliver)).or(said);
            }
        }
        said = self.resource.env.get(&name).map(plain).or(said);
        said = self.run.as_ref().and_then(|run| run.env.get(&name)).map(plain).or(said);
        said.map(|(value, deliver)| (value.expose(), deliver))
    }

    fn applying_profile(&self) -> Option<&Profile> {
        let Selection { skip, profile_id } = &self.resource.selection;
        self.profile.as_ref().filter(|profile| !skip && (profile_id.is_some() || profile.is_default))
    }

    fn scopes(&self) -> Vec<Scope> {
        let Resource { workspace_id, project_id, .. } = &self.resource;
        let workspace = workspace_id.clone().map(Scope::Workspace);
        [Some(Scope::Tenant), workspace, project_id.clone().map(Scope::Project)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = vec![Target::All, self.resource.kind.target()];
        if self.run.is_some() && !targets.contains(&Target::Agent) {
            targets.push(Target::Agent);
        }
        targets
    }
}

/// One for each tenant, scope, target and name at most, as in a store.
fn variables(u: &mut Unstructured<'_>) -> Vec<Variable> {
    let scopes = [
        Scope::Tenant,
        Scope::Workspace("w1".parse().expect("an id")),
        Scope::Workspace("w2".parse().expect("an id")),
        Scope::Project("p1".parse().expect("an id")),
    ];
    let targets = [Target::All, Target::Sandbox, Target::Computer, Target::Agent];
    let mut variables: Vec<Variable> = Vec::new();
    for position in 0..u.int_in_range(0..=24_u32).unwrap_or(0) {
        let variable = Variable {
            id: format!("env_{position}").parse().expect("an id"),
            tenant_id: pick(u, &["t1", "t1", "t1", "t2"]).parse().expect("an id"),
            scope: scopes[u.choose_index(scopes.len()).unwrap_or(0)].clone(),
            target: pick(u, &targets),
            name: EnvName::parse(pick(u, &NAMES)).expect("a name"),
            value: SecretValue::new(format!("variable {position}")).expect("a value"),
            enabled: u.ratio(3, 4).unwrap_or(true),
            deliver: if u.ratio(1, 8).unwrap_or(false) { Deliver::File } else { Deliver::Env },
        };
        let is_same = |other: &Variable| {
            (&other.tenant_id, &other.scope, other.target, &other.name)
                == (&variable.tenant_id, &variable.scope, variable.target, &variable.name)
        };
        if !variables.iter().any(is_same) {
            variables.push(variable);
        }
    }
    variables
}

fn env(u: &mut Unstructured<'_>, of: &str) -> EnvMap {
    let value = || SecretValue::new(of.to_owned()).expect("a value");
    NAMES
        .into_iter()
        .filter(|_| flip(u))
        .map(|name| (EnvName::parse(name).expect("a name"), value()))
        .collect()
}

fn flip(u: &mut Unstructured<'_>) -> bool {
    u.arbitrary().unwrap_or(false)
}

fn pick<T: Copy>(u: &mut Unstructured<'_>, from: &[T]) -> T {
    u.choose(from).copied().unwrap_or(from[0])
}

/// Nobody but the platform says anything of it, whatever records hold.
const RESERVED: &str = "MIOSA_RESOURCE_ID";
const NAMES: [&str; 4] = ["A", "http_proxy", "MIOSA_AGENT_CWD", RESERVED];
