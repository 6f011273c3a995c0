//! What updates are made with: the signing key that the trust document in force lists, a content key
//! per host, and the times. Keys are loaded once and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use miosa_snapshot::{
    ContentKey, Digest, Draft, HostId, HostPublicKey, KeyId, Kind, MAX_CLOCK_LEAD_MS, MAX_NUMBER, OutOfScope,
    SealError, Signer as Listed, SigningKey, Times, Trust, seal,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::in_force::{InForce, NoSigner};
use crate::cli::ServeFor;
use crate::clock::Millis;
use crate::store::updates::Issued;
use crate::store::{Store, StoreError};
use crate::trust::chain::ChainError;

/// Makes updates.
pub(super) struct Sealer {
    fresh_for: Duration,
    serve_for: ServeFor,
    in_force: watch::Sender<Option<Arc<InForce>>>,
    content_keys: Mutex<BTreeMap<HostId, KeptKey>>,
}

/// The key that signs, and what the trust document says about it.
pub(super) struct Signer {
    key: SigningKey,
    listed: Listed,
    /// The epoch of the trust document in force.
    pub(super) epoch: u64,
    /// The version of that document.
    pub(super) trust: u64,
    /// Until when both are good.
    expires_at: u64,
}

/// Why there is nothing to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignerError {
    /// The store.
    #[error("cannot read the signing keys")]
    Store(#[from] StoreError),
    /// Stored trust documents that do not follow from each other.
    #[error("cannot tell the trust document in force")]
    Chain(#[from] ChainError),
    /// Nothing that hosts would accept.
    #[error(transparent)]
    NoSigner(#[from] NoSigner),
}

/// A content key and until when it is used.
struct KeptKey {
    key: Arc<ContentKey>,
    public: HostPublicKey,
    until: Instant,
}

impl Sealer {
    pub(super) fn new(fresh_for: Duration, serve_for: ServeFor) -> Self {
        Self { fresh_for, serve_for, in_force: watch::Sender::new(None), content_keys: Mutex::default() }
    }

    /// How often a host hears that its state is still current: three times while it counts as fresh.
    pub(super) fn beat_every(&self) -> Duration {
        self.fresh_for.checked_div(3).unwrap_or(self.fresh_for)
    }

    /// Whether an update is too old to be sent for the first time.
    pub(super) fn is_near_expiry(&self, expires_at: Millis, now: Millis) -> bool {
        // A host that has lost its floor takes only what is new, however long that is fresh.
        let margin = self.beat_every().max(self.fresh_for.saturating_sub(SENT_WITHIN));
        let margin = i64::try_from(margin.as_millis()).unwrap_or(i64::MAX);
        now.plus(margin) > expires_at
    }

    /// The signer, read when it is first needed and when the one at hand has expired.
    pub(super) async fn signer(&self, store: &Store) -> Result<Arc<Signer>, SignerError> {
        let kept = self.in_force.borrow().clone();
        let kept = match kept {
            Some(kept) => kept,
            None => self.read_again(store).await?,
        };
        let is_good = |signer: &Signer| Millis::now().unsigned() < signer.expires_at;
        // Where there is none to sign with, many ask at once.
        let is_fresh = kept.read_at.elapsed() < ASK_AGAIN;
        match kept.signer() {
            Ok(signer) if is_good(&signer) => Ok(signer),
            Err(error) if is_fresh => Err(error.into()),
            Ok(_) | Err(_) => Ok(self.read_again(store).await?.signer()?),
        }
    }

    /// The signer of the trust document that is the newest now: another process may have published one.
    pub(super) async fn signer_of_now(&self, store: &Store) -> Result<Arc<Signer>, SignerError> {
        self.learn_of(store, store.trust_version().await?).await?;
        self.signer(store).await
    }

    /// Reads the trust document in force again if it is older than this version.
    pub(super) async fn learn_of(&self, store: &Store, version: u64) -> Result<(), SignerError> {
        if self.trust_version() < version {
            self.read_again(store).await?;
        }
        Ok(())
    }

    /// The trust document or the signing keys may have changed: they are read again.
    pub(super) async fn read_again(&self, store: &Store) -> Result<Arc<InForce>, SignerError> {
        let read = Arc::new(InForce::read(store).await?);
        self.in_force.send_if_modified(|in_force| {
            // Of two that read at once, the later document counts.
            let is_older = in_force.as_ref().is_some_and(|known| read.version() < known.version());
            if !is_older {
                *in_force = Some(Arc::clone(&read));
            }
            !is_older
        });
        Ok(read)
    }

    /// The version of the trust document in force, as far as it is known; 0 before it was read.
    pub(super) fn trust_version(&self) -> u64 {
        self.in_force.borrow().as_ref().map_or(0, |in_force| in_force.version())
    }

    /// The trust document in force, and each that follows.
    pub(super) fn watch_trust(&self) -> watch::Receiver<Option<Arc<InForce>>> {
        self.in_force.subscribe()
    }

    /// The key for the updates of one host. One is used for up to a day, and for one key of the host
    /// only.
    pub(super) fn content_key(
        &self,
        host: &HostId,
        public: &HostPublicKey,
    ) -> Result<Arc<ContentKey>, SealError> {
        let now = Instant::now();
        let kept = {
            let keys = self.content_keys.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = keys.get(host).filter(|kept| kept.public == *public && now < kept.until);
            kept.map(|kept| Arc::clone(&kept.key))
        };
        if let Some(key) = kept {
            return Ok(key);
        }
        // Outside the lock: a key agreement takes a hundred times as long as all else here.
        let key = Arc::new(ContentKey::for_host(host, public)?);
        let until = now.checked_add(lifetime(host)).unwrap_or(now);
        let kept = KeptKey { key: Arc::clone(&key), public: *public, until };
        self.content_keys.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), kept);
        Ok(key)
    }

    /// The times of something that is issued at `issued_at`.
    pub(super) fn times(&self, issued_at: Millis) -> Times {
        let issued_at = issued_at.unsigned();
        let after = |duration: Duration| {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(MAX_NUMBER);
            issued_at.saturating_add(millis).min(MAX_NUMBER)
        };
        let expires_at = after(self.fresh_for);
        let serve_until = match self.serve_for {
            ServeFor::Limited(duration) => after(duration).max(expires_at),
            ServeFor::Forever => MAX_NUMBER,
        };
        Times { issued_at, expires_at, serve_until }
    }
}

