//! What one host needs, out of what its tenants define. Pure: rows in, records out.
//!
//! A host is sent only what its resources and runs can resolve to. Whatever else their tenants have
//! (other workspaces, variables for other kinds, profiles nobody here selects) never reaches it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use miosa_injector::model::{
    Deliver, Profile, ProfileId, Resource, ResourceId, Run, Scope, SecretValue, Target, TenantId, Variable,
};
use miosa_injector::{Records, State, StateError, Understands};

use miosa_snapshot::HostId;

use crate::store::slice::{Catalog, Contents, Place, Reach, Tag, Unreadable};

/// What several hosts need, in the order in which it is looked for.
#[derive(Default)]
pub(super) struct Shelves {
    tenants: BTreeMap<TenantId, Shelf>,
    runs: BTreeMap<ResourceId, Vec<Run>>,
    /// Resources that can't be read, by host, and runs that can't be, by resource.
    lost_on: BTreeMap<HostId, Vec<Lost>>,
    lost_runs: BTreeMap<ResourceId, Vec<Lost>>,
}

/// What a tenant defines.
#[derive(Default)]
struct Shelf {
    variables: BTreeMap<(Scope, Target), Vec<Variable>>,
    profiles: BTreeMap<ProfileId, Profile>,
    /// Also those that can't be read.
    defaults: BTreeMap<Place, ProfileId>,
    lost_variables: BTreeMap<(Scope, Target), Vec<String>>,
    lost_profiles: BTreeMap<ProfileId, String>,
    /// Of what it can't even be told what it reaches.
    lost: Vec<String>,
}

/// A record that can't be read.
struct Lost {
    tenant: String,
    name: String,
}

/// What a host needs, as far as it can be read.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) records: Records,
    pub(super) missing: Missing,
}

/// The records that keep something of a tenant from a host, by tenant.
pub(super) type Missing = BTreeMap<String, BTreeSet<String>>;

impl Shelves {
    /// Puts away what was read, but for the resources.
    pub(super) fn new(contents: Contents) -> (Self, BTreeMap<HostId, Vec<Resource>>) {
        let Contents { resources, runs, catalogs, unreadable } = contents;
        let tenants = catalogs.into_iter().map(|(id, catalog)| (id, Shelf::new(catalog))).collect();
        let mut shelves = Self { tenants, runs, ..Self::default() };
        for Unreadable { tag, .. } in unreadable {
            shelves.lose(tag);
        }
        (shelves, resources)
    }

    fn lose(&mut self, Tag { tenant, name, reach }: Tag) {
        match reach {
            Reach::Nothing => {}
            Reach::Host(host) => self.lost_on.entry(host).or_default().push(Lost { tenant, name }),
            Reach::Resource(resource) => {
                self.lost_runs.entry(resource).or_default().push(Lost { tenant, name });
            }
            Reach::Scope(..) | Reach::Selection { .. } | Reach::Tenant => {
                // What has no valid tenant reaches no valid resource.
                if let Ok(tenant) = tenant.parse() {
                    self.tenants.entry(tenant).or_default().lose(name, reach);
                }
            }
        }
    }

    /// What a host with these resources resolves from.
    pub(super) fn needed_on(&self, host: &HostId, resources: &[Resource]) -> Needed {
        let mut needed = self.needed_for(resources);
        for lost in self.lost_on.get(host).into_iter().flatten() {
            needed.miss(&lost.tenant, &lost.name);
        }
        needed
    }

    /// A record that can't be read costs what it reaches and no more. What is left out is refused by
    /// name when it starts; nothing ever starts with less than it would have had: the next variable of
    /// the same name, or the next default profile, might be the wrong credential. So
    /// - a resource or run that can't be read is not there, and neither is what a variable reaches that
    ///   can't be read;
    /// - a profile that can't be read is not there, and resources that it may be the default of name
    ///   it, which a host refuses as a profile that is not found.
    pub(super) fn needed_for(&self, resources: &[Resource]) -> Needed {
        let mut needed = Needed::default();
        for resource in resources {
            let tenant = resource.tenant_id.as_str();
            let mut runs = self.runs.get(&resource.id).map_or(&[][..], Vec::as_slice);
            for lost in self.lost_runs.get(&resource.id).into_iter().flatten() {
                needed.miss(tenant, &lost.name);
            }
            let mut resource = Cow::Borrowed(resource);
            if let Some(shelf) = self.tenants.get(&resource.tenant_id) {
                let lost = shelf.lost_to(&resource);
                if !lost.is_empty() {
                    lost.into_iter().for_each(|name| needed.miss(tenant, name));
                    continue;
                }
                let lost = shelf.lost_at(&resource, Target::Agent);
                if !runs.is_empty() && !lost.is_empty() {
                    lost.into_iter().for_each(|name| needed.miss(tenant, name));
                    runs = &[];
                }
                if let Some(profile) = shelf.lost_default(&resource) {
                    resource.to_mut().selection.profile_id = Some(profile.clone());
                }
                shelf.add_variables(&mut needed.records, &resource, runs);
                shelf.add_profiles(&mut needed, &resource, runs);
            }
            let records = &mut needed.records;
            records.runs.extend(runs.iter().map(|run| (run.id.clone(), run.clone())));
            records.resources.insert(resource.id.clone(), resource.into_owned());
        }
        needed
    }
}

