//! Removes from time to time what nobody asks for any more. What it removes has no effect any more
//! either, so that it never matters when it runs.

use std::time::Duration;

use tokio::sync::watch;

use crate::report::Chain;
use crate::store::Store;

/// Keeps house until `ending` turns true.
pub(crate) async fn run(store: Store, mut ending: watch::Receiver<bool>) {
    loop {
        match store.forget_answers().await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "removed old answers"),
            Err(error) => tracing::warn!("{}", Chain(&error)),
        }
        let ended = ending.wait_for(|ending| *ending);
        if tokio::time::timeout(PERIOD, ended).await.is_ok() {
            return;
        }
    }
}

const PERIOD: Duration = Duration::from_secs(600);
