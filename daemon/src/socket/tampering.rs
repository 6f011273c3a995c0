//! Notices when a socket, or a directory that leads to one, is no longer what it was made: somebody
//! mounted a resource's directory writable, or had a hand in the runtime directory. It looks, compares
//! and tells; it opens no file, follows no link, connects to nothing and mends nothing.
//!
//! On a thread of its own: a look at thousands of sockets must not make an answer wait.

mod finding;
mod place;

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use miosa_injector::model::ResourceId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use place::{Looks, RuntimePlace};

pub(crate) use finding::{TamperReport, Tampered};

use super::bind::SocketFile;
use crate::intake::Shared;
use crate::layout::RuntimeDir;

/// The file that is to be each resource's socket. Written by the intake's thread, which makes and
/// removes them.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<BTreeMap<ResourceId, SocketFile>>>);

/// The way to the thread that looks. When the last of these is gone, so is the thread.
#[derive(Clone)]
pub(crate) struct Patrol(SyncSender<oneshot::Sender<()>>);

/// What that thread works with.
struct Round {
    place: RuntimePlace,
    register: Register,
    looks: BTreeMap<ResourceId, Looks>,
    /// What was found by the last look.
    found: TamperReport,
    shared: Shared,
}

impl Register {
    /// From here on this very file is to be the resource's socket.
    pub(crate) fn expect(&self, id: &ResourceId, socket: SocketFile) {
        self.lock().insert(id.clone(), socket);
    }

    /// From here on the resource is to have no socket. To be called before it is removed.
    pub(crate) fn forget(&self, id: &ResourceId) {
        self.lock().remove(id);
    }

    fn all(&self) -> BTreeMap<ResourceId, SocketFile> {
        self.lock().clone()
    }

