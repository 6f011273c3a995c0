//! Every system call of taking an update in, by enumeration: at each one the daemon is killed once, and
//! each one fails once. What is served afterwards is the state before or the one that was being
//! written, whole, and what was acknowledged is never lost.

mod enroll;
mod start;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use miosa_tests::lone::{LoneHost, Standing, copy};
use miosa_tests::program::eventually;
use miosa_tests::small_disk::half_written;
use miosa_tests::strace::{Calls, Effect, Fault, Watch};
use miosa_tests::{Answer, Publisher, Trials};
use serde_json::{Value, json};

#[test]
fn killed_at_any_call_it_serves_what_it_had_or_what_it_was_given_and_nothing_else() {
    let trials = Trials::new();
    let cases = Case::all(&trials);
    let points = enumerate(&trials, &cases, &[INTAKE, MAIN], &[Effect::Kill], kill_once);
    trials.tell(&format!("killed once at each of {points} system calls"));
    assert!(points > 100, "{points}");
}

#[test]
fn at_any_call_that_fails_the_update_is_refused_by_name_and_taken_when_it_comes_again() {
    let trials = Trials::new();
    let cases = Case::all(&trials);
    let errors = ["ENOSPC", "EIO"].map(Effect::Error);
    let points = enumerate(&trials, &cases, &[INTAKE], &errors, fail_once);
    // A quota is another way to be full; an interruption is none to fail.
    let increment = cases.into_iter().filter(|case| case.name == "incremental").collect::<Vec<_>>();
    let errors = ["EDQUOT", "EINTR"].map(Effect::Error);
    let points = points + enumerate(&trials, &increment, &[INTAKE], &errors, fail_once);
    trials.tell(&format!("failed once at each of {points} system calls with an error"));
    assert!(points > 200, "{points}");
}

/// Something that is offered to a host, with where the host is before and after.
struct Case {
    name: &'static str,
    /// The state folder before.
    image: PathBuf,
    offered: Offered,
    /// What brought the host to where it is before: offered again it changes nothing.
    former: Offered,
    before: Standing,
    after: Standing,
}

enum Offered {
    Update(Vec<u8>),
    Trust(Vec<u8>),
}

impl Case {
    fn all(trials: &Trials) -> Vec<Self> {
        let folder = trials.path("cases");
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(&folder, &mut publisher);
        let one = publisher.full(1);
        let two = publisher.incremental(2, &one);
        publisher.now_ms += 1_000;
        let beat = publisher.heartbeat(2, &two);
        publisher.now_ms += 1_000;
        let later_beat = publisher.heartbeat(2, &two);
        let (next, three) = (publisher.full(2), publisher.full(3));
        let trust = [1, 2].map(|version| publisher.trust(version));

        let mut cases = Vec::new();
        let mut case = |name, history: &[&[u8]], offered: Offered, former: Offered| {
            let image = trials.path(name);
            host.put_state(&trials.path("enrolled"));
            host.start();
            for update in history {
                assert_eq!(host.push(update).unwrap().status, 200, "{name}");
            }
            host.stop();
            copy(&host.state(""), &image);
            host.start();
            let before = host.standing();
            assert_eq!(offered.to(&host).unwrap().status, 200, "{name}");
            let after = host.standing();
            assert_ne!(before, after, "{name}");
            host.kill();
            cases.push(Self { name, image, offered, former, before, after });
        };
        use Offered::{Trust, Update};
        copy(&folder.join("state"), &trials.path("enrolled"));
        case("full", &[&one], Update(next), Update(one.clone()));
        case("incremental", &[&one], Update(two.clone()), Update(one.clone()));
        case("heartbeat", &[&one, &two, &beat], Update(later_beat), Update(beat.clone()));
        case("compacting full", &[&one, &two, &beat], Update(three), Update(two.clone()));
        let [document, next_document] = trust;
        case("trust", &[&one, &two], Trust(next_document), Trust(document));
        cases
    }
}

impl Offered {
    fn to(&self, host: &LoneHost) -> std::io::Result<Answer> {
        match self {
            Self::Update(bytes) => host.push(bytes),
            Self::Trust(bytes) => host.push_trust(bytes),
        }
    }
}

/// One point; whether it was reached.
fn kill_once(case: &Case, thread: &str, fault: &Fault, folder: &Path) -> bool {
    let mut host = LoneHost::at(folder);
    host.put_state(&case.image);
    host.start();
    let watch = Watch::thread(host.serve().pid(), thread, Some(fault), folder);
    let answer = case.offered.to(&host);
    let acknowledged = answer.as_ref().is_ok_and(|answer| answer.status == 200);
    let reached = watch.end().count(&fault.call) >= fault.nth;
    if !acknowledged {
        assert!(reached, "no fault and no good answer: {answer:?}");
        eventually("the daemon is dead", || (!host.serve().is_running()).then_some(()));
    }
    // What the thread calls after the answer may be reached or not: the daemon dies here at the latest.
    host.kill();

    host.start();
    assert_came_back(&host, case, acknowledged);
    assert_eq!(case.offered.to(&host).unwrap().status, 200);
    assert_eq!(host.standing(), case.after);
    let _refused_or_known = case.former.to(&host).unwrap();
    assert_eq!(host.standing(), case.after, "it went back");
    host.kill();
    reached
}

