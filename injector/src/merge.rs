//! The merge of environment layers. Explaining and merging are one computation: the merged
//! environment is the last entry of each name's history.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{
    Deliver, EnvName, Profile, Resource, ResourceKind, Run, Scope, SecretValue, Target, Variable,
};
use crate::state::State;

/// The layers, lowest first; the derived order is the merge order. `--env` of `miosa-exec` comes
/// above `Run`, inside the sandbox, and is never sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// What the harness's adapter needs; anybody may override it.
    Catalog,
    Profile,
    Tenant(Target),
    Workspace(Target),
    Project(Target),
    Resource,
    Run,
    Platform,
}

/// One layer's word on one name.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) layer: Layer,
    /// The id of the record it comes from.
    pub(crate) source: String,
    pub(crate) value: SecretValue,
    pub(crate) deliver: Deliver,
}

/// What took no part, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ignored {
    pub(crate) name: EnvName,
    pub(crate) layer: Layer,
    pub(crate) source: String,
    pub(crate) why: &'static str,
}

/// The merged environment with its whole history.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Per name the entries that wanted it, the winner last; never empty.
    histories: BTreeMap<EnvName, Vec<Entry>>,
    ignored: Vec<Ignored>,
}

impl Merged {
    /// Merges the layers (docs/architecture.md), all but the platform's.
    pub(crate) fn of(
        state: &State,
        resource: &Resource,
        run: Option<&Run>,
        profile: Option<&Profile>,
    ) -> Self {
        let mut merged = Self::default();
        if let Some(profile) = profile {
            for (name, value) in &profile.env {
                merged.add(Layer::Profile, profile.id.as_str(), name, value, Deliver::Env);
            }
        }
        merged.add_scopes(state, resource, run.is_some());
        for (name, value) in &resource.env {
            merged.add(Layer::Resource, resource.id.as_str(), name, value, Deliver::Env);
        }
        if let Some(run) = run {
            for (name, value) in &run.env {
                merged.add(Layer::Run, run.id.as_str(), name, value, Deliver::Env);
            }
        }
        // Stable: two records of one layer and name, which no store holds, stay in order of their ids.
        merged.histories.values_mut().for_each(|history| history.sort_by_key(|entry| entry.layer));
        merged
    }

    fn add_scopes(&mut self, state: &State, resource: &Resource, is_run: bool) {
        let scopes = [
            Some(Scope::Tenant),
            resource.workspace_id.clone().map(Scope::Workspace),
            resource.project_id.clone().map(Scope::Project),
        ];
        for scope in scopes.into_iter().flatten() {
            for variable in state.variables_at(&resource.tenant_id, scope) {
                if !reaches(variable.target, resource.kind, is_run) {
                    continue;
                }
                let layer = match variable.scope {
                    Scope::Tenant => Layer::Tenant(variable.target),
                    Scope::Workspace(_) => Layer::Workspace(variable.target),
                    Scope::Project(_) => Layer::Project(variable.target),
                };
                if variable.enabled {
                    let Variable { name, value, deliver, .. } = variable;
                    self.add(layer, variable.id.as_str(), name, value, *deliver);
                } else {
                    self.ignore(layer, variable.id.as_str(), &variable.name, "disabled");
                }
            }
        }
    }

    fn add(&mut self, layer: Layer, source: &str, name: &EnvName, value: &SecretValue, deliver: Deliver) {
        if name.is_reserved() {
            // The APIs refuse these; a foreign publisher may not have.
            return self.ignore(layer, source, name, "reserved for the platform");
        }
        // Refused there too: the start is planned from it, wherever the program would look for it.
        let deliver = if name.is_env_only() { Deliver::Env } else { deliver };
        let entry = Entry { layer, source: source.to_owned(), value: value.clone(), deliver };
        self.histories.entry(name.clone()).or_default().push(entry);
    }

    fn ignore(&mut self, layer: Layer, source: &str, name: &EnvName, why: &'static str) {
        self.ignored.push(Ignored { name: name.clone(), layer, source: source.to_owned(), why });
    }

    /// Adds what the platform or an adapter says, at the bottom of a layer: below what a record of
    /// the same layer says of the name.
    pub(crate) fn insert(&mut self, layer: Layer, source: &str, name: EnvName, value: SecretValue) {
        let history = self.histories.entry(name).or_default();
        let position = history.partition_point(|entry| entry.layer < layer);
        let entry = Entry { layer, source: source.to_owned(), value, deliver: Deliver::Env };
        history.insert(position, entry);
    }

    /// The winner for a name.
    pub(crate) fn winner(&self, name: &str) -> Option<&Entry> {
        EnvName::parse(name)
            .ok()
            .and_then(|name| self.histories.get(&name))
            .and_then(|history| history.last())
    }

    /// Every name with its winner and what that overrode, lowest first.
    pub(crate) fn histories(&self) -> impl Iterator<Item = (&EnvName, &Entry, &[Entry])> {
        self.histories.iter().filter_map(|(name, history)| {
            let (winner, overridden) = history.split_last()?;
            Some((name, winner, overridden))
        })
    }

    /// What took no part.
    pub(crate) fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }
}

/// A run takes, at each scope, what is for all, for its resource's kind and for agents.
fn reaches(target: Target, kind: ResourceKind, is_run: bool) -> bool {
    target == Target::All || target == kind.target() || (is_run && target == Target::Agent)
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => f.write_str("catalog"),
            Self::Profile => f.write_str("profile"),
            Self::Tenant(target) => write!(f, "tenant/{target}"),
            Self::Workspace(target) => write!(f, "workspace/{target}"),
            Self::Project(target) => write!(f, "project/{target}"),
            Self::Resource => f.write_str("resource"),
            Self::Run => f.write_str("run"),
            Self::Platform => f.write_str("platform"),
        }
    }
}
