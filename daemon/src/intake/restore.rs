//! The start: what the last run kept goes through the same checks again, under the trust of today.
//! What fails is set aside and told; it stops neither the rest nor the daemon.

use std::path::Path;
use std::sync::Arc;

use miosa_snapshot::{Admission, FloorCheck, Held, HostIdentity, OpenedKeys, Verified, judge};

use super::{Increments, Intake, KnownFloor, Refused, Shared, Sockets};
use crate::cache::Cache;
use crate::clock::Now;
use crate::disk::{self, DiskError};
use crate::evidence::Evidence;
use crate::failure::in_one_line;
use crate::floor::{Floors, Mark};
use crate::generation::{Content, Source};
use crate::host::HostFile;
use crate::layout::StateDir;
use crate::ledger::LastRefusal;
use crate::manager;
use crate::trust_store::TrustStore;

/// The state directory itself is not usable.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the state directory")]
pub struct RestoreError(#[from] DiskError);

/// What the cache has come to so far.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) held: Option<Held>,
    /// The last update that was applied, and what is served after it.
    pub(super) tip: Option<(Verified, Arc<Content>)>,
    /// What stands on top of the last full update.
    pub(super) increments: Increments,
    /// Something that may be good could not be read, so what does not fit may be good as well.
    is_in_doubt: bool,
}

/// How reading the floor went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FloorRead {
    /// What is known of it is all there is.
    Done,
    /// It can't be read just now, and may be good.
    NotNow,
}

impl Intake {
    /// Takes up what the last run kept, and serves it if it verifies.
    pub(crate) fn restore(
        state: &StateDir,
        file: &HostFile,
        host: HostIdentity,
        sockets: Box<dyn Sockets>,
        shared: Shared,
    ) -> Result<Self, RestoreError> {
        let cache = Cache::open(state.cache(), state.quarantine())?;
        let (trust, broken) = TrustStore::load(state.trust(), file.trust)?;
        let floors = Floors::new(state.floors());
        let keys = OpenedKeys::new();
        let evidence = Evidence::new(state.evidence());
        shared.ledger.set_evidence(evidence.files());
        let mut intake = Self {
            host,
            trust,
            keys,
            cache,
            floors,
            floor: KnownFloor::Lost,
            held: None,
            increments: Increments::default(),
            evidence,
            sockets,
            shared,
            trouble: None,
            is_littered: false,
        };
        let floor = intake.read_floor();
        // A refusal under half of the trust, or for want of a floor that may be there, is no verdict.
        let is_in_doubt = !broken.is_empty()
            || intake.trust.unread().is_some()
            || intake.trust().is_none()
            || floor == FloorRead::NotNow;
        for link in broken {
            let name = link.path.file_name().unwrap_or_default().to_string_lossy();
            intake.set_aside(
                &link.path,
                &format!("trust-{name}"),
                link.reason.name(),
                &in_one_line(&link.reason),
            );
        }
        if let Some(link) = intake.trust.unread() {
            intake.shared.alarm("trust_unreadable", &in_one_line(&link.reason));
        }
        intake.check_trust_mark();
        intake.shared.ledger.set_trust(intake.trust());
        let now = intake.shared.clock.now();
        intake.read_cache(now, is_in_doubt)?;
        Ok(intake)
    }

    /// Looks at what is kept once more, now that there is a trust document to verify it under. What it
    /// does not verify stays: the one that does may be the next.
    pub(super) fn restore_under_new_trust(&mut self) {
        let now = self.shared.clock.now();
        if let Err(error) = self.read_cache(now, true) {
            tracing::error!(event = "not_restored", error = in_one_line(&error), "cannot read what was kept");
        }
    }

    fn read_floor(&mut self) -> FloorRead {
        let found = self.floors.read();
        for copy in &found.unread {
            let message = format!("cannot read a copy of the floor just now, {}", copy.display());
            self.shared.alarm("floor_unreadable", &message);
        }
        for copy in &found.unreadable {
            if disk::is_obstructed(copy) {
                self.set_aside_file(copy, "unknown_file", "it is not a regular file");
            }
            let alarm = if found.mark.is_some() { "floor_damaged" } else { "floor_lost" };
            self.shared.alarm(alarm, &format!("cannot read a copy of the floor, {}", copy.display()));
        }
        let Some(mark) = found.mark else {
            return if found.unread.is_empty() { FloorRead::Done } else { FloorRead::NotNow };
        };
        self.floor = KnownFloor::At(mark);
        if !found.unreadable.is_empty()
            && let Err(error) = self.floors.write(&mark)
        {
            self.shared.alarm("floor_not_repaired", &in_one_line(&error));
        }
        FloorRead::Done
    }

    fn check_trust_mark(&mut self) {
        let (kept, followed) = (self.trust.version(), self.floor.trust());
        if kept >= followed {
            // A stop came between keeping a document and noting that it was followed.
            return self.raise_trust_mark();
        }
        let message = format!(
            "the trust documents kept end at version {kept}, and this host has followed version {followed}; \
             nothing is accepted or served until the missing ones come again"
        );
        self.shared.alarm("trust_rolled_back", &message);
    }

    fn read_cache(&mut self, now: Now, is_in_doubt: bool) -> Result<(), RestoreError> {
        let read = self.read_cache_files(now, is_in_doubt);
        self.shared.ledger.set_set_aside(self.cache.all_set_aside());
        read
    }

