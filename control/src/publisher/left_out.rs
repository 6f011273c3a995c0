//! Which hosts are sent less than there is, since they do not know it: the log names each once, as soon as
//! it is there to say that it does not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use miosa_snapshot::HostId;

/// The hosts of which it is known.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Mutex<BTreeMap<HostId, Reduced>>);

#[derive(Debug)]
struct Reduced {
    words: String,
    is_told: bool,
}

impl LeftOut {
    /// These were left out of the newest state of a host.
    pub(super) fn note(&self, host: &HostId, words: &[&str]) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_empty() {
            hosts.remove(host);
            return;
        }
        let words = words.join(",");
        hosts.entry(host.clone()).or_insert(Reduced { words, is_told: false });
    }

    /// The host is connected: what is left out for it is so because of what it said.
    pub(super) fn tell(&self, host: &HostId) {
        if let Some(left_out) = self.untold(host) {
            tracing::warn!(
                event = "host_too_old",
                host_id = %host,
                left_out,
                "the miosad of a host does not know something that tenants use there, and is sent their state without; upgrade it"
            );
        }
    }

    fn untold(&self, host: &HostId) -> Option<String> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reduced = hosts.get_mut(host).filter(|reduced| !reduced.is_told)?;
        reduced.is_told = true;
        Some(reduced.words.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_once_and_anew_when_it_was_whole_in_between() {
        let (left_out, host) = (LeftOut::default(), "host_1".parse().unwrap());
        assert_eq!(left_out.untold(&host), None);
        left_out.note(&host, &["deliver"]);
        assert_eq!(left_out.untold(&host).as_deref(), Some("deliver"));
        left_out.note(&host, &["deliver"]);
        assert_eq!(left_out.untold(&host), None);
        left_out.note(&host, &[]);
        left_out.note(&host, &["deliver"]);
        assert_eq!(left_out.untold(&host).as_deref(), Some("deliver"));
    }
}
