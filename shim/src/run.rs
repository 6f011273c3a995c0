//! The whole story of one start, from the arguments to the moment the command takes over.

use std::convert::Infallible;
use std::ffi::OsString;

use nix::sys::prctl;

use crate::daemon::Daemon;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::launch;
use crate::options::{self, Inherited, Options, Print, Request};
use crate::{exec, help, print};

/// Does what the arguments say and gives the exit status; returns only when no command was started.
pub(crate) fn main(args: Vec<OsString>, inherited: Inherited) -> i32 {
    match run(args, &inherited) {
        Ok(()) => 0,
        Err(failure) => failure.report().into(),
    }
}

fn run(args: Vec<OsString>, inherited: &Inherited) -> Result<(), Failure> {
    // 1. What is asked for?
    let options = match options::parse(args, inherited)? {
        Request::Help => return print::text(help::HELP.as_bytes()),
        Request::Version => return print::text(help::VERSION.as_bytes()),
        Request::Start(options) => options,
    };

    // 2. From here on secrets are in memory: no core dump, no debugger of the same user. `execve`
    //    takes this back by itself (prctl(2), PR_SET_DUMPABLE), so nothing of it reaches the command.
    prctl::set_dumpable(false)
        .map_err(|error| Failure::own(format_args!("cannot switch core dumps off: {}", error.desc())))?;

    match options.print {
        None => start(&options, inherited).map(|never| match never {}),
        Some(what) => show(what, &options, inherited),
    }
}

fn start(options: &Options, inherited: &Inherited) -> Result<Infallible, Failure> {
    // 3. Ask the daemon, and wait for it if need be.
    let resolution = Daemon::of(options).resolve()?;

    // 4. Decide: command, directory, environment.
    let command = launch::command(options, &resolution)?;
    let directory = launch::directory(options, &resolution);
    let environment = Environment::layered(inherited, &resolution.env, options)?;

    // 5. Become the command. Only a failure comes back, and only the socket's closed descriptor was
    //    ever ours: signals, limits and open files are still those we were started with.
    launch::enter(directory.as_ref())?;
    exec::become_command(&command, &environment)
}

fn show(what: Print, options: &Options, inherited: &Inherited) -> Result<(), Failure> {
    let daemon = Daemon::of(options);
    if what == Print::Explain {
        return print::explanation(&daemon.explain()?, options);
    }
    let resolution = daemon.resolve()?;
    let environment = Environment::layered(inherited, &resolution.env, options)?;
    match what {
        Print::Env => print::env(&environment, options.values),
        Print::Json => print::json(&environment, &resolution, options),
        Print::Command | Print::Explain => print::command(&resolution, options),
    }
}