    fn read_cache_files(&mut self, now: Now, is_in_doubt: bool) -> Result<(), RestoreError> {
        let contents = self.cache.contents()?;
        for path in &contents.foreign {
            self.set_aside_file(path, "unknown_file", "this daemon never wrote it");
        }
        let mut chain = Chain { is_in_doubt, ..Chain::default() };
        for (read, path) in (1_u64..).zip(&contents.updates) {
            // Each costs as much as the state is large: the most there may be take minutes.
            if read.is_multiple_of(TELL_AFTER) {
                manager::starting();
            }
            if let Err(refused) = self.extend(&mut chain, path, now) {
                self.put_away(&mut chain, path, &refused);
            }
        }
        if let Some(path) = &contents.heartbeat {
            self.take_heartbeat(&mut chain, path, now);
        }
        if self.is_below_floor(&chain) {
            self.shared.alarm(
                "below_floor",
                "the cache is older than what this host has accepted; it is not served",
            );
            if chain.is_in_doubt {
                return Ok(());
            }
            for path in contents.updates.iter().chain(&contents.heartbeat).filter(|path| path.exists()) {
                self.set_aside_file(path, "below_floor", "older than what this host has accepted");
            }
            return Ok(());
        }
        self.serve(chain, now);
        Ok(())
    }

    /// Applies a cached update, if it verifies and fits what was read before it.
    pub(super) fn extend(&mut self, chain: &mut Chain, path: &Path, now: Now) -> Result<(), Refused> {
        let bytes = self.cache.read(path)?;
        let update = self.open(&bytes, Admission::Cached)?;
        // The chain is judged from its own beginning; its end is compared with the floor.
        let floor = match self.floor {
            KnownFloor::At(_) => FloorCheck::None,
            KnownFloor::Lost => self.floor.check(now),
        };
        let verdict = judge(&update, chain.held.as_ref(), floor)?;
        let base = chain.tip.as_ref().map(|(_, content)| content);
        if let Some(content) = Self::decode(base, &update, verdict)? {
            chain.increments = chain.increments.after(update.statement().kind, bytes.len());
            chain.held = Some(Held::after(chain.held.as_ref(), &update));
            chain.tip = Some((update, content));
        }
        Ok(())
    }

    /// The heartbeat only makes the state younger. One that is of another state is a left-over of a
    /// stop between two writes; one that does not verify is set aside like everything else.
    fn take_heartbeat(&mut self, chain: &mut Chain, path: &Path, now: Now) {
        match self.extend(chain, path, now) {
            Ok(()) => {}
            Err(Refused::Judged(_)) if !chain.is_in_doubt => {
                // Gone or not, it will be judged the same next time.
                let _left_over = self.cache.remove(path);
            }
            Err(refused) => self.put_away(chain, path, &refused),
        }
    }

    /// Sets a refused file aside; but one that could not be read, or be judged without what could not
    /// be read, stays for the next look.
    fn put_away(&self, chain: &mut Chain, path: &Path, refused: &Refused) {
        let (name, message) = (name_at_start(refused), in_one_line(refused));
        let is_unread = matches!(refused, Refused::Disk(error) if !error.is_of_what_is_there());
        chain.is_in_doubt |= is_unread;
        if !chain.is_in_doubt {
            return self.set_aside_file(path, name, &message);
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        tracing::error!(event = "left_in_place", file = %file, reason = name, problem = message, "a kept file is not served");
        self.count_refused(name, &file, &message);
    }

    /// Position only: a lost heartbeat makes what is held older, not another.
    pub(super) fn is_below_floor(&self, chain: &Chain) -> bool {
        match (self.floor, &chain.held) {
            (KnownFloor::At(Mark { floor, .. }), Some(held)) => {
                (held.epoch, held.version) < (floor.epoch, floor.version)
            }
            (KnownFloor::At(_) | KnownFloor::Lost, None) | (KnownFloor::Lost, Some(_)) => false,
        }
    }

    fn serve(&mut self, chain: Chain, now: Now) {
        let (Some(held), Some((update, content))) = (chain.held, chain.tip) else { return };
        let mark = self.floor.raised_to(held.floor(), self.trust.version());
        // Above the floor stands an update that was kept just before a stop; from here on it counts.
        if KnownFloor::At(mark) != self.floor
            && let Err(error) = self.floors.write(&mark)
        {
            self.shared.alarm("floor_not_raised", &in_one_line(&error));
        }
        self.floor = KnownFloor::At(mark);
        self.held = Some(held);
        self.increments = chain.increments;
        self.shared.ledger.set_increments(chain.increments);
        tracing::info!(
            event = "restored",
            epoch = held.epoch,
            version = held.version,
            "serving what was kept"
        );
        self.swap(&update, content, Source::Cache, now);
    }

    fn set_aside_file(&self, path: &Path, reason: &'static str, message: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.set_aside(path, &name, reason, message);
    }

    fn set_aside(&self, path: &Path, name: &str, reason: &'static str, message: &str) {
        let moved = self.cache.set_aside(path, name, reason);
        let left = moved.err().map(|error| in_one_line(&error));
        tracing::error!(
            event = "set_aside",
            file = name,
            reason,
            problem = message,
            left,
            "a kept file is not served"
        );
        self.count_refused(reason, name, message);
    }

    fn count_refused(&self, reason: &'static str, name: &str, message: &str) {
        let at = self.shared.clock.now().unix_ms;
        let message = format!("{name}: {message}");
        self.shared
            .ledger
            .count_refused(reason, LastRefusal { code: reason.to_owned(), check: None, message, at });
    }
}

/// As it is called when it came from outside; but a file that was not read was not kept badly.
fn name_at_start(refused: &Refused) -> &'static str {
    if matches!(refused, Refused::Disk(_)) { "unreadable" } else { refused.name() }
}

/// A start tells the service manager after so many updates that it goes on.
const TELL_AFTER: u64 = 32;
