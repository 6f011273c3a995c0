//! `trust show`: the document as signed, and what it says.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use miosa_snapshot::Proposal;

use super::{Held, TrustCommandError, read_document, tell, tell_all};
use crate::clock::Millis;
use crate::store::Store;
use crate::trust::{expiry, words};

/// The document exactly as signed, so that `trust show > FILE` is what `miosad enroll --trust FILE`
/// and `miosad push FILE` take: byte for byte, with no line end, since hosts pin its digest.
pub(super) async fn in_force(store: &Store) -> Result<(), TrustCommandError> {
    let held = Held::read(store).await?;
    if let Some(newest) = held.stored.last() {
        let mut stdout = io::stdout();
        stdout.write_all(&newest.envelope)?;
        stdout.flush()?;
        if stdout.is_terminal() {
            tell("");
        }
    }
    tell_all(&words::describe(held.trust.document(), Some(&held.online)));
    tell(&format!("digest {}", held.trust.digest()));
    let least_epoch = store.least_epoch().await?.filter(|epoch| *epoch > held.trust.epoch());
    if let Some(epoch) = least_epoch {
        tell(&format!(
            "nothing is published: this database was restored, and hosts wait for epoch {epoch}: run `miosa-control trust rotate`"
        ));
    }
    tell_all(&expiry::warnings(&held.trust, &held.online.signers, Millis::now()));
    Ok(())
}

/// What a document or draft says, whoever signed it.
pub(super) fn file(path: &Path) -> Result<(), TrustCommandError> {
    let proposal = Proposal::read(&read_document(path)?)?;
    tell_all(&words::describe(proposal.document(), None));
    for root in proposal.document().roots.iter().filter(|root| proposal.is_signed_by(root)) {
        tell(&format!("signed by {}", root.key_id()));
    }
    tell_all(&words::missing(&proposal, None));
    Ok(())
}
