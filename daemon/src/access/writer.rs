//! The thread that writes the access log: what was counted since it last wrote, a line each. It alone
//! touches the files, and nobody waits for it but for a moment when the daemon stops.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::files::Files;
use super::line::{NewLine, Totals};
use super::tally::{Subject, Tally, Written};
use super::{AccessLog, Content, Queue};
use crate::clock::Now;
use crate::disk;
use crate::failure::in_one_line;
use crate::intake::Shared;
use crate::settings::AccessLogSettings;

/// The writer of one log.
pub(crate) struct AccessWriter {
    log: AccessLog,
    done: Receiver<()>,
}

impl AccessWriter {
    /// Starts to write the log into a directory, which is made when there is something to write.
    pub(crate) fn start(directory: PathBuf, shared: Shared) -> io::Result<Self> {
        let (tell, done) = sync_channel(1);
        let (log, desk) = (shared.access.clone(), shared.access.clone());
        let work = move || {
            work(&desk, Pen::new(directory, shared));
            let _unheard = tell.send(());
        };
        thread::Builder::new().name("access log".to_owned()).spawn(work)?;
        Ok(Self { log, done })
    }

    /// Writes what is left, and waits for that, but not for a disk that hangs.
    pub(crate) fn finish(self, patience: Duration) {
        self.log.0.queue().is_over = true;
        self.log.0.bell.notify_all();
        let _done_or_given_up = self.done.recv_timeout(patience);
    }
}

fn work(log: &AccessLog, mut pen: Pen) {
    let mut waiting = Vec::new();
    loop {
        let (fresh, turn) = log.wait(!waiting.is_empty());
        waiting.extend(fresh);
        let is_over = turn.is_over;
        let lost = pen.write(&mut waiting, &turn);
        log.0.lost.fetch_add(lost, Ordering::Relaxed);
        if is_over {
            let lost = log.lost();
            if lost > 0 {
                tracing::warn!(
                    event = "access_records_lost",
                    lost,
                    "records of the access log were not written"
                );
            }
            return;
        }
    }
}

/// When it is time to write, and how.
struct Turn {
    settings: AccessLogSettings,
    is_over: bool,
}

impl AccessLog {
    /// Waits until something was asked for, unless something `is_waiting` to be written, and then for as
    /// long as lines are held back.
    fn wait(&self, is_waiting: bool) -> (Vec<Arc<Tally>>, Turn) {
        let (queue, bell) = (self.0.queue(), &self.0.bell);
        let has_none = |queue: &mut Queue| !is_waiting && queue.tallies.is_empty() && !queue.is_over;
        let queue = bell.wait_while(queue, has_none).unwrap_or_else(PoisonError::into_inner);
        let flush = queue.settings.flush;
        let goes_on = |queue: &mut Queue| !queue.is_over;
        let (mut queue, _) =
            bell.wait_timeout_while(queue, flush, goes_on).unwrap_or_else(PoisonError::into_inner);
        let turn = Turn { settings: queue.settings, is_over: queue.is_over };
        (std::mem::take(&mut queue.tallies), turn)
    }
}

/// What it takes to write.
struct Pen {
    directory: PathBuf,
    shared: Shared,
    /// In the name of every record, so that those of two processes differ.
    process: String,
    paper: Option<Paper>,
    files_begun: u64,
    is_failing: bool,
}

struct Paper {
    files: Files,
    names: hmac::Key,
}

impl Pen {
    fn new(directory: PathBuf, shared: Shared) -> Self {
        let mut process = [0; 6];
        // Without randomness records of two processes may get one name, and the later one counts.
        let _or_zeros = SystemRandom::new().fill(&mut process);
        let process = HEXLOWER.encode(&process);
        Self { directory, shared, process, paper: None, files_begun: 0, is_failing: false }
    }

    /// Writes those that are due, and keeps the others. Returns how many are lost.
    fn write(&mut self, waiting: &mut Vec<Arc<Tally>>, turn: &Turn) -> u64 {
        let (now, mut lost, mut kept) = (self.shared.clock.now(), 0_u64, Vec::new());
        let mut error = None;
        for tally in waiting.drain(..) {
            if !turn.is_over && !is_due(&tally, now.boot_ms) {
                kept.push(tally);
                continue;
            }
            tally.leave_queue();
            // What fails once would fail for each of them, and a disk may take long to say so.
            if error.is_none() {
                error = self.write_one(&tally, now, turn).err();
                if error.is_none() {
                    self.is_failing = false;
                    continue;
                }
            }
            lost = lost.saturating_add(keep(tally, turn, &mut kept));
        }
        *waiting = kept;
        if let Some(error) = error {
            self.tell(&error);
        }
        lost
    }

