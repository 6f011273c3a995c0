//! The real program with a wall clock that is ten years wrong, by `libfaketime`: from its start, and
//! stepping while it runs. The boot-time clock stays the machine's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use miosa_tests::lone::LoneHost;
use miosa_tests::{Publisher, Trials};
use serde_json::{Value, json};

#[test]
fn a_step_of_ten_years_while_running_expires_nothing() {
    for years in ["+10y", "-10y"] {
        let trials = Trials::new();
        let mut world = World::new(&trials);
        world.set_clock("+0");
        world.host.start_as(world.serve());
        assert_eq!(world.host.push(&world.publisher.full(1)).unwrap().status, 200);
        world.set_clock(years);
        assert_eq!(world.host.standing().version, Some(1));
        let status = world.host.status();
        assert_eq!((&status["ready"], &status["stale"]), (&json!(true), &json!(false)), "{years}");
        assert!(status["age_seconds"].as_u64().unwrap() < 60, "{status}");

        let two = world.publisher.full(2);
        let (code, message) = world.refusal(&two);
        assert_eq!(code, if years == "+10y" { "expired" } else { "from_the_future" });
        assert!(message.contains("if the clock is wrong, set it"), "{message}");
        assert_eq!(world.host.standing().version, Some(1));
        world.set_clock("+0");
        assert_eq!(world.host.push(&two).unwrap().status, 200);
        assert_eq!(world.host.standing().version, Some(2));
        assert_eq!(world.host.status()["alarms"], json!({}));
        // Killed, it would leave what the library has put into /dev/shm.
        world.host.stop();
    }
}

#[test]
fn a_start_ten_years_off_serves_what_it_may_and_loses_nothing() {
    for (years, serves) in [("-10y", true), ("+10y", false)] {
        let trials = Trials::new();
        let mut world = World::new(&trials);
        world.host.start();
        let one = world.publisher.full(1);
        assert_eq!(world.host.push(&one).unwrap().status, 200);
        world.host.stop();
        world.set_clock(years);
        world.host.start_as(world.serve());
        let status = world.host.status();
        if serves {
            // No younger than the newest time that a signer has vouched for.
            assert_eq!((world.host.standing().version, &status["stale"]), (Some(1), &json!(false)));
        } else {
            assert_eq!(status["not_ready_because"], "snapshot_expired");
            let answer = world.host.resolve("sbx-1");
            assert_eq!(
                (answer.status, answer.json()["error"]["code"].clone()),
                (503, json!("snapshot_expired"))
            );
        }
        assert_eq!((&status["alarms"], &status["set_aside"]), (&json!({}), &json!([])), "{years}");
        world.host.stop();
        world.host.start();
        assert_eq!(world.host.standing().version, Some(1));
        assert_eq!(world.host.push(&world.publisher.heartbeat(1, &one)).unwrap().status, 200);
    }
}

struct World {
    host: LoneHost,
    publisher: Publisher,
    clock: PathBuf,
}

impl World {
    fn new(trials: &Trials) -> Self {
        let mut publisher = Publisher::new("host_1");
        let host = LoneHost::enroll(&trials.path("host"), &mut publisher);
        Self { host, publisher, clock: trials.path("clock") }
    }

    /// How wrong the daemon's wall clock is from here on.
    fn set_clock(&self, offset: &str) {
        fs::write(self.clock.with_extension("new"), offset).unwrap();
        fs::rename(self.clock.with_extension("new"), &self.clock).unwrap();
    }

    fn serve(&self) -> Command {
        let mut serve = self.host.command(&["serve"]);
        serve.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.clock);
        serve.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        serve
    }

    fn refusal(&self, update: &[u8]) -> (String, String) {
        let answer = self.host.push(update).unwrap();
        assert_eq!(answer.status, 422, "{}", answer.json());
        let text = |member: &Value| member.as_str().unwrap().to_owned();
        let error = answer.json()["error"].clone();
        (text(&error["code"]), text(&error["message"]))
    }
}

fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = places.map(|place| place.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|path| path.exists()).expect("libfaketime: run `make deps`")
}
