//! `miosa-control trust`.

use data_encoding::HEXLOWER;

use super::{CommandError, print_line};
use crate::cli::TrustCommand;
use crate::store::Store;

/// Runs the command.
pub(crate) async fn run(store: &Store, command: TrustCommand) -> Result<(), CommandError> {
    match command {
        TrustCommand::Show => show(store).await,
    }
}

/// The document exactly as signed, so that `trust show > FILE` is what `miosad enroll --trust FILE`
/// takes; the digest to pin goes to the log.
async fn show(store: &Store) -> Result<(), CommandError> {
    let trust = store.trust_documents().await?.pop().ok_or(CommandError::NoTrust)?;
    tracing::info!(version = trust.version, digest = HEXLOWER.encode(&trust.digest), "trust document");
    print_line(&String::from_utf8_lossy(&trust.envelope))
}
