//! The Unix sockets the daemon listens on: how they come to be, who may use how much of them, and
//! what the resource sockets answer. What the operators' sockets answer is in `admin` and `intake`.

mod bells;
pub(crate) mod bind;
mod connections;
mod home;
pub(crate) mod places;
pub(crate) mod reply;
pub(crate) mod request;
mod resources;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod tampering;
pub(crate) mod turns;
pub(crate) mod vigil;
mod watch;
pub(crate) mod watchers;

pub(crate) use resources::{ResourceSockets, SocketReport};
pub(crate) use session::unresolved;