    fn write_one(&mut self, tally: &Tally, now: Now, turn: &Turn) -> io::Result<()> {
        let most = turn.settings.bytes_in_a_file();
        let mut paper = self.paper()?;
        let record = format!("{}-{}", self.process, tally.number);
        let mut seldom = tally.seldom();
        let counts = tally.counts();
        let unix = |boot_ms: u64| now.unix_ms.saturating_sub(now.boot_ms.saturating_sub(boot_ms));
        let first = seldom.first_boot_ms.unwrap_or(counts.last_boot_ms);
        let totals = Totals {
            counts,
            seldom: &seldom,
            first_unix_ms: unix(first),
            last_unix_ms: unix(counts.last_boot_ms),
        };
        let in_full = |paper: &Paper| {
            let name = content(&tally.of).map(|content| paper.name(content));
            NewLine::again(&record, &totals).in_full(&tally.of, name.as_deref()).bytes()
        };
        let is_known = seldom.written.is_some_and(|written| written.file == paper.files.serial());
        let mut line = if is_known { NewLine::again(&record, &totals).bytes() } else { in_full(&paper) };
        if !paper.files.has_room(line.len(), most) {
            paper.files = paper.files.rotate()?;
            self.files_begun = paper.files.serial();
            line = in_full(&paper);
        }
        paper.files.add(&line)?;
        let (file, peers, codes) = (paper.files.serial(), seldom.peers.len(), seldom.codes.len());
        seldom.written = Some(Written { at_boot_ms: now.boot_ms, file, peers, codes });
        self.paper = Some(paper);
        Ok(())
    }

    /// Takes the files as they are, or opens them: after an error they are opened anew.
    fn paper(&mut self) -> io::Result<Paper> {
        if let Some(paper) = self.paper.take().filter(|paper| !paper.files.is_removed()) {
            return Ok(paper);
        }
        disk::make_private_directory(&self.directory).map_err(io::Error::other)?;
        let names = key_of_names(&self.directory)?;
        self.files_begun = self.files_begun.wrapping_add(1);
        Ok(Paper { files: Files::open(&self.directory, self.files_begun)?, names })
    }

    /// An alarm when the log can't be written any more; none for each try after that.
    fn tell(&mut self, error: &io::Error) {
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        let message = format!(
            "cannot write the access log in {}: {}; resources are served, and what cannot be kept is not recorded",
            self.directory.display(),
            in_one_line(error)
        );
        self.shared.alarm("access_log_failed", &message);
    }
}

impl Paper {
    /// A name for a content: the same for the same content, and of no use to who wants to find out by
    /// trying which values it has, as its ETag would be.
    fn name(&self, content: &Content) -> String {
        let tag = hmac::sign(&self.names, content.etag.as_bytes());
        HEXLOWER.encode(tag.as_ref().get(..NAME_BYTES).unwrap_or_default())
    }
}

/// What could not be written is tried again as long as it can be asked for; what has gone is lost.
fn keep(tally: Arc<Tally>, turn: &Turn, kept: &mut Vec<Arc<Tally>>) -> u64 {
    if turn.is_over || is_gone(&tally) {
        return 1;
    }
    // Else it was asked for again, and has come into the queue by itself.
    if tally.enter_queue() {
        kept.push(tally);
    }
    0
}

/// The first word on something, and on somebody, is written at once. How often it goes on is written
/// when it has gone on for twice as long, and now and then: a client that never stops can fill little.
fn is_due(tally: &Arc<Tally>, boot_ms: u64) -> bool {
    let seldom = tally.seldom();
    let Some(written) = seldom.written else { return true };
    let lasted = written.at_boot_ms.saturating_sub(seldom.first_boot_ms.unwrap_or_default());
    is_gone(tally)
        || seldom.peers.len() != written.peers
        || seldom.codes.len() != written.codes
        || boot_ms.saturating_sub(written.at_boot_ms) >= lasted.min(LONGEST_SILENCE_MS)
}

/// Whether nobody can ask for it any more.
fn is_gone(tally: &Arc<Tally>) -> bool {
    Arc::strong_count(tally) == 1
}

fn content(of: &Subject) -> Option<&Content> {
    match of {
        Subject::Content(content) => Some(content),
        Subject::Nothing { .. } => None,
    }
}

/// The key of the names of contents, which stays on this host.
fn key_of_names(directory: &Path) -> io::Result<hmac::Key> {
    let path = directory.join(KEY);
    let known = disk::read(&path, KEY_BYTES).ok().filter(|key| key.len() == KEY_BYTES);
    if let Some(key) = known {
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, &key));
    }
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_unspecified| io::Error::other("no randomness"))?;
    disk::replace(&path, &key).map_err(io::Error::other)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

