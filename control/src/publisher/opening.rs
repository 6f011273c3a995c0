//! A host that opens its stream says what it holds. One that held more before was put back from a
//! backup, or is one of two machines with one identity: it is served, and somebody is told.

use std::sync::atomic::Ordering;

use miosa_snapshot::HostId;

use super::Publisher;
use super::stream::Told;
use crate::clock::Millis;
use crate::report::Chain;
use crate::store::host_openings::Place;

impl Publisher {
    /// Looks at what a host tells on opening. An error here keeps nobody from being served.
    pub(super) async fn look_at_opening(&self, host: &HostId, told: Told) {
        let place = |(epoch, version)| Place { epoch, version };
        let held = told.held.map(|held| place((held.version.epoch, held.version.version)));
        let before = match self.0.store.note_opening(host, held, told.trust, Millis::now()).await {
            Ok(before) => before,
            Err(error) => return tracing::warn!(host_id = %host, "{}", Chain(&error)),
        };
        let known = self.0.sealer.trust_version();
        if known > 0 && told.trust.is_some_and(|trust| trust > known) {
            tracing::error!(
                event = "alarm",
                alarm = "trust_ahead_of_control",
                host_id = %host,
                held = told.trust,
                known,
                "a host holds a later trust document than this database: publish the ones between, which each host keeps in its state directory, before any other"
            );
        }
        let (Some(before), Some(held)) = (before, held) else { return };
        self.0.metrics.hosts_regressed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            event = "alarm",
            alarm = "host_regressed",
            host_id = %host,
            epoch_before = before.epoch,
            version_before = before.version,
            epoch = held.epoch,
            version = held.version,
            "a host holds an earlier state than it once did: it was put back from a backup, or is one of two with one identity"
        );
    }
}
