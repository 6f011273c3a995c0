//! The language of the end-to-end tests: a world with a control plane, hosts and resources, each a
//! real program with a folder and a log of its own. Nothing in the product depends on this crate.

pub mod boot;
pub mod chroot;
pub mod flood;
pub mod front;
pub mod http;
pub mod image;
pub mod lone;
pub mod memory;
pub mod program;
pub mod promtool;
pub mod publisher;
pub mod small_disk;
pub mod stand_in;
pub mod start;
pub mod strace;
pub mod traces;
pub mod trials;
pub mod vectors;
pub mod vm;
pub mod world;

pub use boot::{Machine, Published};
pub use chroot::Chroot;
pub use http::{Answer, Endpoint};
pub use lone::LoneHost;
pub use program::Program;
pub use publisher::Publisher;
pub use small_disk::SmallDisk;
pub use stand_in::StandIn;
pub use trials::Trials;
pub use vm::Vm;
pub use world::{Host, Tenant, World};
