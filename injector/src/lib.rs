//! What an agent starts with: the model of profiles and runtime env, the rules that merge them, the
//! launch plan, and the messages on the resource socket.
//!
//! Pure: no I/O, no clock, no async. Bytes and records come in, decisions go out. It does not know
//! how an update travels (that is `miosa-snapshot`) nor who asks for a resolution.

pub mod answer;
pub mod command;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod json;
mod launch;
mod merge;
pub mod model;
mod payload;
mod policy;
pub mod protocol;
mod resolve;
mod runtime;
mod select;
mod state;
mod touched;

pub use answer::{Answer, Moving};
pub use payload::{Change, Deleted, PayloadError, Record, Understands};
pub use resolve::{MAX_ENV_BYTES, Resolution, ResolveError, resolve};
pub use state::{Records, State, StateError};
pub use touched::Touched;
