//! What one host needs, out of what its tenants define. Pure: rows in, records out.
//!
//! A host is sent only what its resources and runs can resolve to. Whatever else their tenants have
//! (other workspaces, variables for other kinds, profiles nobody here selects) never reaches it.

use std::collections::{BTreeMap, BTreeSet};

use miosa_injector::model::{
    Profile, ProfileId, ProjectId, Resource, ResourceId, Run, Scope, SecretValue, Target, TenantId, Variable,
    WorkspaceId,
};
use miosa_injector::{Records, State, StateError};

use miosa_snapshot::HostId;

use crate::store::slice::{Catalog, Contents};

/// What several hosts need, in the order in which it is looked for.
pub(super) struct Shelves {
    tenants: BTreeMap<TenantId, Shelf>,
    runs: BTreeMap<ResourceId, Vec<Run>>,
}

/// What a tenant defines.
#[derive(Default)]
struct Shelf {
    variables: BTreeMap<(Scope, Target), Vec<Variable>>,
    profiles: BTreeMap<ProfileId, Profile>,
    defaults: BTreeMap<Place, ProfileId>,
}

/// Where a default profile holds.
type Place = (Option<WorkspaceId>, Option<ProjectId>);

impl Shelves {
    /// Puts away what was read, but for the resources.
    pub(super) fn new(contents: Contents) -> (Self, BTreeMap<HostId, Vec<Resource>>) {
        let tenants = contents.catalogs.into_iter().map(|(id, catalog)| (id, Shelf::new(catalog))).collect();
        (Self { tenants, runs: contents.runs }, contents.resources)
    }

    /// The records that a host with these resources resolves from.
    pub(super) fn records_for(&self, resources: &[Resource]) -> Records {
        let mut records = Records::default();
        for resource in resources {
            let runs = self.runs.get(&resource.id).map_or(&[][..], Vec::as_slice);
            if let Some(shelf) = self.tenants.get(&resource.tenant_id) {
                shelf.add_variables(&mut records, resource, runs);
                shelf.add_profiles(&mut records, resource, runs);
            }
            records.runs.extend(runs.iter().map(|run| (run.id.clone(), run.clone())));
            records.resources.insert(resource.id.clone(), resource.clone());
        }
        records
    }
}

/// The state of a host that has all these resources and no others.
pub(crate) fn state_of(contents: Contents) -> Result<State, StateError> {
    let (shelves, resources) = Shelves::new(contents);
    let resources: Vec<_> = resources.into_values().flatten().collect();
    State::new(shelves.records_for(&resources))
}

impl Shelf {
    fn new(catalog: Catalog) -> Self {
        let mut shelf = Self::default();
        for mut variable in catalog.variables {
            // A disabled variable takes no part, but `explain` says so. Its value stays here.
            if !variable.enabled
                && let Ok(nothing) = SecretValue::new(String::new())
            {
                variable.value = nothing;
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

    /// The target of a resource is its kind; its runs are agents besides (DESIGN §4).
    fn add_variables(&self, records: &mut Records, resource: &Resource, runs: &[Run]) {
        let workspace = resource.workspace_id.clone().map(Scope::Workspace);
        let project = resource.project_id.clone().map(Scope::Project);
        let mut targets = BTreeSet::from([Target::All, resource.kind.target()]);
        if !runs.is_empty() {
            targets.insert(Target::Agent);
        }
        for scope in [Some(Scope::Tenant), workspace, project].into_iter().flatten() {
            for target in &targets {
                for variable in self.variables.get(&(scope.clone(), *target)).into_iter().flatten() {
                    records.variables.entry(variable.id.clone()).or_insert_with(|| variable.clone());
                }
            }
        }
    }

    /// Those that the resource or a run names, and the defaults where nothing is named or skipped.
    fn add_profiles(&self, records: &mut Records, resource: &Resource, runs: &[Run]) {
        let mut wanted: BTreeSet<&ProfileId> = BTreeSet::new();
        for selection in runs.iter().map(|run| &run.selection).chain([&resource.selection]) {
            if !selection.skip {
                wanted.extend(&selection.profile_id);
            }
        }
        if !resource.selection.skip && resource.selection.profile_id.is_none() {
            let (workspace, project) = (&resource.workspace_id, &resource.project_id);
            let places = [
                (workspace.clone(), project.clone()),
                (None, project.clone()),
                (workspace.clone(), None),
                (None, None),
            ];
            wanted.extend(places.iter().filter_map(|place| self.defaults.get(place)));
        }
        for profile in wanted.into_iter().filter_map(|id| self.profiles.get(id)) {
            records.profiles.entry(profile.id.clone()).or_insert_with(|| profile.clone());
        }
    }
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
            let records = shelves(catalog(), runs).records_for(&[resource(Selection::default())]);
            records.variables.into_keys().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(ids(Vec::new()), ["sandbox", "tenant", "w"]);
        assert_eq!(ids(vec![run(Selection::default())]), ["agent", "sandbox", "tenant", "w"]);
    }

    #[test]
    fn a_disabled_variable_travels_without_its_value() {
        let disabled = Variable { enabled: false, ..variable("off", Scope::Tenant, Target::All) };
        let catalog = Catalog { variables: vec![disabled], profiles: Vec::new() };
        let records = shelves(catalog, Vec::new()).records_for(&[resource(Selection::default())]);
        let sent = records.variables.values().next().unwrap();
        assert!(!sent.enabled && sent.value.expose().is_empty());
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
            let records = shelves(catalog(), runs).records_for(&[resource(resource_selects)]);
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
        let records = shelves(Catalog::default(), Vec::new()).records_for(&[resource(named("theirs"))]);
        assert!(records.profiles.is_empty());
    }
}
