//! How the resources' directories are mounted, in every mount namespace of this machine: writable, a
//! sandbox could put a socket of its own in the place of the daemon's. Reads /proc, which only root sees
//! whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::patient::Patient;
use super::state::counted;

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    if !patient.is_root {
        return vec![Finding::unseen(MOUNTS, "the mounts of sandboxes can't be seen")];
    }
    let resources = patient.settings.runtime.resources();
    let Some(place) = Place::of(&resources) else {
        return vec![Finding::ok(MOUNTS, "no resource has a directory to mount")];
    };
    let (mut sandboxes, mut bad) = (0_usize, BTreeMap::new());
    for (pid, mounts) in namespaces() {
        let mounted: Vec<(String, Mount)> = mounts
            .lines()
            .filter_map(Mount::parse)
            .filter_map(|mount| Some((place.resource(&mount)?, mount)))
            .collect();
        sandboxes = sandboxes.saturating_add(usize::from(!mounted.is_empty()));
        for (id, mount) in mounted {
            let lacks = mount.lacks();
            if !lacks.is_empty() {
                bad.entry(id).or_insert((pid, mount.at, lacks));
            }
        }
    }
    if bad.is_empty() {
        let says =
            format!("{} of resources' directories, read-only", counted(sandboxes, "namespace with a mount"));
        let says =
            if sandboxes == 0 { "no resource's directory is mounted anywhere".to_owned() } else { says };
        return vec![Finding::ok(MOUNTS, says)];
    }
    let line = |(id, (pid, at, lacks)): (String, (u32, String, Vec<&'static str>))| {
        let says = format!("{id} is mounted at {at} of process {pid} without {}", lacks.join(", "));
        let action = "mount it ro,nosuid,nodev,noexec, and start that sandbox anew";
        if lacks.contains(&"ro") {
            Finding::fail(MOUNTS, says, action)
        } else {
            Finding::warn(MOUNTS, says, action)
        }
    };
    bad.into_iter().map(line).collect()
}

/// The directory of the resources' directories, as the kernel names it in each namespace.
struct Place {
    device: String,
    /// From the root of its file system.
    below: PathBuf,
}

/// A line of proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    root: PathBuf,
    at: String,
    options: String,
}

impl Place {
    fn of(path: &Path) -> Option<Self> {
        let path = fs::canonicalize(path).ok()?;
        let device = fs::metadata(&path).ok()?.dev();
        let device = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let own = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let here = own.lines().filter_map(Mount::parse).filter(|mount| mount.device == device);
        // Of two mounts at one place, the later one is seen.
        let over = here.filter(|mount| path.starts_with(&mount.at)).max_by_key(|mount| mount.at.len())?;
        let rest = path.strip_prefix(&over.at).ok()?;
        Some(Self { device, below: over.root.join(rest) })
    }

    /// Whose directory is mounted there, if one is.
    fn resource(&self, mount: &Mount) -> Option<String> {
        if mount.device != self.device {
            return None;
        }
        let rest = mount.root.strip_prefix(&self.below).ok()?;
        let id = rest.components().next()?;
        Some(id.as_os_str().to_string_lossy().into_owned())
    }
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?.to_owned();
        let root = PathBuf::from(unescaped(fields.next()?));
        let at = unescaped(fields.next()?);
        Some(Self { device, root, at, options: fields.next()?.to_owned() })
    }

    /// Which options it should have and has not.
    fn lacks(&self) -> Vec<&'static str> {
        let has: BTreeSet<&str> = self.options.split(',').collect();
        ["ro", "nosuid", "nodev", "noexec"].into_iter().filter(|option| !has.contains(option)).collect()
    }
}

/// One process of each mount namespace, with what is mounted there.
fn namespaces() -> BTreeMap<u32, String> {
    let mut known = BTreeSet::new();
    let mut found = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Those that end meanwhile have no mounts any more.
        let Ok(namespace) = fs::read_link(process.path().join("ns/mnt")) else { continue };
        if known.insert(namespace)
            && let Ok(mounts) = fs::read_to_string(process.path().join("mountinfo"))
        {
            found.insert(pid, mounts);
        }
    }
    found
}

/// Blanks and the like stand there as octal numbers.
fn unescaped(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(field.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

const MOUNTS: &str = "mounts";

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "512 480 0:25 /miosa/resources/sbx-1 /run/miosa rw,nosuid,relatime - tmpfs tmpfs rw,size=1m";

    #[test]
    fn a_mount_of_a_resources_directory_is_told_from_others() {
        let mount = Mount::parse(LINE).unwrap();
        assert_eq!(mount.lacks(), ["ro", "nodev", "noexec"]);
        let place = Place { device: "0:25".to_owned(), below: "/miosa/resources".into() };
        assert_eq!(place.resource(&mount), Some("sbx-1".to_owned()));
        let elsewhere = Place { device: "0:26".to_owned(), ..place };
        assert_eq!(elsewhere.resource(&mount), None);
        let parent = Mount::parse(&LINE.replace("/sbx-1", "")).unwrap();
        assert_eq!(Place { device: "0:25".to_owned(), ..elsewhere }.resource(&parent), None);
        assert!(Mount::parse("").is_none());
    }

    #[test]
    fn a_blank_in_a_path_is_a_blank() {
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
    }
}
