//! Issues updates: for each host the state it needs, compared with what it was sent last, and an
//! envelope where the two differ: a full one in any case, since that is what a host that holds anything
//! else needs, and besides an incremental one for a host that is connected here and holds exactly what
//! that applies on top of, where it is much smaller.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};
use std::thread::available_parallelism;

use bytes::{Bytes, BytesMut};
use miosa_injector::model::{Resource, TenantId};
use miosa_injector::{Change, Records};
use miosa_snapshot::{ContentKey, Digest, HostId, HostPublicKey, OutOfScope, SealError, Times};
use tokio::task::{JoinSet, spawn_blocking};

use super::build::{Missing, Needed, Shelves};
use super::fleet::{Sending, Version};
use super::increments::Increment;
use super::memory::{Remembered, Series};
use super::sealer::{Signer, issue_time};
use super::{PublishError, Publisher};
use crate::clock::Millis;
use crate::report::Chain;
use crate::store::StoreError;
use crate::store::slice::{HostToServe, Unreadable};
use crate::store::updates::{Issued, NewUpdate, Positions};

/// What is asked of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// An update where the state is another than the one issued last.
    Changes,
    /// An update of now, also where the state is the same: the one issued last is too old to be sent.
    Again,
}

/// What the hosts of a round have in common.
struct Round {
    publisher: Publisher,
    want: Want,
    signer: Arc<Signer>,
    shelves: Shelves,
    resources: BTreeMap<HostId, Vec<Resource>>,
    /// What else the updates of this round include: changes that have left nothing on a host.
    changed: Positions,
}

/// A host as it was looked at.
struct Seen {
    host: HostToServe,
    looked: Looked,
    /// What of which tenant its state lacks. Its positions don't have these tenants, so that it is
    /// looked at again and nobody is told that it has their changes.
    missing: Missing,
}

/// What came of looking at one host.
enum Looked {
    /// It has the right state.
    Unchanged(Issued),
    /// It needs this.
    New(Box<New>),
    /// It has the right state, and this says so once more, in the place of the update named.
    Again(NewUpdate, Digest),
    /// No update can be made for it.
    Failed(SealError),
    /// The signer may not speak for a tenant on it.
    OutOfScope(OutOfScope),
}

/// A new version for a host.
struct New {
    update: NewUpdate,
    /// The same as an incremental update.
    increment: Option<Increment>,
    /// What the next incremental update could be made from.
    remembered: Option<Remembered>,
}

impl Publisher {
    /// Publishes to hosts. Gives those that it did not work out for, to be tried again.
    pub(super) async fn publish(
        &self,
        hosts: &[HostId],
        changed: &BTreeSet<String>,
        want: Want,
    ) -> Result<BTreeSet<HostId>, PublishError> {
        let signer = self.0.sealer.signer_of_now(&self.0.store).await?;
        let is_current = |host: &HostToServe| {
            let newest = host.newest.as_ref().filter(|_| want == Want::Changes);
            newest.is_some_and(|newest| {
                let is_put_right = newest.understands == host.understands;
                signer.is_current(newest) && is_put_right && newest.positions == host.positions
            })
        };
        let mut slices = self.0.store.slices(hosts, changed, is_current).await?;
        let number = |tenant: &String| slices.numbers.get(tenant).map(|number| (tenant.clone(), *number));
        let changed: Positions = changed.iter().filter_map(number).collect();

        for host in std::mem::take(&mut slices.current) {
            if host.revoked {
                self.0.fleet.revoke(&host.id);
            } else if let Some(newest) = &host.newest {
                self.0.fleet.publish(&host.id, newest, Sending::Nothing, &covers(&changed, &host.positions));
            }
        }
        let mut behind = Vec::with_capacity(slices.behind.len());
        for host in std::mem::take(&mut slices.behind) {
            match host.public_key {
                Some(_) if host.revoked => self.0.fleet.revoke(&host.id),
                Some(public_key) => behind.push((host, public_key)),
                // Not enrolled yet: it comes with its first stream.
                None => {}
            }
        }
        if behind.is_empty() {
            return Ok(BTreeSet::new());
        }

        let opened = spawn_blocking(move || slices.open_what_opens());
        let contents = opened.await.map_err(PublishError::Broken)?;
        for Unreadable { tag, error } in &contents.unreadable {
            if self.0.told.lock().unwrap_or_else(PoisonError::into_inner).insert(tag.name.clone()) {
                let (record, tenant) = (&tag.name, &tag.tenant);
                tracing::error!(record, tenant, "a stored record can't be read: {}", Chain(error));
            }
        }
        let (shelves, resources) = Shelves::new(contents);
        let round = Round { publisher: self.clone(), want, signer, shelves, resources, changed };
        Arc::new(round).run(behind).await
    }
}

