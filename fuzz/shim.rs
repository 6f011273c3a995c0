//! Those modules of the shim that are fuzzed as a library, since a program can't be linked by another one.
//! Making a library of it for good would cost 800 bytes of a program that is counted in bytes.
#![allow(dead_code, unused_imports, reason = "the rest of the program, which uses them, is not here")]

#[path = "../shim/src"]
mod shim {
    pub mod address;
    pub mod daemon;
    pub mod delivery;
    pub mod environment;
    pub mod exec;
    pub mod failure;
    pub mod fuzzing;
    pub mod http;
    pub mod init;
    pub mod launch;
    pub mod options;
    pub mod patience;
    pub mod plan;
    pub mod signals;
    pub mod sys;
    pub mod watch;
}

use shim::{
    address, daemon, delivery, environment, exec, failure, fuzzing, http, init, launch, options, patience,
    plan, signals, sys, watch,
};

pub use fuzzing::{shim_options, shim_response};
