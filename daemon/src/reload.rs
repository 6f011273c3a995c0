//! New settings for a running process: notices that the configuration file changed, or is told by
//! SIGHUP, checks the new settings whole, and has them put in force or says why not. What a setting does is
//! the process's business; so is everything that is not in the file.

mod watch;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::failure::in_one_line;
use crate::settings::{Changes, Settings, SettingsError};
use crate::{logging, manager};
use watch::{Stamp, Watch};

/// A process that can take other settings while it runs.
pub(crate) trait Reloadable {
    /// Puts in force what can be. Called when something differs from before.
    fn apply(&mut self, settings: &Settings);
    /// How the configuration stands after a look at it.
    fn note(&mut self, standing: Standing<'_>);
    /// Whoever sends SIGHUP means more than the file: looks again at whatever else there is.
    async fn look_again(&mut self);
    /// How the process fares, for the service manager.
    fn in_short(&self) -> String;
}

/// How the configuration stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing<'a> {
    /// What the file says is in force, but for these keys, which take a restart.
    InForce {
        /// The file, which need not be there.
        file: &'a Path,
        /// The keys.
        but: &'a [&'static str],
    },
    /// The file can't be used; what was in force before is.
    Refused {
        /// Why.
        error: &'a SettingsError,
        /// Whether an operator was told so just now.
        is_news: bool,
    },
}

/// How the configuration stands, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationReport {
    /// The file, which need not be there.
    pub(crate) file: String,
    /// `in_force`; `refused`, while the file can't be used and what was in force before is; or
    /// `needs_restart`, while some keys of the file are not in force.
    pub(crate) state: String,
    /// When what is in force was read last, in Unix milliseconds.
    pub(crate) since: u64,
    /// Where and why the file is refused.
    pub(crate) problem: Option<String>,
    /// The keys that take a restart.
    pub(crate) needs_restart: Vec<String>,
}

/// Keeps the settings of a process up to date.
pub(crate) struct Reload {
    hangups: Signal,
    news: Arc<Notify>,
    eye: Arc<Mutex<Eye>>,
    running: Settings,
    /// What was told last, so that it is told once.
    refused: Option<String>,
    waiting: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// SIGHUP.
    Asked,
    /// Something happened to the file.
    Noticed,
    /// Nothing was heard for a while.
    Timer,
}

impl Reload {
    /// To be made before anything else is started: from here on SIGHUP does not end the process. Must be
    /// called within a runtime.
    pub(crate) fn of(settings: &Settings) -> io::Result<Self> {
        let news = Arc::<Notify>::default();
        let watch = Watch::over(settings.file(), Arc::clone(&news));
        let eye = Eye { watch, settings: settings.clone(), read: None, glimpsed: None };
        let (eye, running) = (Arc::new(Mutex::new(eye)), settings.clone());
        let hangups = signal(SignalKind::hangup())?;
        Ok(Self { hangups, news, eye, running, refused: None, waiting: Vec::new() })
    }

    /// Never returns. The file is read on a thread of its own: a disk that hangs holds up no answer.
    pub(crate) async fn run(mut self, process: &mut impl Reloadable) -> Infallible {
        process.note(Standing::InForce { file: self.running.file(), but: &[] });
        // What happened to the file since the start was not watched.
        let mut cause = Cause::Noticed;
        loop {
            let is_asked = cause == Cause::Asked;
            if is_asked {
                tell(manager::begin_reload).await;
            }
            match look(&self.eye, cause).await {
                Some(Ok(next)) => self.take(next, is_asked, process),
                Some(Err(error)) => self.refuse(&error, is_asked, process),
                None => {}
            }
            if is_asked {
                process.look_again().await;
                let status = process.in_short();
                tell(move || manager::ready(&status)).await;
            }
            sleep(REST).await;
            cause = self.next_cause().await;
        }
    }

