//! `miosa-control trust`: one file per command. What people read goes to standard error.

mod publish;
mod root_key;
mod rotate;
mod show;
mod sign;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use miosa_snapshot::{KeyError, MAX_TRUST_BYTES, SigningKey, Trust, TrustError};

use super::CommandError;
use crate::cli::{StateOptions, TrustCommand};
use crate::setup::{SetupError, with_store};
use crate::store::trust::{KeyRole, StoredTrust};
use crate::store::{Store, StoreError};
use crate::trust::chain::{self, ChainError};
use crate::trust::change::ChangeError;
use crate::trust::root_key::RootKeyError;
use crate::trust::words::Online;

pub(crate) use publish::follow;
pub(crate) use rotate::{Rotated, rotate};

/// Why a trust document was not made, signed or taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustCommandError {
    /// The state.
    #[error(transparent)]
    Setup(Box<SetupError>),
    /// What every command may fail with.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The documents in the database.
    #[error("cannot tell the trust document in force")]
    Chain(#[from] ChainError),
    /// What was asked for.
    #[error("cannot make the next trust document")]
    Change(#[from] ChangeError),
    /// A root key's file.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// A key.
    #[error("cannot make or read a signing key")]
    Key(#[from] KeyError),
    /// A document's file.
    #[error("cannot {doing} {path}")]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// A document that hosts would refuse, or that is none.
    #[error("cannot take the trust document")]
    Trust(#[from] TrustError),
    /// A document that does not come next.
    #[error("cannot follow {path} from trust document {version}; name every document after that, in order")]
    NotFollowed { path: PathBuf, version: u64, source: TrustError },
    /// Not what was meant, and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Runs the command.
pub(crate) async fn run(state: &StateOptions, command: TrustCommand) -> Result<(), TrustCommandError> {
    match command {
        TrustCommand::Show { file: Some(file) } => show::file(&file),
        TrustCommand::Sign(options) => sign::run(&options),
        TrustCommand::RootKey(command) => root_key::run(state, command).await,
        TrustCommand::Show { file: None } => {
            with_store(state, async |store| show::in_force(&store).await).await
        }
        TrustCommand::Publish { file } => {
            with_store(state, async |store| publish::publish(&store, &file).await).await
        }
        TrustCommand::Rotate(options) => {
            with_store(state, async |store| rotate(&store, &state.state_dir, &options).await.map(drop)).await
        }
    }
}

/// The document in force, and the keys that are online.
struct Held {
    stored: Vec<StoredTrust>,
    trust: Trust,
    roots: Vec<SigningKey>,
    online: Online,
}

impl Held {
    async fn read(store: &Store) -> Result<Self, TrustCommandError> {
        let stored = store.trust_documents().await?;
        let trust = chain::follow(&stored)?;
        let (mut roots, mut online) = (Vec::new(), Online::default());
        for key in store.signing_keys(KeyRole::Root).await? {
            let key = SigningKey::from_pkcs8(&key.pkcs8)?;
            online.roots.insert(key.key_id());
            roots.push(key);
        }
        for key in store.signing_keys(KeyRole::Signer).await? {
            online.signers.insert(SigningKey::from_pkcs8(&key.pkcs8)?.key_id());
        }
        Ok(Self { stored, trust, roots, online })
    }
}

impl From<SetupError> for TrustCommandError {
    fn from(error: SetupError) -> Self {
        Self::Setup(Box::new(error))
    }
}

impl From<StoreError> for TrustCommandError {
    fn from(error: StoreError) -> Self {
        Self::Command(error.into())
    }
}

impl From<io::Error> for TrustCommandError {
    fn from(error: io::Error) -> Self {
        Self::Command(error.into())
    }
}

/// Reads a document or a draft. A line end after it is an editor's, and not part of it.
fn read_document(path: &Path) -> Result<Vec<u8>, TrustCommandError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_TRUST_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| TrustCommandError::File { doing: "read", path: path.to_owned(), source })?;
    bytes.truncate(bytes.trim_ascii_end().len());
    Ok(bytes)
}

/// Writes a draft to a new file, durably: signatures that were gathered are not to be lost.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), TrustCommandError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let written = created.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| TrustCommandError::File { doing: "write", path: path.to_owned(), source })
}

/// Puts another content in a file's place, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrustCommandError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    write_new(&temporary, bytes)?;
    std::fs::rename(&temporary, path).map_err(|source| TrustCommandError::File {
        doing: "replace",
        path: path.to_owned(),
        source,
    })
}

/// Says something to people.
pub(crate) fn tell(text: &str) {
    // Nobody to listen is no reason to fail.
    let _unheard = writeln!(io::stderr().lock(), "{text}");
}

fn tell_all(lines: &[String]) {
    for line in lines {
        tell(line);
    }
}
