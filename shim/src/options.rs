//! What is asked for: the command line, and the variables that stand in for it where nothing can be
//! typed. It decides nothing and touches nothing.

#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;
use miosa_injector::model::{EnvMap, EnvName, RunId, SecretValue, check_entry};
use nix::sys::signal::Signal;

use crate::address::Address;
use crate::failure::Failure;

/// The environment that we were started with, as it stands.
pub(crate) type Inherited = Vec<(OsString, OsString)>;

/// What to do.
pub(crate) enum Request {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Ask the daemon, then start the command or print.
    Start(Options),
}

/// How to do it.
pub(crate) struct Options {
    /// Where the daemon listens.
    pub(crate) socket: Address,
    /// The run to start.
    pub(crate) run: Option<RunId>,
    /// The layer above all others.
    pub(crate) env: EnvMap,
    /// How long the daemon and the resource may take to appear.
    pub(crate) wait: Duration,
    /// Whether we stay, and the command is a child.
    pub(crate) init: bool,
    /// What a change of what is to be started brings about.
    pub(crate) on_change: OnChange,
    /// How long a change has to rest before it is one.
    pub(crate) settle: Duration,
    /// How long the command may take to end once it is asked to.
    pub(crate) grace: Duration,
    /// What happens when the daemon gives nothing to start with.
    pub(crate) on_failure: OnFailure,
    /// Whether the image's own environment is passed on.
    pub(crate) image_env: ImageEnv,
    /// The directory to start in.
    pub(crate) cwd: Option<PathBuf>,
    /// Variables that are not delivered in the environment.
    pub(crate) places: BTreeMap<EnvName, Place>,
    /// Whether this is the first process of a machine.
    pub(crate) vm: bool,
    /// What to print instead of starting.
    pub(crate) print: Option<Print>,
    /// How the values are printed.
    pub(crate) values: Values,
    /// The command of the command line; empty when there is none.
    pub(crate) command: Vec<OsString>,
}

/// What happens to the environment that we were started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImageEnv {
    /// It is the lowest layer.
    Keep,
    /// It is left out.
    Clear,
}

/// What a change brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnChange {
    /// Nothing; nobody watches.
    Ignore,
    /// The command is ended, and started anew.
    Restart,
    /// The command gets this signal.
    Signal(Signal),
}

/// What happens when there is nothing to start with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnFailure {
    /// It is told, and nothing is started.
    Fail,
    /// It is told, and the command starts with what the image brings.
    Continue,
}

/// Where a variable's value is delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In a file, absolute.
    File(PathBuf),
    /// As a descriptor, at least 3.
    Descriptor(RawFd),
}

impl Place {
    /// As a resolution says it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Descriptor(_) => "fd",
        }
    }
}

/// What is printed instead of starting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Print {
    Env,
    Json,
    Explain,
    Command,
}

/// How printed values look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    Masked,
    Revealed,
}

/// Reads the arguments (the first is the program's own name) and the variables; arguments win.
pub(crate) fn parse(args: Vec<OsString>, inherited: &Inherited) -> Result<Request, Failure> {
    let mut options = Options::default();
    // A bad one is told last: `--help` must work when nothing else does.
    let variables = options.take_variables(inherited);
    let mut parser = lexopt::Parser::from_iter(args);
    while let Some(arg) = parser.next().map_err(explain)? {
        let option = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Request::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Request::Version),
            Arg::Long(name) => {
                find(name).ok_or_else(|| Failure::usage(format_args!("no option --{name}")))?
            }
            Arg::Short(letter) => return Err(Failure::usage(format_args!("no option -{letter}"))),
            Arg::Value(program) => {
                let args = parser.raw_args().map_err(explain)?;
                options.command = std::iter::once(program).chain(args).collect();
                break;
            }
        };
        let origin = format!("--{}", option.name);
        let value = if option.is_switch { OsString::from("1") } else { parser.value().map_err(explain)? };
        options.set(option.sets, &origin, &value)?;
    }
    variables?;
    options.finish().map(Request::Start)
}

/// Where among the arguments values of `--env` stand, which nobody is to see in a list of processes for as long as
/// we stay: by the number of the argument, and the bytes in it.
#[cfg(not(any(test, fuzzing)))]
pub(crate) fn typed_values(args: &[OsString]) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut values = Vec::new();
    let mut is_assignment = false;
    for (index, arg) in args.iter().map(|arg| arg.as_bytes()).enumerate().take_while(|(_, arg)| *arg != b"--")
    {
        let assignment = if is_assignment { Some(arg) } else { arg.strip_prefix(b"--env=") };
        is_assignment = !is_assignment && arg == b"--env";
        let value = assignment.and_then(|text| text.splitn(2, |byte| *byte == b'=').nth(1));
        values.extend(value.map(|value| (index, arg.len().saturating_sub(value.len())..arg.len())));
    }
    values
}

