//! `miosa-control trust`.

use std::io::{self, Write as _};

use data_encoding::HEXLOWER;

use super::CommandError;
use crate::cli::TrustCommand;
use crate::store::Store;

/// Runs the command.
pub(crate) async fn run(store: &Store, command: TrustCommand) -> Result<(), CommandError> {
    match command {
        TrustCommand::Show => show(store).await,
    }
}

/// The document exactly as signed, so that `trust show > FILE` is what `miosad enroll --trust FILE`
/// and `miosad push FILE` take: byte for byte, with no line end, since hosts pin its digest.
async fn show(store: &Store) -> Result<(), CommandError> {
    let trust = store.trust_documents().await?.pop().ok_or(CommandError::NoTrust)?;
    tracing::info!(version = trust.version, digest = HEXLOWER.encode(&trust.digest), "trust document");
    let mut stdout = io::stdout().lock();
    stdout.write_all(&trust.envelope)?;
    Ok(stdout.flush()?)
}