impl Round {
    /// Looks at hosts on as many threads as there are processors. Each chunk of hosts is on its way
    /// before the next one is finished.
    async fn run(
        self: Arc<Self>,
        mut hosts: Vec<(HostToServe, HostPublicKey)>,
    ) -> Result<BTreeSet<HostId>, PublishError> {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut failed = BTreeSet::new();
        let mut chunks = JoinSet::new();
        while !hosts.is_empty() {
            let chunk = hosts.drain(..CHUNK.min(hosts.len())).collect();
            if chunks.len() >= threads
                && let Some(done) = chunks.join_next().await
            {
                failed.append(&mut done.map_err(PublishError::Broken)??);
            }
            chunks.spawn(Arc::clone(&self).run_chunk(chunk));
        }
        while let Some(done) = chunks.join_next().await {
            failed.append(&mut done.map_err(PublishError::Broken)??);
        }
        Ok(failed)
    }

    async fn run_chunk(
        self: Arc<Self>,
        hosts: Vec<(HostToServe, HostPublicKey)>,
    ) -> Result<BTreeSet<HostId>, PublishError> {
        let round = Arc::clone(&self);
        let looking = spawn_blocking(move || {
            hosts.into_iter().map(|(host, key)| round.look_at(host, &key)).collect::<Vec<_>>()
        });
        let seen = looking.await.map_err(PublishError::Broken)?;
        let mut failed = BTreeSet::new();
        let mut new = Vec::new();
        let fleet = &self.publisher.0.fleet;
        for Seen { host, looked, missing } in seen {
            match looked {
                Looked::Unchanged(issued) => {
                    let covers = self.covers(&host.positions, &missing);
                    fleet.publish(&host.id, &issued, Sending::Nothing, &covers);
                    self.tell(&host.id, &missing);
                }
                Looked::New(update) => new.push((*update, missing)),
                Looked::Again(update, replaced) => {
                    if self.publisher.0.store.reissue(&update, &replaced).await? {
                        self.hand_over(update, None, &missing);
                    } else {
                        failed.insert(host.id);
                    }
                }
                Looked::Failed(error) => {
                    tracing::error!(host_id = %host.id, "cannot make an update: {}", Chain(&error));
                    fleet.fail(&host.id, Chain(&error).to_string());
                    failed.insert(host.id);
                }
                Looked::OutOfScope(OutOfScope { tenant }) => {
                    let failure = format!(
                        "no signer that is online may speak for tenant {tenant}; run `miosa-control trust rotate --new-signer`"
                    );
                    tracing::error!(host_id = %host.id, "cannot make an update: {failure}");
                    fleet.fail(&host.id, failure);
                    failed.insert(host.id);
                }
            }
        }
        self.issue(new, &mut failed).await?;
        Ok(failed)
    }

    async fn issue(&self, new: Vec<(New, Missing)>, failed: &mut BTreeSet<HostId>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let Publisher(publisher) = &self.publisher;
        let updates: Vec<_> = new.iter().map(|(new, _)| &new.update).collect();
        let stored = publisher.store.issue(&updates).await?;
        for (New { update, increment, remembered }, missing) in new {
            let remembered = remembered.filter(|_| stored.contains(&update.host_id));
            match remembered {
                Some(remembered) => publisher.memory.remember(&update.host_id, remembered),
                None => publisher.memory.forget(&update.host_id),
            }
            if stored.contains(&update.host_id) {
                self.hand_over(update, increment, &missing);
            } else {
                // Another replica was first. What it issued is looked at again.
                failed.insert(update.host_id);
            }
        }
        Ok(())
    }

    fn hand_over(&self, update: NewUpdate, increment: Option<Increment>, missing: &Missing) {
        let NewUpdate { host_id, issued, envelope } = update;
        let covers = self.covers(&issued.positions, missing);
        let (version, size) = (issued.version, envelope.len());
        let increment_size = increment.as_ref().map(|increment| increment.line.len());
        tracing::debug!(%host_id, version, size, increment_size, "published");
        let sending = match increment {
            Some(increment) => Sending::Increment { increment, full: size },
            None => Sending::Full(update_line(&envelope)),
        };
        self.publisher.0.fleet.publish(&host_id, &issued, sending, &covers);
        self.tell(&host_id, missing);
    }

    /// Says what the state of a host lacks.
    fn tell(&self, host: &HostId, missing: &Missing) {
        if missing.is_empty() {
            return;
        }
        let mut text = String::from("its state is not whole:");
        for (tenant, names) in missing {
            let names: Vec<_> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
            // Writing to a String can't fail.
            let _infallible = write!(text, " of tenant {tenant} {};", names.join(", "));
        }
        self.publisher.0.fleet.fail(host, text.trim_end_matches(';').to_owned());
    }

