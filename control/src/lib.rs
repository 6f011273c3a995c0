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
mod delivery;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod housekeeping;
mod hygiene;
mod logging;
mod manager;
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

use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command, StateOptions};
use hygiene::Memory;
use setup::with_store;

/// The command line as it is described to people: for its manual page and its completions.
#[must_use]
pub fn command_line() -> clap::Command {
    Cli::command()
}

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
    runtime.block_on(run_command(&cli.state, cli.command, memory))
}

async fn run_command(state: &StateOptions, command: Command, memory: Memory) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Serve(options) => {
            with_store(state, async |store| Ok(commands::serve::run(store, options, memory).await?)).await
        }
        Command::Key(command) => {
            with_store(state, async |store| Ok(commands::key::run(&store, command).await?)).await
        }
        Command::Host(command) => {
            with_store(state, async |store| Ok(commands::host::run(&store, command).await?)).await
        }
        Command::Trust(command) => Ok(commands::trust::run(state, command).await?),
        Command::Backup { file } => {
            with_store(state, async |store| Ok(commands::backup::run(&store, &file).await?)).await
        }
        Command::Restore(options) => Ok(commands::restore::run(state, &options).await?),
    }
}