impl Signer {
    pub(super) fn new(key: SigningKey, listed: Listed, trust: &Trust) -> Self {
        let expires_at = listed.expires_at.min(trust.expires_at());
        Self { key, epoch: trust.epoch(), trust: trust.version(), expires_at, listed }
    }

    /// Until when it may sign, in Unix milliseconds.
    pub(super) fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Whether it may speak for every tenant.
    pub(super) fn speaks_for_all(&self) -> bool {
        self.listed.tenants.is_none()
    }

    /// Refuses tenants that it may not speak for.
    pub(super) fn check_tenants<'a>(
        &self,
        tenants: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), OutOfScope> {
        self.listed.check_tenants(tenants)
    }

    /// Whether an update was made under the same trust document.
    pub(super) fn is_current(&self, issued: &Issued) -> bool {
        issued.trust == self.trust && issued.epoch == self.epoch
    }

    /// Who signs.
    pub(super) fn key_id(&self) -> KeyId {
        self.key.key_id()
    }

    /// Makes a full update.
    pub(super) fn full(
        &self,
        version: u64,
        times: Times,
        payload: &[u8],
        key: &ContentKey,
    ) -> Result<Vec<u8>, SealError> {
        seal(&Draft { epoch: self.epoch, version, kind: Kind::Full, times }, payload, key, &self.key)
    }

    /// Makes an incremental update, on top of the version and update that `base` names.
    pub(super) fn incremental(
        &self,
        version: u64,
        base: (u64, Digest),
        times: Times,
        payload: &[u8],
        key: &ContentKey,
    ) -> Result<Vec<u8>, SealError> {
        let (from, prev) = base;
        let kind = Kind::Incremental { from, prev };
        seal(&Draft { epoch: self.epoch, version, kind, times }, payload, key, &self.key)
    }

    /// Makes a heartbeat for the state of the update `prev`.
    pub(super) fn heartbeat(
        &self,
        version: u64,
        prev: Digest,
        times: Times,
        key: &ContentKey,
    ) -> Result<Vec<u8>, SealError> {
        let kind = Kind::Heartbeat { from: version, prev };
        seal(&Draft { epoch: self.epoch, version, kind, times }, b"{}", key, &self.key)
    }
}

