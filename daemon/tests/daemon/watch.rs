//! Watching a resource: what wakes a watcher and what does not, what it is given, and what it costs others.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use miosa_injector::Records;
use miosa_injector::model::{EnvName, SecretValue};

use crate::host::{Host, eventually};
use crate::http::{self, Answer, Client};
use crate::publisher::{resource, resources, run};

/// A watch that was sent and is not answered yet.
struct Watch(Client);

impl Watch {
    fn begin(socket: &Path, query: &str) -> Self {
        let mut client = Client::connect(socket).unwrap();
        client.send(request(query).as_bytes()).unwrap();
        Self(client)
    }

    /// The same, once the daemon has it among those who wait.
    fn waiting(host: &Host, query: &str) -> Self {
        let before = watches(host);
        let watch = Self::begin(&host.socket("sbx-1"), query);
        eventually("it waits", || watches(host) > before);
        watch
    }

    fn answer(&mut self) -> Answer {
        self.0.answer().unwrap()
    }
}

fn request(query: &str) -> String {
    format!("GET /v1/watch?{query} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn watches(host: &Host) -> u64 {
    let page = String::from_utf8(http::get(&host.admin(), "/metrics").body).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("miosad_watches ")).unwrap();
    line.parse().unwrap()
}

/// The tag of what there is, without its quotes.
fn tag(host: &Host, target: &str) -> String {
    let answer = http::get(&host.socket("sbx-1"), target);
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer.headers["etag"].trim_matches('"').to_owned()
}

fn two(one: &str, other: &str) -> Records {
    resources(&[("sbx-1", "t1", one), ("sbx-2", "t1", other)])
}

/// A watcher of `sbx-1`, while version 1 is served.
fn watched(records: Records) -> (Host, Watch) {
    let host = Host::serving();
    host.publish(1, records);
    let tag = tag(&host, "/v1/resolve");
    let watch = Watch::waiting(&host, &format!("etag={tag}"));
    (host, watch)
}

#[test]
fn a_change_wakes_a_watcher_with_the_whole_new_body_and_its_tag() {
    let (host, mut watch) = watched(two("one", "same"));
    host.publish(2, two("two", "same"));
    let woken = watch.answer();
    let resolved = http::get(&host.socket("sbx-1"), "/v1/resolve");
    assert_eq!((woken.status, &woken.headers["etag"]), (200, &resolved.headers["etag"]));
    assert_eq!(woken.headers["content-type"], "application/json");
    assert_eq!(woken.json()["env"]["GREETING"], "two");
    assert_eq!(woken.json()["env"], resolved.json()["env"]);
    assert_eq!(watches(&host), 0);
    // The connection goes on.
    assert_eq!(watch.0.get("/v1/resolve", &[]).unwrap().status, 200);
}

#[test]
fn what_a_client_does_not_have_is_given_at_once() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    let held = tag(&host, "/v1/resolve");
    let socket = host.socket("sbx-1");
    for query in ["", "etag=", "etag=00ff", "etag=*", "timeout=300", &format!("etag={held}0&timeout=300")] {
        let answer = Watch::begin(&socket, query).answer();
        assert_eq!((answer.status, answer.headers["etag"].trim_matches('"')), (200, &*held), "{query}");
        assert_eq!(answer.json()["env"]["GREETING"], "one");
    }
    for tag in [held.clone(), format!("%22{held}%22"), format!("W/%22{held}%22"), format!("W%2F%22{held}%22")]
    {
        let answer = Watch::begin(&socket, &format!("etag={tag}&timeout=0")).answer();
        assert_eq!((answer.status, answer.headers["etag"].trim_matches('"')), (304, &*held), "{tag}");
        assert!(answer.body.is_empty());
    }
}

