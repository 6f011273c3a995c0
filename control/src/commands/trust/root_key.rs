//! `trust root-key`: makes root keys elsewhere, and takes them away from here.

use std::path::Path;

use data_encoding::BASE64;
use miosa_snapshot::SigningKey;

use super::{TrustCommandError, tell};
use crate::cli::{RootKeyCommand, StateOptions};
use crate::commands::{origin, print_line};
use crate::setup::with_store;
use crate::store::Store;
use crate::store::trust::{KeyRole, StoredKey};
use crate::trust::change::Named;
use crate::trust::root_key;

/// Runs the command.
pub(super) async fn run(state: &StateOptions, command: RootKeyCommand) -> Result<(), TrustCommandError> {
    match command {
        RootKeyCommand::Generate { out } => generate(&out),
        RootKeyCommand::Move { out, key } => {
            with_store(state, async |store| take_away(&store, &out, key.as_ref()).await).await
        }
    }
}

fn generate(out: &Path) -> Result<(), TrustCommandError> {
    let (key, pkcs8) = SigningKey::generate()?;
    root_key::write(out, &pkcs8)?;
    tell(&format!("root key {}, private key in {}", key.key_id(), out.display()));
    Ok(print_line(&BASE64.encode(key.public().as_bytes()))?)
}

/// First the file, then the database: at no time is the key in neither.
async fn take_away(store: &Store, out: &Path, named: Option<&Named>) -> Result<(), TrustCommandError> {
    let roots = store.signing_keys(KeyRole::Root).await?;
    let is_meant = |root: &&StoredKey| match named {
        None | Some(Named::All) => true,
        Some(Named::Id(beginning)) => root.id.starts_with(beginning.as_str()),
    };
    let meant: Vec<_> = roots.iter().filter(is_meant).collect();
    let [root] = meant.as_slice() else {
        let ids: Vec<_> = roots.iter().map(|root| root.id.as_str()).collect();
        return Err(TrustCommandError::Refused(if ids.is_empty() {
            "no root key is online here".to_owned()
        } else {
            format!("name one of the root keys that are online: {}", ids.join(", "))
        }));
    };
    root_key::write(out, &root.pkcs8)?;
    store.begin(&origin()).await?.take_root_offline(&root.id).await?;
    store.forget_freed_pages().await?;
    tell(&format!(
        "the root key is in {} and erased here: keep the file on two media away from this machine",
        out.display()
    ));
    tell("backups made before still hold it, under the master key: make a new one and destroy those");
    Ok(print_line(&root.id)?)
}
