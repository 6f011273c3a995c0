//! The line in front of the intake, and the thread it works on: verifying and fsyncing must never
//! make an answer on a socket wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::interval;

use super::{Accepted, Intake, Offer, Origin, Refused, Shared, Tell};

/// The way to the intake. When the last of these is gone, so is its thread.
#[derive(Clone)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
    /// Since when one job is being worked on, in milliseconds since boot; 0: none is.
    busy_since: Arc<AtomicU64>,
    shared: Shared,
}

struct Job {
    offer: Offer,
    origin: Origin,
    tell: Tell,
    reply: oneshot::Sender<Result<Accepted, Refused>>,
}

impl Queue {
    /// Puts the intake on a thread of its own, which lives as long as somebody may offer something.
    pub(crate) fn start(intake: Intake) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel(LENGTH);
        let (shared, busy_since) = (intake.shared.clone(), Arc::<AtomicU64>::default());
        let queue = Self { jobs: sender, busy_since: Arc::clone(&busy_since), shared };
        thread::Builder::new().name("intake".to_owned()).spawn(move || work(intake, jobs, &busy_since))?;
        Ok(queue)
    }

    /// Raises an alarm when one job takes longer than any disk that works. Never returns.
    pub(crate) async fn watch(&self) {
        let mut told = 0;
        let mut looks = interval(STUCK);
        loop {
            looks.tick().await;
            let since = self.busy_since.load(Ordering::Relaxed);
            let passed = self.shared.clock.boot_ms().saturating_sub(since);
            if since != 0 && since != told && u128::from(passed) > STUCK.as_millis() {
                told = since;
                self.shared.alarm(
                    "intake_stuck",
                    "an update has been worked on for more than a minute, and none after it is taken in; \
                     look at the disk of the state directory",
                );
            }
        }
    }

    /// Offers bytes and waits for the verdict: when it is `Ok`, they are durable and served.
    pub(crate) async fn offer(&self, offer: Offer) -> Result<Accepted, Refused> {
        let (reply, verdict) = oneshot::channel();
        let job = Job { offer, origin: Origin::Socket, tell: Tell::Always, reply };
        self.jobs.send(job).await.map_err(|_closed| Refused::Stopping)?;
        verdict.await.unwrap_or(Err(Refused::Stopping))
    }

    /// The same for a thread that may wait.
    pub(crate) fn offer_and_wait(
        &self,
        offer: Offer,
        origin: Origin,
        tell: Tell,
    ) -> Result<Accepted, Refused> {
        let (reply, verdict) = oneshot::channel();
        let job = Job { offer, origin, tell, reply };
        self.jobs.blocking_send(job).map_err(|_closed| Refused::Stopping)?;
        verdict.blocking_recv().unwrap_or(Err(Refused::Stopping))
    }
}

fn work(mut intake: Intake, mut jobs: mpsc::Receiver<Job>, busy_since: &AtomicU64) {
    while let Some(Job { offer, origin, tell, reply }) = jobs.blocking_recv() {
        busy_since.store(intake.shared.clock.boot_ms(), Ordering::Relaxed);
        let verdict = intake.take(&offer, &origin, tell);
        // Whoever asked may have hung up; what was accepted stays accepted.
        let _nobody_waits = reply.send(verdict);
        if jobs.is_empty() {
            intake.settle();
        }
        busy_since.store(0, Ordering::Relaxed);
    }
}

/// The largest update takes seconds on a slow disk.
const STUCK: Duration = Duration::from_secs(60);

/// More than one publisher never waits here; each that does holds one update in memory.
const LENGTH: usize = 4;
