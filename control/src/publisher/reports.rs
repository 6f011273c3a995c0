//! What hosts say about themselves: taken note of here at once, and in the store a moment later, many
//! together. After an update to a thousand hosts a thousand of them answer, and would otherwise keep
//! everybody's writes waiting.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use miosa_snapshot::HostId;
use tokio::sync::{Notify, watch};

use super::{Holding, Publisher};
use crate::report::Chain;
use crate::store::StoreError;
use crate::store::host_status::Report;

/// Reports that are not in the store yet, the newest of each host.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Mutex<BTreeMap<HostId, Report>>,
    come: Notify,
    /// Held by who puts reports into the store, so that whoever asks for that waits for what another
    /// has begun.
    noting: tokio::sync::Mutex<()>,
}

impl Publisher {
    /// Takes note of what a host says, and of whether it asks for a full update.
    pub(crate) fn hear(&self, host: &HostId, report: Report, needs_full: bool) {
        let applied = report.held.map(Holding::from);
        self.0.fleet.hear(host, applied, report.error.is_some(), needs_full);
        self.0.reports.waiting().insert(host.clone(), report);
        self.0.reports.come.notify_one();
    }

    /// Puts everything that was heard into the store.
    pub(crate) async fn note_reports(&self) -> Result<(), StoreError> {
        let _noting = self.0.reports.noting.lock().await;
        loop {
            let batch = self.0.reports.take();
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.0.store.note_reports(&batch).await {
                self.0.reports.put_back(batch);
                return Err(error);
            }
        }
    }
}

impl Reports {
    fn take(&self) -> Vec<(HostId, Report)> {
        let mut waiting = self.waiting();
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some(report) = waiting.pop_first()
        {
            batch.push(report);
        }
        batch
    }

    fn put_back(&self, batch: Vec<(HostId, Report)>) {
        let mut waiting = self.waiting();
        for (host, report) in batch {
            // What came in meanwhile is newer.
            waiting.entry(host).or_insert(report);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostId, Report>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes reports in the store as they come, until `ending` turns true.
pub(super) async fn run(publisher: Publisher, mut ending: watch::Receiver<bool>) {
    loop {
        let ends = tokio::select! {
            () = publisher.0.reports.come.notified() => false,
            _ = ending.wait_for(|ending| *ending) => true,
        };
        if !ends {
            tokio::time::sleep(GATHER).await;
        }
        if let Err(error) = publisher.note_reports().await {
            tracing::error!("{}", Chain(&error));
            publisher.0.reports.come.notify_one();
            if !ends {
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
        if ends {
            return;
        }
    }
}

/// Long enough for many hosts to answer, short enough for nobody to notice.
const GATHER: Duration = Duration::from_millis(50);
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// One transaction's worth, so that other writes come in between.
const MAX_BATCH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;

    fn report(at: i64) -> Report {
        Report { at: Millis(at), held: None, error: None }
    }

    #[test]
    fn a_report_that_was_put_back_does_not_hide_a_newer_one() {
        let host: HostId = "host_1".parse().unwrap();
        let reports = Reports::default();
        reports.waiting().insert(host.clone(), report(1));
        let batch = reports.take();
        reports.waiting().insert(host.clone(), report(2));
        reports.put_back(batch);
        assert_eq!(reports.take(), [(host, report(2))]);
    }
}
