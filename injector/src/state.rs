//! Everything one host resolves from, checked as a whole and indexed by scope.

use std::collections::BTreeMap;

use crate::model::{EnvMap, EnvName, SecretValue};
use crate::model::{
    Profile, ProfileId, Resource, ResourceId, Run, RunId, Scope, TenantId, Variable, VariableId,
};
use crate::payload::Change;

/// The records of a state or of a change to one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Runtime env variables.
    pub variables: BTreeMap<VariableId, Variable>,
    /// Profiles.
    pub profiles: BTreeMap<ProfileId, Profile>,
    /// Resources.
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Runs.
    pub runs: BTreeMap<RunId, Run>,
}

/// What a host resolves from. Immutable: a change makes another one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    records: Records,
    variables_of: BTreeMap<(TenantId, Scope), Vec<VariableId>>,
    runs_of: BTreeMap<ResourceId, Vec<RunId>>,
}

/// Why records make no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A run on a resource that is not there.
    #[error("run {run} is on resource {resource}, which is not in the state")]
    RunWithoutResource {
        /// The run.
        run: RunId,
        /// Its missing resource.
        resource: ResourceId,
    },
}

impl State {
    /// Makes a state of its records.
    ///
    /// # Errors
    /// When a run's resource is missing.
    pub fn new(records: Records) -> Result<Self, StateError> {
        let mut variables_of: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for variable in records.variables.values() {
            let home = (variable.tenant_id.clone(), variable.scope.clone());
            variables_of.entry(home).or_default().push(variable.id.clone());
        }
        let mut runs_of: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for run in records.runs.values() {
            if !records.resources.contains_key(&run.resource_id) {
                let (run, resource) = (run.id.clone(), run.resource_id.clone());
                return Err(StateError::RunWithoutResource { run, resource });
            }
            runs_of.entry(run.resource_id.clone()).or_default().push(run.id.clone());
        }
        Ok(Self { records, variables_of, runs_of })
    }

    /// The state after a change: deletions first, then what is put. Deleting what is not there is
    /// no error, since the result is the same.
    ///
    /// # Errors
    /// When the result is no state.
    pub fn apply(&self, change: Change) -> Result<Self, StateError> {
        let mut records = self.records.clone();
        records.variables.retain(|id, _| !change.delete.variables.contains(id));
        records.profiles.retain(|id, _| !change.delete.profiles.contains(id));
        records.resources.retain(|id, _| !change.delete.resources.contains(id));
        records.runs.retain(|id, _| !change.delete.runs.contains(id));
        records.variables.extend(change.put.variables);
        records.profiles.extend(change.put.profiles);
        records.resources.extend(change.put.resources);
        records.runs.extend(change.put.runs);
        Self::new(records)
    }

    /// The plain records.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// For each resource an upper bound, in bytes, of the names and values that it, or any run on it, can
    /// start with. What an answer costs to make grows with that.
    #[must_use]
    pub fn weights(&self) -> BTreeMap<&ResourceId, usize> {
        let Records { variables, profiles, resources, runs } = &self.records;
        let mut of_tenant: BTreeMap<&TenantId, usize> = BTreeMap::new();
        for variable in variables.values() {
            let sum = of_tenant.entry(&variable.tenant_id).or_default();
            add(sum, weight(&variable.name, &variable.value));
            if !variable.deliver.is_env() {
                // Its name stands in the answer a second time.
                add(sum, variable.name.as_str().len().saturating_add(OVERHEAD));
            }
        }
        for profile in profiles.values() {
            add(of_tenant.entry(&profile.tenant_id).or_default(), weight_of(&profile.env));
        }
        let heaviest_run = |id: &ResourceId| {
            let runs = self.runs_of.get(id).into_iter().flatten().filter_map(|run| runs.get(run));
            runs.map(|run| weight_of(&run.env)).max().unwrap_or(0)
        };
        let of_resource = |resource: &Resource| {
            let of_tenant = of_tenant.get(&resource.tenant_id).copied().unwrap_or(0);
            of_tenant.saturating_add(weight_of(&resource.env)).saturating_add(heaviest_run(&resource.id))
        };
        resources.iter().map(|(id, resource)| (id, of_resource(resource))).collect()
    }

    /// The tenants whose records these are; one stands here as often as it has records.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        let Records { variables, profiles, resources, runs: _ } = &self.records;
        let variables = variables.values().map(|record| &record.tenant_id);
        let profiles = profiles.values().map(|record| &record.tenant_id);
        // A run is its resource's, which is here too.
        variables.chain(profiles).chain(resources.values().map(|record| &record.tenant_id))
    }

    /// The runs on a resource, by id.
    pub fn runs_on(&self, resource: &ResourceId) -> impl Iterator<Item = &RunId> {
        self.runs_of.get(resource).into_iter().flatten()
    }

    /// The variables a tenant defines at one scope, by id.
    pub(crate) fn variables_at(&self, tenant: &TenantId, scope: Scope) -> impl Iterator<Item = &Variable> {
        let ids = self.variables_of.get(&(tenant.clone(), scope));
        ids.into_iter().flatten().filter_map(|id| self.records.variables.get(id))
    }
}

fn weight_of(env: &EnvMap) -> usize {
    env.iter().map(|(name, value)| weight(name, value)).fold(0, usize::saturating_add)
}

fn weight(name: &EnvName, value: &SecretValue) -> usize {
    name.as_str().len().saturating_add(value.size()).saturating_add(OVERHEAD)
}

fn add(sum: &mut usize, weight: usize) {
    *sum = sum.saturating_add(weight);
}

/// What a variable costs besides its bytes.
const OVERHEAD: usize = 64;
