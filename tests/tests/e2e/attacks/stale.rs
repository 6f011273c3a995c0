//! What is left of a resource when it is gone: connections, requests, places in the queue, descriptors of its
//! folder. None of it reaches the next resource of the same id, be it of another tenant, and be the daemon
//! killed at any moment in between.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miosa_tests::Trials;
use miosa_tests::lone::{LoneHost, copy};
use miosa_tests::program::eventually;
use miosa_tests::publisher::Publisher;
use miosa_tests::strace::{Effect, Fault, Watch};

use super::Site;
use super::descriptors::Client;

#[test]
fn nothing_that_a_removed_resource_had_reaches_the_next_one_of_its_id() {
    for next_tenant in ["acme", "rival"] {
        let mut site = Site::enrolled();
        fs::write(site.host.path("miosad.toml"), "[limits]\nresource_connections = 3\n").unwrap();
        let mut command = site.host.command(&["serve"]);
        command.env("MIOSAD_CONFIG", site.host.path("miosad.toml"));
        site.host.start_as(command);
        site.publish(1, &[("acme", "sbx-1"), ("acme", "other")]);

        let folder = File::open(site.home("sbx-1")).unwrap();
        let (mut idle, mut half, mut delegated) =
            (connect(&site), connect(&site), Client::start(&site.socket("sbx-1"), "delegate"));
        assert_eq!(delegated.line(), "200", "who was handed a connection may use it while it lives");
        idle.write_all(REQUEST).unwrap();
        assert!(begins_with_200(&mut idle));
        half.write_all(&REQUEST[..30]).unwrap();
        // The three places are taken, so these wait, with their request.
        let mut waiting: Vec<_> = (0..5).map(|_| connect(&site)).collect();
        for client in &mut waiting {
            client.write_all(REQUEST).unwrap();
        }

        match next_tenant {
            "acme" => {
                site.publish(2, &[("acme", "other")]);
                site.publish(3, &[("acme", "sbx-1"), ("acme", "other")]);
            }
            // One update takes it from the one and gives it to the other.
            next => site.publish(2, &[(next, "sbx-1"), ("acme", "other")]),
        }
        assert_eq!(site.tenant_at("sbx-1"), next_tenant);
        let _refused = half.write_all(&REQUEST[30..]);
        for mut client in [idle, half].into_iter().chain(waiting) {
            assert_closed_without_an_answer(&mut client);
        }
        delegated.go_on();
        assert_eq!(delegated.line(), "closed");
        assert_reaches_nothing(&folder, &site.home("sbx-1"));
        assert_eq!(site.tenant_at("other"), "acme");
    }
}