/// What these arguments ask for, for the tests of what is made of it.
#[cfg(test)]
pub(crate) fn typed(args: &[&str]) -> Options {
    let args = ["miosa-exec", "--socket=/s"].iter().chain(args).map(OsString::from).collect();
    match parse(args, &Inherited::new()) {
        Ok(Request::Start(options)) => options,
        Ok(Request::Help | Request::Version) | Err(_) => panic!("no start is asked for"),
    }
}

/// Whether a variable speaks to `miosa-exec` and is not for the command.
pub(crate) fn is_ours(variable: &OsStr) -> bool {
    variable.as_bytes().starts_with(PREFIX.as_bytes())
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: Address::Unix(PathBuf::from(DEFAULT_SOCKET)),
            run: None,
            env: EnvMap::new(),
            wait: DEFAULT_WAIT,
            init: false,
            on_change: OnChange::Ignore,
            settle: DEFAULT_SETTLE,
            grace: DEFAULT_GRACE,
            on_failure: OnFailure::Fail,
            image_env: ImageEnv::Keep,
            cwd: None,
            places: BTreeMap::new(),
            vm: false,
            print: None,
            values: Values::Masked,
            command: Vec::new(),
        }
    }
}

impl Options {
    /// `MIOSA_SOCKET` and `MIOSA_RUN_ID` are the platform's; a `MIOSA_EXEC_…` variable is meant for
    /// us, and wins over them. An empty one is as if it were not set, save that a variable for the
    /// command may well be empty.
    fn take_variables(&mut self, inherited: &Inherited) -> Result<(), Failure> {
        for (variable, value) in inherited.iter().filter(|(_, value)| !value.is_empty()) {
            match variable.as_bytes() {
                b"MIOSA_SOCKET" => self.socket = Address::parse("MIOSA_SOCKET", value)?,
                b"MIOSA_RUN_ID" => self.run = Some(values::run("MIOSA_RUN_ID", value)?),
                _ => {}
            }
        }
        for (variable, value) in inherited.iter().filter(|(variable, _)| is_ours(variable)) {
            let variable = variable.to_string_lossy();
            let name = variable.strip_prefix(PREFIX).unwrap_or_default();
            if let Some(name) = name.strip_prefix("ENV_") {
                self.add_env(&variable, name, value)?;
                continue;
            }
            if value.is_empty() {
                continue;
            }
            if let Some(name) = name.strip_prefix("FILE_") {
                self.add_place(&variable, name, Place::File(values::path(&variable, value)?))?;
            } else if let Some(name) = name.strip_prefix("FD_") {
                self.add_place(&variable, name, Place::Descriptor(values::descriptor(&variable, value)?))?;
            } else {
                let option = find(&name.to_ascii_lowercase().replace('_', "-"))
                    .filter(|option| !matches!(option.sets, Setting::Env | Setting::File | Setting::Fd))
                    .ok_or_else(|| Failure::usage(format_args!("{variable} sets no option of miosa-exec")))?;
                self.set(option.sets, &variable, value)?;
            }
        }
        Ok(())
    }

    /// Sets one option; `origin` is how the person wrote it.
    fn set(&mut self, setting: Setting, origin: &str, value: &OsStr) -> Result<(), Failure> {
        match setting {
            Setting::Socket => self.socket = Address::parse(origin, value)?,
            Setting::Run => self.run = Some(values::run(origin, value)?),
            Setting::Env => {
                let (name, value) = values::assignment(origin, value, "VALUE")?;
                self.add_env(origin, &name, value)?;
            }
            Setting::File => {
                let (name, path) = values::assignment(origin, value, "PATH")?;
                self.add_place(origin, &name, Place::File(values::path(origin, path)?))?;
            }
            Setting::Fd => {
                let (name, number) = values::assignment(origin, value, "N")?;
                self.add_place(origin, &name, Place::Descriptor(values::descriptor(origin, number)?))?;
            }
            Setting::Wait => self.wait = values::seconds(origin, value)?,
            Setting::Init => self.init = values::switch(origin, value)?,
            Setting::OnChange => self.on_change = values::on_change(origin, value)?,
            Setting::Settle => self.settle = values::seconds(origin, value)?,
            Setting::Grace => self.grace = values::seconds(origin, value)?,
            Setting::OnFailure => self.on_failure = values::on_failure(origin, value)?,
            Setting::ImageEnv => {
                self.image_env =
                    if values::switch(origin, value)? { ImageEnv::Clear } else { ImageEnv::Keep };
            }
            Setting::Cwd if value.is_empty() => {
                return Err(Failure::usage(format_args!("{origin} takes a directory")));
            }
            Setting::Cwd => self.cwd = Some(PathBuf::from(value)),
            Setting::Vm => self.vm = values::switch(origin, value)?,
            Setting::Print => self.print = Some(values::print(origin, value)?),
            Setting::Values => {
                self.values = if values::switch(origin, value)? { Values::Revealed } else { Values::Masked };
            }
        }
        Ok(())
    }

