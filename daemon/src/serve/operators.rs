//! The thread on which operators and publishers are answered. Their pages grow with the host, and
//! none of them may make a resource wait.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with an event loop of its own. It ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct OperatorsThread {
    handle: Handle,
    _lives: Arc<oneshot::Sender<()>>,
}

impl OperatorsThread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (lives, gone) = oneshot::channel::<()>();
        thread::Builder::new().name("operators".to_owned()).spawn(move || {
            let _gone = runtime.block_on(gone);
        })?;
        Ok(Self { handle, _lives: Arc::new(lives) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}
