//! What the service manager is told of this process: that it is ready, that it lives, how it fares,
//! that it ends. Nothing depends on whether it hears it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

/// All that could fail at a start has not.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The start is under way: from here on it has as long again as it should take.
pub(crate) fn starting() {
    tell(&[NotifyState::ExtendTimeoutUsec(START_STEP_USEC)]);
}

/// The configuration is being read anew; [`ready`] ends that.
pub(crate) fn begin_reload() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_no_such_clock) => tell(&[NotifyState::Reloading]),
    }
}

/// The end was asked for.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing answers in progress")]);
}

/// Tells now and then that the event loop turns, and that of the `operators`, which is what the watchdog of the unit waits for, and
/// how the daemon fares, when that has changed. Never returns.
///
/// These are all that it vouches for: an intake that hangs on a broken disk is an alarm, and no
/// reason to end a process that goes on serving what it holds.
pub(crate) async fn pulse(operators: Handle, status: impl Fn() -> String) {
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(STATUS_PERIOD, |patience| STATUS_PERIOD.min(beat_of(patience)));
    let mut beats = interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        beats.tick().await;
        let _turned = operators.spawn(async {}).await;
        let now = status();
        let is_news = now != told;
        // A service manager that does not read would block who tells it, and must not block answers.
        let beat = tokio::task::spawn_blocking(move || {
            let status = is_news.then_some(NotifyState::Status(&now));
            let notices: Vec<_> = [NotifyState::Watchdog].into_iter().chain(status).collect();
            tell(&notices);
            now
        });
        told = beat.await.unwrap_or_default();
    }
}

/// Three beats before a watchdog would bite.
fn beat_of(patience: Duration) -> Duration {
    patience.checked_div(3).unwrap_or(STATUS_PERIOD)
}

fn tell(notices: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(notices) {
        tracing::debug!(event = "service_manager_not_told", error = %error, "the service manager can't be told");
    }
}

const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// `TimeoutStartSec=` of the unit, in microseconds.
const START_STEP_USEC: u32 = 60_000_000;