    /// One more variable for the highest layer. The failures name it, and never show its value.
    fn add_env(&mut self, origin: &str, name: &str, value: &OsStr) -> Result<(), Failure> {
        let name = values::name(origin, name)?;
        let value = value
            .to_str()
            .and_then(|text| SecretValue::new(text.to_owned()).ok())
            .ok_or_else(|| Failure::usage(format_args!("{origin}: the value of {name} is not UTF-8 text")))?;
        check_entry(&name, &value)
            .map_err(|error| Failure::own(format_args!("{origin}: {name} is too large: {error}")))?;
        self.env.insert(name, value);
        Ok(())
    }

    fn add_place(&mut self, origin: &str, name: &str, place: Place) -> Result<(), Failure> {
        let name = values::name(origin, name)?;
        if name.is_env_only() {
            let text = "is read from the environment, and can't be delivered otherwise";
            return Err(Failure::usage(format_args!("{origin}: {name} {text}")));
        }
        self.places.insert(name, place);
        Ok(())
    }

    /// What follows from one option for others, and what none of them shows alone.
    fn finish(mut self) -> Result<Self, Failure> {
        // Who is to end the command, or the machine, has to stay.
        self.init |= self.vm || self.on_change != OnChange::Ignore;
        let mut taken: BTreeMap<String, &EnvName> = BTreeMap::new();
        for (name, place) in &self.places {
            let place = match place {
                Place::File(path) => format!("the file {}", path.display()),
                Place::Descriptor(number) => format!("descriptor {number}"),
            };
            let text = format!("{place} is to hold {name}");
            if let Some(other) = taken.insert(place, name) {
                return Err(Failure::usage(format_args!("{text}, and {other} too")));
            }
        }
        Ok(self)
    }
}

/// The parser's own texts quote values, which may be secrets.
fn explain(error: lexopt::Error) -> Failure {
    match error {
        lexopt::Error::MissingValue { option: Some(option) } => {
            Failure::usage(format_args!("{option} takes a value"))
        }
        lexopt::Error::UnexpectedValue { option, .. } => {
            Failure::usage(format_args!("{option} takes no value"))
        }
        lexopt::Error::UnexpectedOption(option) => Failure::usage(format_args!("no option {option}")),
        lexopt::Error::MissingValue { option: None }
        | lexopt::Error::UnexpectedArgument(_)
        | lexopt::Error::NonUnicodeValue(_)
        | lexopt::Error::ParsingFailed { .. }
        | lexopt::Error::Custom(_) => Failure::usage("the arguments can't be read"),
    }
}

fn find(name: &str) -> Option<&'static Known> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// An option by its long name; its variable has the same in upper case, behind the prefix.
struct Known {
    name: &'static str,
    sets: Setting,
    /// Typed, it takes no value.
    is_switch: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Socket,
    Run,
    Env,
    Wait,
    Init,
    OnChange,
    Settle,
    Grace,
    OnFailure,
    ImageEnv,
    Cwd,
    File,
    Fd,
    Vm,
    Print,
    Values,
}

const fn takes_value(name: &'static str, sets: Setting) -> Known {
    Known { name, sets, is_switch: false }
}

const fn switch(name: &'static str, sets: Setting) -> Known {
    Known { name, sets, is_switch: true }
}

const OPTIONS: [Known; 16] = [
    takes_value("socket", Setting::Socket),
    takes_value("run", Setting::Run),
    takes_value("env", Setting::Env),
    takes_value("file", Setting::File),
    takes_value("fd", Setting::Fd),
    takes_value("cwd", Setting::Cwd),
    switch("clear-env", Setting::ImageEnv),
    takes_value("wait", Setting::Wait),
    takes_value("on-failure", Setting::OnFailure),
    switch("init", Setting::Init),
    takes_value("grace", Setting::Grace),
    takes_value("on-change", Setting::OnChange),
    takes_value("settle", Setting::Settle),
    switch("vm", Setting::Vm),
    takes_value("print", Setting::Print),
    switch("reveal", Setting::Values),
];

const PREFIX: &str = "MIOSA_EXEC_";
const DEFAULT_SOCKET: &str = "/run/miosa/miosa.sock";
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// What `docker stop` gives by default too.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
const DEFAULT_SETTLE: Duration = Duration::from_secs(2);