/// The latest time that hosts believe at `now`. A time later than that was taken from a clock that
/// ran ahead, and is not to be kept to.
pub(super) fn last_believable(now: Millis) -> Millis {
    now.plus(i64::try_from(MAX_CLOCK_LEAD_MS).unwrap_or(i64::MAX))
}

/// The time at which something may be issued to a host: never before what was issued to it earlier,
/// which it would refuse.
pub(super) fn issue_time(now: Millis, earlier: impl IntoIterator<Item = Millis>) -> Millis {
    let believable = last_believable(now);
    earlier.into_iter().filter(|time| *time <= believable).fold(now, Millis::max)
}

/// Between half a day and a day, by the host's id: keys made in one second, as at a start, do not all
/// end in one second.
fn lifetime(host: &HostId) -> Duration {
    let spread = Digest::of(host.as_str().as_bytes()).as_bytes().first().copied().unwrap_or_default();
    HALF_A_DAY
        .saturating_add(HALF_A_DAY.saturating_mul(u32::from(spread)).checked_div(256).unwrap_or_default())
}

/// How old an update may be when it is sent: well below what J4 of the format allows.
const SENT_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How often the store is asked for a signer while it has none.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const HALF_A_DAY: Duration = Duration::from_secs(12 * 60 * 60);

#[cfg(test)]
mod tests {
    use miosa_snapshot::HostPrivateKey;

    use super::*;

    fn sealer(fresh_for: u64, serve_for: ServeFor) -> Sealer {
        Sealer::new(Duration::from_secs(fresh_for), serve_for)
    }

    #[test]
    fn a_state_is_never_served_shorter_than_it_is_fresh() {
        let limited = sealer(900, ServeFor::Limited(Duration::from_secs(60)));
        let times = limited.times(Millis(1_000));
        assert_eq!((times.issued_at, times.expires_at, times.serve_until), (1_000, 901_000, 901_000));
        assert_eq!(sealer(900, ServeFor::Forever).times(Millis(1_000)).serve_until, MAX_NUMBER);
    }

    #[test]
    fn what_is_sent_is_new_enough_for_a_host_that_lost_its_floor() {
        const MINUTE: u64 = 60;
        for fresh_for in [MINUTE, 15 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE] {
            let sealer = sealer(fresh_for, ServeFor::Forever);
            let expires_at = Millis::from_unsigned(sealer.times(Millis(0)).expires_at);
            assert!(!sealer.is_near_expiry(expires_at, Millis(0)), "{fresh_for}");
            assert!(sealer.is_near_expiry(expires_at, Millis(10 * 60 * 1000 + 1)), "{fresh_for}");
        }
    }

    #[test]
    fn nothing_is_issued_before_what_was_issued_earlier() {
        assert_eq!(issue_time(Millis(5), [Millis(3), Millis(9)]), Millis(9));
        let ran_ahead = last_believable(Millis(5)).plus(1);
        assert_eq!(issue_time(Millis(5), [ran_ahead]), Millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_key_serves_one_host_key_for_up_to_a_day() {
        let sealer = sealer(900, ServeFor::Forever);
        let host: HostId = "host_1".parse().unwrap();
        let (one, other) =
            (HostPrivateKey::generate().unwrap().public(), HostPrivateKey::generate().unwrap().public());
        let first = sealer.content_key(&host, &one).unwrap();
        tokio::time::advance(HALF_A_DAY - Duration::from_secs(1)).await;
        assert!(Arc::ptr_eq(&first, &sealer.content_key(&host, &one).unwrap()));
        let rotated = sealer.content_key(&host, &other).unwrap();
        assert!(!Arc::ptr_eq(&first, &rotated));
        tokio::time::advance(HALF_A_DAY * 2).await;
        assert!(!Arc::ptr_eq(&rotated, &sealer.content_key(&host, &other).unwrap()));
    }
}
