//! The program: settings, log, then the one command that was asked for.

use std::process::ExitCode;

use clap::Parser as _;
use miosad::cli::{Arguments, Command};
use miosad::failure::Failure;
use miosad::settings::Settings;
use miosad::{commands, enroll, hygiene, link, logging, serve};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(&arguments.options)?;
    logging::start(settings.log_level, settings.log_format);
    match &arguments.command {
        Command::Enroll(how) => {
            hygiene::seal_memory()?;
            enroll::enroll(&settings, how)?;
        }
        Command::Unenroll => enroll::unenroll(&settings)?,
        Command::Serve => {
            hygiene::seal_memory()?;
            hygiene::create_with_exact_modes();
            hygiene::raise_descriptor_limit()?;
            serve::run(&settings)?;
        }
        Command::Link => {
            hygiene::seal_memory()?;
            link::run(&settings)?;
        }
        Command::Push(what) => commands::push(&settings, what)?,
        Command::Status(print) => commands::status(&settings, *print)?,
        Command::Resources(print) => commands::resources(&settings, *print)?,
        Command::Explain(what) => commands::explain(&settings, what)?,
    }
    Ok(())
}
