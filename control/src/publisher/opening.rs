//! A host that opens its stream says what it holds. One that held more before was put back from a
//! backup, or is one of two machines with one identity: it is served, and somebody is told. One that knows
//! more or less than before is put its state otherwise.

use std::sync::atomic::Ordering;

use miosa_snapshot::HostId;

use super::Publisher;
use super::issue::Want;
use super::stream::Told;
use crate::clock::Millis;
use crate::report::Chain;
use crate::store::host_openings::{Opening, Place};

impl Publisher {
    /// Looks at what a host tells on opening. An error here keeps nobody from being served.
    pub(super) async fn look_at_opening(&self, host: &HostId, told: Told) {
        let place = |(epoch, version)| Place { epoch, version };
        let held = told.held.map(|held| place((held.version.epoch, held.version.version)));
        let noted = self.0.store.note_opening(host, held, told.trust, told.understands, Millis::now()).await;
        let Opening { regressed_from, understands_other } = match noted {
            Ok(opening) => opening,
            Err(error) => return tracing::warn!(host_id = %host, "{}", Chain(&error)),
        };
        if understands_other {
            self.put_otherwise(host).await;
        }
        self.0.left_out.tell(host);
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
        let (Some(before), Some(held)) = (regressed_from, held) else { return };
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

    /// Issues what the host is to have by what it knows now, before it is sent what it was issued last: that
    /// it might refuse, or start something in another way than was asked for. Whoever issues something
    /// meanwhile may not have heard of it.
    async fn put_otherwise(&self, host: &HostId) {
        for _try in 0..TRIES {
            match self.publish(std::slice::from_ref(host), &Default::default(), Want::Changes).await {
                Ok(failed) if failed.is_empty() => return,
                Ok(_somebody_was_first) => {}
                Err(error) => {
                    tracing::warn!(host_id = %host, "{}", Chain(&error));
                    break;
                }
            }
        }
        self.ask(host);
    }
}

/// The second is mostly enough: what others issue from then on they issue knowing it.
const TRIES: u32 = 5;
