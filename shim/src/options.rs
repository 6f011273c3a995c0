//! What is asked for: the command line, and the variables that stand in for it where nothing can be
//! typed. It decides nothing and touches nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg;
use miosa_injector::model::{EnvMap, EnvName, RunId, SecretValue, check_entry};

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
    /// The daemon's socket; absolute, since the command may start elsewhere.
    pub(crate) socket: PathBuf,
    /// The run to start.
    pub(crate) run: Option<RunId>,
    /// The layer above all others.
    pub(crate) env: EnvMap,
    /// How long the daemon and the resource may take to appear.
    pub(crate) wait: Duration,
    /// Whether the image's own environment is passed on.
    pub(crate) image_env: ImageEnv,
    /// The directory to start in.
    pub(crate) cwd: Option<PathBuf>,
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
    let mut options = Options::from_variables(inherited)?;
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
        let value = match option.takes {
            Takes::Value => parser.value().map_err(explain)?,
            Takes::Nothing => OsString::from("1"),
            Takes::NotYet => OsString::new(),
        };
        options.set(option, &format!("--{}", option.name), value)?;
    }
    Ok(Request::Start(options))
}

/// Whether a variable speaks to `miosa-exec` and is not for the command.
pub(crate) fn is_ours(variable: &OsStr) -> bool {
    variable.as_bytes().starts_with(PREFIX.as_bytes())
}

impl Options {
    /// `MIOSA_SOCKET` and `MIOSA_RUN_ID` are the platform's; a `MIOSA_EXEC_…` variable is meant for
    /// us, and wins over them. An empty one is as if it were not set.
    fn from_variables(inherited: &Inherited) -> Result<Self, Failure> {
        let mut options = Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
            run: None,
            env: EnvMap::new(),
            wait: DEFAULT_WAIT,
            image_env: ImageEnv::Keep,
            cwd: None,
            print: None,
            values: Values::Masked,
            command: Vec::new(),
        };
        let set = || inherited.iter().filter(|(_, value)| !value.is_empty());
        for (variable, value) in set() {
            match variable.as_bytes() {
                b"MIOSA_SOCKET" => options.socket = socket("MIOSA_SOCKET", value)?,
                b"MIOSA_RUN_ID" => options.run = Some(run("MIOSA_RUN_ID", value)?),
                _ => {}
            }
        }
        for (variable, value) in set().filter(|(variable, _)| is_ours(variable)) {
            let variable = variable.to_string_lossy();
            let name = variable.strip_prefix(PREFIX).unwrap_or_default();
            if let Some(name) = name.strip_prefix("ENV_") {
                options.add_env(&variable, name, value)?;
                continue;
            }
            let option = find(&name.to_ascii_lowercase().replace('_', "-"))
                .filter(|option| option.name != "env")
                .ok_or_else(|| Failure::usage(format_args!("{variable} sets no option of miosa-exec")))?;
            options.set(option, &variable, value.clone())?;
        }
        Ok(options)
    }

    /// Sets one option; `origin` is how the person wrote it.
    fn set(&mut self, option: &Known, origin: &str, value: OsString) -> Result<(), Failure> {
        if option.takes == Takes::NotYet {
            return Err(Failure::own(format_args!(
                "{origin} is not built yet in this version; leave it out"
            )));
        }
        match option.name {
            "socket" => self.socket = socket(origin, &value)?,
            "run" => self.run = Some(run(origin, &value)?),
            "env" => {
                let (name, value) = split_assignment(&value)
                    .ok_or_else(|| Failure::usage(format_args!("{origin} takes NAME=VALUE")))?;
                self.add_env(origin, &name.to_string_lossy(), value)?;
            }
            "wait" => self.wait = seconds(origin, &value)?,
            "clear-env" => {
                self.image_env = if switch(origin, &value)? { ImageEnv::Clear } else { ImageEnv::Keep };
            }
            "cwd" if value.is_empty() => {
                return Err(Failure::usage(format_args!("{origin} takes a directory")));
            }
            "cwd" => self.cwd = Some(PathBuf::from(value)),
            "print" => self.print = Some(what(origin, &value)?),
            "reveal" => {
                self.values = if switch(origin, &value)? { Values::Revealed } else { Values::Masked };
            }
            _ => {}
        }
        Ok(())
    }

    /// One more variable for the highest layer. The failures name it, and never show its value.
    fn add_env(&mut self, origin: &str, name: &str, value: &OsStr) -> Result<(), Failure> {
        let parsed = EnvName::parse(name)
            .map_err(|error| Failure::usage(format_args!("{origin}: the name {name:?} {error}")))?;
        if parsed.is_reserved() {
            return Err(Failure::usage(format_args!("{origin}: {name} is set by the platform alone")));
        }
        let value = value
            .to_str()
            .and_then(|text| SecretValue::new(text.to_owned()).ok())
            .ok_or_else(|| Failure::usage(format_args!("{origin}: the value of {name} is not UTF-8 text")))?;
        check_entry(&parsed, &value)
            .map_err(|error| Failure::own(format_args!("{origin}: {name} is too large: {error}")))?;
        self.env.insert(parsed, value);
        Ok(())
    }
}

