//! `miosa-exec`, the one file that people put into an image: it asks the daemon on the host what the
//! agent starts with, and becomes the agent.
//!
//! [`run`] tells the whole story. Everything below is one step of it:
//!
//! | step | module |
//! |---|---|
//! | the kernel starts us | [`sys`]; as the first process of a machine, [`vm`] |
//! | what is asked for | [`options`], [`help`] |
//! | asking the daemon, and waiting for it | [`daemon`], over [`http`] to an [`address`], with [`patience`] |
//! | what is started | [`plan`]: [`environment`], [`launch`], [`delivery`] |
//! | showing it instead | [`mod@print`] |
//! | becoming the command | [`exec`] |
//! | or staying with it as its parent | [`init`], with [`signals`]; [`watch`] tells it of changes |
//! | one line when something is wrong | [`failure`] |
//!
//! No async runtime, no TLS, no cryptography, no threads: nothing that is not needed to read one
//! answer and call `execve`.
#![cfg_attr(not(test), no_main)]

mod address;
mod daemon;
mod delivery;
mod environment;
mod exec;
mod failure;
#[cfg(test)]
mod fuzzing;
mod help;
mod http;
mod init;
mod launch;
mod options;
mod patience;
mod plan;
mod print;
mod run;
mod signals;
mod sys;
mod vm;
mod watch;

/// Under test the test runner is started, and Rust's own start-up does no harm.
#[cfg(test)]
fn main() {
    run::main(std::env::args_os().collect(), std::env::vars_os().collect());
}
