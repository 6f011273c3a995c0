//! Those modules of the shim that are fuzzed as a library, since a program can't be linked by another one.
//! Making a library of it for good would cost 800 bytes of a program that is counted in bytes.
#![allow(dead_code, reason = "the rest of the program, which uses them, is not here")]

#[path = "../shim/src"]
mod shim {
    pub mod address;
    pub mod delivery;
    pub mod environment;
    pub mod failure;
    pub mod fuzzing;
    pub mod http;
    pub mod launch;
    pub mod options;
    pub mod patience;
    pub mod signals;
    pub mod sys;
}

use shim::{address, delivery, environment, failure, fuzzing, http, launch, options, patience, signals, sys};

pub use fuzzing::{shim_options, shim_response};
