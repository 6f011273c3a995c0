//! What is to be done from time to time: removes what nobody asks for any more, which has no effect any
//! more either, so that it never matters when it runs; and says what will expire.

use std::error::Error;
use std::time::Duration;

use miosa_snapshot::SigningKey;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Millis;
use crate::report::Chain;
use crate::store::Store;
use crate::store::trust::KeyRole;
use crate::trust::{chain, expiry};

/// Keeps house until `ending` turns true.
pub(crate) async fn run(store: Store, mut ending: watch::Receiver<bool>) {
    let mut next_warning = Instant::now();
    loop {
        match store.forget_answers().await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "removed old answers"),
            Err(error) => tracing::warn!("{}", Chain(&error)),
        }
        if Instant::now() >= next_warning {
            if let Err(error) = warn_of_expiry(&store).await {
                tracing::warn!("{}", Chain(error.as_ref()));
            }
            next_warning = next_warning.checked_add(DAY).unwrap_or(next_warning);
        }
        let ended = ending.wait_for(|ending| *ending);
        if tokio::time::timeout(PERIOD, ended).await.is_ok() {
            return;
        }
    }
}

/// Says once a day what an operator has to do about the trust document.
async fn warn_of_expiry(store: &Store) -> Result<(), Box<dyn Error + Send + Sync>> {
    let trust = chain::follow(&store.trust_documents().await?)?;
    let keys = store.signing_keys(KeyRole::Signer).await?;
    let online = keys.iter().filter_map(|key| SigningKey::from_pkcs8(&key.pkcs8).ok());
    let online = online.map(|key| key.key_id()).collect();
    for line in expiry::warnings(&trust, &online, Millis::now()) {
        tracing::warn!(event = "trust_expires", "{line}");
    }
    Ok(())
}

const PERIOD: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
