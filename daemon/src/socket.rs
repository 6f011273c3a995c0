//! The Unix sockets the daemon listens on: how they come to be, who may use how much of them, and
//! what the resource sockets answer. What the operators' sockets answer is in `admin` and `intake`.

pub(crate) mod bind;
mod home;
pub(crate) mod reply;
pub(crate) mod request;
mod resources;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod tampering;
mod vigil;

pub(crate) use resources::{ResourceSockets, SocketReport};
pub(crate) use session::unresolved;