const KEY: &str = "key";
const KEY_BYTES: usize = 32;
const NAME_BYTES: usize = 16;
const LONGEST_SILENCE_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::access::{Given, Visitor};
    use crate::clock::stepped::Hands;

    struct Desk {
        directory: tempfile::TempDir,
        hands: Arc<Hands>,
        shared: Shared,
        pen: Pen,
        waiting: Vec<Arc<Tally>>,
    }

    impl Desk {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (clock, hands) = Hands::at(1_800_000_000_000);
            let access = AccessLog::new(AccessLogSettings::default());
            let shared = Shared { current: Arc::default(), ledger: Arc::default(), clock, access };
            let pen = Pen::new(directory.path().join("access"), shared.clone());
            Self { directory, hands, shared, pen, waiting: Vec::new() }
        }

        fn refuse(&self, tally: &Arc<Tally>, visitor: &Visitor) {
            let boot_ms = self.shared.clock.boot_ms();
            self.shared.access.note(tally, visitor, Given::Refusal("run_not_found"), boot_ms);
        }

        /// What the thread does in a turn; returns the lines there are after it, and how many are lost.
        fn turn(&mut self, is_over: bool) -> (Vec<String>, u64) {
            self.waiting.append(&mut self.shared.access.0.queue().tallies);
            let turn = Turn { settings: AccessLogSettings::default(), is_over };
            let lost = self.pen.write(&mut self.waiting, &turn);
            let text = fs::read_to_string(self.directory.path().join("access/access.jsonl"));
            (text.unwrap_or_default().lines().map(str::to_owned).collect(), lost)
        }
    }

    fn tally() -> Arc<Tally> {
        Arc::new(Tally::of_refusals("t1".parse().unwrap(), "sbx-1".parse().unwrap()))
    }

    #[test]
    fn a_client_that_never_stops_gets_a_line_when_it_has_gone_on_for_twice_as_long() {
        let (mut desk, tally, visitor) = (Desk::new(), tally(), Visitor::default());
        let mut written_after = Vec::new();
        for second in 1..=6_000_u32 {
            desk.refuse(&tally, &visitor);
            desk.hands.pass(1_000);
            if second % 5 == 0 {
                let (lines, lost) = desk.turn(false);
                assert_eq!(lost, 0);
                if lines.len() > written_after.len() {
                    written_after.push(second);
                }
            }
        }
        assert_eq!(written_after[..8], [5, 10, 20, 40, 80, 160, 320, 640]);
        assert!(written_after.len() < 20, "{written_after:?}");
        let (lines, _) = desk.turn(true);
        assert!(lines.last().unwrap().contains(r#""asked":6000"#), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("\"of\"")).count(), 1);
    }

    #[test]
    fn nothing_is_written_when_nobody_asks() {
        let (mut desk, tally) = (Desk::new(), tally());
        assert_eq!(desk.turn(false), (vec![], 0));
        assert!(!desk.directory.path().join("access").exists());
        desk.refuse(&tally, &Visitor::default());
        assert_eq!(desk.turn(false).0.len(), 1);
        desk.hands.pass(86_400_000);
        assert_eq!(desk.turn(false).0.len(), 1);
        assert!(desk.waiting.is_empty());
    }

    #[test]
    fn a_disk_that_fails_loses_what_is_gone_and_keeps_what_can_be_asked_for() {
        let (mut desk, stays, goes) = (Desk::new(), tally(), tally());
        let access = desk.directory.path().join("access");
        std::os::unix::fs::symlink("/nowhere", &access).unwrap();
        desk.refuse(&stays, &Visitor::default());
        desk.refuse(&goes, &Visitor::default());
        drop(goes);
        assert_eq!(desk.turn(false), (vec![], 1));
        assert_eq!(desk.turn(false), (vec![], 0));
        assert_eq!(desk.shared.ledger.facts().alarms.get("access_log_failed"), Some(&1));
        fs::remove_file(&access).unwrap();
        assert_eq!(desk.turn(false).0.len(), 1);
    }

    #[test]
    fn a_crowd_is_counted_and_not_kept() {
        let (mut desk, tally) = (Desk::new(), tally());
        for pid in 0..10_000 {
            desk.refuse(&tally, &Visitor::of_process(pid));
        }
        assert_eq!(desk.waiting.len() + desk.shared.access.0.queue().tallies.len(), 1);
        let (lines, _) = desk.turn(false);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].matches("\"pid\"").count(), 8);
        assert!(lines[0].contains(r#""more_peers":9992"#), "{lines:?}");
    }
}
