//! The sockets themselves: who may do what with them, how much, and for how long.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::host::{Host, eventually};
use crate::http::{self, Client};
use crate::publisher::resources;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn every_path_has_exactly_its_mode_whatever_the_umask() {
    let mut host = Host::enrolled();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    host.start();
    let full = host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    assert_eq!(host.offer(&host.publisher.heartbeat(1, &full)).status, 200);
    for (path, expected) in [
        ("run", 0o750),
        ("run/admin.sock", 0o660),
        ("run/intake.sock", 0o660),
        ("run/resources", 0o700),
        ("run/resources/sbx-1", 0o755),
        ("run/resources/sbx-1/miosa.sock", 0o666),
        ("state", 0o700),
        ("state/host.json", 0o600),
        ("state/host.key", 0o600),
        ("state/floor.a", 0o600),
        ("state/floor.b", 0o600),
        ("state/trust", 0o700),
        ("state/trust/1.json", 0o600),
        ("state/cache", 0o700),
        ("state/cache/quarantine", 0o700),
        ("state/cache/heartbeat.json", 0o600),
        ("state/cache/update-0000000000000001-0000000000000001.json", 0o600),
    ] {
        assert_eq!(mode(&host.path(path)), expected, "{path}: {:o}", mode(&host.path(path)));
    }
}

#[test]
fn a_removed_resource_loses_its_connections_its_socket_and_its_directory() {
    let host = Host::with(&[("sbx-1", "t1", "one"), ("sbx-2", "t1", "two")]);
    let home = host.socket("sbx-1").parent().unwrap().to_owned();
    let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
    let mut other = Client::connect(&host.socket("sbx-2")).unwrap();
    assert_eq!(client.get("/v1/resolve", &[]).unwrap().status, 200);
    assert_eq!(other.get("/v1/resolve", &[]).unwrap().status, 200);
    let opened = fs::File::open(&home).unwrap();

    host.publish(2, resources(&[("sbx-2", "t1", "two")]));
    assert!(client.is_closed());
    assert!(!home.exists());
    assert_eq!(other.get("/v1/resolve", &[]).unwrap().status, 200);

    host.publish(3, resources(&[("sbx-1", "t1", "new"), ("sbx-2", "t1", "two")]));
    assert_eq!(host.greeting("sbx-1"), "new");
    assert_ne!(opened.metadata().unwrap().ino(), inode(&home), "a new resource has a new directory");
    let entries = fs::read_dir(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened)));
    assert!(entries.map_or(0, Iterator::count) == 0, "the former one shows nothing");
}

#[test]
fn a_resource_that_changes_hands_gets_a_new_directory_and_the_old_connections_end() {
    let host = Host::with(&[("sbx-1", "t1", "of the former tenant")]);
    let home = host.socket("sbx-1").parent().unwrap().to_owned();
    let before = inode(&home);
    let opened = fs::File::open(&home).unwrap();
    let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
    assert_eq!(client.get("/v1/resolve", &[]).unwrap().status, 200);
    host.publish(2, resources(&[("sbx-1", "t2", "of the next tenant")]));
    assert!(client.is_closed());
    assert_ne!(inode(&home), before);
    drop(opened);
    assert_eq!(host.greeting("sbx-1"), "of the next tenant");
}

#[test]
fn a_directory_outlives_updates_and_restarts_and_its_socket_is_replaced() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    let home = host.socket("sbx-1").parent().unwrap().to_owned();
    let before = inode(&home);
    host.publish(2, resources(&[("sbx-1", "t1", "two")]));
    host.kill();
    assert!(host.socket("sbx-1").exists());
    host.start();
    assert_eq!(inode(&home), before);
    assert!(fs::symlink_metadata(host.socket("sbx-1")).unwrap().file_type().is_socket());
    assert_eq!(host.greeting("sbx-1"), "two");
}

#[test]
fn directories_of_resources_that_went_while_it_was_down_are_removed() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    host.stop();
    fs::create_dir(host.path("run/resources/gone")).unwrap();
    host.start();
    assert!(!host.path("run/resources/gone").exists());
    assert!(host.path("run/resources/sbx-1").exists());
}