    /// The changes that an update includes: the tenants' own on the host, and those that have left
    /// nothing there.
    fn covers(&self, own: &Positions, missing: &Missing) -> Positions {
        let mut covers = covers(&self.changed, own);
        covers.retain(|tenant, _| !missing.contains_key(tenant));
        covers
    }

    /// The work on one host: what it needs, whether it has it, and if not, an envelope.
    fn look_at(&self, mut host: HostToServe, public_key: &HostPublicKey) -> Seen {
        let mut resources = self.resources.get(&host.id).map_or(Cow::Borrowed(&[][..]), Cow::from);
        let mut left_out = Missing::new();
        loop {
            let Needed { mut records, mut missing } = self.shelves.needed_on(&host.id, &resources);
            let reduced = host.understands.reduce(&mut records);
            missing.extend(left_out.clone());
            host.positions.retain(|tenant, _| !missing.contains_key(tenant));
            let looked = match self.check_scope(&host, &resources) {
                Ok(()) => self.compare(&host, public_key, &Change::full(records)),
                Err(error) => Looked::OutOfScope(error),
            };
            if let Looked::Failed(SealError::Oversize { .. }) = looked
                && let Some(tenant) = self.biggest_tenant(&resources)
            {
                resources.to_mut().retain(|resource| resource.tenant_id != tenant);
                let why = "everything: it is too large together with the other tenants".to_owned();
                left_out.insert(tenant.to_string(), BTreeSet::from([why]));
                continue;
            }
            let Publisher(publisher) = &self.publisher;
            publisher.left_out.note(&host.id, &reduced);
            if publisher.fleet.is_connected(&host.id) {
                publisher.left_out.tell(&host.id);
            }
            return Seen { host, looked, missing };
        }
    }

    /// Hosts refuse what speaks for a tenant that the signer may not speak for, in the state before it or
    /// after.
    fn check_scope(&self, host: &HostToServe, resources: &[Resource]) -> Result<(), OutOfScope> {
        let before = host.newest.iter().filter(|newest| self.signer.is_current(newest));
        let before = before.flat_map(|newest| newest.positions.keys().map(String::as_str));
        self.signer.check_tenants(resources.iter().map(|resource| resource.tenant_id.as_str()).chain(before))
    }

    /// The tenant whose resources take up most; `None` when there are no others, which could do with
    /// what is left.
    fn biggest_tenant(&self, resources: &[Resource]) -> Option<TenantId> {
        let mut of: BTreeMap<&TenantId, Vec<Resource>> = BTreeMap::new();
        for resource in resources {
            of.entry(&resource.tenant_id).or_default().push(resource.clone());
        }
        let size =
            |resources: &[Resource]| Change::full(self.shelves.needed_for(resources).records).encode().len();
        if of.len() < 2 {
            return None;
        }
        let biggest = of.into_iter().max_by_key(|(_, resources)| size(resources));
        biggest.map(|(tenant, _)| tenant.clone())
    }

    fn compare(&self, host: &HostToServe, public_key: &HostPublicKey, state: &Change) -> Looked {
        let payload = state.encode();
        let content = self.publisher.0.store.master_key().keyed_hash(&[
            b"state of a host",
            host.id.as_str().as_bytes(),
            &payload,
        ]);
        let same = host.newest.as_ref();
        let same = same.filter(|newest| newest.content == content && self.signer.is_current(newest));
        if let (Some(newest), Want::Changes) = (same, self.want) {
            return Looked::Unchanged(newest.clone());
        }
        let last = host.newest.as_ref().map_or(0, |newest| newest.version);
        let version = if same.is_some() { last } else { last.saturating_add(1) };
        let sealed = self.seal(host, public_key, version).and_then(|sealing| {
            let update = sealing.full(content, &payload)?;
            match same {
                Some(newest) => Ok(Looked::Again(update, newest.digest)),
                None => Ok(Looked::New(Box::new(sealing.new_version(update, &state.put, payload.len())?))),
            }
        });
        sealed.unwrap_or_else(Looked::Failed)
    }

    fn seal<'a>(
        &'a self,
        host: &'a HostToServe,
        public_key: &HostPublicKey,
        version: u64,
    ) -> Result<Sealing<'a>, SealError> {
        let sealer = &self.publisher.0.sealer;
        let earlier = host.newest.iter().map(|newest| newest.issued_at).chain([host.beat_at]);
        let times = sealer.times(issue_time(Millis::now(), earlier));
        let key = sealer.content_key(&host.id, public_key)?;
        Ok(Sealing { round: self, host, version, times, key })
    }
}

