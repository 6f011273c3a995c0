//! The program: settings, log, then the one command that was asked for.

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use miosad::cli::{Arguments, Command};
use miosad::failure::Failure;
use miosad::manager::Inherited;
use miosad::settings::{Settings, SettingsError};
use miosad::{commands, doctor, enroll, hygiene, link, logging, serve};
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block of the heap that is given back or outgrown: values pass through buffers of
/// libraries that wipe nothing.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // First of all: it changes the environment, which only a process of one thread may.
    let inherited = Inherited::from_environment();
    let arguments = Arguments::parse();
    match run(&arguments, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}

fn run(arguments: &Arguments, inherited: Inherited) -> Result<(), Failure> {
    if let Command::Doctor(print) = &arguments.command {
        // Before the settings, which it looks at too.
        hygiene::seal_memory()?;
        let _the_host_key_is_on_disk_too = hygiene::keep_out_of_swap();
        return doctor::examine(&arguments.options, *print);
    }
    let settings = match Settings::load(&arguments.options) {
        // A mistake in the file is the daemon's matter, which may serve well meanwhile.
        Err(error @ SettingsError::File { .. }) if arguments.command.only_asks() => {
            Failure::from(error).print();
            Settings::without_file(&arguments.options)?
        }
        loaded => loaded?,
    };
    if let Command::Serve(run) | Command::Link(run) = &arguments.command
        && run.check_config
    {
        return Ok(commands::check_config(&settings)?);
    }
    logging::start(settings.log_level, settings.log_format);
    hygiene::seal_memory()?;
    match &arguments.command {
        Command::Enroll(how) => {
            let _the_host_key_is_on_disk_too = hygiene::keep_out_of_swap();
            enroll::enroll(&settings, how)?;
        }
        Command::Unenroll => enroll::unenroll(&settings)?,
        Command::Serve(_) => {
            hygiene::create_with_exact_modes();
            hygiene::raise_descriptor_limit()?;
            serve::run(&settings, hygiene::keep_out_of_swap(), inherited)?;
        }
        Command::Link(_) => link::run(&settings)?,
        Command::Push(what) => commands::push(&settings, what)?,
        Command::Verify(what) => {
            let _the_host_key_is_on_disk_too = hygiene::keep_out_of_swap();
            commands::verify(&settings, what)?;
        }
        Command::Status(print) => commands::status(&settings, *print)?,
        Command::Resources(print) => commands::resources(&settings, *print)?,
        Command::Explain(what) => commands::explain(&settings, what)?,
        // Dealt with above.
        Command::Doctor(_) => {}
        Command::Access(what) => commands::access(&settings, what)?,
    }
    Ok(())
}