impl Needed {
    fn miss(&mut self, tenant: &str, name: &str) {
        self.missing.entry(tenant.to_owned()).or_default().insert(name.to_owned());
    }
}

/// The state of a host that has all these resources and no others, and knows this.
pub(crate) fn state_of(contents: Contents, understands: Understands) -> Result<State, StateError> {
    let (shelves, resources) = Shelves::new(contents);
    let resources: Vec<_> = resources.into_values().flatten().collect();
    let mut records = shelves.needed_for(&resources).records;
    understands.reduce(&mut records);
    State::new(records)
}

impl Shelf {
    fn new(catalog: Catalog) -> Self {
        let mut shelf = Self::default();
        for mut variable in catalog.variables {
            // A disabled variable takes no part, but `explain` says so. Its value stays here, and with it
            // all that is of no use without one.
            if !variable.enabled
                && let Ok(nothing) = SecretValue::new(String::new())
            {
                variable.value = nothing;
                variable.deliver = Deliver::Env;
            }
            let place = (variable.scope.clone(), variable.target);
            shelf.variables.entry(place).or_default().push(variable);
        }
        for profile in catalog.profiles {
            if profile.is_default {
                let place = (profile.workspace_id.clone(), profile.project_id.clone());
                shelf.defaults.insert(place, profile.id.clone());
            }
            shelf.profiles.insert(profile.id.clone(), profile);
        }
        shelf
    }

    fn lose(&mut self, name: String, reach: Reach) {
        match reach {
            Reach::Scope(scope, target) => {
                self.lost_variables.entry((scope, target)).or_default().push(name);
            }
            Reach::Selection { profile, default_at } => {
                self.defaults.extend(default_at.map(|place| (place, profile.clone())));
                self.lost_profiles.insert(profile, name);
            }
            Reach::Nothing | Reach::Host(_) | Reach::Resource(_) | Reach::Tenant => self.lost.push(name),
        }
    }

    /// What can't be read and reaches a resource itself.
    fn lost_to(&self, resource: &Resource) -> Vec<&str> {
        let mut lost: Vec<_> = self.lost.iter().map(String::as_str).collect();
        lost.append(&mut self.lost_at(resource, Target::All));
        lost.append(&mut self.lost_at(resource, resource.kind.target()));
        lost
    }

    /// The variables that can't be read of the scopes of a resource.
    fn lost_at(&self, resource: &Resource, target: Target) -> Vec<&str> {
        if self.lost_variables.is_empty() {
            return Vec::new();
        }
        let lost = scopes(resource).filter_map(|scope| self.lost_variables.get(&(scope, target)));
        lost.flatten().map(String::as_str).collect()
    }

    /// The default profile of a resource, if it may be one that can't be read.
    fn lost_default(&self, resource: &Resource) -> Option<&ProfileId> {
        let selection = &resource.selection;
        if self.lost_profiles.is_empty() || selection.skip || selection.profile_id.is_some() {
            return None;
        }
        let defaults = places(resource).into_iter().filter_map(|place| self.defaults.get(&place));
        for id in defaults {
            match self.profiles.get(id) {
                None => return Some(id),
                // Whatever starts there, this one is it.
                Some(profile)
                    if [false, true]
                        .iter()
                        .all(|is_run| profile.applies_to.allows(resource.kind, *is_run)) =>
                {
                    return None;
                }
                Some(_) => {}
            }
        }
        None
    }

    /// The target of a resource is its kind; its runs are agents besides.
    fn add_variables(&self, records: &mut Records, resource: &Resource, runs: &[Run]) {
        let mut targets = BTreeSet::from([Target::All, resource.kind.target()]);
        if !runs.is_empty() {
            targets.insert(Target::Agent);
        }
        for scope in scopes(resource) {
            for target in &targets {
                for variable in self.variables.get(&(scope.clone(), *target)).into_iter().flatten() {
                    records.variables.entry(variable.id.clone()).or_insert_with(|| variable.clone());
                }
            }
        }
    }

