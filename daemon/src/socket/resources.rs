//! The sockets of the resources: one for each resource of the state, in a directory of its own, from
//! the moment the state has it to the moment it has not. Runs on the intake's thread; the sockets are
//! served on the runtime's.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use miosa_injector::State;
use miosa_injector::model::{Resource, ResourceId, TenantId};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bind::{self, BindError};
use super::home;
use super::server::Server;
use super::session::{self, Sources};
use crate::disk::{self, DiskError};
use crate::failure::in_one_line;
use crate::intake::Shared;
use crate::layout::RuntimeDir;

/// The sockets of all resources.
pub(crate) struct ResourceSockets {
    directory: RuntimeDir,
    runtime: Handle,
    server: Server,
    sources: Sources,
    open: BTreeMap<ResourceId, OpenSocket>,
    failed: BTreeSet<ResourceId>,
    report: watch::Sender<Arc<SocketReport>>,
    shared: Shared,
}

/// For each resource of the state: served, or why not.
pub(crate) type SocketReport = BTreeMap<ResourceId, Result<(), String>>;

struct OpenSocket {
    tenant: TenantId,
    task: JoinHandle<()>,
}

impl ResourceSockets {
    /// No sockets yet, in a directory that is made or taken over.
    pub(crate) fn new(
        directory: RuntimeDir,
        runtime: Handle,
        server: Server,
        shared: Shared,
        report: watch::Sender<Arc<SocketReport>>,
    ) -> Result<Self, DiskError> {
        disk::make_private_directory(&directory.resources())?;
        let sources = Sources { current: Arc::clone(&shared.current), clock: shared.clock.clone() };
        Ok(Self {
            directory,
            runtime,
            server,
            sources,
            open: BTreeMap::new(),
            failed: BTreeSet::new(),
            report,
            shared,
        })
    }

    /// Removes the directories of resources that a verified state has not. Without one nothing is
    /// removed: a resource that lives may have its directory mounted.
    pub(crate) fn sweep(&self, state: &State) -> Result<(), DiskError> {
        let known =
            |name: &str| name.parse().is_ok_and(|id: ResourceId| state.records().resources.contains_key(&id));
        home::sweep(&self.directory.resources(), known, &self.shared)
    }

    /// Closes the sockets of resources that are gone from `next`, or that have another tenant there,
    /// with all their connections. To be called before `next` is served: a connection of the former
    /// tenant must not see a value of the next one.
    pub(crate) fn retire(&mut self, next: &State) {
        let stays = |id: &ResourceId, socket: &OpenSocket| {
            next.records().resources.get(id).is_some_and(|resource| resource.tenant_id == socket.tenant)
        };
        let retired: Vec<_> = self.open.extract_if(.., |id, socket| !stays(id, socket)).collect();
        for (_, socket) in &retired {
            socket.task.abort();
        }
        for (id, socket) in retired {
            let ended = self.runtime.block_on(async { timeout(CLOSE, socket.task).await });
            if ended.is_err() {
                self.shared.alarm("socket_not_closed", &format!("the socket of {id} did not close"));
            }
            self.remove_home(&id);
        }
        for id in std::mem::take(&mut self.failed) {
            if !next.records().resources.contains_key(&id) {
                self.remove_home(&id);
            }
        }
    }

    /// Opens the sockets that `state` has and that are not open, and reports on all of them. A socket
    /// that can't be opened is tried again with the next update.
    pub(crate) fn open(&mut self, state: &State) {
        let mut report = SocketReport::new();
        for (id, resource) in &state.records().resources {
            let served = if self.open.contains_key(id) { Ok(()) } else { self.open_one(resource) };
            let served = served.map_err(|error| {
                let error = in_one_line(&error);
                tracing::error!(event = "socket_failed", resource = %id, error, "cannot serve a resource");
                self.failed.insert(id.clone());
                error
            });
            report.insert(id.clone(), served);
        }
        self.report.send_replace(Arc::new(report));
    }

    fn open_one(&mut self, resource: &Resource) -> Result<(), BindError> {
        let path = self.directory.resource_socket(&resource.id);
        if let Some(home) = path.parent() {
            home::make(home)?;
        }
        let listener = bind::bind(&path, ANYBODY_MOUNTED, None)?;
        let listener = {
            let _inside = self.runtime.enter();
            tokio::net::UnixListener::from_std(listener)
        };
        let listener = listener.map_err(|source| BindError::Refused { path, source })?;
        let id = Arc::new(resource.id.clone());
        let sources = self.sources.clone();
        let service = move |request| {
            let reply = session::answer(&id, &sources, request);
            ready(reply)
        };
        let task = self.runtime.spawn(self.server.clone().run(listener, service));
        self.open.insert(resource.id.clone(), OpenSocket { tenant: resource.tenant_id.clone(), task });
        Ok(())
    }

    fn remove_home(&self, id: &ResourceId) {
        if let Some(home) = self.directory.resource_socket(id).parent() {
            home::remove(home, &self.shared);
        }
    }
}

/// Whoever is in the sandbox may connect, under whatever uid: the way there is the mount.
const ANYBODY_MOUNTED: u32 = 0o666;

/// How long the runtime may take to drop the connections of a closed socket.
const CLOSE: Duration = Duration::from_secs(2);
