//! One look into the drop directory: which files are ready, in which order they are offered, and what
//! becomes of them. Trust documents go first, then updates; those that need others are tried again
//! until none is accepted any more, so that a chain may be dropped in any order.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use miosa_snapshot::{EnvelopeError, MAX_ENVELOPE_BYTES, OpenError};
use tokio::sync::watch as channel;

use super::folder::{Folder, Reading, Removal, Sight, Stamp};
use super::{DropReport, LeftEntry};
use crate::intake::{Accepted, Claim, Offer, Origin, Queue, Refused, Shared, Tell, claimed};

/// Looks, and remembers what it saw.
pub(super) struct Looker {
    queue: Queue,
    shared: Shared,
    draining: channel::Receiver<bool>,
    known: BTreeMap<CString, Known>,
    is_overfull: bool,
    /// When what could not be kept is offered again, on the boot-time clock.
    resume_at: u64,
}

/// What came of a look.
pub(super) struct Looked {
    /// Something waits for another look soon.
    pub(super) waits: bool,
    /// Something was offered.
    pub(super) offered: bool,
}

/// What was seen under a name before.
struct Known {
    was: Seen,
    /// On the boot-time clock, in milliseconds.
    since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It may be half written.
    Settling(Stamp),
    /// Judged, and could not be removed.
    Judged(Stamp),
    /// Not ours to read.
    Unreadable(Stamp),
    /// No regular file, but this.
    Other(&'static str),
}

/// A file that may be offered now.
struct Ready {
    name: CString,
    stamp: Stamp,
}

/// What is to happen after an offer.
enum Next {
    /// It was accepted and is news: others may fit now.
    Progress,
    /// It is dealt with.
    Done,
    /// It may be accepted after another.
    Later(Ready),
    /// Nothing can be kept just now.
    Stop,
}

impl Looker {
    pub(super) fn new(queue: Queue, shared: Shared, draining: channel::Receiver<bool>) -> Self {
        Self { queue, shared, draining, known: BTreeMap::new(), is_overfull: false, resume_at: 0 }
    }

    /// For a directory that was made anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Looks at everything once.
    pub(super) fn look(&mut self, folder: &Folder) -> Looked {
        let nothing = Looked { waits: true, offered: false };
        if self.shared.clock.boot_ms() < self.resume_at {
            return nothing;
        }
        let (names, is_more) = match folder.names(MAX_NAMES, |name| is_finished_name(name.to_bytes())) {
            Ok(listed) => listed,
            Err(error) => {
                let error = crate::failure::in_one_line(&error);
                tracing::warn!(event = "drop_not_listed", error, "cannot look into the drop directory");
                return nothing;
            }
        };
        self.tell_if_overfull(is_more);
        self.known.retain(|name, _| names.binary_search(name).is_ok());
        let ready: Vec<_> = names.into_iter().filter_map(|name| self.ready(folder, name)).collect();
        let (mut trust, mut updates) = (Vec::new(), Vec::new());
        for file in ready {
            if self.is_draining() {
                return nothing;
            }
            match self.claim(folder, &file) {
                Some(Claim::Trust) => trust.push(file),
                Some(Claim::Update) => updates.push(file),
                None => {}
            }
        }
        let offered = !trust.is_empty() || !updates.is_empty();
        for files in [trust, updates] {
            self.offer_until_none_fits(folder, files);
        }
        let settling = self.known.values().any(|known| matches!(known.was, Seen::Settling(_)));
        Looked { waits: settling || is_more || self.resume_at > self.shared.clock.boot_ms(), offered }
    }

    /// How it fares, for operators.
    pub(super) fn report(&self, state: &str, problem: Option<String>) -> DropReport {
        let count = |is: fn(&Seen) -> bool| {
            u64::try_from(self.known.values().filter(|known| is(&known.was)).count()).unwrap_or(u64::MAX)
        };
        let left = self.known.iter().filter_map(|(name, known)| {
            let reason = known.was.left_because()?.to_owned();
            Some(LeftEntry { file: shown(name), reason })
        });
        DropReport {
            state: state.to_owned(),
            problem,
            waiting: count(|seen| seen.left_because().is_none()),
            left: left.take(MAX_SHOWN).collect(),
            left_count: count(|seen| seen.left_because().is_some()),
        }
    }

    /// Whether there is a file under the name that was not dealt with. What is none is told once.
    fn ready(&mut self, folder: &Folder, name: CString) -> Option<Ready> {
        let stamp = match folder.sight(&name) {
            Sight::File(stamp) => stamp,
            Sight::Other(reason) => {
                self.leave(&name, Seen::Other(reason));
                return None;
            }
            Sight::Gone => return None,
        };
        match self.known.get(&name).map(|known| known.was) {
            Some(Seen::Judged(known) | Seen::Unreadable(known)) if known == stamp => None,
            Some(Seen::Settling(before)) if before == stamp && !self.is_quiet(&name) => None,
            _ => Some(Ready { name, stamp }),
        }
    }

    /// What a file claims to be. None: it is not to be offered now.
    fn claim(&mut self, folder: &Folder, file: &Ready) -> Option<Claim> {
        let Ready { name, stamp } = file;
        if stamp.size > LIMIT {
            if self.has_settled(file) {
                let size = usize::try_from(stamp.size).unwrap_or(usize::MAX);
                let oversize = EnvelopeError::Oversize { size, limit: MAX_ENVELOPE_BYTES };
                let refused = Refused::Open(OpenError::Envelope(oversize));
                self.shared.record("update", &Origin::Drop(shown(name)), None, &Err(refused));
                self.remove(folder, file);
            }
            return None;
        }
        match folder.read(name, *stamp, LIMIT) {
            // Half of an envelope claims nothing; what goes on claiming nothing gets a refusal as an update.
            Reading::Whole(bytes) => {
                claimed(&bytes).or_else(|| self.has_settled(file).then_some(Claim::Update))
            }
            Reading::Changing => {
                self.remember(name, Seen::Settling(*stamp));
                None
            }
            Reading::Unreadable => {
                self.leave(name, Seen::Unreadable(*stamp));
                None
            }
        }
    }