    /// Those that the resource or a run names, and the defaults where nothing is named or skipped.
    fn add_profiles(&self, needed: &mut Needed, resource: &Resource, runs: &[Run]) {
        let mut wanted: BTreeSet<&ProfileId> = BTreeSet::new();
        for selection in runs.iter().map(|run| &run.selection).chain([&resource.selection]) {
            if !selection.skip {
                wanted.extend(&selection.profile_id);
            }
        }
        if !resource.selection.skip && resource.selection.profile_id.is_none() {
            let defaults = places(resource).into_iter().filter_map(|place| self.defaults.get(&place));
            wanted.extend(defaults.filter(|id| self.profiles.contains_key(id)));
        }
        for id in wanted {
            if let Some(profile) = self.profiles.get(id) {
                needed.records.profiles.entry(id.clone()).or_insert_with(|| profile.clone());
            } else if let Some(name) = self.lost_profiles.get(id) {
                needed.miss(resource.tenant_id.as_str(), name);
            }
        }
    }
}

fn scopes(resource: &Resource) -> impl Iterator<Item = Scope> {
    let workspace = resource.workspace_id.clone().map(Scope::Workspace);
    let project = resource.project_id.clone().map(Scope::Project);
    [Some(Scope::Tenant), workspace, project].into_iter().flatten()
}

/// The places that may have a default for a resource, the most specific one first.
fn places(resource: &Resource) -> [Place; 4] {
    let (workspace, project) = (&resource.workspace_id, &resource.project_id);
    [(workspace.clone(), project.clone()), (None, project.clone()), (workspace.clone(), None), (None, None)]
}

#[cfg(test)]
mod tests {
    use miosa_injector::model::{EnvMap, EnvName, ResourceKind, Runtime, Selection};

    use super::*;

    fn variable(id: &str, scope: Scope, target: Target) -> Variable {
        Variable {
            id: id.parse().unwrap(),
            tenant_id: "t".parse().unwrap(),
            scope,
            target,
            name: EnvName::parse("NAME").unwrap(),
            value: SecretValue::new("value".into()).unwrap(),
            enabled: true,
            deliver: Deliver::File,
        }
    }

    fn profile(id: &str, workspace: Option<&str>, is_default: bool) -> Profile {
        Profile {
            id: id.parse().unwrap(),
            tenant_id: "t".parse().unwrap(),
            workspace_id: workspace.map(|id| id.parse().unwrap()),
            project_id: None,
            name: id.to_owned(),
            runtime: Runtime::Custom,
            applies_to: Default::default(),
            tools: None,
            connectors: Vec::new(),
            env: EnvMap::new(),
            policy: Default::default(),
            is_default,
        }
    }

    fn resource(selection: Selection) -> Resource {
        Resource {
            id: "r".parse().unwrap(),
            tenant_id: "t".parse().unwrap(),
            workspace_id: Some("w".parse().unwrap()),
            project_id: None,
            kind: ResourceKind::Sandbox,
            env: EnvMap::new(),
            selection,
        }
    }

    fn run(selection: Selection) -> Run {
        Run {
            id: "run".parse().unwrap(),
            resource_id: "r".parse().unwrap(),
            env: EnvMap::new(),
            selection,
            instruction: None,
            cwd: None,
            command: None,
            runtime_command: None,
            model: None,
            provider: None,
            approval_policy: None,
        }
    }

    fn shelves(catalog: Catalog, runs: Vec<Run>) -> Shelves {
        let mut contents = Contents::default();
        contents.catalogs.insert("t".parse().unwrap(), catalog);
        contents.runs.insert("r".parse().unwrap(), runs);
        Shelves::new(contents).0
    }

    fn named(id: &str) -> Selection {
        Selection { skip: false, profile_id: Some(id.parse().unwrap()) }
    }