    fn expects(&self, id: &ResourceId, socket: SocketFile) -> bool {
        self.lock().get(id) == Some(&socket)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ResourceId, SocketFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patrol {
    /// Looks now and then from here on. The runtime directory and the sockets of operators are taken to
    /// be as they should.
    ///
    /// # Errors
    /// When the runtime directory can't be opened, or no thread be started.
    pub(crate) fn start(directory: &RuntimeDir, register: Register, shared: Shared) -> io::Result<Self> {
        let place = RuntimePlace::open(directory)?;
        let (sender, requests) = sync_channel(REQUESTS);
        let round = Round { place, register, looks: BTreeMap::new(), found: BTreeMap::new(), shared };
        thread::Builder::new().name("patrol".to_owned()).spawn(move || round.walk(&requests))?;
        Ok(Self(sender))
    }

    /// Has the ledger's report be no older than a second, so that who has just mended something sees it.
    /// Nobody can make it look more often than that, and nobody waits long for a look that hangs.
    pub(crate) async fn refresh(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.try_send(reply).is_ok() {
            let _done_or_hanging = timeout(REFRESH, done).await;
        }
    }
}

impl Round {
    fn walk(mut self, requests: &Receiver<oneshot::Sender<()>>) {
        let mut looked_at = self.look();
        loop {
            let left = PERIOD.saturating_sub(self.since(looked_at));
            let asked = match requests.recv_timeout(left) {
                Ok(reply) => Some(reply),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if asked.is_none() || self.since(looked_at) >= RECENT {
                looked_at = self.look();
            }
            if let Some(reply) = asked {
                let _hung_up = reply.send(());
            }
        }
    }

    fn since(&self, boot_ms: u64) -> Duration {
        Duration::from_millis(self.shared.clock.boot_ms().saturating_sub(boot_ms))
    }

    /// When it was begun.
    fn look(&mut self) -> u64 {
        let now = self.shared.clock.now();
        let mut report = self.place.look_around();
        // Where the way to all of them is lost, nothing more is to be said of each.
        if self.place.is_there(&report) {
            report.append(&mut self.look_at_each(now.unix_ms));
        }
        self.tell(report);
        now.boot_ms
    }

    fn look_at_each(&mut self, unix_ms: u64) -> TamperReport {
        let mut report = TamperReport::new();
        let expected = self.register.all();
        self.looks.retain(|id, looks| expected.get(id) == Some(&looks.of()));
        for (id, socket) in expected {
            let looks = self.looks.entry(id.clone()).or_insert_with(|| Looks::at(socket));
            let seen = self.place.look_at(&id, looks, unix_ms);
            if seen.as_ref().is_ok_and(Vec::is_empty) {
                continue;
            }
            let path = self.place.home(&id);
            // Out of descriptors, perhaps. What is not seen is as it was.
            let as_before = |_| self.found.get(&path).map(|before| before.found.clone()).unwrap_or_default();
            let found = seen.unwrap_or_else(as_before);
            // It may have been removed meanwhile, and rightly so.
            if !found.is_empty() && self.register.expects(&id, socket) {
                report.insert(path.clone(), Tampered::resource(&id, path, found));
            }
        }
        report
    }

    /// Tells of what was not so at the last look.
    fn tell(&mut self, report: TamperReport) {
        for (path, tampered) in &report {
            if self.found.get(path) != Some(tampered) {
                self.shared.alarm("socket_tampered", &tampered.to_string());
            }
        }
        for (path, tampered) in &self.found {
            if !report.contains_key(path) {
                let resource = tampered.resource.as_deref();
                let message = "it is as it should be again, or no longer needed";
                tracing::info!(event = "socket_tampering_ended", resource, path, "{message}");
            }
        }
        if report != self.found {
            self.shared.ledger.set_tampered(report.clone());
            self.found = report;
        }
    }
}

/// A sandbox that connects meanwhile fails or is answered by itself; so minutes would be too long.
const PERIOD: Duration = Duration::from_secs(10);

/// What is shown to who asks is no older.
const RECENT: Duration = Duration::from_secs(1);

/// How long who asks waits for a look.
const REFRESH: Duration = Duration::from_secs(1);

/// Who comes when that many wait sees the last look.
const REQUESTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;
    use crate::clock::Clock;
    use crate::socket::bind;
    use crate::socket::home::Homes;

    struct Fixture {
        root: tempfile::TempDir,
        round: Round,
    }

    impl Fixture {
        fn new() -> Self {
            crate::hygiene::create_with_exact_modes();
            let root = tempfile::tempdir().unwrap();
            fs::set_permissions(root.path(), fs::Permissions::from_mode(0o750)).unwrap();
            let directory = RuntimeDir::new(root.path().to_owned());
            Homes(&directory).prepare().unwrap();
            let shared = Shared {
                current: Arc::default(),
                ledger: Arc::default(),
                clock: Clock::System,
                access: Default::default(),
            };
            bind::bind(&directory.admin_socket(), 0o660, None).unwrap();
            let place = RuntimePlace::open(&directory).unwrap();
            let register = Register::default();
            let round = Round { place, register, looks: BTreeMap::new(), found: BTreeMap::new(), shared };
            let fixture = Self { root, round };
            fixture.place("sbx-1");
            fixture
        }

        fn place(&self, id: &str) {
            let directory = RuntimeDir::new(self.root.path().to_owned());
            let id: ResourceId = id.parse().unwrap();
            let shared = &self.round.shared;
            Homes(&directory).make(&id, &"t1".parse().unwrap(), shared).unwrap();
            let (_listener, file) = bind::bind(&directory.resource_socket(&id), 0o666, None).unwrap();
            self.round.register.expect(&id, file);
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn home(&self, name: &str) -> PathBuf {
            self.path("resources/sbx-1").join(name)
        }

        /// What a look finds, and how many alarms were raised up to then.
        fn look(&mut self) -> (Vec<String>, u64) {
            self.round.look();
            let facts = self.round.shared.ledger.facts();
            let found = facts.tampered.values().flat_map(|tampered| &tampered.found);
            let alarms = facts.alarms.get("socket_tampered").copied().unwrap_or_default();
            (found.map(|finding| finding.message.clone()).collect(), alarms)
        }
    }

    fn told<const N: usize>(messages: [&str; N], alarms: u64) -> (Vec<String>, u64) {
        (messages.map(str::to_owned).to_vec(), alarms)
    }

    #[test]
    fn what_is_as_it_was_made_is_no_finding_whatever_its_owner_does() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.look(), told([], 0));
        fixture.place("sbx-2");
        assert_eq!(fixture.look(), told([], 0));
        let id = "sbx-2".parse().unwrap();
        fixture.round.register.forget(&id);
        fs::remove_dir_all(fixture.path("resources/sbx-2")).unwrap();
        assert_eq!(fixture.look(), told([], 0));
        fixture.place("sbx-2");
        assert_eq!(fixture.look(), told([], 0));
    }

    #[test]
    fn every_change_of_a_socket_is_told_once_and_again_when_it_changes() {
        let mut fixture = Fixture::new();
        let socket = fixture.home("miosa.sock");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
        let changed = "the socket has mode 600, not 666";
        assert_eq!(fixture.look(), told([changed], 1));
        assert_eq!(fixture.look(), told([changed], 1));
        fs::hard_link(&socket, fixture.home("second")).unwrap();
        let (linked, planted) = ("the socket has 2 names", "holds a socket named \"second\"");
        assert_eq!(fixture.look(), told([changed, linked, planted], 2));
        fs::remove_file(fixture.home("second")).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(fixture.look(), told([], 2));
        fs::rename(&socket, fixture.home("away")).unwrap();
        let gone = "the socket is gone";
        assert_eq!(fixture.look(), told([gone, "holds a socket named \"away\""], 3));
        let _theirs = UnixListener::bind(&socket).unwrap();
        let another = "another socket is in the place of the socket";
        assert_eq!(fixture.look(), told([another, "holds a socket named \"away\""], 4));
        fs::remove_file(fixture.home("away")).unwrap();
        fs::remove_file(&socket).unwrap();
        symlink("../../admin.sock", &socket).unwrap();
        let (link, leads) = (
            "a symbolic link is in the place of the socket",
            "holds a symbolic link to \"/var/run/docker.sock\" named \"x\"",
        );
        assert_eq!(fixture.look(), told([link], 5));
        symlink("/var/run/docker.sock", fixture.home("x")).unwrap();
        assert_eq!(fixture.look(), told([link, leads], 6));
    }

    #[test]
    fn another_owner_is_told() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut fixture = Fixture::new();
        assert_eq!(fixture.look(), told([], 0));
        chown(fixture.home("miosa.sock"), Some(4_711), Some(4_712)).unwrap();
        chown(fixture.home(""), Some(4_711), None).unwrap();
        let (messages, alarms) = fixture.look();
        assert_eq!(alarms, 1);
        assert_eq!(
            messages,
            [
                "the directory belongs to user 4711, not 0",
                "the socket belongs to user 4711, not 0",
                "the socket belongs to group 4712, not 0"
            ]
        );
    }

