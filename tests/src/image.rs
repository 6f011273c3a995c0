//! Images of the usual kinds, started as engines start them: a root file system, and a bundle for a runtime of
//! the OCI in which ENTRYPOINT and CMD stand one behind the other, and USER, WORKDIR and ENV are written out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::boot::root_fs;
use crate::program::binary;

/// An image, and how it is to be started.
pub struct Image {
    bundle: TempDir,
    kind: Kind,
    cmd: Vec<String>,
    env: Vec<String>,
    user: u32,
    workdir: String,
    terminal: bool,
    read_only: bool,
}

/// What an image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Scratch,
    /// No shell and no package manager: users, certificates, and a user who is not root.
    Distroless,
    /// The C library musl, and busybox for all the rest, as in Alpine. Both are Debian's: it is not Alpine.
    Musl,
    /// Debian.
    Debian,
}

impl Image {
    /// An image with the shim as its ENTRYPOINT, and a copy of it at `/agent` for who has no other program.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let bundle = tempfile::tempdir().expect("a folder");
        let root = bundle.path().join("rootfs");
        fs::create_dir(&root).expect("make the root");
        // Its users are nobody in particular, and must reach their root through our folder.
        for folder in [bundle.path(), &root] {
            fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("let everybody in");
        }
        let image = Self {
            bundle,
            kind,
            cmd: Vec::new(),
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            user: if kind == Kind::Distroless { 65_532 } else { 0 },
            workdir: "/".to_owned(),
            terminal: false,
            read_only: false,
        };
        image.lay_out();
        image
    }

    /// With this CMD.
    #[must_use]
    pub fn cmd(mut self, words: &[&str]) -> Self {
        self.cmd = words.iter().map(ToString::to_string).collect();
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn env(mut self, assignment: &str) -> Self {
        self.env.push(assignment.to_owned());
        self
    }

    /// With this USER.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.user = id;
        self
    }

    /// With this WORKDIR.
    #[must_use]
    pub fn workdir(mut self, path: &str) -> Self {
        self.workdir = path.to_owned();
        self
    }

    /// With a terminal.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// With a root that nobody can write to.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The command that starts it under runc, with a resource's folder mounted as documented.
    ///
    /// # Panics
    /// When the bundle can't be written.
    #[must_use]
    pub fn run(&self, resource: &Path, id: &str) -> Command {
        let config = self.config(resource).to_string();
        fs::write(self.path("config.json"), config).expect("write the bundle's configuration");
        // Debian's files are everybody's: what is different lies above them, in this namespace only.
        let script = r#"cd "$1"; [ ! -d upper ] || mount -t overlay -o "lowerdir=$2,upperdir=upper,workdir=work" overlay rootfs
            shift 2; exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-euc", script, "sh"]);
        command.arg(self.bundle.path());
        command.arg(if self.kind == Kind::Debian { root_fs() } else { PathBuf::new() });
        let state = self.path("runc");
        let runc = format!("runc --root {} run {id}", state.display());
        if self.terminal {
            // With a terminal on its own standard descriptors, runc gives the container one.
            command.args(["script", "--quiet", "--return", "--command", &runc, "/dev/null"]);
        } else {
            command.args(runc.split(' '));
        }
        command
    }

    /// The command that sends a running one a signal.
    #[must_use]
    pub fn kill(&self, id: &str, signal: &str) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.path("runc")).args(["kill", id, signal]);
        command
    }

    fn lay_out(&self) {
        if self.kind == Kind::Debian {
            fs::create_dir(self.path("upper")).expect("make a layer");
            fs::create_dir(self.path("work")).expect("make a folder");
        }
        // Where runtimes mount something, on a root that they can't write to.
        for folder in ["proc", "dev", "run/miosa", "usr/local/bin", "tmp"] {
            fs::create_dir_all(self.file(folder)).expect("make a folder of the image");
        }
        for name in ["usr/local/bin/miosa-exec", "agent"] {
            fs::copy(binary("miosa-exec"), self.file(name)).expect("copy the program");
        }
        let write = |path: &str, text: &str| {
            let path = self.file(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder of the image");
            fs::write(path, text).expect("write a file of the image");
        };
        match self.kind {
            Kind::Scratch | Kind::Debian => {}
            Kind::Distroless => {
                write(
                    "etc/passwd",
                    "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
                );
                write("etc/group", "root:x:0:\nnonroot:x:65532:\n");
                write("etc/ssl/certs/ca-certificates.crt", "");
                fs::create_dir_all(self.file("home/nonroot")).expect("make a home");
            }
            Kind::Musl => {
                for folder in ["bin", "lib"] {
                    fs::create_dir_all(self.file(folder)).expect("make a folder of the image");
                }
                let loader = format!("lib/ld-musl-{}.so.1", std::env::consts::ARCH);
                fs::copy(Path::new("/").join(&loader), self.file(&loader)).expect("copy musl");
                fs::copy("/bin/busybox", self.file("bin/busybox")).expect("copy busybox");
                for name in ["sh", "cat", "id", "sleep"] {
                    symlink("busybox", self.file("bin").join(name)).expect("make a link");
                }
            }
        }
    }

    fn config(&self, resource: &Path) -> serde_json::Value {
        let args: Vec<&str> = ["/usr/local/bin/miosa-exec", "--"]
            .into_iter()
            .chain(self.cmd.iter().map(String::as_str))
            .collect();
        let folder = json!({
            "destination": "/run/miosa", "type": "bind", "source": resource,
            "options": ["bind", "ro", "nosuid", "nodev", "noexec"]
        });
        let device = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
        let mounts = [
            device("/proc", "proc", &[]),
            device("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            device("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            folder,
        ];
        let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": self.terminal, "user": {"uid": self.user, "gid": self.user}, "args": args,
                "env": self.env, "cwd": self.workdir, "noNewPrivileges": true, "capabilities": {}
            },
            "root": {"path": "rootfs", "readonly": self.read_only},
            "mounts": mounts,
            "linux": {"namespaces": namespaces}
        })
    }

    /// A file of the image.
    fn file(&self, path: &str) -> PathBuf {
        self.path(if self.kind == Kind::Debian { "upper" } else { "rootfs" }).join(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bundle.path().join(name)
    }
}
