//! Those modules of the shim that are fuzzed as a library, since a program can't be linked by another one.
//! Making a library of it for good would cost 800 bytes of a program that is counted in bytes.
#![allow(dead_code, reason = "the rest of the program, which uses them, is not here")]

#[path = "../shim/src/environment.rs"]
mod environment;
#[path = "../shim/src/failure.rs"]
mod failure;
#[path = "../shim/src/fuzzing.rs"]
mod fuzzing;
#[path = "../shim/src/http.rs"]
mod http;
#[path = "../shim/src/launch.rs"]
mod launch;
#[path = "../shim/src/options.rs"]
mod options;

pub use fuzzing::{shim_options, shim_response};