    #[test]
    fn of_a_crowd_that_was_planted_a_few_are_named() {
        let mut fixture = Fixture::new();
        for number in 0..500 {
            fs::create_dir(fixture.home(&format!("d{number:03}"))).unwrap();
        }
        let (messages, alarms) = fixture.look();
        assert_eq!((messages.len(), alarms), (9, 1));
        assert_eq!(messages.last().unwrap(), "holds more than that");
    }

    #[test]
    fn a_directory_that_is_gone_or_another_one_is_told() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.look(), told([], 0));
        let home = fixture.home("");
        fs::rename(&home, fixture.path("resources/.moved")).unwrap();
        assert_eq!(fixture.look(), told(["the directory is gone"], 1));
        fs::create_dir(&home).unwrap();
        assert_eq!(fixture.look(), told(["another directory is in the place of the directory"], 2));
        fs::remove_dir(&home).unwrap();
        symlink(".moved", fixture.path("resources/sbx-1")).unwrap();
        assert_eq!(fixture.look(), told(["a symbolic link is in the place of the directory"], 3));
    }

    #[test]
    fn the_way_to_all_of_them_is_looked_at_too() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.look(), told([], 0));
        fs::remove_file(fixture.path("admin.sock")).unwrap();
        assert_eq!(fixture.look(), told(["the socket is gone"], 1));
        fs::rename(fixture.path("resources"), fixture.path("former")).unwrap();
        assert_eq!(fixture.look(), told(["the socket is gone", "the directory is gone"], 2));
        symlink("former", fixture.path("resources")).unwrap();
        let link = "a symbolic link is in the place of the directory";
        assert_eq!(fixture.look(), told(["the socket is gone", link], 3));
        fs::set_permissions(fixture.root.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let open = "the directory has mode 777: others may write it";
        assert_eq!(fixture.look(), told([open, "the socket is gone", link], 4));
        fs::remove_dir_all(fixture.root.path()).unwrap();
        let gone = "the directory is gone";
        assert_eq!(fixture.look(), told([gone, "the socket is gone", gone, gone], 7));
    }
}
