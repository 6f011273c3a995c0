//! The sockets of the resources: one for each resource of the state, in a directory of its own, from
//! the moment the state has it to the moment it has not. Runs on the intake's thread; the sockets are
//! served on the runtime's.

use std::borrow::Borrow as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use miosa_injector::model::{Resource, ResourceId, TenantId};
use miosa_injector::{State, Touched};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bind::BindError;
use super::home::{HomeError, Homes};
use super::server::Server;
use super::session::{Socket, Sources, Visit};
use super::tampering::Register;
use super::vigil::Pace;
use super::watchers::Watchers;
use crate::disk::DiskError;
use crate::failure::in_one_line;
use crate::generation::{Generation, Workshop};
use crate::intake::Shared;
use crate::layout::RuntimeDir;
use crate::manager::{KeeperReport, Listener, ListenerName, Listeners};

/// The sockets of all resources.
pub(crate) struct ResourceSockets {
    directory: RuntimeDir,
    runtime: Handle,
    server: Server,
    sources: Sources,
    open: BTreeMap<ResourceId, OpenSocket>,
    failed: BTreeSet<ResourceId>,
    report: watch::Sender<Arc<SocketReport>>,
    register: Register,
    /// Those of the process before this one are held until a state tells which of them are of use.
    listeners: Listeners,
    is_short_of_room: bool,
    shared: Shared,
}

/// For each resource of the state: served, or why not.
pub(crate) type SocketReport = BTreeMap<ResourceId, Result<(), String>>;

struct OpenSocket {
    tenant: TenantId,
    task: JoinHandle<()>,
    watchers: Arc<Watchers>,
    name: ListenerName,
    /// The listener once more, while there is no room to have it kept.
    unkept: Option<UnixListener>,
}

/// Why a resource has no socket.
#[derive(Debug, thiserror::Error)]
enum SocketError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl ResourceSockets {
    /// No sockets yet, in a directory that is made or taken over.
    pub(crate) fn new(
        directory: RuntimeDir,
        runtime: Handle,
        server: Server,
        shared: Shared,
        report: watch::Sender<Arc<SocketReport>>,
        register: Register,
        listeners: Listeners,
    ) -> Result<Self, DiskError> {
        Homes(&directory).prepare()?;
        let (current, access) = (Arc::clone(&shared.current), shared.access.clone());
        let (clock, workshop) = (shared.clock.clone(), Workshop::default());
        let sources = Sources { current, clock, access, workshop };
        Ok(Self {
            directory,
            runtime,
            server,
            sources,
            open: BTreeMap::new(),
            failed: BTreeSet::new(),
            report,
            register,
            listeners,
            is_short_of_room: false,
            shared,
        })
    }

