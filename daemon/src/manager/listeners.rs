//! The listeners of this process: each is the one that the process before left, if that is still what
//! it should be, or a new one. What is in their place on the disk is `bind`'s business.

use std::os::unix::net::UnixListener;
use std::path::Path;

use miosa_injector::model::TenantId;

use super::{Inherited, Keeper, ListenerName};
use crate::socket::bind::{self, BindError, SocketFile};

/// Where listeners come from, and who keeps them.
pub(crate) struct Listeners {
    inherited: Inherited,
    keeper: Keeper,
}

/// A listener that is to be served.
pub(crate) struct Listener {
    pub(crate) socket: UnixListener,
    /// What it is kept as.
    pub(crate) name: ListenerName,
    /// The file that it is.
    pub(crate) file: SocketFile,
    /// Whether it is kept since the process before this one.
    pub(crate) is_kept: bool,
}

impl Listeners {
    pub(crate) fn new(inherited: Inherited, keeper: Keeper) -> Self {
        Self { inherited, keeper }
    }

    /// The listener at this path, for this tenant or for the host itself. A new one has this mode and
    /// group.
    pub(crate) fn open(
        &mut self,
        path: &Path,
        tenant: Option<&TenantId>,
        mode: u32,
        group: Option<&str>,
    ) -> Result<Listener, BindError> {
        if let Some(file) = SocketFile::at(path) {
            let name = ListenerName::of(path, tenant, file);
            if let Some(socket) = self.inherited.take(&name, path) {
                self.keeper.is_kept(&name);
                return Ok(Listener { socket, name, file, is_kept: true });
            }
        }
        let (socket, file) = bind::bind(path, mode, group)?;
        let name = ListenerName::of(path, tenant, file);
        Ok(Listener { socket, name, file, is_kept: false })
    }

    /// Closes what the process before left and nobody took. Returns how many there were.
    pub(crate) fn close_unused(&mut self) -> usize {
        self.inherited.close_rest(&self.keeper)
    }

    /// How many the process before left that nobody took so far.
    pub(crate) fn left(&self) -> usize {
        self.inherited.count()
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}
