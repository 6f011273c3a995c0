//! `miosa-control restore`: puts a backup in place, and sees to it that hosts take what is published
//! from it, although they may have accepted things that it knows nothing of.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::origin;
use super::trust::{Rotated, TrustCommandError, follow, rotate, tell};
use crate::cli::{RestoreOptions, RotateOptions, StateOptions};
use crate::setup::{self, SetupError, with_store};
use crate::state_dir;
use crate::store::backup::Soundness;
use crate::store::{Database, DatabaseError, Entry, Record, Store, StoreError};
use crate::trust::chain::{self, ChainError};

/// Why the backup is not in place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// Not the way to call it here.
    #[error("{0}")]
    Usage(&'static str),
    /// There is a database.
    #[error(
        "{0} exists; stop the control plane and move that file, with those beside it that begin with its name, out of the way"
    )]
    InTheWay(PathBuf),
    /// The files.
    #[error("cannot copy {from} to {to}")]
    Copy { from: PathBuf, to: PathBuf, source: io::Error },
    /// The copy is not of a database of ours, or damaged.
    #[error("{0} is damaged, or is no backup of a control plane")]
    Unsound(PathBuf),
    /// The database.
    #[error("cannot open {path}")]
    Open { path: PathBuf, source: DatabaseError },
    /// The state directory or the master key.
    #[error(transparent)]
    Setup(Box<SetupError>),
    /// The database's content.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trust documents in it.
    #[error("cannot tell the trust document in force")]
    Chain(#[from] ChainError),
    /// The next trust document.
    #[error(transparent)]
    Trust(#[from] TrustCommandError),
}

/// Runs the command.
pub(crate) async fn run(state: &StateOptions, options: &RestoreOptions) -> Result<(), RestoreError> {
    if options.trust.is_empty() && !options.no_later_trust {
        return Err(RestoreError::Usage(
            "name the trust documents that were published after the backup was made with --trust (`miosad status` of any host tells the newest, and its STATE_DIR/trust has them all), or say --no-later-trust: a signer that was revoked since would be trusted again",
        ));
    }
    match (setup::database(state), &options.file) {
        (Database::Sqlite(path), Some(backup)) => put_in_place(state, options, backup, &path).await?,
        (Database::Sqlite(_), None) => return Err(RestoreError::Usage("name the backup to restore")),
        (Database::Postgres(_), None) => {}
        (Database::Postgres(_), Some(_)) => {
            return Err(RestoreError::Usage(
                "put a PostgreSQL database back with pg_restore, then run `miosa-control restore` without a file",
            ));
        }
    }
    with_store(state, async |store| go_on(&store, state, options).await).await
}

/// Copies the backup beside its place, looks it through there, and only then gives it its name. It gets
/// that with the later trust documents and the epoch to be reached in it, so that whatever is started then
/// publishes nothing too early.
async fn put_in_place(
    state: &StateOptions,
    options: &RestoreOptions,
    backup: &Path,
    place: &Path,
) -> Result<(), RestoreError> {
    state_dir::prepare(&state.state_dir).map_err(SetupError::from)?;
    if place.exists() {
        return Err(RestoreError::InTheWay(place.to_owned()));
    }
    let mut candidate = place.as_os_str().to_owned();
    candidate.push(".restoring");
    let candidate = PathBuf::from(candidate);
    // What is left of an attempt that broke off: its log would be taken for this copy's.
    remove(&candidate);
    copy(backup, &candidate)?;
    let looked = look_through(state, options, backup, &candidate).await;
    let placed = looked.and_then(|()| {
        std::fs::rename(&candidate, place)
            .and_then(|()| File::open(place.parent().unwrap_or(Path::new("/")))?.sync_all())
            .map_err(|source| RestoreError::Copy { from: candidate.clone(), to: place.to_owned(), source })
    });
    remove(&candidate);
    placed
}

fn remove(candidate: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut beside = candidate.as_os_str().to_owned();
        beside.push(suffix);
        let _gone = std::fs::remove_file(beside);
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    let mut source = File::open(from).map_err(failed)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    io::copy(&mut source, &mut target).map_err(failed)?;
    target.sync_all().map_err(failed)
}

/// A backup is no use if it is damaged, and neither is one whose master key is not at hand.
async fn look_through(
    state: &StateOptions,
    options: &RestoreOptions,
    backup: &Path,
    candidate: &Path,
) -> Result<(), RestoreError> {
    let database = Database::Sqlite(candidate.to_owned());
    let pools = match database.connect().await {
        Ok(pools) => pools,
        Err(DatabaseError::File(source)) => {
            return Err(RestoreError::Open { path: backup.to_owned(), source: DatabaseError::File(source) });
        }
        Err(_not_a_database) => return Err(RestoreError::Unsound(backup.to_owned())),
    };
    let looked = async {
        if pools.soundness().await? == Soundness::Damaged || !pools.has_master_key().await? {
            return Err(RestoreError::Unsound(backup.to_owned()));
        }
        let (file, guard) = setup::master_key_file(state);
        let master = state_dir::read_master_key(&file, guard).map_err(SetupError::from)?;
        let master = master.ok_or_else(|| SetupError::MasterKeyMissing(file.clone()))?;
        if !pools.is_of(&master).await? {
            return Err(SetupError::MasterKeyOther(file).into());
        }
        Ok(master)
    };
    let master = match looked.await {
        Ok(master) => master,
        Err(error) => {
            pools.close().await;
            return Err(error);
        }
    };
    let store = Store::new(database, pools, master);
    let followed = follow_trust(&store, options).await;
    store.close().await;
    followed
}

/// Follows the trust as far as it is known, and raises the epoch. Until that is signed nothing is
/// published.
async fn go_on(store: &Store, state: &StateOptions, options: &RestoreOptions) -> Result<(), RestoreError> {
    // With SQLite the database was put in place with all of it, and this changes nothing.
    follow_trust(store, options).await?;
    let held = chain::follow(&store.trust_documents().await?)?;
    tell(&format!("the database is in place; its trust document is version {}", held.version()));
    let rotation =
        RotateOptions { raise_epoch: true, root_key: options.root_key.clone(), ..RotateOptions::default() };
    match rotate(store, &state.state_dir, &rotation).await? {
        Rotated::Published => tell("start the control plane: every host gets its state anew"),
        Rotated::Draft | Rotated::Shown => {
            tell(
                "until the draft is signed and published, the control plane publishes nothing; hosts serve on",
            );
        }
    }
    tell("keys and hosts that were revoked after the backup was made are valid again: revoke them once more");
    Ok(())
}

async fn follow_trust(store: &Store, options: &RestoreOptions) -> Result<(), RestoreError> {
    demand_next_epoch(store).await?;
    for document in &options.trust {
        follow(store, document).await?;
        // It may be of the epoch that was demanded, in which hosts have accepted things then.
        demand_next_epoch(store).await?;
    }
    Ok(())
}

/// Nothing is published before a trust document is above the epoch of the one in force.
async fn demand_next_epoch(store: &Store) -> Result<(), RestoreError> {
    let held = chain::follow(&store.trust_documents().await?)?;
    let epoch = held.epoch().saturating_add(1);
    if store.least_epoch().await? == Some(epoch) {
        return Ok(());
    }
    let mut write = store.begin(&origin()).await?;
    write.demand_epoch(epoch).await?;
    let record = Record { kind: "trust", id: &held.version().to_string() };
    let entry = Entry { tenant: "", action: "restore", record, also: &[], host: None, fields: &[] };
    write.commit(entry).await?;
    Ok(())
}

impl From<SetupError> for RestoreError {
    fn from(error: SetupError) -> Self {
        Self::Setup(Box::new(error))
    }
}
