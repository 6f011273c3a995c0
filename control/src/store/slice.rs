//! What the states of hosts are made of, read in one state of the database: the resources of each
//! host, their runs, and of each tenant the variables and profiles that those may need.
//!
//! Values stay sealed while the read goes on, so that it is short and holds one connection only; they
//! are opened afterwards, by whoever has a thread to spend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miosa_injector::model::{Profile, ProfileId, Resource, ResourceId, Run, TenantId, Variable};
use miosa_snapshot::{HostId, HostPublicKey};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::lists::{padded, placeholders};
use super::resources::SealedResource;
use super::runs::SealedRun;
use super::updates::{Issued, Positions, counter, read_issued};
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
    resources: Vec<SealedResource>,
    runs: Vec<SealedRun>,
    variables: Vec<SealedVariable>,
    profiles: Vec<Profile>,
    keys: Keys,
}

/// What several hosts need, opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) resources: BTreeMap<HostId, Vec<Resource>>,
    pub(crate) runs: BTreeMap<ResourceId, Vec<Run>>,
    pub(crate) catalogs: BTreeMap<TenantId, Catalog>,
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

        let behind: Vec<_> = slices.behind.iter().map(|host| host.id.as_str()).collect();
        for ids in behind.chunks(MAX_LIST) {
            slices.resources.extend(resources_on(&mut read, ids).await?);
            slices.runs.extend(runs_on(&mut read, ids).await?);
        }
        self.fill(read, &mut slices).await?;
        Ok(slices)
    }

    /// Reads what one resource needs, and the version of its host's newest update; `None` when there
    /// is no such resource.
    pub(crate) async fn slice_of_resource(
        &self,
        id: &ResourceId,
        now: Millis,
    ) -> Result<Option<(Slices, u64)>, StoreError> {
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
        slices.resources.push(SealedResource::read(&row)?);
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
        slices.runs = rows.iter().map(SealedRun::read).collect::<Result<_, _>>()?;
        let version: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(version) FROM host_updates WHERE host_id = (SELECT host_id FROM resources WHERE id = $1)",
        )
        .bind(id.as_str())
        .fetch_one(&mut *read)
        .await
        .doing("read the version of a host")?;
        self.fill(read, &mut slices).await?;
        Ok(Some((slices, counter(version.unwrap_or_default())?)))
    }

    /// Reads what the resources and runs need of their tenants, ends the read, and finds the keys.
    async fn fill(&self, mut read: Read, slices: &mut Slices) -> Result<(), StoreError> {
        let mut needs: BTreeMap<TenantId, Needs> = BTreeMap::new();
        for resource in &slices.resources {
            needs.entry(resource.resource().tenant_id.clone()).or_default().add(resource.resource());
        }
        for run in &slices.runs {
            needs.entry(run.tenant_id().clone()).or_default().profiles.extend(run.profile_id().cloned());
        }
        for (tenant, needs) in needs {
            slices.variables.extend(variables_for(&mut read, &tenant, &needs).await?);
            slices.profiles.extend(profiles_for(&mut read, &tenant, &needs).await?);
        }
        // The keys are read on a connection of their own, so this one must be back by then.
        drop(read);
        let variables = slices.variables.iter().map(|row| (row.tenant_id.as_str(), row.generation));
        let used: BTreeSet<(&str, i64)> = slices
            .resources
            .iter()
            .map(SealedResource::key)
            .chain(slices.runs.iter().map(SealedRun::key))
            .chain(variables)
            .collect();
        for (tenant, generation) in used {
            let key = self.data_key_of(tenant, generation).await?;
            slices.keys.insert((tenant.to_owned(), generation), key);
        }
        Ok(())
    }
}

