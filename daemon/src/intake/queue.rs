//! The line in front of the intake, and the thread it works on: verifying and fsyncing must never
//! make an answer on a socket wait.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Accepted, Intake, Offer, Origin, Refused, Tell};

/// The way to the intake. When the last of these is gone, so is its thread.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<Job>);

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
        thread::Builder::new().name("intake".to_owned()).spawn(|| work(intake, jobs))?;
        Ok(Self(sender))
    }

    /// Offers bytes and waits for the verdict: when it is `Ok`, they are durable and served.
    pub(crate) async fn offer(&self, offer: Offer) -> Result<Accepted, Refused> {
        let (reply, verdict) = oneshot::channel();
        let job = Job { offer, origin: Origin::Socket, tell: Tell::Always, reply };
        self.0.send(job).await.map_err(|_closed| Refused::Stopping)?;
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
        self.0.blocking_send(job).map_err(|_closed| Refused::Stopping)?;
        verdict.blocking_recv().unwrap_or(Err(Refused::Stopping))
    }
}

fn work(mut intake: Intake, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { offer, origin, tell, reply }) = jobs.blocking_recv() {
        let verdict = intake.take(&offer, &origin, tell);
        // Whoever asked may have hung up; what was accepted stays accepted.
        let _nobody_waits = reply.send(verdict);
        if jobs.is_empty() {
            intake.settle();
        }
    }
}

/// More than one publisher never waits here; each that does holds one update in memory.
const LENGTH: usize = 4;