fn socket(origin: &str, value: &OsStr) -> Result<PathBuf, Failure> {
    if value.as_bytes().starts_with(b"vsock:") {
        let text = "vsock addresses are not built yet in this version; give the path of a Unix socket";
        return Err(Failure::own(format_args!("{origin}: {text}")));
    }
    std::path::absolute(Path::new(value))
        .map_err(|error| Failure::usage(format_args!("{origin} takes the path of a socket: {error}")))
}

fn run(origin: &str, value: &OsStr) -> Result<RunId, Failure> {
    value
        .to_string_lossy()
        .parse()
        .map_err(|error| Failure::usage(format_args!("{origin}: the id of a run {error}")))
}

fn seconds(origin: &str, value: &OsStr) -> Result<Duration, Failure> {
    value
        .to_str()
        .and_then(|text| text.parse::<u32>().ok())
        .map(|seconds| Duration::from_secs(seconds.into()))
        .ok_or_else(|| Failure::usage(format_args!("{origin} takes a whole number of seconds")))
}

fn switch(origin: &str, value: &OsStr) -> Result<bool, Failure> {
    match value.as_bytes() {
        b"1" | b"true" => Ok(true),
        b"0" | b"false" => Ok(false),
        _ => Err(Failure::usage(format_args!("{origin} takes 1 or 0"))),
    }
}

fn what(origin: &str, value: &OsStr) -> Result<Print, Failure> {
    match value.as_bytes() {
        b"env" => Ok(Print::Env),
        b"json" => Ok(Print::Json),
        b"explain" => Ok(Print::Explain),
        b"command" => Ok(Print::Command),
        _ => Err(Failure::usage(format_args!("{origin} takes env, json, explain or command"))),
    }
}

fn split_assignment(text: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = text.as_bytes();
    let (name, value) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'=')?)?;
    Some((OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..)?)))
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

/// An option that has a variable of its own.
struct Known {
    name: &'static str,
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Nothing,
    /// Part of the design, refused until it works: an agent that relies on it must not start without.
    NotYet,
}

const OPTIONS: [Known; 14] = [
    Known { name: "socket", takes: Takes::Value },
    Known { name: "run", takes: Takes::Value },
    Known { name: "env", takes: Takes::Value },
    Known { name: "wait", takes: Takes::Value },
    Known { name: "clear-env", takes: Takes::Nothing },
    Known { name: "cwd", takes: Takes::Value },
    Known { name: "print", takes: Takes::Value },
    Known { name: "reveal", takes: Takes::Nothing },
    Known { name: "init", takes: Takes::NotYet },
    Known { name: "on-change", takes: Takes::NotYet },
    Known { name: "on-failure", takes: Takes::NotYet },
    Known { name: "file", takes: Takes::NotYet },
    Known { name: "fd", takes: Takes::NotYet },
    Known { name: "vm", takes: Takes::NotYet },
];

const PREFIX: &str = "MIOSA_EXEC_";
const DEFAULT_SOCKET: &str = "/run/miosa/miosa.sock";
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
