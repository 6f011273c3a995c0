//! The language of the end-to-end tests: a world with a control plane, hosts and resources, each a
//! real program with a folder and a log of its own. Nothing in the product depends on this crate.

pub mod http;
pub mod program;
pub mod world;

pub use http::{Answer, Endpoint};
pub use program::Program;
pub use world::{Host, Tenant, World};
