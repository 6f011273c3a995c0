//! Waits until hosts have a change: for those who write and want to know.

use std::time::Duration;

use miosa_snapshot::HostId;
use tokio::time::Instant;

use super::fleet::{HostView, Published};
use super::{Holding, Publisher, Version};
use crate::clock::Millis;
use crate::store::StoreError;

/// A committed change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) tenant: &'a str,
    /// The host it is about; `None` for all that have resources of the tenant.
    pub(crate) host: Option<&'a HostId>,
    pub(crate) number: i64,
}

/// Whether hosts have a change. The worst of several hosts counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Applied {
    /// Each of them.
    Yes,
    /// One is connected and has not said so yet.
    Lagging,
    /// One is not connected.
    Offline,
    /// One refused what it was sent, or can't be sent anything.
    Refused,
}

impl Publisher {
    /// Waits, up to `patience`, until hosts have a change.
    pub(crate) async fn applied(
        &self,
        change: Change<'_>,
        patience: Duration,
    ) -> Result<Applied, StoreError> {
        let deadline = Instant::now().checked_add(patience).unwrap_or_else(Instant::now);
        let hosts = match change.host {
            Some(host) => [host.clone()].into(),
            None => self.0.store.hosts_of_tenant(change.tenant).await?,
        };
        let mut worst = Applied::Yes;
        // One after the other: they all have the same deadline, and go on while one is waited for.
        for host in hosts {
            worst = worst.max(self.applied_on(&host, change, deadline).await?);
        }
        Ok(worst)
    }

    async fn applied_on(
        &self,
        host: &HostId,
        change: Change<'_>,
        deadline: Instant,
    ) -> Result<Applied, StoreError> {
        let mut view = self.0.fleet.watch(host);
        // The first version known to have the change; what follows it has the change too.
        let mut goal: Option<Version> = None;
        loop {
            {
                let view = view.borrow_and_update();
                goal = goal.or_else(|| version_with(&view, change));
                if let (Some(goal), Some(held), Some(newest)) = (goal, view.applied, &view.published)
                    && held.version >= goal
                    // A host that is ahead of the store, or has another update of the same version,
                    // holds something else.
                    && (held.version < newest.version || held.is(newest))
                {
                    return Ok(Applied::Yes);
                }
            }
            let now = Instant::now();
            if now >= deadline {
                return self.why_not(host).await;
            }
            let tick = now.checked_add(ASK_STORE_EVERY).unwrap_or(deadline).min(deadline);
            tokio::select! {
                _ = view.changed() => {}
                () = tokio::time::sleep_until(tick) => self.hear_from_store(host).await?,
            }
        }
    }

    /// What a host said may have been said to another replica, about what that one issued.
    async fn hear_from_store(&self, host: &HostId) -> Result<(), StoreError> {
        let held = self.0.store.host_status(host).await?.and_then(|status| status.held);
        let Some(held) = held.map(Holding::from) else { return Ok(()) };
        self.0.fleet.catch_up(host, held);
        let is_other = |newest: &Published| held.version == newest.version && !held.is(newest);
        let is_other = self.0.fleet.watch(host).borrow().published.as_ref().is_some_and(is_other);
        if is_other && let Some(newest) = self.0.store.newest_update(host).await? {
            self.0.fleet.find(host, &newest.issued);
        }
        Ok(())
    }

    async fn why_not(&self, host: &HostId) -> Result<Applied, StoreError> {
        let (refused, connected) = {
            let view = self.0.fleet.watch(host);
            let view = view.borrow();
            (view.refuses || view.failure.is_some(), view.connected)
        };
        if connected || refused {
            return Ok(if refused { Applied::Refused } else { Applied::Lagging });
        }
        // It may be connected to another replica, where it is heard from with every heartbeat.
        let silence = self.0.sealer.beat_every().saturating_add(ASK_STORE_EVERY);
        let silence = i64::try_from(silence.as_millis()).unwrap_or(i64::MAX);
        let seen = self.0.store.host_status(host).await?.and_then(|status| status.last_seen_at);
        let elsewhere =
            self.0.store.is_shared() && seen.is_some_and(|seen| seen.plus(silence) > Millis::now());
        Ok(if elsewhere { Applied::Lagging } else { Applied::Offline })
    }
}

fn version_with(view: &HostView, change: Change<'_>) -> Option<Version> {
    let covered = view.covers.get(change.tenant).is_some_and(|number| *number >= change.number);
    view.published.as_ref().filter(|_| covered).map(|published| published.version)
}

const ASK_STORE_EVERY: Duration = Duration::from_millis(250);
