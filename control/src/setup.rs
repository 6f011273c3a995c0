//! Opens what every command works on, and makes it at first start: state directory, database,
//! master key, root key, signer and the first trust document.

use std::path::PathBuf;

use crate::cli::StateOptions;
use crate::state_dir::{self, Guard, StateDirError};
use crate::store::{Database, DatabaseError, Store, StoreError, meta::Adopted};
use crate::trust::{self, FoundTrustError};

/// Why the state can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The state directory or the master key.
    #[error("cannot use the state directory")]
    StateDir(#[from] StateDirError),
    /// The database.
    #[error("cannot use the database")]
    Database(#[from] DatabaseError),
    /// What is in the database.
    #[error("cannot read the database")]
    Store(#[from] StoreError),
    /// The first trust document.
    #[error("cannot found the trust of hosts")]
    Trust(#[from] FoundTrustError),
    /// The database has values that only a lost key opens.
    #[error(
        "the database has encrypted values, but its master key {0} is missing; put it back, or name it with --master-key"
    )]
    MasterKeyMissing(PathBuf),
    /// The wrong key.
    #[error("the master key {0} is not the one this database was made with")]
    MasterKeyOther(PathBuf),
}

/// Opens the state for a command, and closes it in order.
pub(crate) async fn with_store<E: From<SetupError>>(
    options: &StateOptions,
    command: impl AsyncFnOnce(Store) -> Result<(), E>,
) -> Result<(), E> {
    let store = open(options).await?;
    let done = command(store.clone()).await;
    store.close().await;
    done
}

/// Opens the state, making what is not there yet.
pub(crate) async fn open(options: &StateOptions) -> Result<Store, SetupError> {
    state_dir::prepare(&options.state_dir)?;
    let database = database(options);
    let pools = database.connect().await?;
    let (key_file, guard) = master_key_file(options);
    let master = match state_dir::read_master_key(&key_file, guard)? {
        Some(master) => master,
        None if pools.has_master_key().await? => return Err(SetupError::MasterKeyMissing(key_file)),
        None => state_dir::create_master_key(&key_file)?,
    };
    let store = Store::new(database, pools, master);
    match store.adopt_master_key().await? {
        Adopted::Ours => {}
        Adopted::AnotherKey => return Err(SetupError::MasterKeyOther(key_file)),
    }
    trust::found(&store).await?;
    Ok(store)
}

/// The database named, or the one in the state directory.
pub(crate) fn database(options: &StateOptions) -> Database {
    options.database.clone().unwrap_or_else(|| Database::Sqlite(options.state_dir.join("control.db")))
}

/// Where the master key is, or is to be made.
pub(crate) fn master_key_file(options: &StateOptions) -> (PathBuf, Guard) {
    if let Some(named) = &options.master_key {
        return (named.clone(), Guard::Mode);
    }
    // systemd.exec(5), LoadCredential=
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(MASTER_KEY));
    // One that is there and can't be looked at is an error, not a reason to make another key.
    match credential.filter(|path| path.try_exists().unwrap_or(true)) {
        Some(credential) => (credential, Guard::Systemd),
        None => (options.state_dir.join("master.key"), Guard::Mode),
    }
}

/// The credential with what `STATE/master.key` would hold.
const MASTER_KEY: &str = "miosa-control.master-key";