#[test]
fn a_watch_that_nothing_happens_to_ends_with_304_and_its_tag_after_its_timeout() {
    let (host, waits) = watched(two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    let mut watch = Watch::waiting(&host, &format!("timeout=1&etag={held}"));
    let answer = watch.answer();
    assert_eq!((answer.status, answer.headers["etag"].trim_matches('"')), (304, &*held));
    assert_eq!(watches(&host), 1, "the other one waits on");
    drop(waits);
}

#[test]
fn nothing_but_other_content_is_a_change() {
    let host = Host::serving();
    let first = host.publish(1, two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    let mut watch = Watch::waiting(&host, &format!("etag={held}"));
    assert_eq!(host.offer(&host.publisher.heartbeat(1, &first)).status, 200);
    let mut records = two("one", "other");
    host.publish(2, records.clone());
    // A run that this one is not.
    let other_run = run("run_1", "sbx-1");
    records.runs.insert(other_run.id.clone(), other_run);
    host.publish(3, records.clone());
    assert_eq!(http::get(&host.socket("sbx-1"), "/v1/resolve").json()["snapshot_version"], 3);
    assert_eq!(watches(&host), 1);
    host.publish(4, two("two", "other"));
    // Had anything before been one, its version would stand here.
    assert_eq!(watch.answer().json()["snapshot_version"], 4);
}

#[test]
fn a_variable_that_goes_is_a_change() {
    let mut records = two("one", "same");
    let more = resource("sbx-1", "t1", &[("GREETING", "one"), ("MORE", "x")]);
    records.resources.insert(more.id.clone(), more);
    let (host, mut watch) = watched(records);
    host.publish(2, two("one", "same"));
    let woken = watch.answer().json();
    assert_eq!(woken["env"]["GREETING"], "one");
    assert!(woken["env"].get("MORE").is_none());
}

#[test]
fn a_runs_own_environment_wakes_who_watches_the_run_and_its_end_is_told() {
    let greet = |value: &str| {
        let (mut records, mut run) = (two("one", "same"), run("run_1", "sbx-1"));
        let name = EnvName::parse("OWN").unwrap();
        run.env.insert(name, SecretValue::new(value.to_owned()).unwrap());
        records.runs.insert(run.id.clone(), run);
        records
    };
    let host = Host::serving();
    host.publish(1, greet("a"));
    let of_resource = tag(&host, "/v1/resolve");
    let mut other = Watch::waiting(&host, &format!("timeout=300&etag={of_resource}"));
    let of_run = tag(&host, "/v1/resolve?run=run_1");
    let mut watch = Watch::waiting(&host, &format!("run=run_1&etag={of_run}"));
    host.publish(2, greet("b"));
    let woken = watch.answer();
    assert_eq!((woken.status, woken.json()["env"]["OWN"].as_str()), (200, Some("b")));
    let held = woken.headers["etag"].trim_matches('"').to_owned();
    let mut watch = Watch::waiting(&host, &format!("run=run_1&etag={held}"));
    host.publish(3, two("one", "same"));
    let ended = watch.answer();
    assert_eq!((ended.status, ended.code().as_str()), (404, "run_not_found"));
    // And who comes then is told at once.
    let refused = Watch::begin(&host.socket("sbx-1"), &format!("run=run_1&etag={held}")).answer();
    assert_eq!((refused.status, refused.code().as_str()), (404, "run_not_found"));
    host.publish(4, two("two", "same"));
    assert_eq!(other.answer().json()["snapshot_version"], 4, "the resource's own content was one all along");
}

#[test]
fn an_environment_that_becomes_too_large_is_told() {
    let (host, mut watch) = watched(two("one", "same"));
    let many: Vec<_> = (0..20).map(|number| (format!("LARGE_{number}"), "x".repeat(100_000))).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut records = two("one", "same");
    let large = resource("sbx-1", "t1", &many);
    records.resources.insert(large.id.clone(), large);
    host.publish(2, records);
    let refused = watch.answer();
    assert_eq!((refused.status, refused.code().as_str()), (413, "env_too_large"));
}

#[test]
fn a_large_environment_is_watched_too() {
    let large = |value: &str| {
        let mut records = two("one", "same");
        let resource = resource("sbx-1", "t1", &[("GREETING", value), ("LARGE", &"x".repeat(100_000))]);
        records.resources.insert(resource.id.clone(), resource);
        records
    };
    let host = Host::serving();
    host.publish(1, large("one"));
    let held = tag(&host, "/v1/resolve");
    let mut watches: Vec<_> = (0..16).map(|_| Watch::waiting(&host, &format!("etag={held}"))).collect();
    // Whoever waits holds none of the few answers that there may be.
    assert_eq!(tag(&host, "/v1/resolve"), held);
    host.publish(2, large("two"));
    for watch in &mut watches {
        let woken = watch.answer();
        assert_eq!((woken.status, woken.json()["env"]["GREETING"].as_str()), (200, Some("two")));
    }
}

#[test]
fn a_snapshot_that_expires_and_a_signer_that_is_revoked_are_told() {
    let mut host = Host::enrolled();
    (host.publisher.fresh_for_ms, host.publisher.serve_for_ms) = (1_000, 3_000);
    host.start();
    host.publish(1, two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    let mut watch = Watch::waiting(&host, &format!("etag={held}&timeout=300"));
    let refused = watch.answer();
    assert_eq!((refused.status, refused.code().as_str()), (503, "snapshot_expired"));
    let refused = Watch::begin(&host.socket("sbx-1"), &format!("etag={held}&timeout=300")).answer();
    assert_eq!((refused.status, refused.code().as_str()), (503, "snapshot_expired"));

    host.publisher.now_ms = crate::host::now_ms();
    (host.publisher.fresh_for_ms, host.publisher.serve_for_ms) = (900_000, 3_600_000);
    host.publish(2, two("one", "same"));
    let mut watch = Watch::waiting(&host, &format!("etag={held}"));
    host.publisher.change_signer();
    let trust = host.publisher.trust(2);
    let answer = Client::connect(&host.intake()).unwrap().request("PUT", "/v1/trust", &[], &trust).unwrap();
    assert_eq!(answer.status, 200);
    let refused = watch.answer();
    assert_eq!((refused.status, refused.code().as_str()), (503, "signer_revoked"));
}

#[test]
fn a_snapshot_that_is_to_be_served_for_less_long_than_before_ends_a_watch_when_it_does() {
    let mut host = Host::enrolled();
    host.start();
    host.publish(1, two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    let mut watch = Watch::waiting(&host, &format!("etag={held}&timeout=300"));
    (host.publisher.fresh_for_ms, host.publisher.serve_for_ms) = (500, 1_500);
    host.publisher.now_ms = crate::host::now_ms();
    host.publish(2, two("one", "same"));
    let refused = watch.answer();
    assert_eq!((refused.status, refused.code().as_str()), (503, "snapshot_expired"));
}

#[test]
fn sixteen_watch_the_seventeenth_is_told_to_come_again_and_who_hangs_up_makes_room() {
    let host = Host::serving();
    host.publish(1, two("one", "same"));
    let query = format!("timeout=300&etag={}", tag(&host, "/v1/resolve"));
    let mut watches: Vec<_> = (0..16).map(|_| Watch::waiting(&host, &query)).collect();
    let mut refused = Watch::begin(&host.socket("sbx-1"), &query);
    let answer = refused.answer();
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_watchers"));
    assert_eq!(answer.headers["retry-after"], "1");
    // Its connection goes on, and what need not wait is answered.
    assert_eq!(refused.0.get("/v1/watch?etag=other", &[]).unwrap().status, 200);
    assert_eq!(
        refused
            .0
            .get(&format!("/v1/watch?{query}&timeout=0").replace("timeout=300&", ""), &[])
            .unwrap()
            .status,
        304
    );
    // Another resource has places of its own.
    let other = http::get(&host.socket("sbx-2"), "/v1/resolve").headers["etag"].trim_matches('"').to_owned();
    let before = self::watches(&host);
    let _of_other = Watch::begin(&host.socket("sbx-2"), &format!("etag={other}"));
    eventually("it waits", || self::watches(&host) == before + 1);
    drop(watches.pop());
    eventually("the place is free", || self::watches(&host) == before);
    watches.push(Watch::waiting(&host, &query));
    host.publish(2, two("two", "same"));
    for watch in &mut watches {
        assert_eq!(watch.answer().json()["env"]["GREETING"], "two");
    }
}

#[test]
fn a_client_that_hangs_up_gives_its_connection_back_at_once() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nresource_connections = 1\nidle_seconds = 3600\n");
    host.start();
    host.publish(1, two("one", "same"));
    let query = format!("timeout=300&etag={}", tag(&host, "/v1/resolve"));
    for connection in ["", "Connection: close\r\n"] {
        let request = format!("GET /v1/watch?{query} HTTP/1.1\r\nHost: x\r\n{connection}\r\n");
        let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
        client.send(request.as_bytes()).unwrap();
        eventually("it waits", || watches(&host) == 1);
        drop(client);
        eventually("it is gone", || watches(&host) == 0);
        assert_eq!(http::get(&host.socket("sbx-1"), "/v1/resolve").status, 200);
    }
    // So does one that says that it sends no more.
    let mut stream = UnixStream::connect(host.socket("sbx-1")).unwrap();
    stream.write_all(request(&query).as_bytes()).unwrap();
    eventually("it waits", || watches(&host) == 1);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    eventually("it is gone", || watches(&host) == 0);
}

#[test]
fn the_limits_on_silence_do_not_end_a_watch() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nidle_seconds = 1\nwrite_seconds = 1\n");
    host.start();
    host.publish(1, two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    let mut watch = Watch::begin(&host.socket("sbx-1"), &format!("timeout=4&etag={held}"));
    assert_eq!(watch.answer().status, 304);
    assert!(watch.0.is_closed(), "asking nothing after it ends it as ever");
}

#[test]
fn nothing_may_be_sent_behind_a_watch_before_its_answer() {
    let host = Host::serving();
    host.publish(1, two("one", "same"));
    let watch = request(&format!("timeout=300&etag={}", tag(&host, "/v1/resolve")));
    let resolve = "GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";
    for (together, later) in [(resolve, ""), ("", resolve), ("x", ""), ("", "\r\n")] {
        let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
        client.send(format!("{watch}{together}").as_bytes()).unwrap();
        if !later.is_empty() {
            eventually("it waits", || watches(&host) == 1);
            client.send(later.as_bytes()).unwrap();
        }
        let answered = client.rest().unwrap();
        assert!(answered.starts_with("HTTP/1.1 400 "), "{together:?} {later:?}: {answered}");
        assert_eq!(answered.matches("HTTP/1.1").count(), 1, "{answered}");
        assert_eq!(watches(&host), 0);
    }
    // Before it, anything may.
    let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
    client.send(format!("{resolve}{resolve}{watch}").as_bytes()).unwrap();
    assert_eq!((client.answer().unwrap().status, client.answer().unwrap().status), (200, 200));
    eventually("it waits", || watches(&host) == 1);
    host.publish(2, two("two", "same"));
    assert_eq!(client.answer().unwrap().json()["env"]["GREETING"], "two");
}

#[test]
fn a_watch_is_read_as_strictly_as_everything_else() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    for (query, header) in [
        ("timeout=301", ""),
        ("timeout=-1", ""),
        ("timeout=+1", ""),
        ("timeout=1.5", ""),
        ("timeout=1s", ""),
        ("timeout=99999999999999999999999", ""),
        ("timeout=1&timeout=1", ""),
        ("etag=a&etag=a", ""),
        ("tag=a", ""),
        ("resource=sbx-2", ""),
        ("run=../x", ""),
        ("", "If-None-Match: \"x\"\r\n"),
        ("", "Content-Length: 1\r\n"),
        ("", "Via: 1.1 x\r\n"),
    ] {
        let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
        let request = format!("GET /v1/watch?{query} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        client.send(request.as_bytes()).unwrap();
        let answered = client.rest().unwrap();
        assert!(answered.starts_with("HTTP/1.1 400 "), "{query} {header}: {answered}");
    }
}

#[test]
fn a_removed_resource_and_one_of_another_tenant_end_their_watchers_without_an_answer() {
    for next in [resources(&[("sbx-2", "t1", "same")]), resources(&[("sbx-1", "t2", "of another")])] {
        let (host, mut watch) = watched(two("one", "same"));
        host.publish(2, next);
        assert_eq!(watch.0.rest().unwrap(), "");
        assert_eq!(watches(&host), 0);
    }
}

#[test]
fn a_stop_ends_a_watch_and_the_next_process_answers_by_the_same_tag() {
    let (mut host, mut watch) = watched(two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    assert!(host.stop().success());
    assert_eq!(watch.0.rest().unwrap(), "");
    assert!(!host.log("serve").contains("stopped_early"));
    host.start();
    let mut watch = Watch::waiting(&host, &format!("etag={held}"));
    host.kill();
    assert!(watch.0.is_closed());
    host.start();
    let mut watch = Watch::waiting(&host, &format!("etag={held}"));
    host.publish(2, two("two", "same"));
    assert_eq!(watch.answer().json()["env"]["GREETING"], "two");
}

#[test]
fn what_a_watch_has_waited_is_not_what_its_answer_took() {
    let (host, mut watch) = watched(two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    assert_eq!(Watch::waiting(&host, &format!("timeout=2&etag={held}")).answer().status, 304);
    host.publish(2, two("two", "same"));
    assert_eq!(watch.answer().status, 200);
    let page = String::from_utf8(http::get(&host.admin(), "/metrics").body).unwrap();
    for outcome in ["whole", "not_modified"] {
        let count = |bound: &str| {
            let line =
                format!("miosad_answer_duration_seconds_bucket{{outcome=\"{outcome}\",le=\"{bound}\"}} ");
            page.lines().find_map(|text| text.strip_prefix(&*line)).unwrap().parse::<u64>().unwrap()
        };
        assert!(count("+Inf") > 0);
        assert_eq!(count("0.25"), count("+Inf"), "{outcome}");
    }
}

#[test]
fn who_was_given_what_by_a_watch_is_in_the_access_log() {
    let mut host = Host::enrolled();
    host.configure("[access_log]\nflush_seconds = 1\n");
    host.start();
    host.publish(1, two("one", "same"));
    let held = tag(&host, "/v1/resolve");
    assert_eq!(Watch::begin(&host.socket("sbx-1"), &format!("timeout=0&etag={held}")).answer().status, 304);
    let mut watch = Watch::waiting(&host, &format!("etag={held}"));
    host.publish(2, two("two", "same"));
    assert_eq!(watch.answer().status, 200);
    assert_eq!(Watch::begin(&host.socket("sbx-1"), "run=run_of_nobody").answer().status, 404);
    host.stop();
    let log = std::fs::read_to_string(host.state("access/access.jsonl")).unwrap();
    assert!(log.contains(r#""version":1"#) && log.contains(r#""version":2"#), "{log}");
    assert!(log.contains(r#""asked":2,"unchanged":1"#), "{log}");
    assert!(log.contains("run_not_found"), "{log}");
}
