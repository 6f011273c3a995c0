//! What this process knows of each host while it runs: what was published to it, what it says it
//! holds, whether it is connected. All of it can be lost at any time and found again in the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use miosa_snapshot::{Digest, HostId};
use tokio::sync::watch;

use super::increments::{Increment, Waiting};
use crate::clock::Millis;
use crate::store::host_status::HeldPosition;
use crate::store::updates::{Issued, Positions};

/// Every host that was published to, asked about or connected.
#[derive(Debug, Default)]
pub(super) struct Fleet(Mutex<BTreeMap<HostId, Slot>>);

type Slot = Arc<watch::Sender<HostView>>;

/// One host.
#[derive(Debug, Default)]
pub(super) struct HostView {
    /// The newest update.
    pub(super) published: Option<Published>,
    /// By tenant the newest change that `published` is known to include.
    pub(super) covers: Positions,
    /// What the host said last that it holds.
    pub(super) applied: Option<Holding>,
    /// Whether the host's last word was that it refused something.
    pub(super) refuses: bool,
    /// Why nothing can be published to it at present.
    pub(super) failure: Option<String>,
    /// It may no longer be served.
    pub(super) revoked: bool,
    /// The streams opened so far; the last one is the one in use.
    pub(super) streams: u64,
    /// Whether that one is open.
    pub(super) connected: bool,
    /// Where the host stands after all that was sent on that one, if it takes it.
    heading: Option<Holding>,
    /// The incremental updates that are still to be sent.
    waiting: Waiting,
    /// It has taken all that was sent, and asks for a full update.
    wants_full: bool,
}

/// A version of a host's state. Versions never go down, whatever the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

/// What a host says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) version: Version,
    /// Of the update that made it; heartbeats leave it as it is.
    pub(crate) digest: Option<Digest>,
}

/// An update that was issued.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) version: Version,
    pub(super) digest: Digest,
    /// Of the incremental update that the same version was issued as too.
    increment: Option<Digest>,
    pub(super) issued_at: Millis,
    pub(super) expires_at: Millis,
    /// The version of the trust document that it was signed under.
    pub(super) trust: u64,
    /// Its line, while the host is connected and has not been sent it: idle hosts should not keep
    /// their states in memory here.
    line: Option<Bytes>,
}

/// What of an update is to be sent to a host that is connected here.
pub(super) enum Sending {
    /// Nothing is at hand; the store may have it.
    Nothing,
    /// The line of the full one.
    Full(Bytes),
    /// The incremental one, unless the host holds something else. `full` is the size of the full one.
    Increment { increment: Increment, full: usize },
}

/// A host's open stream. Dropping it closes it.
pub(super) struct Connection {
    slot: Slot,
    number: u64,
    view: watch::Receiver<HostView>,
}

impl Fleet {
    /// Looks at a host, and hears of changes.
    pub(super) fn watch(&self, host: &HostId) -> watch::Receiver<HostView> {
        self.slot(host).subscribe()
    }

    /// Opens the stream of a host that says it holds `held`. A former one ends: it is most likely
    /// dead, and what it would still take is no longer news.
    pub(super) fn connect(&self, host: &HostId, held: Option<Holding>) -> Connection {
        let slot = self.slot(host);
        let mut number = 0;
        slot.send_modify(|view| {
            view.streams = view.streams.saturating_add(1);
            view.connected = true;
            view.applied = held;
            view.heading = held;
            view.waiting.clear();
            view.wants_full = false;
            number = view.streams;
        });
        Connection { number, view: slot.subscribe(), slot }
    }

    /// Whether a host has a stream here.
    pub(super) fn is_connected(&self, host: &HostId) -> bool {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(host).is_some_and(|slot| slot.borrow().connected)
    }

    /// The update that a host which is connected here will hold when it has what it was issued, if that
    /// is one of the newest version: what the next incremental one applies on top of.
    pub(super) fn base(&self, host: &HostId, newest: &Issued) -> Option<Digest> {
        let slot = self.slot(host);
        let view = slot.borrow();
        let sent = || Some((view.heading?.version, view.heading?.digest?));
        let (version, digest) = view.waiting.last().or_else(sent)?;
        let is_newest = version == newest.version() && newest.has_digest(&digest);
        (view.connected && is_newest).then_some(digest)
    }

