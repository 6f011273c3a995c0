//! The service manager that started this process, if one did: what it handed over, what it keeps over
//! a restart, and what it is told. Speaks sd_notify(3) and sd_listen_fds(3), and does nothing where
//! nobody listens.

mod inherited;
mod keeper;
mod listeners;
mod name;
mod notices;

pub use inherited::Inherited;
pub(crate) use keeper::{Keeper, KeeperReport};
pub(crate) use listeners::{Listener, Listeners};
pub(crate) use name::ListenerName;
pub(crate) use notices::{begin_reload, pulse, ready, starting, stopping};
