//! The names of everything under the state directory and the runtime directory. Paths only: it opens,
//! makes and checks nothing.

use std::path::{Path, PathBuf};

use miosa_injector::model::ResourceId;

/// The state directory: what must survive a restart.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// The runtime directory: sockets.
#[derive(Debug, Clone)]
pub struct RuntimeDir(PathBuf);

impl StateDir {
    /// The state directory at an absolute path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Who this host is; written last at enrollment, so its presence means enrolled.
    pub(crate) fn host(&self) -> PathBuf {
        self.0.join("host.json")
    }

    /// The host's private key.
    pub(crate) fn host_key(&self) -> PathBuf {
        self.0.join("host.key")
    }

    /// All that `link` reads.
    pub(crate) fn link(&self) -> PathBuf {
        self.0.join("link.json")
    }

    /// The trust documents, one file a version.
    pub(crate) fn trust(&self) -> PathBuf {
        self.0.join("trust")
    }

    /// The accepted updates.
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// What was found in the cache and did not verify.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.0.join("cache").join("quarantine")
    }

    /// Where files with updates and trust documents may be put.
    pub(crate) fn drop(&self) -> PathBuf {
        self.0.join("drop")
    }

    /// The access log.
    pub(crate) fn access(&self) -> PathBuf {
        self.0.join("access")
    }

    /// Envelopes that contradict each other.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    /// The two copies of the floor.
    pub(crate) fn floors(&self) -> [PathBuf; 2] {
        [self.0.join("floor.a"), self.0.join("floor.b")]
    }
}

impl RuntimeDir {
    /// The runtime directory at an absolute path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket for operators.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// The socket for updates.
    #[must_use]
    pub fn intake_socket(&self) -> PathBuf {
        self.0.join("intake.sock")
    }

    /// The directory of the resources' directories.
    pub(crate) fn resources(&self) -> PathBuf {
        self.0.join("resources")
    }

    /// The directory that says whose each resource's directory is.
    pub(crate) fn tenants(&self) -> PathBuf {
        self.0.join("tenants")
    }

    /// The directory of a resource.
    pub(crate) fn home(&self, id: &ResourceId) -> PathBuf {
        self.resources().join(id.as_str())
    }

    /// The socket of a resource, alone in the directory that is mounted into its sandbox.
    pub(crate) fn resource_socket(&self, id: &ResourceId) -> PathBuf {
        self.home(id).join(RESOURCE_SOCKET)
    }
}

/// The name of the socket in a resource's directory.
pub(crate) const RESOURCE_SOCKET: &str = "miosa.sock";
