//! One host's stream: what it lacks at once, then every update as it is issued, a heartbeat where
//! nothing is, and an empty line to keep the connection alive.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use miosa_injector::Understands;
use miosa_snapshot::{Digest, HostId, HostPublicKey, SealError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::fleet::{Connection, Holding, Published, Version};
use super::in_force::InForce;
use super::issue::{Want, update_line};
use super::sealer::{issue_time, last_believable};
use super::{PublishError, Publisher};
use crate::clock::Millis;
use crate::report::Chain;
use crate::store::StoreError;
use crate::store::enrollment::Enrolled;
use crate::store::updates::{Issued, NewestUpdate};

/// The lines of a stream, as the body of an answer. It ends when the stream does.
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<Bytes>);

/// Why a line can't be made.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// Publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error("cannot make a heartbeat")]
    Seal(#[from] SealError),
}

struct Stream {
    publisher: Publisher,
    host: HostId,
    public_key: HostPublicKey,
    connection: Connection,
    lines: mpsc::Sender<Bytes>,
    holds: Holds,
    trust: watch::Receiver<Option<Arc<InForce>>>,
    /// The newest trust document that the host has, or was sent.
    has_trust: u64,
    /// Whether the store was asked what was issued to the host.
    knows_newest: bool,
    /// The newest time that anything on this stream said it was issued at.
    issued_at: Millis,
    next_beat: Instant,
    /// Nothing is tried before, after a failure.
    retry_at: Instant,
    failures: u32,
}

/// What a host tells when it opens its stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// The state that it holds.
    pub(crate) held: Option<Holding>,
    /// The version of the trust document that it holds.
    pub(crate) trust: Option<u64>,
    /// What it knows.
    pub(crate) understands: Understands,
}

/// What the host has, as far as can be known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing, or nothing that it would tell.
    Nothing,
    /// What it said on opening.
    Claimed(Holding),
    /// What was sent to it on this stream.
    Sent(Digest),
}

impl Holds {
    fn digest(self) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Claimed(held) => held.digest,
            Self::Sent(digest) => Some(digest),
        }
    }
}

impl Publisher {
    /// Opens the stream of a host that says what it holds. It ends when the client goes away, when
    /// the host opens another one or is revoked, or when `ending` turns true.
    pub(crate) fn open_stream(&self, host: Enrolled, told: Told, ending: watch::Receiver<bool>) -> Lines {
        let Told { held, trust, .. } = told;
        let (lines, body) = mpsc::channel(1);
        let now = Instant::now();
        let stream = Stream {
            publisher: self.clone(),
            connection: self.0.fleet.connect(&host.id, held),
            public_key: host.public_key,
            host: host.id,
            lines,
            holds: held.map_or(Holds::Nothing, Holds::Claimed),
            trust: self.0.sealer.watch_trust(),
            // A host that does not say may have lost its trust documents, and without them it accepts
            // no state. It takes the pinned one again, and what follows from it.
            has_trust: trust.unwrap_or(host.pinned_trust.saturating_sub(1)),
            knows_newest: false,
            issued_at: Millis(0),
            next_beat: now,
            retry_at: now,
            failures: 0,
        };
        tokio::spawn(stream.run(told, ending));
        Lines(body)
    }
}

impl Stream {
    async fn run(mut self, told: Told, mut ending: watch::Receiver<bool>) {
        tracing::debug!(host_id = %self.host, holds = ?self.holds, "stream opened");
        let (host, lines) = (self.host.clone(), self.lines.clone());
        let serving = async {
            self.publisher.look_at_opening(&self.host, told).await;
            self.send_lines().await;
        };
        tokio::select! {
            () = serving => {}
            () = lines.closed() => {}
            _ = ending.wait_for(|ending| *ending) => {}
        }
        tracing::debug!(host_id = %host, "stream closed");
    }

    async fn send_lines(&mut self) {
        if self.connection.look().published.is_none() {
            self.publisher.ask(&self.host);
        }
        let mut keep_alive = later(KEEP_ALIVE);
        while self.connection.is_current() {
            let mut line = self.next_line_or_pause().await;
            if line.is_none() && Instant::now() >= keep_alive {
                line = Some(EMPTY_LINE);
            }
            let Some(line) = line else {
                let beat = self.next_beat.max(self.retry_at);
                tokio::select! {
                    () = self.connection.changed() => {}
                    _ = self.trust.changed() => self.retry_at = Instant::now(),
                    () = tokio::time::sleep_until(keep_alive.min(beat)) => {}
                }
                continue;
            };
            // A host that takes nothing any more is given up: it comes again when it is back.
            match tokio::time::timeout(SEND_TIMEOUT, self.lines.send(line)).await {
                Ok(Ok(())) => keep_alive = later(KEEP_ALIVE),
                Ok(Err(_closed)) => return,
                Err(_elapsed) => return,
            }
        }
    }

