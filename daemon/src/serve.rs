//! `miosad serve`: verifies, keeps and serves. Built first, then run; it has no network and starts
//! no program.

mod operators;
mod reload;
mod runtime_dir;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miosa_injector::State;
use nix::fcntl::Flock;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::access::{AccessLog, AccessWriter};
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::disk::{self, DiskError};
use crate::dropped::DropDoor;
use crate::failure::in_one_line;
use crate::generation::Generation;
use crate::host::{HostError, HostFile};
use crate::hygiene::Memory;
use crate::intake::{self, Intake, Queue, RestoreError, Shared, Sockets};
use crate::manager::{self, Inherited, Keeper, Listener, Listeners};
use crate::reload::Reload;
use crate::serve::operators::OperatorsThread;
use crate::settings::{Limits, Settings};
use crate::socket::ResourceSockets;
use crate::socket::bind::BindError;
use crate::socket::places::Places;
use crate::socket::server::Server;
use crate::socket::tampering::{Patrol, Register};
use crate::socket::turns::Turns;
use crate::stop::Stop;
use crate::traffic::Sort;
use reload::Serving;

/// Why `serve` can't serve. Nothing that comes from outside, and nothing found in the cache, is here.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The enrollment.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another process has the directory.
    #[error("cannot use {0}: another `miosad` is using it; stop that one, or name another directory")]
    InUse(PathBuf),
    /// Whoever may write there could put any file in the place of another.
    #[error("cannot use {path}: its mode is {mode:03o} and others may change what is in it; set it to 700")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The runtime directory is not safe.
    #[error("cannot use {path} for sockets: {problem}")]
    RuntimeDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// A directory or file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The cache directory.
    #[error(transparent)]
    State(#[from] StateUnusable),
    /// The admin socket or the intake socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread, a signal handler or the event loop.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The state directory can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StateUnusable(#[from] RestoreError);

/// Serves until SIGTERM or SIGINT, taking in other settings as they come, on the listeners that are `inherited` where they fit.
///
/// # Errors
/// When it can't start. Bad updates and damaged files are no reason: then it serves what it can and
/// says what it needs.
pub fn run(settings: &Settings, memory: Memory, inherited: Inherited) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = started("the event loop", runtime)?;
    let (stop, reload) = {
        let _inside = runtime.enter();
        let signals = Stop::on_signals().and_then(|stop| Ok((stop, Reload::of(settings)?)));
        started("handling signals", signals)?
    };
    let daemon = Daemon::build(settings, memory, inherited, Clock::System, runtime.handle())?;
    runtime.block_on(daemon.run(stop, reload));
    Ok(())
}

impl ServeError {
    /// Whether trying again can't help until somebody changes something.
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::Host(HostError::Disk(_)) | Self::Disk(_) | Self::State(_) | Self::Start { .. } => false,
            Self::InUse(_) => false,
            Self::Host(_) | Self::StateDirectory { .. } | Self::RuntimeDirectory { .. } => true,
            Self::Bind(error) => matches!(error, BindError::PathTooLong { .. } | BindError::Occupied { .. }),
        }
    }
}

/// A daemon that is ready to run: everything that could fail has not.
struct Daemon {
    server: Server,
    operators: OperatorsThread,
    limits: watch::Sender<Limits>,
    admin: Admin,
    admin_listener: UnixListener,
    intake_listener: UnixListener,
    queue: Queue,
    drop_door: DropDoor,
    drain: watch::Sender<bool>,
    keeper: Keeper,
    access_writer: AccessWriter,
    handed_over: usize,
    _state_lock: Flock<std::fs::File>,
    _runtime_lock: Flock<std::fs::File>,
}

impl Daemon {
    fn build(
        settings: &Settings,
        memory: Memory,
        inherited: Inherited,
        clock: Clock,
        runtime: &Handle,
    ) -> Result<Self, ServeError> {
        let file = HostFile::load(&settings.state)?;
        check_state_directory(settings.state.path())?;
        let (identity, key_source) = file.identity(&settings.state, &Credentials::from_environment())?;
        let state_lock = lock(disk::lock_directory(settings.state.path())?, settings.state.path())?;
        let runtime_lock = runtime_dir::take(settings.runtime.path())?;

        let access = AccessLog::new(settings.access_log);
        let shared = Shared { current: Arc::default(), ledger: Arc::default(), clock, access };
        let access_writer = AccessWriter::start(settings.state.access(), shared.clone());
        let access_writer = started("the access log's thread", access_writer)?;
        let keeper = started("the keeper's thread", Keeper::start())?;
        let mut listeners = Listeners::new(inherited, keeper.clone());
        let handed_over = listeners.left();
        let admin_listener = listen(&mut listeners, &settings.runtime.admin_socket(), OPERATORS)?;
        let intake_listener = listen(&mut listeners, &settings.runtime.intake_socket(), LINK)?;

        let (drain, draining) = watch::channel(false);
        let (report, sockets) = watch::channel(Arc::default());
        let register = Register::default();
        let (limits, in_force) = watch::channel(settings.limits);
        let for_each_resource = |limits: &Limits| limits.resource_connections;
        let places = Places::within_limit();
        let fair = (Turns::on(runtime), places.clone());
        let resource_server =
            Server::new(in_force.clone(), for_each_resource, fair, draining.clone(), shared.clone())
                .without_bodies();
        let resources = ResourceSockets::new(
            settings.runtime.clone(),
            runtime.clone(),
            resource_server,
            shared.clone(),
            report,
            register.clone(),
            listeners,
        )?;
        let intake = Intake::restore(&settings.state, &file, identity, Box::new(resources), shared.clone());
        let queue = started("the intake's thread", Queue::start(intake.map_err(StateUnusable)?))?;

        let drop_door =
            DropDoor::open(settings.state.drop(), queue.clone(), shared.clone(), draining.clone());
        let drop_door = started("the drop directory's thread", drop_door)?;
        let patrol = Patrol::start(&settings.runtime, register, shared.clone());
        let patrol = started("the patrol's thread", patrol)?;
        let operators = started("the operators' thread", OperatorsThread::start())?;
        let _inside = operators.handle().enter();
        Ok(Self {
            server: Server::new(
                in_force.clone(),
                |limits| limits.operator_connections,
                (Turns::on(operators.handle()), places),
                draining,
                shared.clone(),
            ),
            operators: operators.clone(),
            limits,
            admin_listener: serve_on(admin_listener)?,
            intake_listener: serve_on(intake_listener)?,
            admin: Admin {
                host_id: file.host_id,
                name: file.name.into(),
                key_source,
                runtime: settings.runtime.clone(),
                shared,
                sockets,
                memory,
                limits: in_force,
                keeper: keeper.clone(),
                patrol,
            },
            queue,
            drop_door,
            drain,
            keeper,
            access_writer,
            handed_over,
            _state_lock: state_lock,
            _runtime_lock: runtime_lock,
        })
    }

