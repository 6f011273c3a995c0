//! `miosad`, the host daemon: takes in signed and sealed updates, verifies and keeps them, and serves
//! what each resource of this host starts with on a socket of its own.
//!
//! Two processes of one program share the work: `link` talks to the network and holds no key, `serve`
//! holds the key and has no network. Both meet at a Unix socket over which only bytes travel that
//! prove themselves.
//!
//! Deliberately absent: what a profile or a variable means (`miosa-injector`), how an update is
//! sealed, signed and ordered (`miosa-snapshot`), and any TCP listener.

mod access;
mod admin;
mod age;
mod alarms;
mod cache;
pub mod cli;
mod client;
mod clock;
pub mod commands;
mod credentials;
mod disk;
pub mod doctor;
mod dropped;
pub mod enroll;
mod evidence;
pub mod failure;
mod floor;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod generation;
mod host;
pub mod hygiene;
mod intake;
pub mod layout;
mod ledger;
pub mod link;
pub mod logging;
pub mod manager;
mod moment;
mod reload;
pub mod serve;
pub mod settings;
mod socket;
mod stop;
mod traffic;
mod trust_store;

#[cfg(any(test, fuzzing))]
#[path = "../tests/daemon/publisher.rs"]
#[expect(clippy::arithmetic_side_effects, clippy::unwrap_used, reason = "as in every test")]
mod publisher;
