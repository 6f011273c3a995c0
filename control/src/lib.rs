//! `miosa-control`: the control plane of the MIOSA host runtime. This file lists the phases of the
//! program; each command's story is in `commands/`. It is a library for one reason: what is fuzzed
//! must be linked by something else than the program.

mod api;
mod app;
mod at_rest;
mod auth;
mod cli;
mod clock;
mod commands;
mod housekeeping;
mod hygiene;
mod logging;
mod metrics;
mod ops;
mod page;
mod publisher;
mod report;
mod server;
mod setup;
mod state_dir;
mod store;
mod token;
mod trust;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

/// The program: reads the command line, does what it says, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.log);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", report::Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    hygiene::seal_memory()?;
    let memory = hygiene::keep_out_of_swap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = setup::open(&cli.state).await?;
        let done = match cli.command {
            Command::Serve(options) => {
                commands::serve::run(store.clone(), options, memory).await.map_err(Into::into)
            }
            Command::Key(command) => commands::key::run(&store, command).await.map_err(Into::into),
            Command::Host(command) => commands::host::run(&store, command).await.map_err(Into::into),
            Command::Trust(command) => commands::trust::run(&store, command).await.map_err(Into::into),
        };
        store.close().await;
        done
    })
}