    async fn run(self, mut stop: Stop, reload: Reload) {
        let Self {
            server,
            operators,
            limits,
            admin,
            admin_listener,
            intake_listener,
            queue,
            drop_door,
            drain,
            keeper,
            access_writer,
            handed_over,
            _state_lock,
            _runtime_lock,
        } = self;
        let ready = admin.is_ready();
        let host_key = admin.key_source.as_str();
        tracing::info!(event = "started", host_id = %admin.host_id, host_key, ready, handed_over, "serving");
        manager::ready(&admin.in_short());
        if admin.memory == Memory::Swappable {
            tracing::warn!(
                event = "memory_not_locked",
                "this process may not lock its memory, so secrets may reach a swap device; set LimitMEMLOCK=infinity"
            );
        }

        let mut doors = JoinSet::new();
        let (host_id, shared) = (admin.host_id.clone(), admin.shared.clone());
        let watched = queue.clone();
        let intake_door =
            move |request| intake::answer(host_id.clone(), shared.clone(), queue.clone(), request);
        let (intake_server, admin_server) =
            (server.clone().counted_as(Sort::Intake), server.counted_as(Sort::Admin));
        doors.spawn_on(intake_server.run(intake_listener, intake_door), operators.handle());
        let reporter = admin.clone();
        let admin_door = move |request| admin::answer(admin.clone(), request);
        doors.spawn_on(admin_server.run(admin_listener, admin_door), operators.handle());

        let mut serving = Serving { limits, admin: reporter.clone(), drop_door };
        tokio::select! {
            () = stop.requested() => {}
            never = reload.run(&mut serving) => match never {},
            () = manager::pulse(operators.handle().clone(), || reporter.in_short()) => {}
            () = watched.watch() => {}
        }
        manager::stopping();
        tracing::info!(event = "stopping", "finishing answers in progress");
        drain.send_replace(true);
        drop((serving, watched));
        // Every server holds a receiver, the intake's thread among them through its sockets: when the
        // last is gone, so is all that worked.
        if timeout(DRAIN, drain.closed()).await.is_err() {
            tracing::warn!(event = "stopped_early", "some work did not finish in time");
        }
        doors.shutdown().await;
        // What was made a moment ago is to outlive this process too.
        keeper.finish(DRAIN);
        access_writer.finish(LAST_LINES);
    }
}

impl Sockets for ResourceSockets {
    fn retire(&mut self, next: &State) {
        self.retire(next);
    }

    fn open(&mut self, state: &State) {
        self.open(state);
    }

    fn tell(&mut self, before: &Generation, now: &Generation) {
        ResourceSockets::tell(self, before, now);
    }

    fn sweep(&mut self, state: &State) {
        if let Err(error) = ResourceSockets::sweep(self, state) {
            tracing::warn!(
                event = "not_swept",
                error = in_one_line(&error),
                "directories of earlier resources remain"
            );
        }
    }
}

/// The listener of the host itself at this path, kept from now on if it was not before.
fn listen(
    listeners: &mut Listeners,
    path: &Path,
    group: &str,
) -> Result<std::os::unix::net::UnixListener, BindError> {
    let Listener { socket, name, is_kept, .. } =
        listeners.open(path, None, GROUP_MAY_CONNECT, Some(group))?;
    if !is_kept {
        listeners.keeper().keep(&name, &socket);
    }
    Ok(socket)
}

fn serve_on(listener: std::os::unix::net::UnixListener) -> Result<UnixListener, ServeError> {
    started("listening", UnixListener::from_std(listener))
}

fn started<T>(what: &'static str, result: io::Result<T>) -> Result<T, ServeError> {
    result.map_err(|source| ServeError::Start { what, source })
}

fn check_state_directory(path: &Path) -> Result<(), ServeError> {
    let mode = disk::directory_mode(path)?;
    if mode & OTHERS_WRITE != 0 {
        return Err(ServeError::StateDirectory { path: path.to_owned(), mode });
    }
    Ok(())
}

fn lock<T>(lock: Option<T>, path: &Path) -> Result<T, ServeError> {
    lock.ok_or_else(|| ServeError::InUse(path.to_owned()))
}

const OTHERS_WRITE: u32 = 0o022;
const GROUP_MAY_CONNECT: u32 = 0o660;

/// The groups of those who may ask, and of those who may bring updates.
const OPERATORS: &str = "miosa";
const LINK: &str = "miosa-link";

/// Longer than a server lets its connections finish.
const DRAIN: Duration = Duration::from_secs(4);

/// How long the access log may take to write what is left.
const LAST_LINES: Duration = Duration::from_secs(1);
