//! The real program on real files and sockets, fed by a publisher of a few lines.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that goes wrong should panic"
)]

mod cache;
mod control;
mod doors;
mod dropped;
mod enrollment;
mod host;
mod http;
mod link;
#[expect(dead_code, reason = "the tests beside the code use the rest of it")]
mod publisher;
mod serving;
mod sockets;
mod verify;
mod watch;
