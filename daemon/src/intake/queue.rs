//! The line in front of the intake, and the thread it works on: verifying and fsyncing must never
//! make an answer on a socket wait.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Accepted, Intake, Refused};

/// The way to the intake. When the last of these is gone, so is its thread.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<Job>);

/// Bytes from outside.
pub(crate) enum Offer {
    /// Claimed to be an update.
    Update(Vec<u8>),
    /// Claimed to be a trust document.
    Trust(Vec<u8>),
}

struct Job {
    offer: Offer,
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
        self.0.send(Job { offer, reply }).await.map_err(|_closed| Refused::Stopping)?;
        verdict.await.unwrap_or(Err(Refused::Stopping))
    }
}

fn work(mut intake: Intake, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { offer, reply }) = jobs.blocking_recv() {
        let verdict = match offer {
            Offer::Update(bytes) => intake.take_update(&bytes),
            Offer::Trust(bytes) => intake.take_trust(&bytes),
        };
        // Whoever asked may have hung up; what was accepted stays accepted.
        let _nobody_waits = reply.send(verdict);
    }
}

/// More than one publisher never waits here; each that does holds one update in memory.
const LENGTH: usize = 4;
