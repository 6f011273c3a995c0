//! Ends runs whose time is up. It is a change like any other: audited, numbered, published.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Millis;
use crate::report::Chain;
use crate::store::{Entry, Origin, Record, Store, StoreError};

/// Sweeps until `ending` turns true.
pub(super) async fn run(store: Store, mut ending: watch::Receiver<bool>) {
    loop {
        if let Err(error) = sweep(&store).await {
            tracing::error!("cannot end runs whose time is up: {}", Chain(&error));
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

async fn sweep(store: &Store) -> Result<(), StoreError> {
    let origin = Origin { actor: "expiry".to_owned(), request_id: String::new() };
    let mut expired: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in store.expired_runs(Millis::now()).await? {
        expired.entry((run.tenant_id, run.host_id)).or_default().push(run.id);
    }
    for ((tenant, host), ids) in expired {
        let mut write = store.begin(&origin).await?;
        let mut ended = Vec::with_capacity(ids.len());
        for id in &ids {
            // Somebody may have deleted it meanwhile.
            if write.delete_run(id).await? {
                ended.push(Record { kind: "run", id });
            }
        }
        match ended.split_first() {
            None => write.rollback().await?,
            Some((record, also)) => {
                let (tenant, host) = (tenant.as_str(), Some(host.as_str()));
                let entry = Entry { tenant, action: "run.expire", record: *record, also, host, fields: &[] };
                write.commit(entry).await?;
            }
        }
    }
    Ok(())
}

/// How long a run may outlive its time.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