    async fn next_cause(&mut self) -> Cause {
        tokio::select! {
            biased;
            _ = self.hangups.recv() => Cause::Asked,
            () = self.news.notified() => {
                sleep(SETTLE).await;
                Cause::Noticed
            }
            () = sleep(PERIOD) => Cause::Timer,
        }
    }

    fn take(&mut self, next: Settings, is_asked: bool, process: &mut impl Reloadable) {
        let was_refused = self.refused.take().is_some();
        let Changes { at_once, after_restart } = self.running.changes(&next);
        let had_file = self.running.has_file();
        self.running = next.less_what_takes_a_restart(&self.running);
        let file = self.running.file().display();
        if !at_once.is_empty() || was_refused || had_file != self.running.has_file() {
            logging::set_level(self.running.log_level);
            process.apply(&self.running);
            let (changed, is_there) = (at_once.join(","), self.running.has_file());
            tracing::info!(event = "configuration_reloaded", %file, is_there, changed, "other settings are in force");
        } else if is_asked && after_restart.is_empty() {
            tracing::info!(event = "configuration_unchanged", %file, "the settings are in force already");
        }
        if !after_restart.is_empty() && (is_asked || after_restart != self.waiting) {
            let keys = after_restart.join(",");
            tracing::warn!(
                event = "configuration_needs_restart",
                %file,
                keys,
                "these settings hold after a restart only; what was in force before stays"
            );
        }
        self.waiting = after_restart;
        process.note(Standing::InForce { file: self.running.file(), but: &self.waiting });
    }

    fn refuse(&mut self, error: &SettingsError, is_asked: bool, process: &mut impl Reloadable) {
        let problem = in_one_line(error);
        let is_news = is_asked || self.refused.as_ref() != Some(&problem);
        if is_news {
            let (file, line, key, reason) = error.parts();
            tracing::error!(
                event = "configuration_refused",
                file = %file.display(),
                line,
                key,
                reason,
                "the configuration can't be used; what was in force before stays"
            );
        }
        self.refused = Some(problem);
        process.note(Standing::Refused { error, is_news });
    }
}

/// Sees whether the file is another one than before, and reads it then.
struct Eye {
    watch: Watch,
    settings: Settings,
    /// The file as it was when it was read.
    read: Option<Stamp>,
    /// The file as it was at the last look.
    glimpsed: Option<Stamp>,
}

/// One look, on a thread that may wait for a disk. None: there is nothing new.
async fn look(eye: &Arc<Mutex<Eye>>, cause: Cause) -> Option<Result<Settings, SettingsError>> {
    let eye = Arc::clone(eye);
    let looked = spawn_blocking(move || eye.lock().unwrap_or_else(PoisonError::into_inner).look(cause));
    // A thread that can't be started is tried again with the next look.
    looked.await.ok().flatten()
}

impl Eye {
    fn look(&mut self, cause: Cause) -> Option<Result<Settings, SettingsError>> {
        self.watch.renew();
        let stamp = Stamp::of(self.settings.file());
        let stands_still = self.glimpsed.replace(stamp) == Some(stamp);
        let is_due = match cause {
            Cause::Asked => true,
            Cause::Noticed => self.read != Some(stamp),
            Cause::Timer => self.read != Some(stamp) && stands_still,
        };
        if !is_due {
            return None;
        }
        // If it changes while it is read, it is another one at the next look.
        self.read = Some(stamp);
        Some(self.settings.again())
    }
}

async fn tell(notice: impl FnOnce() + Send + 'static) {
    // A service manager that does not read would block who tells it, and must not block answers.
    let _told = spawn_blocking(notice).await;
}

/// From the first sign of a change to the look at it: an editor takes several steps to replace a file.
const SETTLE: Duration = Duration::from_millis(200);

/// After a look there is none for so long, however often it is asked.
const REST: Duration = Duration::from_millis(100);

/// For what the kernel does not tell: changes behind links that lead through other directories, and
/// directories that are replaced. What changed is read once it has stood still for as long.
const PERIOD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
