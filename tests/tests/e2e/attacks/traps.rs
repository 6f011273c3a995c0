//! Traps that are laid where the daemon will make something: links, FIFOs and sockets of others in the
//! place of a resource that comes later, and links in the place of the runtime directory.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Site;

#[test]
fn what_was_planted_before_a_resource_came_is_moved_aside_and_never_followed() {
    let site = Site::serving(&[("rival", "bystander")]);
    let outside = site.host.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    File::create(site.host.path("huge")).unwrap().set_len(1 << 40).unwrap();
    let resources = site.host.path("run/resources");
    symlink(&outside, resources.join("link")).unwrap();
    symlink("bystander", resources.join("link-to-a-neighbour")).unwrap();
    symlink("nowhere", resources.join("dangling")).unwrap();
    mkfifo(&resources.join("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    fs::hard_link(site.host.path("huge"), resources.join("huge")).unwrap();
    let _foreign = UnixListener::bind(resources.join("socket")).unwrap();
    fs::create_dir(resources.join("foreign")).unwrap();
    chown(resources.join("foreign"), Some(4_711), Some(4_711)).unwrap();
    fs::create_dir(resources.join("full")).unwrap();
    symlink(site.host.path("run/admin.sock"), resources.join("full/miosa.sock")).unwrap();
    fs::write(resources.join("full/file"), "theirs").unwrap();

    let ids = ["link", "link-to-a-neighbour", "fifo", "huge", "socket", "foreign", "full"];
    let placed: Vec<_> =
        ids.iter().map(|id| ("acme", *id)).chain([("rival", "bystander"), ("acme", "dangling")]).collect();
    site.publish(2, &placed);
    for id in ids {
        assert_eq!(site.tenant_at(id), "acme");
        let there = fs::symlink_metadata(site.home(id)).unwrap();
        assert_eq!((there.is_dir(), there.uid(), there.mode() & 0o7777), (true, 0, 0o755), "{id}");
        assert_eq!(fs::read_dir(site.home(id)).unwrap().count(), 1, "{id}");
    }
    assert_eq!(site.tenant_at("bystander"), "rival");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made or removed behind the link");
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    assert_eq!(fs::metadata(site.host.path("huge")).unwrap().len(), 1 << 40);
    assert!(site.fresh_status()["alarms"]["resource_directory_tampered"].as_u64().unwrap() >= 5);
}

#[test]
fn a_link_in_the_place_of_the_runtime_directory_or_of_one_in_it_is_not_followed() {
    for link in ["run", "run/resources", "run/tenants"] {
        let mut site = Site::enrolled();
        let outside = site.host.path("outside");
        fs::create_dir(&outside).unwrap();
        let before = look(&outside);
        if link != "run" {
            fs::create_dir(site.host.path("run")).unwrap();
        }
        symlink(&outside, site.host.path(link)).unwrap();
        assert!(!site.host.comes_up(site.host.command(&["serve"])), "{link}");
        let said = site.host.log();
        assert!(said.contains("symbolic link"), "{said}");
        assert_eq!(look(&outside), before);
        fs::remove_file(site.host.path(link)).unwrap();
        site.host.start();
        site.publish(1, &[("acme", "sbx-1")]);
        assert_eq!(site.tenant_at("sbx-1"), "acme");
    }
}

fn look(path: &Path) -> (u32, u32, usize) {
    let there = fs::metadata(path).unwrap();
    (there.mode(), there.uid(), fs::read_dir(path).unwrap().count())
}