    /// Offers each file, and those that may fit later again for as long as one is accepted.
    fn offer_until_none_fits(&mut self, folder: &Folder, mut files: Vec<Ready>) {
        let mut tell = Tell::UnlessItMayFitLater;
        loop {
            let mut is_progress = false;
            let mut later = Vec::new();
            for file in files {
                if self.is_draining() {
                    return;
                }
                match self.offer(folder, file, tell) {
                    Next::Progress => is_progress = true,
                    Next::Done => {}
                    Next::Later(file) => later.push(file),
                    Next::Stop => return,
                }
            }
            if later.is_empty() {
                return;
            }
            if !is_progress {
                tell = Tell::Always;
            }
            files = later;
        }
    }

    fn offer(&mut self, folder: &Folder, file: Ready, tell: Tell) -> Next {
        let bytes = match folder.read(&file.name, file.stamp, LIMIT) {
            Reading::Whole(bytes) => bytes,
            Reading::Changing => {
                self.remember(&file.name, Seen::Settling(file.stamp));
                return Next::Done;
            }
            Reading::Unreadable => {
                self.leave(&file.name, Seen::Unreadable(file.stamp));
                return Next::Done;
            }
        };
        let offer = match claimed(&bytes) {
            Some(Claim::Trust) => Offer::Trust(bytes),
            Some(Claim::Update) | None => Offer::Update(bytes),
        };
        match self.queue.offer_and_wait(offer, Origin::Drop(shown(&file.name)), tell) {
            Ok(Accepted { verdict }) => {
                self.remove(folder, &file);
                if verdict == "unchanged" { Next::Done } else { Next::Progress }
            }
            Err(refused) if refused.is_no_verdict() => {
                self.resume_at = self.shared.clock.boot_ms().saturating_add(KEEP_AGAIN_MS);
                Next::Stop
            }
            Err(refused) if tell == Tell::UnlessItMayFitLater && refused.may_fit_later() => Next::Later(file),
            Err(_told) => {
                self.remove(folder, &file);
                Next::Done
            }
        }
    }

    fn remove(&mut self, folder: &Folder, file: &Ready) {
        match folder.remove(&file.name, file.stamp) {
            Removal::Removed => {
                self.known.remove(&file.name);
            }
            Removal::Replaced => {
                self.remember(&file.name, Seen::Settling(file.stamp));
            }
            Removal::Failed(error) => {
                self.remember(&file.name, Seen::Judged(file.stamp));
                let message = format!("cannot remove {} from the drop directory: {error}", shown(&file.name));
                self.shared.alarm("drop_not_removed", &message);
            }
        }
    }

    /// Whether a file that makes no sense has had the time to be finished; from the first time it
    /// makes none, it gets that time.
    fn has_settled(&mut self, file: &Ready) -> bool {
        self.remember(&file.name, Seen::Settling(file.stamp));
        self.is_quiet(&file.name)
    }

    fn is_quiet(&self, name: &CStr) -> bool {
        let now = self.shared.clock.boot_ms();
        self.known.get(name).is_some_and(|known| now.saturating_sub(known.since) >= QUIET_MS)
    }

    fn leave(&mut self, name: &CStr, was: Seen) {
        if self.remember(name, was) {
            let (file, reason) = (shown(name), was.left_because());
            tracing::warn!(event = "drop_left", file, reason, "not taken, and left where it is");
        }
    }

    /// Notes what was seen; the time counts from the first time that it was. True: it is news.
    fn remember(&mut self, name: &CStr, was: Seen) -> bool {
        if self.known.get(name).is_some_and(|known| known.was == was) {
            return false;
        }
        let since = self.shared.clock.boot_ms();
        self.known.insert(name.to_owned(), Known { was, since });
        true
    }

    fn tell_if_overfull(&mut self, is_more: bool) {
        if is_more && !self.is_overfull {
            tracing::warn!(
                event = "drop_overfull",
                at_once = MAX_NAMES,
                "more files than are looked at at once"
            );
        }
        self.is_overfull = is_more;
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

impl Seen {
    /// Why it stays where it is, if it does.
    fn left_because(self) -> Option<&'static str> {
        match self {
            Self::Settling(_) => None,
            Self::Judged(_) => Some("not_removed"),
            Self::Unreadable(_) => Some("unreadable"),
            Self::Other(kind) => Some(kind),
        }
    }
}

/// Whether a name is one that a file has when it is finished: not hidden, and not by one of the
/// endings that programs give to what they are still writing.
pub(super) fn is_finished_name(name: &[u8]) -> bool {
    !name.starts_with(b".") && !UNFINISHED.iter().any(|ending| name.ends_with(ending))
}

/// A name as it may be shown: any bytes can stand in one.
fn shown(name: &CStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}

const UNFINISHED: [&[u8]; 3] = [b".part", b".tmp", b"~"];

/// How many files are looked at at once, in the order of their names; the rest comes next.
const MAX_NAMES: usize = 4_096;

/// How long a file that makes no sense must stay as it is before that is its verdict.
const QUIET_MS: u64 = 5_000;

/// How long nothing is offered after something could not be kept.
const KEEP_AGAIN_MS: u64 = 5_000;

const MAX_SHOWN: usize = 16;

#[expect(clippy::as_conversions, reason = "a constant that fits")]
const LIMIT: u64 = MAX_ENVELOPE_BYTES as u64;