    async fn next_line_or_pause(&mut self) -> Option<Bytes> {
        if Instant::now() < self.retry_at {
            return None;
        }
        match self.next_line().await {
            Ok(line) => {
                self.failures = 0;
                line
            }
            Err(error) => {
                tracing::warn!(host_id = %self.host, "{}", Chain(&error));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = later(FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)));
                None
            }
        }
    }

    /// The line to send now, if there is one. What there is to send may only come about here; then
    /// the host's view changes, and this is asked again.
    async fn next_line(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.trust.borrow().is_none() {
            self.publisher.0.sealer.read_again(&self.publisher.0.store).await.map_err(PublishError::from)?;
        }
        if let Some(lines) = self.missing_trust() {
            return Ok(Some(lines));
        }
        let line = self.next_update().await?;
        let Some(trust) = self.missing_trust() else { return Ok(line) };
        if line.is_some() {
            // It may be under the document before. What follows this one is found anew.
            self.holds = Holds::Nothing;
        }
        Ok(Some(trust))
    }

    /// Whether something that was signed under this version of the trust document may still be sent. Its
    /// signer may be revoked since; and where there is none to sign, hosts take nothing.
    fn may_send(&self, trust: u64) -> bool {
        let in_force = self.trust.borrow();
        in_force.as_ref().is_some_and(|in_force| trust >= in_force.version() && in_force.signer().is_ok())
    }

    async fn next_update(&mut self) -> Result<Option<Bytes>, StreamError> {
        let look = {
            let view = self.connection.look();
            view.published.as_ref().map(|published| {
                let is_applied =
                    view.applied.is_some_and(|held| held.version > published.version || held.is(published));
                (published.position(), is_applied)
            })
        };
        let Some((published, is_applied)) = look else {
            self.find_newest().await?;
            return Ok(None);
        };
        if !self.may_send(published.trust) {
            self.next_beat = self.next_beat.max(later(FIRST_PAUSE));
            return Ok(None);
        }
        if self.connection.wants_full() {
            self.holds = Holds::Nothing;
        }
        let has_it = match self.holds {
            Holds::Nothing => false,
            Holds::Claimed(held) => held.is(&published),
            Holds::Sent(digest) => published.has_digest(&digest),
        };
        if !has_it {
            return match self.increment() {
                Some(line) => Ok(Some(line)),
                None => self.full(&published).await,
            };
        }
        if Instant::now() < self.next_beat {
            return Ok(None);
        }
        let is_held = is_applied || matches!(self.holds, Holds::Claimed(_));
        if is_held || self.has_told_another(&published).await? {
            return self.heartbeat(&published).await;
        }
        // It was sent a beat ago and has not arrived: refused, or lost together with the host's state.
        self.next_beat = later(self.publisher.0.sealer.beat_every());
        self.issue_again().await?;
        Ok(None)
    }

    /// Whether the host said to another replica that it holds this: its reports come by a connection of
    /// their own.
    async fn has_told_another(&self, published: &Published) -> Result<bool, StoreError> {
        let Publisher(inner) = &self.publisher;
        if !inner.store.is_shared() {
            return Ok(false);
        }
        let status = inner.store.host_status(&self.host).await?;
        let held = status.and_then(|status| status.held).map(Holding::from);
        Ok(held.is_some_and(|held| held.is(published)))
    }

    /// The lines of the trust documents that the host lacks.
    fn missing_trust(&mut self) -> Option<Bytes> {
        let in_force = self.trust.borrow_and_update();
        let in_force = in_force.as_ref()?;
        let lines = in_force.lines_after(self.has_trust)?;
        self.has_trust = in_force.version();
        Some(lines)
    }

    /// Finds what was issued to the host before this process began. Until there is something later,
    /// that is its state, and to be kept fresh even if nothing can be published to it at present.
    async fn find_newest(&mut self) -> Result<(), StoreError> {
        if !self.knows_newest {
            let newest = self.publisher.0.store.newest_update(&self.host).await?;
            self.knows_newest = true;
            if let Some(newest) = newest {
                self.publisher.0.fleet.find(&self.host, &newest.issued);
            }
        }
        Ok(())
    }

    /// The next of the incremental updates that wait for the host, if it applies on top of what the host
    /// has.
    fn increment(&mut self) -> Option<Bytes> {
        let next = self.connection.take_increment(self.holds.digest())?;
        let is_near_expiry = self.publisher.0.sealer.is_near_expiry(next.expires_at, Millis::now());
        if is_near_expiry || self.is_overtaken(next.issued_at) {
            return None;
        }
        self.took(next.digest, next.issued_at);
        Some(next.line)
    }

    async fn full(&mut self, published: &Published) -> Result<Option<Bytes>, StreamError> {
        let sealer = &self.publisher.0.sealer;
        if let Some(line) = self.connection.take_line(published)
            && !sealer.is_near_expiry(published.expires_at, Millis::now())
            && !self.is_overtaken(published.issued_at)
        {
            self.sent(published.version, published.digest, published.issued_at);
            return Ok(Some(line));
        }
        let newest = self.publisher.0.store.newest_update(&self.host).await?;
        if let (Holds::Claimed(held), Some(newest)) = (self.holds, &newest)
            && newest.issued.is_held_as(&held)
        {
            // Another replica has issued it to the host, and this one did not know yet.
            self.publisher.0.fleet.find(&self.host, &newest.issued);
            return Ok(None);
        }
        self.stored(newest).await
    }

    /// The full update that is `newest` in the store, or another of the same state if that one can't be
    /// sent any more.
    async fn stored(&mut self, newest: Option<NewestUpdate>) -> Result<Option<Bytes>, StreamError> {
        let newest = newest.inspect(|newest| self.publisher.0.fleet.find(&self.host, &newest.issued));
        if let Some(newest) = &newest {
            // Another replica may know a document that this one does not.
            let Publisher(inner) = &self.publisher;
            inner.sealer.learn_of(&inner.store, newest.issued.trust).await.map_err(PublishError::from)?;
            if !self.may_send(newest.issued.trust) {
                self.next_beat = self.next_beat.max(later(FIRST_PAUSE));
                return Ok(None);
            }
        }
        match newest {
            Some(newest)
                if newest.issued.issued_at >= newest.beat_at
                    && !self.is_overtaken(newest.issued.issued_at)
                    && !self.publisher.0.sealer.is_near_expiry(newest.issued.expires_at, Millis::now()) =>
            {
                let Issued { digest, issued_at, .. } = newest.issued;
                self.sent(newest.issued.version(), digest, issued_at);
                Ok(Some(update_line(&newest.envelope)))
            }
            Some(_) | None => self.issue_again().await.map(|()| None),
        }
    }

    async fn heartbeat(&mut self, published: &Published) -> Result<Option<Bytes>, StreamError> {
        let Publisher(inner) = &self.publisher;
        let now = Millis::now();
        let earliest = issue_time(now, [published.issued_at]);
        let Some(beat) = inner.store.take_beat(&self.host, earliest, last_believable(now)).await? else {
            inner.fleet.revoke(&self.host);
            return Ok(None);
        };
        inner.sealer.learn_of(&inner.store, beat.trust).await.map_err(PublishError::from)?;
        let signer = inner.sealer.signer(&inner.store).await.map_err(PublishError::from)?;
        self.next_beat = later(inner.sealer.beat_every());
        if beat.newest != Some(published.digest) || signer.trust != published.trust {
            // Another replica has issued something, or nobody yet what the trust document asks for.
            self.publisher.ask(&self.host);
            return Ok(None);
        }
        let key = inner.sealer.content_key(&self.host, &self.public_key)?;
        let times = inner.sealer.times(beat.issued_at);
        // Of the two forms of a version the host has one, and knows nothing of the other.
        let prev = self.holds.digest().unwrap_or(published.digest);
        let envelope = signer.heartbeat(published.version.version, prev, times, &key)?;
        self.issued_at = self.issued_at.max(beat.issued_at);
        Ok(Some(update_line(&envelope)))
    }

    async fn issue_again(&mut self) -> Result<(), StreamError> {
        let hosts = std::slice::from_ref(&self.host);
        let failed = self.publisher.publish(hosts, &Default::default(), Want::Again).await?;
        if !failed.is_empty() {
            // Somebody else was first, or it can't be done; either way not at once again.
            self.retry_at = later(FIRST_PAUSE);
        }
        Ok(())
    }

    /// Whether something was sent that says it was issued later: a host refuses what was issued before
    /// anything that it has accepted.
    fn is_overtaken(&self, issued_at: Millis) -> bool {
        issued_at < self.issued_at && self.issued_at <= last_believable(Millis::now())
    }

    fn sent(&mut self, version: Version, digest: Digest, issued_at: Millis) {
        self.connection.sent(Holding { version, digest: Some(digest) });
        self.took(digest, issued_at);
    }

    fn took(&mut self, digest: Digest, issued_at: Millis) {
        self.holds = Holds::Sent(digest);
        self.issued_at = self.issued_at.max(issued_at);
        self.next_beat = later(self.publisher.0.sealer.beat_every());
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

fn later(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now)
}

const EMPTY_LINE: Bytes = Bytes::from_static(b"\n");
/// An empty line at least so often tells the host that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