impl Slices {
    /// Opens everything that was read. May take a while: not for a thread that others wait for.
    pub(crate) fn open(&mut self) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        let keys = std::mem::take(&mut self.keys);
        let key = |(tenant, generation): (&str, i64)| {
            keys.get(&(tenant.to_owned(), generation)).ok_or(StoreError::Corrupt { what: "data key" })
        };
        for row in std::mem::take(&mut self.resources) {
            let key = key(row.key())?;
            let stored = row.open(key)?;
            contents.resources.entry(stored.host_id).or_default().push(stored.resource);
        }
        for row in std::mem::take(&mut self.runs) {
            let key = key(row.key())?;
            let run = row.open(key)?.run;
            contents.runs.entry(run.resource_id.clone()).or_default().push(run);
        }
        for row in std::mem::take(&mut self.variables) {
            let key = key((row.tenant_id.as_str(), row.generation))?;
            let variable = row.into_model(key)?;
            contents.catalogs.entry(variable.tenant_id.clone()).or_default().variables.push(variable);
        }
        for profile in std::mem::take(&mut self.profiles) {
            contents.catalogs.entry(profile.tenant_id.clone()).or_default().profiles.push(profile);
        }
        Ok(contents)
    }
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
    const DOING: &str = "read hosts and their newest updates";
    let mut served = Vec::with_capacity(hosts.len());
    let ids: Vec<_> = hosts.iter().map(HostId::as_str).collect();
    for ids in ids.chunks(MAX_LIST) {
        let ids = padded(ids.iter().copied());
        let text = format!(
            "SELECT hosts.id, hosts.public_key, hosts.revoked_at, hosts.beat_at, newest.epoch, newest.version,
                    newest.digest, newest.content, newest.positions, newest.issued_at, newest.expires_at
             FROM hosts LEFT JOIN host_updates AS newest
               ON newest.host_id = hosts.id AND newest.version =
                  (SELECT MAX(version) FROM host_updates WHERE host_updates.host_id = hosts.id)
             WHERE hosts.id IN ({})",
            placeholders(1, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in ids {
            query = query.bind(id);
        }
        for row in query.fetch_all(&mut **read).await.doing(DOING)? {
            served.push(read_host(&row)?);
        }
    }
    Ok(served)
}

fn read_host(row: &AnyRow) -> Result<HostToServe, StoreError> {
    const DOING: &str = "read a host";
    let corrupt = || StoreError::Corrupt { what: "host" };
    let public_key: Option<Vec<u8>> = row.try_get("public_key").doing(DOING)?;
    let public_key = public_key.map(|bytes| HostPublicKey::from_bytes(&bytes));
    let has_update = row.try_get::<Option<i64>, _>("version").doing(DOING)?.is_some();
    Ok(HostToServe {
        id: row.try_get::<&str, _>("id").doing(DOING)?.parse().map_err(|_never_written| corrupt())?,
        public_key: public_key.transpose().map_err(|_never_written| corrupt())?,
        revoked: row.try_get::<Option<i64>, _>("revoked_at").doing(DOING)?.is_some(),
        beat_at: Millis(row.try_get("beat_at").doing(DOING)?),
        newest: has_update.then(|| read_issued(row)).transpose()?,
        positions: Positions::new(),
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
    for ids in ids.chunks(MAX_LIST) {
        let ids = padded(ids.iter().copied());
        let text = format!(
            "SELECT DISTINCT host_id, tenant_id FROM resources WHERE host_id IN ({})",
            placeholders(1, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in ids {
            query = query.bind(id);
        }
        for row in query.fetch_all(&mut **read).await.doing(DOING)? {
            let (host, tenant) = (row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?);
            placed.entry(host).or_default().insert(tenant);
        }
    }
    Ok(placed)
}

async fn numbers(read: &mut Read, tenants: &BTreeSet<&str>) -> Result<Positions, StoreError> {
    const DOING: &str = "read the change numbers of tenants";
    let mut numbers = Positions::new();
    let tenants: Vec<_> = tenants.iter().copied().collect();
    for tenants in tenants.chunks(MAX_LIST) {
        let tenants = padded(tenants.iter().copied());
        let text = format!(
            "SELECT tenant_id, number FROM change_counters WHERE tenant_id IN ({})",
            placeholders(1, tenants.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for tenant in tenants {
            query = query.bind(tenant);
        }
        for row in query.fetch_all(&mut **read).await.doing(DOING)? {
            numbers.insert(row.try_get(0).doing(DOING)?, row.try_get(1).doing(DOING)?);
        }
    }
    Ok(numbers)
}

async fn resources_on(read: &mut Read, hosts: &[&str]) -> Result<Vec<SealedResource>, StoreError> {
    let hosts = padded(hosts.iter().copied());
    let text = format!(
        "SELECT id, tenant_id, host_id, kind, workspace_id, project_id, profile_id, skip_profile, generation,
                sealed, created_at, updated_at
         FROM resources WHERE host_id IN ({})",
        placeholders(1, hosts.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for host in hosts {
        query = query.bind(host);
    }
    let rows = query.fetch_all(&mut **read).await.doing("read the resources on hosts")?;
    rows.iter().map(SealedResource::read).collect()
}

async fn runs_on(read: &mut Read, hosts: &[&str]) -> Result<Vec<SealedRun>, StoreError> {
    let hosts = padded(hosts.iter().copied());
    let text = format!(
        "SELECT runs.id, runs.resource_id, runs.tenant_id, runs.profile_id, runs.skip_profile, runs.generation,
                runs.sealed, runs.created_at, runs.expires_at
         FROM resources JOIN runs ON runs.resource_id = resources.id
         WHERE resources.host_id IN ({})",
        placeholders(1, hosts.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for host in hosts {
        query = query.bind(host);
    }
    let rows = query.fetch_all(&mut **read).await.doing("read the runs on hosts")?;
    rows.iter().map(SealedRun::read).collect()
}

async fn variables_for(
    read: &mut Read,
    tenant: &TenantId,
    needs: &Needs,
) -> Result<Vec<SealedVariable>, StoreError> {
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
    let text = format!(
        "SELECT id, tenant_id, scope, scope_id, workspace_id, target, name, generation, sealed, enabled,
                metadata, created_at, updated_at
         FROM variables WHERE tenant_id = $1 {filter}"
    );
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(tenant.as_str());
    for scope in scopes {
        query = query.bind(scope);
    }
    let rows = query.fetch_all(&mut **read).await.doing("read a tenant's variables")?;
    rows.iter().map(SealedVariable::read).collect()
}

async fn profiles_for(read: &mut Read, tenant: &TenantId, needs: &Needs) -> Result<Vec<Profile>, StoreError> {
    let named: Vec<_> = needs.profiles.iter().map(ProfileId::as_str).collect();
    let is_long = named.len() > MAX_LIST;
    let named = if is_long { Vec::new() } else { padded(named) };
    let filter = match named.len() {
        0 if is_long => String::new(),
        0 => "AND is_default = 1".to_owned(),
        count => format!("AND (is_default = 1 OR id IN ({}))", placeholders(2, count)),
    };
    let text = format!(
        "SELECT id, tenant_id, workspace_id, project_id, name, runtime, description, applies_to, tools,
                connectors, env, policy, metadata, is_default, created_at, updated_at
         FROM profiles WHERE tenant_id = $1 {filter}"
    );
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(tenant.as_str());
    for id in named {
        query = query.bind(id);
    }
    let rows = query.fetch_all(&mut **read).await.doing("read a tenant's profiles")?;
    rows.iter().map(profiles::read_model).collect()
}

/// As many values as a statement lists. A power of two, since lists are padded to one.
const MAX_LIST: usize = 512;