    /// The hosts that have a stream here.
    pub(super) fn connected(&self) -> Vec<HostId> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = slots.iter().filter(|(_, slot)| slot.borrow().connected);
        connected.map(|(host, _)| host.clone()).collect()
    }

    /// Notes what was published to a host, or that it is still right, and hands it to its stream.
    pub(super) fn publish(&self, host: &HostId, issued: &Issued, sending: Sending, covers: &Positions) {
        self.slot(host).send_modify(|view| {
            view.take_news(issued, sending);
            for (tenant, number) in covers {
                let covered = view.covers.entry(tenant.clone()).or_default();
                *covered = (*covered).max(*number);
            }
            view.failure = None;
        });
    }

    /// Notes what was found to be published to a host, perhaps by another replica.
    pub(super) fn find(&self, host: &HostId, issued: &Issued) {
        self.slot(host).send_if_modified(|view| view.take_news(issued, Sending::Nothing));
    }

    /// Notes why nothing could be published to a host.
    pub(super) fn fail(&self, host: &HostId, failure: String) {
        self.slot(host).send_modify(|view| view.failure = Some(failure));
    }

    /// Notes what a host said to somebody else. It does not undo what it said here.
    pub(super) fn catch_up(&self, host: &HostId, applied: Holding) {
        self.slot(host).send_if_modified(|view| {
            let is_news = view.applied.is_none_or(|held| {
                let is_other = held.version == applied.version && held.digest != applied.digest;
                held.version < applied.version || (is_other && !view.connected)
            });
            if is_news {
                view.applied = Some(applied);
            }
            is_news
        });
    }

    /// Notes that a host may no longer be served: its stream ends.
    pub(super) fn revoke(&self, host: &HostId) {
        self.slot(host).send_modify(|view| view.revoked = true);
    }

    /// Notes what a host says.
    pub(super) fn hear(&self, host: &HostId, applied: Option<Holding>, refuses: bool, needs_full: bool) {
        self.slot(host).send_modify(|view| {
            view.applied = applied;
            view.refuses = refuses;
            // Else what it asks for may be on its way.
            view.wants_full |= needs_full && applied.is_some() && applied == view.heading;
        });
    }

    fn slot(&self, host: &HostId) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(host.clone()).or_default())
    }
}

impl HostView {
    /// Whether it was news: another update, and not an older one.
    fn take_news(&mut self, issued: &Issued, sending: Sending) -> bool {
        let version = issued.version();
        let is_news = self.published.as_ref().is_none_or(|held| {
            held.version < version || (held.version == version && held.digest != issued.digest)
        });
        if is_news {
            let line = match sending {
                Sending::Increment { increment, full } if self.connected => {
                    self.waiting.push(increment, full);
                    None
                }
                Sending::Full(line) if self.connected => {
                    self.waiting.clear();
                    Some(line)
                }
                Sending::Nothing | Sending::Full(_) | Sending::Increment { .. } => {
                    self.waiting.clear();
                    None
                }
            };
            self.published = Some(Published {
                version,
                digest: issued.digest,
                increment: issued.increment,
                issued_at: issued.issued_at,
                expires_at: issued.expires_at,
                trust: issued.trust,
                line,
            });
        }
        is_news
    }
}

impl Holding {
    /// Whether it is this update, and not another one of its version.
    pub(super) fn is(&self, published: &Published) -> bool {
        self.version == published.version && self.digest.is_none_or(|digest| published.has_digest(&digest))
    }
}

impl Connection {
    /// The host's view, marked as seen.
    pub(super) fn look(&mut self) -> watch::Ref<'_, HostView> {
        self.view.borrow_and_update()
    }

    /// Waits for the host's view to change.
    pub(super) async fn changed(&mut self) {
        // The sender lives in `slot`, so this can't fail.
        let _never_closed = self.view.changed().await;
    }

    /// Whether this stream is still the host's own.
    pub(super) fn is_current(&self) -> bool {
        let view = self.view.borrow();
        view.streams == self.number && !view.revoked
    }

    /// Notes what was just put on this stream, and so where the host is heading.
    pub(super) fn sent(&self, holding: Holding) {
        self.slot.send_if_modified(|view| {
            if view.streams == self.number {
                view.heading = Some(holding);
                view.wants_full = false;
                // They apply on top of something else.
                view.waiting.clear();
            }
            false
        });
    }

    /// Whether the host asks for a full update, and none was put on this stream since.
    pub(super) fn wants_full(&self) -> bool {
        let view = self.view.borrow();
        view.streams == self.number && view.wants_full
    }

    /// Takes the next incremental update for a host that holds `held`, and notes that it is sent.
    pub(super) fn take_increment(&self, held: Option<Digest>) -> Option<Increment> {
        let mut taken = None;
        self.slot.send_if_modified(|view| {
            if view.streams == self.number {
                taken = view.waiting.take(held);
                if let Some(Increment { version, digest, .. }) = taken {
                    view.heading = Some(Holding { version, digest: Some(digest) });
                }
            }
            false
        });
        taken
    }

    /// Takes the line of an update out of memory, if it is still there.
    pub(super) fn take_line(&self, published: &Published) -> Option<Bytes> {
        let mut line = None;
        // Nobody is woken: who has not sent it yet finds it in the store.
        self.slot.send_if_modified(|view| {
            if let Some(held) = view.published.as_mut().filter(|held| held.digest == published.digest) {
                line = held.line.take();
            }
            false
        });
        line
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.slot.send_modify(|view| {
            if view.streams != self.number {
                return;
            }
            view.connected = false;
            view.heading = None;
            view.waiting.clear();
            if let Some(published) = &mut view.published {
                published.line = None;
            }
        });
    }
}