#[test]
fn what_is_not_this_api_is_refused_and_the_connection_closed() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    let second = "GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";
    for (request, expected) in [
        ("POST /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("HEAD /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET /v1/resolve?sandbox=other HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/resolve?run=a&run=b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/resolve?run=../x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/watch?sandbox=other HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/watch?timeout=301 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/watch?etag=a&etag=b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/watch HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\n\r\n", 400),
        ("GET /v1/resolve?etag=a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("POST /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET /v1/watch/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /v1/../admin HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /v1/resolve/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET http://other/v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nForwarded: for=x\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nVia: 1.1 x\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nbad header\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET /v1/resolve HTTP/1.1\nHost: x\n\n", 400),
        ("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nA: b\nVia: c\r\n\r\n", 400),
        ("\nGET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ] {
        let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
        client.send(format!("{request}{second}").as_bytes()).unwrap();
        let answered = client.rest().unwrap();
        assert!(answered.starts_with(&format!("HTTP/1.1 {expected} ")), "{request}: {answered}");
        assert_eq!(answered.matches("HTTP/1.1").count(), 1, "a second request was answered after {request}");
    }
    assert_eq!(host.greeting("sbx-1"), "one");
}

#[test]
fn a_head_that_is_too_large_or_too_slow_ends_the_connection() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nidle_seconds = 1\n");
    host.start();
    host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    let mut client = Client::connect(&host.socket("sbx-1")).unwrap();
    let large = format!("GET /v1/resolve HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    client.send(large.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 431);
    let mut idle = Client::connect(&host.socket("sbx-1")).unwrap();
    let mut slow = Client::connect(&host.socket("sbx-1")).unwrap();
    slow.send(b"GET /v1/resolve HTTP/1.1\r\nHos").unwrap();
    let mut kept = Client::connect(&host.socket("sbx-1")).unwrap();
    assert_eq!(kept.get("/v1/resolve", &[]).unwrap().status, 200);
    assert!(idle.is_closed() && slow.is_closed() && kept.is_closed());
}

#[test]
fn connections_beyond_the_limit_wait_and_harm_no_other_resource() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nresource_connections = 2\n");
    host.start();
    host.publish(1, resources(&[("sbx-1", "t1", "one"), ("sbx-2", "t2", "two")]));
    let socket = host.socket("sbx-1");
    let mut held: Vec<_> = (0..2).map(|_| Client::connect(&socket).unwrap()).collect();
    for client in &mut held {
        assert_eq!(client.get("/v1/resolve", &[]).unwrap().status, 200);
    }
    let waiting = std::thread::spawn(move || http::get(&socket, "/v1/resolve").status);
    assert_eq!(host.greeting("sbx-2"), "two");
    assert!(!waiting.is_finished());
    held.pop();
    assert_eq!(waiting.join().unwrap(), 200);
}

#[test]
fn running_out_of_descriptors_is_told_once_and_passes() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nresource_connections = 100\n");
    host.start_with("ulimit -n 40");
    host.publish(1, resources(&[("sbx-1", "t1", "one")]));
    let held: Vec<_> = (0..60).map(|_| Client::connect(&host.socket("sbx-1")).unwrap()).collect();
    eventually("it is told", || host.log("serve").contains("accept_exhausted"));
    drop(held);
    assert_eq!(host.greeting("sbx-1"), "one");
    assert_eq!(host.log("serve").matches("accept_exhausted").count(), 1);
}

#[test]
fn a_client_that_does_not_read_loses_its_connection() {
    let mut host = Host::enrolled();
    host.configure("[limits]\nwrite_seconds = 1\nresource_connections = 1\n");
    host.start();
    host.publish(1, resources(&[("sbx-1", "t1", &"x".repeat(100_000))]));
    let mut deaf = Client::connect(&host.socket("sbx-1")).unwrap();
    let requests = "GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    deaf.send(requests.as_bytes()).unwrap();
    // The one place is taken until the answer's time is up.
    assert_eq!(http::get(&host.socket("sbx-1"), "/v1/resolve").status, 200);
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_told_and_harms_nothing_else() {
    let host = Host::serving();
    let long = "x".repeat(64);
    let short = "s";
    host.publish(1, resources(&[(&long, "t1", "long"), (short, "t1", "short")]));
    let line = http::get(&host.admin(), &format!("/v1/resources/{long}")).json();
    if host.socket(&long).as_os_str().len() > 107 {
        assert_eq!(line["served"], false);
        assert!(line["error"].as_str().unwrap().contains("use a shorter --runtime-dir"), "{line}");
        assert_eq!(host.status()["sockets_failed"], 1);
    }
    assert_eq!(host.greeting(short), "short");
}

#[test]
fn a_second_daemon_does_not_take_the_first_ones_sockets() {
    let host = Host::with(&[("sbx-1", "t1", "one")]);
    let second = host.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another `miosad` is using it"), "{error}");
    assert_eq!(host.greeting("sbx-1"), "one");
}

#[test]
fn a_socket_that_was_out_of_place_is_opened_with_a_later_update() {
    let mut host = Host::with(&[("sbx-1", "t1", "one")]);
    host.stop();
    let socket = host.socket("sbx-1");
    fs::remove_file(&socket).unwrap();
    crate::host::write(&socket, b"not a socket");
    host.start();
    let line = http::get(&host.admin(), "/v1/resources/sbx-1").json();
    assert!(line["error"].as_str().unwrap().contains("no socket of this user"), "{line}");
    fs::remove_file(&socket).unwrap();
    host.publish(2, resources(&[("sbx-1", "t1", "two")]));
    eventually("it is served", || Client::connect(&socket).is_ok());
    assert_eq!(host.greeting("sbx-1"), "two");
}
