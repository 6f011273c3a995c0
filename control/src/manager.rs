//! What the service manager is told, if one started this process (sd_notify(3)): that it is ready, that
//! it lives, that it ends. Nothing depends on whether it hears it.

use std::convert::Infallible;
use std::future::pending;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// All that could fail at a start has not.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The end was asked for.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing requests in progress")]);
}

/// Feeds the unit's watchdog for as long as the main loop turns and the runtime's threads take work. It
/// vouches for no more: a database that does not answer is nothing that a restart would mend.
pub(crate) async fn pulse() -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut beats = interval(patience.checked_div(BEATS).unwrap_or(patience));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if tokio::spawn(async {}).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(notices: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(notices) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}

/// How often within the watchdog's patience.
const BEATS: u32 = 3;
