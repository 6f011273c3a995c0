//! The packages under test: where they are, how they get onto a machine, and how one becomes its own
//! successor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

use super::root_fs::{kept, lock, remove};
use super::{Disk, Machine};

/// A package of this project.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
}

/// The packages that were built: all that stand in `MIOSA_DEB_DIR`, or where `make deb` leaves them.
///
/// # Panics
/// When one is missing or there twice.
#[must_use]
pub fn packages() -> Vec<Package> {
    let folder = std::env::var_os("MIOSA_DEB_DIR").map_or_else(|| kept("deb"), PathBuf::from);
    NAMES.iter().map(|name| package(&folder, name)).collect()
}

/// A layer of a disk with our packages on it, as a machine wrote it that they were installed on.
pub(super) fn installed() -> PathBuf {
    let packages = packages();
    let _one_at_a_time = lock("packages.lock");
    let layer = kept(&format!("{LAYER}{}", digest(&packages)));
    if !layer.exists() {
        forget_old_layers();
        let mut machine = Machine::on(Disk::bare());
        machine.install(&packages);
        machine.power_off();
        fs::rename(machine.disk().written(), &layer).expect("keep the layer");
    }
    layer
}

impl Package {
    /// The same content as another version.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn as_version(&self, version: &str, folder: &Path) -> Self {
        let tree = folder.join(format!("{}-{version}", self.name));
        run(Command::new("dpkg-deb").arg("--raw-extract").arg(&self.file).arg(&tree));
        let control = tree.join("DEBIAN/control");
        let text = fs::read_to_string(&control).expect("read what the package says of itself");
        let said: Vec<String> = text
            .lines()
            .map(|line| match line.strip_prefix("Version: ") {
                Some(_) => format!("Version: {version}"),
                None => line.to_owned(),
            })
            .collect();
        fs::write(&control, said.join("\n") + "\n").expect("write it anew");
        let file = folder.join(format!("{}_{version}.deb", self.name));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&file));
        Self { name: self.name.clone(), file }
    }
}

impl Machine {
    /// Installs packages as an operator does, with nothing to be had from elsewhere.
    ///
    /// # Panics
    /// When they can't be installed.
    pub fn install(&self, packages: &[Package]) {
        let folder = self.path("/var/tmp/packages");
        remove(&folder);
        fs::create_dir(&folder).expect("make a folder on the machine");
        for package in packages {
            let file = folder.join(format!("{}.deb", package.name));
            fs::copy(&package.file, file).expect("copy a package onto the machine");
        }
        self.run(
            "DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --allow-downgrades \
             /var/tmp/packages/*.deb && rm -r /var/tmp/packages",
        );
    }
}

fn package(folder: &Path, name: &str) -> Package {
    let begins = format!("{name}_");
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}; {HINT}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&begins) && file.ends_with(".deb")
        })
        .collect();
    let file = files.pop().unwrap_or_else(|| panic!("no {name} in {}; {HINT}", folder.display()));
    assert!(files.is_empty(), "{name} is there twice: {files:?} and {}", file.display());
    Package { name: name.to_owned(), file }
}

fn digest(packages: &[Package]) -> String {
    let mut context = Context::new(&SHA256);
    for package in packages {
        context.update(&fs::read(&package.file).expect("read a package"));
    }
    HEXLOWER.encode(&context.finish().as_ref()[..8])
}

/// Those of packages that are no more. One that another run of the tests may be using is left.
fn forget_old_layers() {
    for entry in fs::read_dir(kept("")).expect("read the build directory").flatten() {
        let old = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| {
            SystemTime::now().duration_since(time).is_ok_and(|age| age > Duration::from_secs(3600))
        });
        if old && entry.file_name().to_string_lossy().starts_with(LAYER) {
            remove(&entry.path());
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("run a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const NAMES: [&str; 3] = ["miosad", "miosa-exec", "miosa-control"];
const LAYER: &str = "rootfs-with-";
const HINT: &str = "run `make deb`, or set MIOSA_DEB_DIR";
