//! What the states of hosts are made of, read in one state of the database: the resources of each
//! host, their runs, and of each tenant the variables and profiles that those may need.
//!
//! Values stay sealed while the read goes on, so that it is short and holds one connection only; they
//! are opened afterwards, by whoever has a thread to spend on it.
//!
//! A record that can't be read is no reason to read nothing: it is told apart, with all that is known
//! of what it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miosa_injector::Understands;
use miosa_injector::model::{
    Profile, ProfileId, ProjectId, Resource, ResourceId, Run, Scope, Target, TenantId, Variable, WorkspaceId,
};
use miosa_snapshot::{HostId, HostPublicKey};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::lists::{padded, placeholders};
use super::resources::SealedResource;
use super::runs::SealedRun;
use super::updates::{Issued, Positions, counter, host_id, read_issued};
use super::variables::SealedVariable;
use super::{Doing as _, Read, Store, StoreError, profiles};
use crate::at_rest::DataKey;
use crate::clock::Millis;

/// A host as the publisher knows it.
#[derive(Debug, Clone)]
pub(crate) struct HostToServe {
    pub(crate) id: HostId,
    /// `None` until it enrolls.
    pub(crate) public_key: Option<HostPublicKey>,
    pub(crate) revoked: bool,
    /// The time of the newest heartbeat issued to it.
    pub(crate) beat_at: Millis,
    /// The newest update issued to it.
    pub(crate) newest: Option<Issued>,
    /// What its next update will include.
    pub(crate) positions: Positions,
    /// What it said that it knows.
    pub(crate) understands: Understands,
}

/// One moment of several hosts, values still sealed.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    /// Hosts whose newest update is still right.
    pub(crate) current: Vec<HostToServe>,
    /// Hosts that need another look at what is on them.
    pub(crate) behind: Vec<HostToServe>,
    /// The change number of every tenant that was asked about or has something on these hosts.
    pub(crate) numbers: Positions,
    resources: Vec<Tagged<SealedResource>>,
    runs: Vec<Tagged<SealedRun>>,
    variables: Vec<Tagged<SealedVariable>>,
    profiles: Vec<Profile>,
    keys: Keys,
    unreadable: Vec<Unreadable>,
}

/// What several hosts need, opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) resources: BTreeMap<HostId, Vec<Resource>>,
    pub(crate) runs: BTreeMap<ResourceId, Vec<Run>>,
    pub(crate) catalogs: BTreeMap<TenantId, Catalog>,
    /// What is there and is missing here.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// A record that can't be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) tag: Tag,
    pub(crate) error: StoreError,
}

/// What is known of a record without opening it.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) tenant: String,
    /// Its kind and id, for people.
    pub(crate) name: String,
    pub(crate) reach: Reach,
}

/// What a record has an influence on.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Nothing, since it is disabled.
    Nothing,
    /// The host that it is a resource of.
    Host(HostId),
    /// The resource that it is a run on.
    Resource(ResourceId),
    /// What has this scope and target.
    Scope(Scope, Target),
    /// What selects this profile, if only for being the default of a place.
    Selection { profile: ProfileId, default_at: Option<Place> },
    /// Everything of its tenant, for all that can be told.
    Tenant,
}

/// Where a default profile holds.
pub(crate) type Place = (Option<WorkspaceId>, Option<ProjectId>);

#[derive(Debug)]
struct Tagged<T> {
    tag: Tag,
    row: T,
}

/// What a tenant defines.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) variables: Vec<Variable>,
    pub(crate) profiles: Vec<Profile>,
}

type Keys = BTreeMap<(String, i64), Arc<DataKey>>;

