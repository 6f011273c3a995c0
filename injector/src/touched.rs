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
