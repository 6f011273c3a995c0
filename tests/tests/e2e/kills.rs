//! Killed at any moment while updates come in without a pause, again and again: never less than what was
//! acknowledged, never a mixture.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use miosa_tests::lone::LoneHost;
use miosa_tests::publisher::now_ms;
use miosa_tests::{Publisher, Trials};

#[test]
fn a_daemon_killed_again_and_again_under_load_never_serves_less_than_it_acknowledged() {
    let trials = Trials::new();
    let (seconds, kills) = (setting("MIOSA_TEST_KILL_SECONDS", 20), setting("MIOSA_TEST_KILLS", u64::MAX));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let killed = AtomicU64::new(0);
    let hosts = ["a", "b"];
    trials.each(hosts, |name, folder| {
        let mut load = Load::new(&folder.join(name));
        while Instant::now() < deadline && killed.fetch_add(1, Ordering::Relaxed) < kills {
            load.until_killed();
        }
    });
    let killed = killed.into_inner().min(kills);
    trials.tell(&format!("killed {killed} times under load"));
    assert!(killed > 20, "{killed}");
}

/// A host that is fed as fast as it takes.
struct Load {
    host: LoneHost,
    publisher: Publisher,
    /// The last update that was acknowledged, with its version.
    acknowledged: (u64, Vec<u8>),
    dice: u64,
}

impl Load {
    fn new(folder: &std::path::Path) -> Self {
        let mut publisher = Publisher::new("host_1");
        let host = LoneHost::enroll(folder, &mut publisher);
        let first = publisher.full(1);
        let mut load = Self { host, publisher, acknowledged: (1, first), dice: now_ms() | 1 };
        load.host.start();
        assert_eq!(load.host.push(&load.acknowledged.1).unwrap().status, 200);
        load
    }

    /// Full updates, increments and heartbeats in turn, until the daemon is killed in the middle of it; and
    /// what it then has, after it was started again.
    fn until_killed(&mut self) {
        let pid = self.host.serve().pid();
        let after = Duration::from_micros(self.roll() % 40_000);
        let killer = thread::spawn(move || {
            thread::sleep(after);
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
        });
        let offered = loop {
            let (version, update) = self.next_update();
            match self.host.push(&update) {
                Ok(answer) if answer.status == 200 => self.acknowledge(version, update),
                Ok(answer) => panic!("refused: {}", answer.json()),
                Err(_) => break version,
            }
        };
        killer.join().unwrap().unwrap();
        self.host.kill();
        self.host.start();
        let standing = self.host.standing().version.expect("a version");
        assert!((self.acknowledged.0..=offered).contains(&standing), "{standing}: {:?}", self.acknowledged.0);
        let status = self.host.status();
        assert_eq!(
            (status["alarms"].to_string(), status["set_aside"].to_string()),
            ("{}".into(), "[]".into())
        );
        if standing > self.acknowledged.0 {
            // It was being taken when the end came. What made it is not known here, so a full one follows.
            let next = self.publisher.full(standing + 1);
            assert_eq!(self.host.push(&next).unwrap().status, 200);
            self.acknowledged = (standing + 1, next);
        }
    }

    fn next_update(&mut self) -> (u64, Vec<u8>) {
        let kind = self.roll() % 8;
        let (version, made_by) = (self.acknowledged.0, &self.acknowledged.1);
        match kind {
            0 => (version + 1, self.publisher.full(version + 1)),
            1 | 2 => (version, self.publisher.heartbeat(version, made_by)),
            _ => (version + 1, self.publisher.incremental(version + 1, made_by)),
        }
    }

    /// A heartbeat makes no version.
    fn acknowledge(&mut self, version: u64, update: Vec<u8>) {
        self.publisher.now_ms = now_ms();
        if version > self.acknowledged.0 {
            self.acknowledged = (version, update);
        }
    }

    /// A number that nobody foresees (xorshift).
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 11
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |set| set.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}