impl Store {
    /// Reads what `hosts` need, and the change numbers of `tenants` besides. Of hosts that
    /// `is_current` no more is read than that.
    pub(crate) async fn slices(
        &self,
        hosts: &[HostId],
        tenants: &BTreeSet<String>,
        is_current: impl Fn(&HostToServe) -> bool,
    ) -> Result<Slices, StoreError> {
        let mut read = self.read().await?;
        let mut slices = Slices::default();
        let mut served = hosts_to_serve(&mut read, hosts).await?;
        let placed = tenants_on(&mut read, hosts).await?;
        let all = placed.values().flatten().chain(tenants).map(String::as_str);
        slices.numbers = numbers(&mut read, &all.collect()).await?;
        for host in &mut served {
            let tenants = placed.get(host.id.as_str()).into_iter().flatten();
            let number = |tenant| slices.numbers.get(tenant).copied().unwrap_or_default();
            host.positions = tenants.map(|tenant| (tenant.clone(), number(tenant))).collect();
        }
        (slices.current, slices.behind) = served.into_iter().partition(is_current);

        let behind: Vec<_> = slices.behind.iter().map(|host| host.id.clone()).collect();
        let behind: Vec<_> = behind.iter().map(HostId::as_str).collect();
        resources_on(&mut read, &behind, &mut slices).await?;
        runs_on(&mut read, &behind, &mut slices).await?;
        self.fill(read, &mut slices).await?;
        Ok(slices)
    }

    /// Reads what one resource needs, and of its host the version of the newest update and what it knows;
    /// `None` when there is no such resource.
    pub(crate) async fn slice_of_resource(
        &self,
        id: &ResourceId,
        now: Millis,
    ) -> Result<Option<(Slices, u64, Understands)>, StoreError> {
        const OF_HOST: &str = "read the version of a host";
        let mut read = self.read().await?;
        let mut slices = Slices::default();
        let row = sqlx::query(
            "SELECT id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile,
                    generation, sealed, created_at, updated_at
             FROM resources WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *read)
        .await
        .doing("read a resource")?;
        let Some(row) = row else { return Ok(None) };
        slices.take_resource(&row)?;
        let rows = sqlx::query(
            "SELECT id, resource_id, tenant_id, profile_id, skip_profile, generation, sealed, created_at,
                    expires_at
             FROM runs WHERE resource_id = $1 AND expires_at > $2",
        )
        .bind(id.as_str())
        .bind(now.0)
        .fetch_all(&mut *read)
        .await
        .doing("read the runs of a resource")?;
        rows.iter().try_for_each(|row| slices.take_run(row))?;
        let host = sqlx::query(
            "SELECT newest.version, hosts.understands
             FROM hosts LEFT JOIN host_updates AS newest ON newest.host_id = hosts.id
             WHERE hosts.id = (SELECT host_id FROM resources WHERE id = $1)",
        )
        .bind(id.as_str())
        .fetch_one(&mut *read)
        .await
        .doing(OF_HOST)?;
        let version: Option<i64> = host.try_get("version").doing(OF_HOST)?;
        let understands = Understands::read(host.try_get("understands").doing(OF_HOST)?);
        self.fill(read, &mut slices).await?;
        Ok(Some((slices, counter(version.unwrap_or_default())?, understands)))
    }