    /// Removes the directories of resources that a verified state has not. Without one nothing is
    /// removed: a resource that lives may have its directory mounted.
    pub(crate) fn sweep(&self, state: &State) -> Result<(), DiskError> {
        let known =
            |name: &str| name.parse().is_ok_and(|id: ResourceId| state.records().resources.contains_key(&id));
        Homes(&self.directory).sweep(known, &self.shared)
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
            drop(socket.unkept);
            let ended = self.runtime.block_on(async { timeout(CLOSE, socket.task).await });
            if ended.is_err() {
                self.shared.alarm("socket_not_closed", &format!("the socket of {id} did not close"));
            }
            self.register.forget(&id);
            Homes(&self.directory).remove(&id, &self.shared);
            self.listeners.keeper().let_go(socket.name.borrow());
        }
        for id in std::mem::take(&mut self.failed) {
            if !next.records().resources.contains_key(&id) {
                Homes(&self.directory).remove(&id, &self.shared);
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
        let unused = self.listeners.close_unused();
        if unused > 0 {
            tracing::info!(
                event = "listeners_closed",
                unused,
                "closed what a former process had left for resources that are gone"
            );
        }
        self.keep_more();
        self.report.send_replace(Arc::new(report));
    }

    /// Tells whoever waits for one of them to change, if it may have. All are told where nobody does: one
    /// may have looked a moment ago, and waits from now on; and where it ends sooner than who waits knows.
    pub(crate) fn tell(&self, before: &Generation, now: &Generation) {
        let is_same_state = Arc::ptr_eq(&before.content, &now.content);
        let serve_until = |generation: &Generation| generation.freshness.times().serve_until;
        let ends_sooner = serve_until(now) < serve_until(before);
        if is_same_state && before.standing == now.standing && !ends_sooner {
            return;
        }
        let tells_apart = !is_same_state && !ends_sooner && self.shared.ledger.traffic().watches() > 0;
        let touched = tells_apart.then(|| Touched::between(&before.content.state, &now.content.state));
        for (id, socket) in &self.open {
            if touched.as_ref().is_none_or(|touched| touched.concerns(id)) {
                socket.watchers.tell();
            }
        }
    }

    /// Has those listeners kept that there was no room for.
    fn keep_more(&mut self) {
        let mut unkept = 0_usize;
        let keeper = self.listeners.keeper();
        for socket in self.open.values_mut() {
            if let Some(listener) = &socket.unkept {
                if keeper.keep(&socket.name, listener) {
                    socket.unkept = None;
                } else {
                    unkept = unkept.saturating_add(1);
                }
            }
        }
        let KeeperReport { room, .. } = keeper.report();
        self.shared.ledger.set_unkept(unkept);
        if unkept > 0 && !std::mem::replace(&mut self.is_short_of_room, true) {
            let message = format!(
                "the service manager keeps {room} listeners, and {unkept} more have no room: their clients are \
                 refused while miosad restarts; raise FileDescriptorStoreMax= of the unit, and with systemd before \
                 254 set Environment=FDSTORE= to the same number"
            );
            self.shared.alarm("listeners_not_kept", &message);
        }
        self.is_short_of_room = unkept > 0;
    }

    fn open_one(&mut self, resource: &Resource) -> Result<(), SocketError> {
        let Resource { id, tenant_id, .. } = resource;
        Homes(&self.directory).make(id, tenant_id, &self.shared)?;
        let path = self.directory.resource_socket(id);
        let opened = self.listeners.open(&path, Some(tenant_id), ANYBODY_MOUNTED, None)?;
        let Listener { socket, name, file, is_kept } = opened;
        // Without a descriptor to spare it is served all the same.
        let unkept = if is_kept { None } else { socket.try_clone().ok() };
        let watchers = Arc::new(Watchers::new(Arc::clone(&self.shared.ledger)));
        let served = self.serve(resource, socket, Arc::clone(&watchers));
        let task = served.map_err(|source| BindError::Refused { path, source })?;
        self.register.expect(id, file);
        self.open.insert(id.clone(), OpenSocket { tenant: tenant_id.clone(), task, watchers, name, unkept });
        Ok(())
    }

    fn serve(
        &self,
        resource: &Resource,
        listener: UnixListener,
        watchers: Arc<Watchers>,
    ) -> io::Result<JoinHandle<()>> {
        let listener = {
            let _inside = self.runtime.enter();
            tokio::net::UnixListener::from_std(listener)?
        };
        let socket = Socket::new(resource.tenant_id.clone(), resource.id.clone(), watchers);
        let sources = self.sources.clone();
        let meet = move |stream: &UnixStream, pace: &Arc<Pace>| {
            let visitor = sources.access.visitor(stream);
            let visit = Arc::new(Visit::new(socket.clone(), sources.clone(), visitor, Arc::clone(pace)));
            move |request| Arc::clone(&visit).answer(request)
        };
        Ok(self.runtime.spawn(self.server.clone().run_for_each(listener, meet)))
    }
}

/// Whoever is in the sandbox may connect, under whatever uid: the way there is the mount.
const ANYBODY_MOUNTED: u32 = 0o666;

/// How long the runtime may take to drop the connections of a closed socket.
const CLOSE: Duration = Duration::from_secs(2);
