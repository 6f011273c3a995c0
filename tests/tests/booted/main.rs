//! What only a booted machine shows: the packages, the units and the descriptor store, with systemd as
//! PID 1.

mod agent;
mod escapes;
mod install;
mod key;
mod kills;
mod reloaded;
mod removal;
mod returns;
mod services;
mod stored;
mod unbroken;