    #[test]
    fn a_host_gets_the_variables_of_its_resources_scopes_and_kinds_only() {
        let catalog = || Catalog {
            variables: vec![
                variable("tenant", Scope::Tenant, Target::All),
                variable("sandbox", Scope::Tenant, Target::Sandbox),
                variable("computer", Scope::Tenant, Target::Computer),
                variable("agent", Scope::Tenant, Target::Agent),
                variable("w", Scope::Workspace("w".parse().unwrap()), Target::All),
                variable("v", Scope::Workspace("v".parse().unwrap()), Target::All),
                variable("p", Scope::Project("w".parse().unwrap()), Target::All),
            ],
            profiles: Vec::new(),
        };
        let ids = |runs| {
            let records = shelves(catalog(), runs).needed_for(&[resource(Selection::default())]).records;
            records.variables.into_keys().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(ids(Vec::new()), ["sandbox", "tenant", "w"]);
        assert_eq!(ids(vec![run(Selection::default())]), ["agent", "sandbox", "tenant", "w"]);
    }

    #[test]
    fn a_disabled_variable_travels_without_its_value() {
        let disabled = Variable { enabled: false, ..variable("off", Scope::Tenant, Target::All) };
        let catalog = Catalog { variables: vec![disabled], profiles: Vec::new() };
        let records = shelves(catalog, Vec::new()).needed_for(&[resource(Selection::default())]).records;
        let sent = records.variables.values().next().unwrap();
        assert!(!sent.enabled && sent.value.expose().is_empty() && sent.deliver.is_env());
    }

    #[test]
    fn a_host_gets_the_profiles_that_can_be_selected_on_it_only() {
        let catalog = || Catalog {
            variables: Vec::new(),
            profiles: vec![
                profile("tenant", None, true),
                profile("w", Some("w"), true),
                profile("v", Some("v"), true),
                profile("named", None, false),
                profile("other", None, false),
            ],
        };
        let ids = |resource_selects, runs| {
            let records = shelves(catalog(), runs).needed_for(&[resource(resource_selects)]).records;
            records.profiles.into_keys().map(String::from).collect::<Vec<_>>()
        };
        let skip = || Selection { skip: true, profile_id: None };
        assert_eq!(ids(Selection::default(), Vec::new()), ["tenant", "w"]);
        assert_eq!(ids(named("named"), Vec::new()), ["named"]);
        assert_eq!(ids(skip(), vec![run(Selection::default())]), Vec::<String>::new());
        assert_eq!(ids(skip(), vec![run(named("other"))]), ["other"]);
        assert_eq!(ids(Selection::default(), vec![run(named("gone"))]), ["tenant", "w"]);
    }

    #[test]
    fn another_tenants_profile_is_not_sent_even_if_it_is_named() {
        let records =
            shelves(Catalog::default(), Vec::new()).needed_for(&[resource(named("theirs"))]).records;
        assert!(records.profiles.is_empty());
    }

    fn lost(shelves: &mut Shelves, reach: Reach) {
        shelves.lose(Tag { tenant: "t".to_owned(), name: "record x".to_owned(), reach });
    }

    #[test]
    fn what_a_lost_variable_reaches_is_left_out_and_nothing_else() {
        let left = |scope, target| {
            let mut shelves = shelves(Catalog::default(), vec![run(Selection::default())]);
            lost(&mut shelves, Reach::Scope(scope, target));
            let needed = shelves.needed_for(&[resource(Selection::default())]);
            let left = (needed.records.resources.len(), needed.records.runs.len());
            assert_eq!(needed.missing.is_empty(), left == (1, 1));
            left
        };
        let workspace = |id: &str| Scope::Workspace(id.parse().unwrap());
        assert_eq!(left(Scope::Tenant, Target::All), (0, 0));
        assert_eq!(left(workspace("w"), Target::Sandbox), (0, 0));
        assert_eq!(left(Scope::Tenant, Target::Agent), (1, 0));
        assert_eq!(left(Scope::Tenant, Target::Computer), (1, 1));
        assert_eq!(left(workspace("v"), Target::All), (1, 1));
    }

    #[test]
    fn a_lost_default_profile_is_named_where_it_would_have_been_the_one() {
        let selects = |place: Place, profiles| {
            let mut shelves = shelves(Catalog { variables: Vec::new(), profiles }, Vec::new());
            let profile = "lost".parse().unwrap();
            lost(&mut shelves, Reach::Selection { profile, default_at: Some(place) });
            let needed = shelves.needed_for(&[resource(Selection::default())]);
            let selected = needed.records.resources.into_values().next().unwrap().selection.profile_id;
            assert_eq!(needed.missing.is_empty(), selected.is_none());
            selected.map(String::from)
        };
        let workspace = || (Some("w".parse().unwrap()), None);
        assert_eq!(selects((None, None), Vec::new()).as_deref(), Some("lost"));
        assert_eq!(selects(workspace(), vec![profile("tenant", None, true)]).as_deref(), Some("lost"));
        assert_eq!(selects((Some("v".parse().unwrap()), None), Vec::new()), None);
    }
}
