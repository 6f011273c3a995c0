//! The whole story of one start, from the arguments to the moment the command takes over, or ends.

use std::ffi::OsString;
use std::time::Duration;

use nix::sys::prctl;

use crate::daemon::{Daemon, NoAnswer, Resolved};
use crate::delivery::{Placed, Shelf};
use crate::failure::Failure;
use crate::options::{self, Inherited, OnChange, OnFailure, Options, Print, Request};
use crate::patience::Patience;
use crate::plan::{self, Plan};
use crate::signals::Signals;
use crate::watch::Watcher;
use crate::{help, init, print, vm};

/// Does what the arguments say and gives the exit status. Without `--init` it returns only when no command
/// was started.
pub(crate) fn main(args: Vec<OsString>, inherited: Inherited) -> i32 {
    run(args, &inherited).unwrap_or_else(|failure| failure.report().into())
}

fn run(args: Vec<OsString>, inherited: &Inherited) -> Result<i32, Failure> {
    // 1. What is asked for?
    let is_for_vm = vm::is_wanted(&args, inherited);
    let options = match options::parse(args, inherited) {
        Ok(Request::Start(options)) => options,
        Ok(Request::Help) => return print::text(help::HELP.as_bytes()).map(|()| 0),
        Ok(Request::Version) => return print::text(help::VERSION.as_bytes()).map(|()| 0),
        Err(failure) if is_for_vm => return vm::live(Duration::ZERO, || Err(failure)),
        Err(failure) => return Err(failure),
    };
    match options.print {
        Some(what) => show(what, &options, inherited).map(|()| 0),
        None if options.vm => vm::live(options.grace, || start(&options, inherited)),
        None => start(&options, inherited),
    }
}

fn start(options: &Options, inherited: &Inherited) -> Result<i32, Failure> {
    // 2. Who stays takes its signals from here on; who becomes the command leaves them as they are.
    let mut signals = if options.init { Some(Signals::block()?) } else { None };

    // 3. Ask the daemon, and wait for it if need be.
    protect()?;
    let patience = signals.as_mut().map_or_else(Patience::deaf, Patience::hearing);
    let resolved = resolve(options, patience)?;

    // 4. Decide: command, directory, environment, and what is delivered elsewhere.
    // Should it come to nothing, these take away what they have made, the files before their directory.
    let (mut shelf, mut placed) = (Shelf::default(), Placed::default());
    let (plan, etag) = match resolved {
        Ok(Resolved { resolution, etag }) => (Plan::of(&resolution, options, inherited, &mut shelf), etag),
        Err(failure) => (Err(failure), None),
    };
    let plan = plan.or_else(|failure| {
        go_on_without(failure, options)?;
        Plan::without_daemon(options, inherited, &mut shelf)
    })?;

    // 5. Become the command, or stay with it until it ends.
    plan.put_files(&mut placed)?;
    let Some(signals) = signals else {
        return plan.become_it().map(|never| match never {});
    };
    let watcher = (options.on_change != OnChange::Ignore)
        .then(|| Watcher::new(options, inherited, &plan, etag, &mut shelf));
    init::run(plan, signals, watcher, placed, options)
}

/// From here on secrets are in memory: no core dump, no debugger of the same user. `execve` takes this back
/// by itself (prctl(2), PR_SET_DUMPABLE), so nothing of it reaches the command.
fn protect() -> Result<(), Failure> {
    prctl::set_dumpable(false)
        .map_err(|error| Failure::own(format_args!("cannot switch core dumps off: {}", error.desc())))
}

/// The answer, or that there is none; who was asked to stop meanwhile goes no further.
fn resolve(options: &Options, mut patience: Patience<'_>) -> Result<Result<Resolved, Failure>, Failure> {
    match Daemon::of(options).resolve(&mut patience) {
        Ok(resolved) => Ok(Ok(resolved)),
        Err(NoAnswer::Failed(failure)) => Ok(Err(failure)),
        Err(NoAnswer::Stopped(signal)) => Err(Failure::stopped(signal)),
    }
}

/// Whether to start without the daemon's part: then why is told.
fn go_on_without(failure: Failure, options: &Options) -> Result<(), Failure> {
    match options.on_failure {
        OnFailure::Fail => Err(failure),
        OnFailure::Continue => {
            Failure::own(format_args!("{}; starting with what the image brings", failure.text())).tell();
            Ok(())
        }
    }
}

fn show(what: Print, options: &Options, inherited: &Inherited) -> Result<(), Failure> {
    protect()?;
    let daemon = Daemon::of(options);
    if what == Print::Explain {
        let explanation = daemon.explain(&mut Patience::deaf()).map_err(Failure::from)?;
        return print::explanation(explanation, options);
    }
    let resolution = daemon.resolve(&mut Patience::deaf()).map_err(Failure::from)?.resolution;
    let (environment, elsewhere) =
        plan::environment(&resolution, &options.places, options, inherited, &mut Shelf::for_show())?;
    match what {
        Print::Env => print::env(&environment, &elsewhere, options.values),
        Print::Json => print::json(&environment, &elsewhere, &resolution, options),
        Print::Command | Print::Explain => print::command(&resolution, options),
    }
}