fn fail_once(case: &Case, thread: &str, fault: &Fault, folder: &Path) -> bool {
    let mut host = LoneHost::at(folder);
    host.put_state(&case.image);
    host.start();
    let watch = Watch::thread(host.serve().pid(), thread, Some(fault), folder);
    let answer = case.offered.to(&host);
    let calls = watch.end();
    let Some(failed) = calls.failed() else {
        assert_eq!(answer.unwrap().status, 200);
        return false;
    };
    if ends_the_daemon(failed) {
        host.kill();
        host.start();
        assert_came_back(&host, case, false);
        return true;
    }
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {failed}"));
    let acknowledged = answer.status == 200;
    if acknowledged {
        // A trust document is kept by itself. That it was followed is noted with the next update at the
        // latest, and what could not be noted now is an alarm. The second copy of the floor is written
        // after the answer.
        let is_noted_later = host.status()["alarms"] == json!({"floor_not_raised": 1})
            || host.log().contains("floor_not_doubled")
            || fault.effect == Effect::Error("EINTR");
        assert!(!is_of_keeping(failed) || is_noted_later, "acknowledged although this failed: {failed}");
        assert_eq!(host.standing(), case.after, "{failed}");
    } else {
        assert_eq!((answer.status, code(&answer)), (503, json!("not_durable")), "{failed}");
        assert_eq!(host.standing(), case.before, "{failed}");
        assert_eq!(host.status()["alarms"], alarm_of(fault), "{failed}");
        // What may or may not be on the disk is not gone on with: the next attempt writes a file anew.
        let left = half_written(&host.state(""));
        assert!(left.is_empty() || failed.starts_with("unlink"), "{left:?}: {failed}");
    }
    let left = folder.join("left");
    copy(&host.state(""), &left);

    assert_eq!(case.offered.to(&host).unwrap().status, 200, "{failed}");
    assert_eq!(host.standing(), case.after, "{failed}");
    host.kill();
    host.start();
    assert_came_back(&host, case, true);
    host.kill();

    host.put_state(&left);
    std::fs::remove_dir_all(&left).unwrap();
    host.start();
    assert_came_back(&host, case, acknowledged);
    assert_eq!(case.offered.to(&host).unwrap().status, 200, "{failed}");
    assert_eq!(host.standing(), case.after, "{failed}");
    host.kill();
    true
}

fn alarm_of(fault: &Fault) -> Value {
    match fault.effect {
        Effect::Error("ENOSPC" | "EDQUOT") => json!({"disk_full": 1}),
        Effect::Error("EIO") => json!({"disk_failing": 1}),
        Effect::Error(_) | Effect::Kill => json!({"disk_error": 1}),
    }
}

/// Without one of these nothing is durable.
fn is_of_keeping(call: &str) -> bool {
    let changes = ["write(", "fsync(", "fdatasync(", "rename"].iter().any(|name| call.starts_with(name));
    call.contains("/state/") && (changes || call.contains("O_CREAT"))
}

/// Where Linux has no such error, the libraries below end the program: after closing a directory that
/// was listed, and after waking the event loop. It then comes back as after any other end.
fn ends_the_daemon(call: &str) -> bool {
    let listed = ["/cache>", "/trust>", "/quarantine>", "/resources>", "/tenants>"];
    let closes = |directory: &&str| call.contains("close(") && call.contains(*directory);
    call.contains("eventfd") || listed.iter().any(closes)
}

fn assert_came_back(host: &LoneHost, case: &Case, acknowledged: bool) {
    let standing = host.standing();
    let allowed = standing == case.after || (!acknowledged && standing == case.before);
    assert!(allowed, "{standing:?} after {:?} and {:?}", case.before, case.after);
    let status = host.status();
    let complaints = [&status["alarms"], &status["refused"], &status["set_aside"]];
    assert_eq!(complaints, [&json!({}), &json!({}), &json!([])], "{}", host.log());
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

/// What is done at a point, in a folder of its own: whether the point was reached.
type Try = fn(&Case, &str, &Fault, &Path) -> bool;

/// Each call of each kind that a thread makes in each case, each effect once, until the next one is not
/// reached; how many there were.
fn enumerate(
    trials: &Trials,
    cases: &[Case],
    threads: &[&'static str],
    effects: &[Effect],
    try_once: Try,
) -> usize {
    let mut todo = Vec::new();
    for thread in threads {
        let measured = cases.iter().flat_map(|case| calls_without_fault(trials, case, thread).kinds());
        // What one run calls, another may: who waits for what differs from run to run.
        let calls: BTreeSet<String> = measured.collect();
        for case in cases {
            let points = calls.iter().flat_map(|call| effects.iter().map(move |effect| (call, *effect)));
            todo.extend(points.map(|(call, effect)| (case, *thread, call.clone(), effect)));
        }
    }
    let points = AtomicUsize::new(0);
    trials.each(todo, |(case, thread, call, effect), folder| {
        for nth in 1.. {
            let fault = Fault { call: call.clone(), nth, effect };
            let _point = Point(case.name, thread, &fault);
            if !try_once(case, thread, &fault, folder) {
                break;
            }
            points.fetch_add(1, Ordering::Relaxed);
        }
    });
    points.into_inner()
}

fn calls_without_fault(trials: &Trials, case: &Case, thread: &str) -> Calls {
    let folder = trials.path("measured");
    std::fs::create_dir_all(&folder).unwrap();
    let mut host = LoneHost::at(&folder);
    host.put_state(&case.image);
    host.start();
    let watch = Watch::thread(host.serve().pid(), thread, None, &folder);
    assert_eq!(case.offered.to(&host).unwrap().status, 200, "{}", case.name);
    watch.end()
}

/// Says where it was when a test fails.
struct Point<'a>(&'a str, &'a str, &'a Fault);

impl Drop for Point<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(case, thread, fault) = self;
            eprintln!("--- at {case}, thread {thread}, {fault:?}");
        }
    }
}

/// The thread that takes updates in.
const INTAKE: &str = "intake";
/// The thread that talks.
const MAIN: &str = "miosad";