    /// Reads what the resources and runs need of their tenants, ends the read, and finds the keys.
    async fn fill(&self, mut read: Read, slices: &mut Slices) -> Result<(), StoreError> {
        let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
        for Tagged { row, .. } in &slices.resources {
            needs.entry(row.resource().tenant_id.clone()).or_default().add(row.resource());
        }
        for Tagged { row, .. } in &slices.runs {
            needs.entry(row.tenant_id().clone()).or_default().profiles.extend(row.profile_id().cloned());
        }
        for (tenant, needs) in needs {
            variables_for(&mut read, &tenant, &needs, slices).await?;
            profiles_for(&mut read, &tenant, &needs, slices).await?;
        }
        // The keys are read on a connection of their own, so this one must be back by then.
        drop(read);
        let variables = slices.variables.iter();
        let variables = variables.map(|Tagged { row, .. }| (row.tenant_id.as_str(), row.generation));
        let used: BTreeSet<(&str, i64)> = slices
            .resources
            .iter()
            .map(|tagged| tagged.row.key())
            .chain(slices.runs.iter().map(|tagged| tagged.row.key()))
            .chain(variables)
            .collect();
        for (tenant, generation) in used {
            match self.data_key_of(tenant, generation).await {
                Ok(key) => drop(slices.keys.insert((tenant.to_owned(), generation), key)),
                // What it would open is told to be unreadable, one by one.
                Err(StoreError::Corrupt { .. } | StoreError::Sealed { .. }) => {}
                Err(error @ (StoreError::Database { .. } | StoreError::NoRandomness(_))) => {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Slices {
    /// Opens everything that was read, or nothing. May take a while: not for a thread that others
    /// wait for.
    pub(crate) fn open(self) -> Result<Contents, StoreError> {
        let mut contents = self.open_what_opens();
        match contents.unreadable.pop() {
            None => Ok(contents),
            Some(Unreadable { error, .. }) => Err(error),
        }
    }

    /// Opens what can be opened of what was read. May take a while, as [`Slices::open`].
    pub(crate) fn open_what_opens(self) -> Contents {
        let Self { resources, runs, variables, profiles, keys, unreadable, .. } = self;
        let mut contents = Contents { unreadable, ..Contents::default() };
        let key = |(tenant, generation): (&str, i64)| {
            keys.get(&(tenant.to_owned(), generation)).ok_or(StoreError::Corrupt { what: "data key" })
        };
        for Tagged { tag, row } in resources {
            match key(row.key()).and_then(|key| row.open(key)) {
                Ok(stored) => contents.resources.entry(stored.host_id).or_default().push(stored.resource),
                Err(error) => contents.unreadable.push(Unreadable { tag, error }),
            }
        }
        for Tagged { tag, row } in runs {
            match key(row.key()).and_then(|key| row.open(key)) {
                Ok(stored) => {
                    contents.runs.entry(stored.run.resource_id.clone()).or_default().push(stored.run);
                }
                Err(error) => contents.unreadable.push(Unreadable { tag, error }),
            }
        }
        for Tagged { tag, row } in variables {
            match key((row.tenant_id.as_str(), row.generation)).and_then(|key| row.into_model(key)) {
                Ok(variable) => {
                    contents.catalogs.entry(variable.tenant_id.clone()).or_default().variables.push(variable);
                }
                Err(error) => contents.unreadable.push(Unreadable { tag, error }),
            }
        }
        for profile in profiles {
            contents.catalogs.entry(profile.tenant_id.clone()).or_default().profiles.push(profile);
        }
        contents
    }

    fn take_resource(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let tag = Tag {
            tenant: text(row, "tenant_id")?,
            name: named(row, "resource")?,
            reach: Reach::Host(host_id(&text(row, "host_id")?)?),
        };
        take(&mut self.resources, &mut self.unreadable, tag, SealedResource::read(row));
        Ok(())
    }

    fn take_run(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let resource = text(row, "resource_id")?.parse();
        let resource = resource.map_err(|_never_written| StoreError::Corrupt { what: "run" })?;
        let reach = Reach::Resource(resource);
        let tag = Tag { tenant: text(row, "tenant_id")?, name: named(row, "run")?, reach };
        take(&mut self.runs, &mut self.unreadable, tag, SealedRun::read(row));
        Ok(())
    }

    fn take_variable(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let is_disabled = row.try_get::<i64, _>("enabled").is_ok_and(|enabled| enabled == 0);
        let reach = if is_disabled { Reach::Nothing } else { scope_of(row).unwrap_or(Reach::Tenant) };
        let tag = Tag { tenant: text(row, "tenant_id")?, name: named(row, "variable")?, reach };
        take(&mut self.variables, &mut self.unreadable, tag, SealedVariable::read(row));
        Ok(())
    }

    fn take_profile(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        match profiles::read_model(row) {
            Ok(profile) => self.profiles.push(profile),
            Err(error) => {
                let reach = selection_of(row).unwrap_or(Reach::Tenant);
                let tag = Tag { tenant: text(row, "tenant_id")?, name: named(row, "profile")?, reach };
                self.unreadable.push(Unreadable { tag, error });
            }
        }
        Ok(())
    }
}

fn take<T>(
    rows: &mut Vec<Tagged<T>>,
    unreadable: &mut Vec<Unreadable>,
    tag: Tag,
    row: Result<T, StoreError>,
) {
    match row {
        Ok(row) => rows.push(Tagged { tag, row }),
        Err(error) => unreadable.push(Unreadable { tag, error }),
    }
}

fn named(row: &AnyRow, kind: &str) -> Result<String, StoreError> {
    Ok(format!("{kind} {}", text(row, "id")?))
}

/// What a variable reaches, if its columns tell.
fn scope_of(row: &AnyRow) -> Option<Reach> {
    let id = text(row, "scope_id").ok()?;
    let scope = match text(row, "scope").ok()?.as_str() {
        "tenant" => Scope::Tenant,
        "workspace" => Scope::Workspace(id.parse().ok()?),
        "project" => Scope::Project(id.parse().ok()?),
        _ => return None,
    };
    Some(Reach::Scope(scope, text(row, "target").ok()?.parse().ok()?))
}

/// What a profile reaches, if its columns tell.
fn selection_of(row: &AnyRow) -> Option<Reach> {
    let profile = text(row, "id").ok()?.parse().ok()?;
    let is_default = row.try_get::<i64, _>("is_default").ok()? != 0;
    let (workspace, project) = (text(row, "workspace_id").ok()?, text(row, "project_id").ok()?);
    let workspace = if workspace.is_empty() { None } else { Some(workspace.parse().ok()?) };
    let project = if project.is_empty() { None } else { Some(project.parse().ok()?) };
    Some(Reach::Selection { profile, default_at: is_default.then_some((workspace, project)) })
}

fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    row.try_get(column).doing("read a column")
}

/// What resources and runs need of a tenant, as far as it narrows the read. The rest is left out
/// where states are built.
#[derive(Default)]
struct Needs {
    /// Workspaces and projects.
    scopes: BTreeSet<String>,
    profiles: BTreeSet<ProfileId>,
}

impl Needs {
    fn add(&mut self, resource: &Resource) {
        self.scopes.extend(resource.workspace_id.iter().map(|id| id.as_str().to_owned()));
        self.scopes.extend(resource.project_id.iter().map(|id| id.as_str().to_owned()));
        self.profiles.extend(resource.selection.profile_id.clone());
    }
}

async fn hosts_to_serve(read: &mut Read, hosts: &[HostId]) -> Result<Vec<HostToServe>, StoreError> {
    let ids: Vec<_> = hosts.iter().map(HostId::as_str).collect();
    let rows = select_in(read, "read hosts and their newest updates", &ids, |list| {
        format!(
            "SELECT hosts.id, hosts.public_key, hosts.revoked_at, hosts.beat_at, newest.epoch, newest.version,
                    newest.digest, newest.increment, newest.content, newest.positions, newest.issued_at,
                    newest.expires_at, newest.trust, newest.understands AS made_for, hosts.understands
             FROM hosts LEFT JOIN host_updates AS newest ON newest.host_id = hosts.id
             WHERE hosts.id IN ({list})"
        )
    });
    rows.await?.iter().map(read_host).collect()
}

fn read_host(row: &AnyRow) -> Result<HostToServe, StoreError> {
    const DOING: &str = "read a host";
    let public_key: Option<Vec<u8>> = row.try_get("public_key").doing(DOING)?;
    let public_key = public_key.map(|bytes| HostPublicKey::from_bytes(&bytes));
    let has_update = row.try_get::<Option<i64>, _>("version").doing(DOING)?.is_some();
    Ok(HostToServe {
        id: host_id(row.try_get("id").doing(DOING)?)?,
        public_key: public_key.transpose().map_err(|_never_written| StoreError::Corrupt { what: "host" })?,
        revoked: row.try_get::<Option<i64>, _>("revoked_at").doing(DOING)?.is_some(),
        beat_at: Millis(row.try_get("beat_at").doing(DOING)?),
        newest: has_update.then(|| read_issued(row)).transpose()?,
        positions: Positions::new(),
        understands: Understands::read(row.try_get("understands").doing(DOING)?),
    })
}

/// The tenants that have resources on each host.
async fn tenants_on(
    read: &mut Read,
    hosts: &[HostId],
) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
    const DOING: &str = "find the tenants on hosts";
    let mut placed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let ids: Vec<_> = hosts.iter().map(HostId::as_str).collect();
    let rows = select_in(read, DOING, &ids, |list| {
        format!("SELECT DISTINCT host_id, tenant_id FROM resources WHERE host_id IN ({list})")
    });
    for row in rows.await? {
        let (host, tenant) = (row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?);
        placed.entry(host).or_default().insert(tenant);
    }
    Ok(placed)
}

async fn numbers(read: &mut Read, tenants: &BTreeSet<&str>) -> Result<Positions, StoreError> {
    const DOING: &str = "read the change numbers of tenants";
    let tenants: Vec<_> = tenants.iter().copied().collect();
    let rows = select_in(read, DOING, &tenants, |list| {
        format!("SELECT tenant_id, number FROM change_counters WHERE tenant_id IN ({list})")
    });
    let rows = rows.await?;
    rows.iter().map(|row| Ok((row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?))).collect()
}

async fn resources_on(read: &mut Read, hosts: &[&str], slices: &mut Slices) -> Result<(), StoreError> {
    let rows = select_in(read, "read the resources on hosts", hosts, |list| {
        format!(
            "SELECT id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile, generation,
                    sealed, created_at, updated_at
             FROM resources WHERE host_id IN ({list})"
        )
    });
    rows.await?.iter().try_for_each(|row| slices.take_resource(row))
}

async fn runs_on(read: &mut Read, hosts: &[&str], slices: &mut Slices) -> Result<(), StoreError> {
    let rows = select_in(read, "read the runs on hosts", hosts, |list| {
        format!(
            "SELECT runs.id, runs.resource_id, runs.tenant_id, runs.profile_id, runs.skip_profile,
                    runs.generation, runs.sealed, runs.created_at, runs.expires_at
             FROM resources JOIN runs ON runs.resource_id = resources.id
             WHERE resources.host_id IN ({list})"
        )
    });
    rows.await?.iter().try_for_each(|row| slices.take_run(row))
}

async fn variables_for(
    read: &mut Read,
    tenant: &TenantId,
    needs: &Needs,
    slices: &mut Slices,
) -> Result<(), StoreError> {
    // The tenant scope's id is ''. A long list would cost more than the rows that it saves.
    let scopes: Vec<_> = std::iter::once("").chain(needs.scopes.iter().map(String::as_str)).collect();
    let scopes = if scopes.len() > MAX_LIST { Vec::new() } else { padded(scopes) };
    let filter = match scopes.len() {
        0 => String::new(),
        count => {
            let ids = placeholders(2, count);
            format!("AND scope IN ('tenant', 'workspace', 'project') AND scope_id IN ({ids})")
        }
    };
    let statement = format!(
        "SELECT id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                metadata, created_at, updated_at
         FROM variables WHERE tenant_id = $1 {filter}"
    );
    let values = std::iter::once(tenant.as_str()).chain(scopes);
    let rows = select(read, "read a tenant's variables", statement, values).await?;
    rows.iter().try_for_each(|row| slices.take_variable(row))
}

async fn profiles_for(
    read: &mut Read,
    tenant: &TenantId,
    needs: &Needs,
    slices: &mut Slices,
) -> Result<(), StoreError> {
    let named: Vec<_> = needs.profiles.iter().map(ProfileId::as_str).collect();
    let is_long = named.len() > MAX_LIST;
    let named = if is_long { Vec::new() } else { padded(named) };
    let filter = match named.len() {
        0 if is_long => String::new(),
        0 => "AND is_default = 1".to_owned(),
        count => format!("AND (is_default = 1 OR id IN ({}))", placeholders(2, count)),
    };
    let statement = format!(
        "SELECT id, tenant_id, workspace_id, project_id, name, runtime, description, applies_to, tools,
                connectors, env, policy, metadata, is_default, created_at, updated_at
         FROM profiles WHERE tenant_id = $1 {filter}"
    );
    let values = std::iter::once(tenant.as_str()).chain(named);
    let rows = select(read, "read a tenant's profiles", statement, values).await?;
    rows.iter().try_for_each(|row| slices.take_profile(row))
}

/// Runs a statement over a list of values, in as many parts as it takes. It is made for each part
/// from the placeholders of that part's values.
async fn select_in(
    read: &mut Read,
    doing: &'static str,
    values: &[&str],
    statement: impl Fn(String) -> String,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut rows = Vec::new();
    for values in values.chunks(MAX_LIST) {
        let values = padded(values.iter().copied());
        let statement = statement(placeholders(1, values.len()));
        rows.append(&mut select(read, doing, statement, values).await?);
    }
    Ok(rows)
}

async fn select<'a>(
    read: &mut Read,
    doing: &'static str,
    statement: String,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for value in values {
        query = query.bind(value);
    }
    query.fetch_all(&mut **read).await.doing(doing)
}

/// As many values as a statement lists. A power of two, since lists are padded to one.
const MAX_LIST: usize = 512;