impl Published {
    /// Whether an update is this one, in either of its forms.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.increment == Some(*digest)
    }

    /// All but the line.
    pub(super) fn position(&self) -> Self {
        Self { line: None, ..self.clone() }
    }
}

impl From<HeldPosition> for Holding {
    fn from(held: HeldPosition) -> Self {
        Self { version: Version { epoch: held.epoch, version: held.version }, digest: held.digest }
    }
}

impl Issued {
    /// Its version.
    pub(super) fn version(&self) -> Version {
        Version { epoch: self.epoch, version: self.version }
    }

    /// Whether it is what a host holds.
    pub(super) fn is_held_as(&self, held: &Holding) -> bool {
        self.version() == held.version && held.digest.is_none_or(|digest| self.has_digest(&digest))
    }

    /// Whether an update is this one, in either of its forms.
    fn has_digest(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.increment == Some(*digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostId {
        "host_1".parse().unwrap()
    }

    fn issued(version: u64, digest: &[u8]) -> Issued {
        Issued {
            epoch: 1,
            version,
            digest: Digest::of(digest),
            increment: None,
            content: Vec::new(),
            positions: Positions::new(),
            issued_at: Millis(0),
            expires_at: Millis(0),
            trust: 1,
            understands: Default::default(),
        }
    }

    #[test]
    fn a_line_is_kept_until_it_is_taken() {
        let fleet = Fleet::default();
        let connection = fleet.connect(&host(), None);
        let positions = Positions::from([("t".to_owned(), 3)]);
        let line = || Sending::Full(Bytes::from_static(b"line"));
        fleet.publish(&host(), &issued(1, b"a"), line(), &positions);
        let view = fleet.watch(&host());
        let published = view.borrow().published.as_ref().unwrap().position();
        assert_eq!(connection.take_line(&published), Some(Bytes::from_static(b"line")));
        assert_eq!(connection.take_line(&published), None);
        assert_eq!(view.borrow().covers, positions);
        drop(connection);
        fleet.publish(&host(), &issued(2, b"b"), line(), &positions);
        assert!(view.borrow().published.as_ref().unwrap().line.is_none(), "nobody is there to take it");
    }

    #[test]
    fn what_is_older_does_not_take_the_place_of_what_is_newer() {
        let fleet = Fleet::default();
        fleet.publish(&host(), &issued(2, b"b"), Sending::Nothing, &Positions::from([("t".to_owned(), 5)]));
        fleet.publish(&host(), &issued(1, b"a"), Sending::Nothing, &Positions::from([("t".to_owned(), 4)]));
        let view = fleet.watch(&host());
        assert_eq!(view.borrow().published.as_ref().unwrap().version.version, 2);
        assert_eq!(view.borrow().covers["t"], 5);
    }

    #[test]
    fn a_second_stream_takes_the_place_of_the_first() {
        let fleet = Fleet::default();
        let first = fleet.connect(&host(), None);
        let second = fleet.connect(&host(), None);
        assert!(!first.is_current() && second.is_current());
        drop(first);
        assert!(fleet.is_connected(&host()));
        drop(second);
        assert!(!fleet.is_connected(&host()));
    }

    #[test]
    fn a_revoked_host_has_no_current_stream() {
        let fleet = Fleet::default();
        let connection = fleet.connect(&host(), None);
        fleet.revoke(&host());
        assert!(!connection.is_current());
    }
}