#[test]
fn a_folder_is_not_handed_on_whenever_the_daemon_is_killed_while_a_resource_changes_hands() {
    let trials = Trials::new();
    let image = trials.path("image");
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("enrolled"), &mut publisher);
    host.start();
    assert_eq!(host.push(&publisher.full_for(1, &[("acme", "sbx-1")])).unwrap().status, 200);
    host.stop();
    copy(&host.state(""), &image);
    let next = publisher.full_for(2, &[("rival", "sbx-1")]);

    let measured = trials.path("measured");
    fs::create_dir_all(&measured).unwrap();
    let calls = {
        let mut host = start(&measured, &image);
        let watch = Watch::thread(host.serve().pid(), "intake", None, &measured);
        assert_eq!(host.push(&next).unwrap().status, 200);
        watch.end()
    };
    // Each call by which the runtime directory is changed, once.
    let kinds: BTreeSet<String> = calls.about("/run").kinds();
    let changes = ["unlinkat", "unlink", "rmdir", "mkdir", "symlink", "bind", "listen", "close", "openat"];
    let kinds = kinds.into_iter().filter(|kind| changes.contains(&kind.as_str()));
    let points: Vec<_> =
        kinds.flat_map(|kind| (1..=calls.count(&kind)).map(move |nth| (kind.clone(), nth))).collect();
    trials.tell(&format!("killed at each of {} system calls while a resource changes hands", points.len()));
    assert!(points.len() > 10, "{points:?}");
    trials.each(points, |(call, nth), folder| {
        let mut host = start(folder, &image);
        let home = home(folder);
        // As a mount of the former tenant's, who also stays connected.
        let (mounted, before) = (File::open(&home).unwrap(), fs::metadata(&home).unwrap().ino());
        let mut held = UnixStream::connect(home.join("miosa.sock")).unwrap();
        let fault = Fault { call, nth, effect: Effect::Kill };
        let watch = Watch::thread(host.serve().pid(), "intake", Some(&fault), folder);
        let _answered_or_killed = host.push(&next);
        let _calls = watch.end();
        host.kill();
        host.start();
        assert_eq!(host.push(&next).unwrap().status, 200, "{fault:?}");
        let tenant = host.resolve("sbx-1").json()["env"]["MIOSA_TENANT_ID"].clone();
        assert_eq!(tenant, "rival", "{fault:?}");
        assert_ne!(fs::metadata(&home).unwrap().ino(), before, "{fault:?}: the former tenant's folder");
        assert_reaches_nothing(&mounted, &home);
        let _refused = held.write_all(REQUEST);
        assert_closed_without_an_answer(&mut held);
        assert_eq!(fs::read_dir(folder.join("run/resources")).unwrap().count(), 1, "{fault:?}");
        host.kill();
    });
}

#[test]
fn a_resource_that_went_while_the_daemon_was_down_leaves_nothing_behind() {
    let mut site = Site::serving(&[("acme", "sbx-1")]);
    let mounted = File::open(site.home("sbx-1")).unwrap();
    site.host.kill();
    // The state that gives it to another comes before the next start, by the other door.
    let handed_over = site.publisher.full_for(2, &[("rival", "sbx-1")]);
    fs::create_dir_all(site.host.state("drop")).unwrap();
    fs::write(site.host.state("drop/update"), handed_over).unwrap();
    site.host.start();
    eventually("the dropped update is served", || (site.host.status()["version"] == 2).then_some(()));
    assert_eq!(site.tenant_at("sbx-1"), "rival");
    assert_reaches_nothing(&mounted, &site.home("sbx-1"));
}

fn start(folder: &Path, image: &Path) -> LoneHost {
    let mut host = LoneHost::at(folder);
    host.put_state(image);
    if folder.join("run").exists() {
        fs::remove_dir_all(folder.join("run")).unwrap();
    }
    host.start();
    host
}

fn home(folder: &Path) -> PathBuf {
    folder.join("run/resources/sbx-1")
}

fn connect(site: &Site) -> UnixStream {
    UnixStream::connect(site.socket("sbx-1")).unwrap()
}

fn begins_with_200(stream: &mut UnixStream) -> bool {
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).is_ok() && &head == b"HTTP/1.1 200"
}

/// By what was opened before, nothing of what is there now can be seen or reached.
fn assert_reaches_nothing(former: &File, home: &Path) {
    assert_ne!(former.metadata().unwrap().ino(), fs::metadata(home).unwrap().ino(), "the same folder");
    let through = PathBuf::from(format!("/proc/self/fd/{}", former.as_raw_fd()));
    assert_eq!(fs::read_dir(&through).map_or(0, Iterator::count), 0);
    UnixStream::connect(through.join("miosa.sock")).unwrap_err();
}

fn assert_closed_without_an_answer(stream: &mut UnixStream) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "still open");
    let rest = String::from_utf8_lossy(&rest);
    // The idle one may have the rest of the answer it was given before.
    assert!(!rest.contains("HTTP/1.1 200"), "answered after the removal: {rest}");
    assert!(!rest.contains("rival"), "{rest}");
}

const REQUEST: &[u8] = b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n";