/// What the two forms of one version have in common.
struct Sealing<'a> {
    round: &'a Round,
    host: &'a HostToServe,
    version: u64,
    times: Times,
    key: Arc<ContentKey>,
}

impl Sealing<'_> {
    fn full(&self, content: Vec<u8>, payload: &[u8]) -> Result<NewUpdate, SealError> {
        let Self { round, host, version, times, .. } = self;
        let envelope = round.signer.full(*version, *times, payload, &self.key)?;
        let issued = Issued {
            epoch: round.signer.epoch,
            version: *version,
            digest: Digest::of(&envelope),
            increment: None,
            content,
            positions: host.positions.clone(),
            issued_at: Millis::from_unsigned(times.issued_at),
            expires_at: Millis::from_unsigned(times.expires_at),
            trust: round.signer.trust,
            understands: host.understands,
        };
        Ok(NewUpdate { host_id: host.id.clone(), issued, envelope })
    }

    /// A version that a full update was made for, `size` bytes of payload: with an incremental one where
    /// that pays and can be made.
    fn new_version(&self, mut update: NewUpdate, state: &Records, size: usize) -> Result<New, SealError> {
        let Self { round, host, .. } = self;
        let publisher = &round.publisher.0;
        // A host that is connected elsewhere is sent its next update from there.
        if size < WORTH_IT || !publisher.fleet.is_connected(&host.id) {
            return Ok(New { update, increment: None, remembered: None });
        }
        let full = update.envelope.len();
        let mut series = Series::begin(full);
        let mut increment = None;
        let marks = match self.before() {
            None => publisher.marker.mark(state),
            Some((before, prev)) => {
                let (marks, change) = publisher.marker.follow(&before.marks, state);
                let payload = change.encode();
                if payload.len() <= size.checked_div(MUCH_SMALLER).unwrap_or_default() {
                    let made = self.increment(before.version, prev, &payload)?;
                    if let Some(longer) = before.series.extend(made.line.len(), full) {
                        series = longer;
                        increment = Some(made);
                    }
                }
                marks
            }
        };
        update.issued.increment = increment.as_ref().map(|increment| increment.digest);
        let remembered = Remembered {
            version: update.issued.version(),
            content: update.issued.content.clone(),
            signer: round.signer.key_id(),
            marks,
            series,
        };
        Ok(New { update, increment, remembered: Some(remembered) })
    }

    /// What the host was issued last, and in which form it holds that.
    fn before(&self) -> Option<(Arc<Remembered>, Digest)> {
        let Self { round, host, .. } = self;
        let newest = host.newest.as_ref().filter(|newest| round.signer.is_current(newest))?;
        let before = round.publisher.0.memory.recall(&host.id, newest)?;
        let prev = round.publisher.0.fleet.base(&host.id, newest)?;
        (before.signer == round.signer.key_id()).then_some((before, prev))
    }

    fn increment(&self, from: Version, prev: Digest, payload: &[u8]) -> Result<Increment, SealError> {
        let Self { round, version, times, .. } = self;
        let signer = &round.signer;
        let envelope = signer.incremental(*version, (from.version, prev), *times, payload, &self.key)?;
        Ok(Increment {
            prev,
            version: Version { epoch: signer.epoch, version: *version },
            digest: Digest::of(&envelope),
            issued_at: Millis::from_unsigned(times.issued_at),
            expires_at: Millis::from_unsigned(times.expires_at),
            line: update_line(&envelope),
        })
    }
}

/// The line of an update on the stream. Envelopes hold no line ends.
pub(super) fn update_line(envelope: &[u8]) -> Bytes {
    let mut line =
        BytesMut::with_capacity(envelope.len().saturating_add(HEAD.len()).saturating_add(TAIL.len()));
    line.extend_from_slice(HEAD);
    line.extend_from_slice(envelope);
    line.extend_from_slice(TAIL);
    line.freeze()
}

fn covers(changed: &Positions, own: &Positions) -> Positions {
    changed.iter().chain(own).map(|(tenant, number)| (tenant.clone(), *number)).collect()
}

const HEAD: &[u8] = br#"{"update":"#;
const TAIL: &[u8] = b"}\n";
/// Hosts that are worked on, stored and sent together: few enough that the first are on their way
/// early, enough that a commit is shared.
const CHUNK: usize = 64;
/// The payload of a full update, in bytes, from which on an incremental one is thought of: below it
/// nobody would notice.
const WORTH_IT: usize = 16 * 1024;
/// By what factor the payload of an incremental update must be smaller, since it is sealed besides.
const MUCH_SMALLER: usize = 4;
/// Records that are named of a tenant where something is missing; the log names all.
const MAX_NAMED: usize = 8;
