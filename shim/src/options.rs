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
        let value = match option.sets {
            Setting::NotYet => return Err(not_yet(&origin)),
            Setting::ImageEnv | Setting::Values => OsString::from("1"),
            Setting::Socket | Setting::Run | Setting::Env | Setting::Wait | Setting::Cwd | Setting::Print => {
                parser.value().map_err(explain)?
            }
        };
        options.set(option.sets, &origin, &value)?;
    }
    variables.map(|()| Request::Start(options))
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
            socket: PathBuf::from(DEFAULT_SOCKET),
            run: None,
            env: EnvMap::new(),
            wait: DEFAULT_WAIT,
            image_env: ImageEnv::Keep,
            cwd: None,
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
                b"MIOSA_SOCKET" => self.socket = socket("MIOSA_SOCKET", value)?,
                b"MIOSA_RUN_ID" => self.run = Some(run("MIOSA_RUN_ID", value)?),
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
            let option = find(&name.to_ascii_lowercase().replace('_', "-"))
                .filter(|option| option.sets != Setting::Env)
                .ok_or_else(|| Failure::usage(format_args!("{variable} sets no option of miosa-exec")))?;
            self.set(option.sets, &variable, value)?;
        }
        Ok(())
    }

    /// Sets one option; `origin` is how the person wrote it.
    fn set(&mut self, setting: Setting, origin: &str, value: &OsStr) -> Result<(), Failure> {
        match setting {
            Setting::Socket => self.socket = socket(origin, value)?,
            Setting::Run => self.run = Some(run(origin, value)?),
            Setting::Env => {
                let (name, value) = split_assignment(value)
                    .ok_or_else(|| Failure::usage(format_args!("{origin} takes NAME=VALUE")))?;
                self.add_env(origin, &name.to_string_lossy(), value)?;
            }
            Setting::Wait => self.wait = seconds(origin, value)?,
            Setting::ImageEnv => {
                self.image_env = if switch(origin, value)? { ImageEnv::Clear } else { ImageEnv::Keep };
            }
            Setting::Cwd if value.is_empty() => {
                return Err(Failure::usage(format_args!("{origin} takes a directory")));
            }
            Setting::Cwd => self.cwd = Some(PathBuf::from(value)),
            Setting::Print => self.print = Some(what(origin, value)?),
            Setting::Values => {
                self.values = if switch(origin, value)? { Values::Revealed } else { Values::Masked };
            }
            Setting::NotYet => return Err(not_yet(origin)),
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

fn not_yet(origin: &str) -> Failure {
    Failure::own(format_args!("{origin} is not built yet in this version; leave it out"))
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

/// An option by its long name; its variable has the same in upper case, behind the prefix.
struct Known {
    name: &'static str,
    sets: Setting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Socket,
    Run,
    Env,
    Wait,
    ImageEnv,
    Cwd,
    Print,
    Values,
    /// Part of the design, refused until it works: an agent that relies on it must not start without.
    NotYet,
}

const OPTIONS: [Known; 14] = [
    Known { name: "socket", sets: Setting::Socket },
    Known { name: "run", sets: Setting::Run },
    Known { name: "env", sets: Setting::Env },
    Known { name: "wait", sets: Setting::Wait },
    Known { name: "clear-env", sets: Setting::ImageEnv },
    Known { name: "cwd", sets: Setting::Cwd },
    Known { name: "print", sets: Setting::Print },
    Known { name: "reveal", sets: Setting::Values },
    Known { name: "init", sets: Setting::NotYet },
    Known { name: "on-change", sets: Setting::NotYet },
    Known { name: "on-failure", sets: Setting::NotYet },
    Known { name: "file", sets: Setting::NotYet },
    Known { name: "fd", sets: Setting::NotYet },
    Known { name: "vm", sets: Setting::NotYet },
];

const PREFIX: &str = "MIOSA_EXEC_";
const DEFAULT_SOCKET: &str = "/run/miosa/miosa.sock";
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], variables: &[(&str, &str)]) -> Result<Options, String> {
        let args = std::iter::once("miosa-exec").chain(args.iter().copied()).map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        match parse(args, &variables) {
            Ok(Request::Start(options)) => Ok(options),
            Ok(Request::Help | Request::Version) => Err("help or version".to_owned()),
            Err(failure) => Err(failure.text().to_owned()),
        }
    }

    fn refusal(args: &[&str], variables: &[(&str, &str)]) -> String {
        parsed(args, variables).err().expect("a refusal")
    }

    fn env_of(options: &Options) -> Vec<(&str, &str)> {
        options.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
    }

    #[test]
    fn nothing_typed_means_the_defaults() {
        let options = parsed(&[], &[]).unwrap();
        assert_eq!(options.socket, Path::new("/run/miosa/miosa.sock"));
        assert_eq!(options.wait, Duration::from_secs(10));
        assert_eq!(options.image_env, ImageEnv::Keep);
        assert_eq!((options.print, options.values), (None, Values::Masked));
        assert!(options.run.is_none() && options.cwd.is_none());
        assert!(options.env.is_empty() && options.command.is_empty());
    }

    #[test]
    fn every_option_can_be_typed() {
        let options = parsed(
            &[
                "--socket=/s",
                "--run",
                "run_1",
                "--env",
                "A=1=2",
                "--env=B=",
                "--env",
                "A=3",
                "--wait",
                "0",
                "--clear-env",
                "--cwd",
                "rel/dir",
                "--print",
                "json",
                "--reveal",
                "--",
                "agent",
                "--flag",
                "--",
                "x",
            ],
            &[],
        )
        .unwrap();
        assert_eq!(options.socket, Path::new("/s"));
        assert_eq!(options.run.as_ref().unwrap().as_str(), "run_1");
        assert_eq!(env_of(&options), [("A", "3"), ("B", "")]);
        assert_eq!(options.wait, Duration::ZERO);
        assert_eq!(options.image_env, ImageEnv::Clear);
        assert_eq!(options.cwd.as_deref(), Some(Path::new("rel/dir")));
        assert_eq!((options.print, options.values), (Some(Print::Json), Values::Revealed));
        assert_eq!(options.command, ["agent", "--flag", "--", "x"]);
    }

    #[test]
    fn every_option_has_a_variable_and_what_is_typed_wins() {
        let variables = [
            ("MIOSA_EXEC_SOCKET", "/v"),
            ("MIOSA_EXEC_RUN", "run_v"),
            ("MIOSA_EXEC_ENV_A", "v a"),
            ("MIOSA_EXEC_ENV_lower", "v"),
            ("MIOSA_EXEC_WAIT", "30"),
            ("MIOSA_EXEC_CLEAR_ENV", "1"),
            ("MIOSA_EXEC_CWD", "/v/dir"),
            ("MIOSA_EXEC_PRINT", "env"),
            ("MIOSA_EXEC_REVEAL", "true"),
        ];
        let options = parsed(&[], &variables).unwrap();
        assert_eq!(options.socket, Path::new("/v"));
        assert_eq!(options.run.as_ref().unwrap().as_str(), "run_v");
        assert_eq!(env_of(&options), [("A", "v a"), ("lower", "v")]);
        assert_eq!(options.wait, Duration::from_secs(30));
        assert_eq!(options.image_env, ImageEnv::Clear);
        assert_eq!(options.cwd.as_deref(), Some(Path::new("/v/dir")));
        assert_eq!((options.print, options.values), (Some(Print::Env), Values::Revealed));

        let options =
            parsed(&["--socket", "/t", "--run", "run_t", "--env", "A=t", "--wait", "5"], &variables).unwrap();
        assert_eq!(options.socket, Path::new("/t"));
        assert_eq!(options.run.as_ref().unwrap().as_str(), "run_t");
        assert_eq!(env_of(&options), [("A", "t"), ("lower", "v")]);
        assert_eq!(options.wait, Duration::from_secs(5));
    }

    #[test]
    fn socket_and_run_come_from_the_platform_where_nothing_else_names_them() {
        let platform = [("MIOSA_SOCKET", "/p.sock"), ("MIOSA_RUN_ID", "run_p")];
        let options = parsed(&[], &platform).unwrap();
        assert_eq!(options.socket, Path::new("/p.sock"));
        assert_eq!(options.run.as_ref().unwrap().as_str(), "run_p");
        // Whatever the order in which the variables stand.
        for variables in [
            [("MIOSA_EXEC_SOCKET", "/v.sock"), ("MIOSA_SOCKET", "/p.sock")],
            [("MIOSA_SOCKET", "/p.sock"), ("MIOSA_EXEC_SOCKET", "/v.sock")],
        ] {
            assert_eq!(parsed(&[], &variables).unwrap().socket, Path::new("/v.sock"));
        }
    }

    #[test]
    fn an_empty_variable_is_as_if_it_were_not_set_unless_it_is_for_the_command() {
        let empty =
            [("MIOSA_SOCKET", ""), ("MIOSA_RUN_ID", ""), ("MIOSA_EXEC_WAIT", ""), ("MIOSA_EXEC_VM", "")];
        let options = parsed(&[], &empty).unwrap();
        assert_eq!(options.socket, Path::new(DEFAULT_SOCKET));
        assert_eq!((options.run, options.wait), (None, DEFAULT_WAIT));
    }

    #[test]
    fn a_relative_socket_is_made_absolute_since_the_command_may_start_elsewhere() {
        assert!(parsed(&["--socket", "miosa.sock"], &[]).unwrap().socket.is_absolute());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, expected) in [
            (&["--nope"][..], "no option --nope; see miosa-exec --help"),
            (&["-x"], "no option -x; see miosa-exec --help"),
            (&["--wait"], "--wait takes a value; see miosa-exec --help"),
            (&["--wait", "soon"], "--wait takes a whole number of seconds; see miosa-exec --help"),
            (&["--wait", "-1"], "--wait takes a whole number of seconds; see miosa-exec --help"),
            (&["--clear-env=yes"], "--clear-env takes no value; see miosa-exec --help"),
            (&["--socket", ""], "--socket takes the path of a socket: cannot make an empty path absolute"),
            (&["--socket", "vsock:2:7007"], "--socket: vsock addresses are not built yet in this version"),
            (&["--run", "a/b"], "--run: the id of a run must be 1 to 64 of A-Z a-z 0-9 _ -"),
            (&["--cwd", ""], "--cwd takes a directory; see miosa-exec --help"),
            (&["--print", "all"], "--print takes env, json, explain or command; see miosa-exec --help"),
            (&["--env", "A"], "--env takes NAME=VALUE; see miosa-exec --help"),
            (&["--env", "9A=x"], "--env: the name \"9A\" must be letters, digits and _"),
            (&["--env", "=x"], "--env: the name \"\" must be letters, digits and _"),
            (&["--env", "MIOSA_TENANT_ID=x"], "--env: MIOSA_TENANT_ID is set by the platform alone"),
            (&["--env", "MIOSA_SOCKET=x"], "--env: MIOSA_SOCKET is set by the platform alone"),
        ] {
            let text = refusal(args, &[]);
            assert!(text.starts_with(expected), "{args:?}: {text}");
        }
        for (variable, expected) in [
            (("MIOSA_EXEC_WIAT", "3"), "MIOSA_EXEC_WIAT sets no option of miosa-exec"),
            (("MIOSA_EXEC_ENV", "A=1"), "MIOSA_EXEC_ENV sets no option of miosa-exec"),
            (("MIOSA_EXEC_WAIT", "x"), "MIOSA_EXEC_WAIT takes a whole number of seconds"),
            (("MIOSA_EXEC_CLEAR_ENV", "on"), "MIOSA_EXEC_CLEAR_ENV takes 1 or 0"),
            (("MIOSA_EXEC_ENV_MIOSA_RUN_ID", "x"), "MIOSA_EXEC_ENV_MIOSA_RUN_ID: MIOSA_RUN_ID is set by"),
            (("MIOSA_SOCKET", "vsock:2:1"), "MIOSA_SOCKET: vsock addresses are not built yet"),
            (("MIOSA_RUN_ID", "?"), "MIOSA_RUN_ID: the id of a run must be"),
        ] {
            let text = refusal(&[], &[variable]);
            assert!(text.starts_with(expected), "{variable:?}: {text}");
        }
    }

    #[test]
    fn help_is_given_whatever_the_variables_say() {
        let parse_help = |args: &[&str]| {
            let args = args.iter().map(OsString::from).collect();
            parse(args, &vec![("MIOSA_EXEC_WAIT".into(), "x".into())])
        };
        assert!(matches!(parse_help(&["miosa-exec", "--help"]), Ok(Request::Help)));
        assert!(matches!(parse_help(&["miosa-exec", "-V"]), Ok(Request::Version)));
        assert!(parse_help(&["miosa-exec", "--wait", "1"]).is_err());
    }

    #[test]
    fn what_is_not_built_yet_is_refused_and_not_taken_for_granted() {
        let expected = |origin: &str| format!("{origin} is not built yet in this version; leave it out");
        for option in ["init", "on-change", "on-failure", "file", "fd", "vm"] {
            let typed = format!("--{option}");
            assert_eq!(refusal(&[&typed], &[]), expected(&typed));
            assert_eq!(refusal(&[&format!("{typed}=x")], &[]), expected(&typed));
            let variable = format!("MIOSA_EXEC_{}", option.to_ascii_uppercase().replace('-', "_"));
            assert_eq!(refusal(&[], &[(&variable, "1")]), expected(&variable));
        }
    }

    #[test]
    fn a_value_is_in_no_message() {
        for args in [
            &["--env", "hunter2"][..],
            &["--env", "=hunter2"],
            &["--env", "MIOSA_RUN_ID=hunter2"],
            &["--clear-env=hunter2"],
            &["--wait", "hunter2"],
            &["--envv=hunter2"],
        ] {
            assert!(!refusal(args, &[]).contains("hunter2"), "{args:?}");
        }
        let long = format!("A={}", "hunter2".repeat(20_000));
        let text = refusal(&["--env", &long], &[]);
        assert!(text.starts_with("--env: A is too large: NAME=value is 140002 bytes"), "{text}");
        assert!(!text.contains("hunter2"));
        let not_text = OsStr::from_bytes(b"A=hunter2\xff").to_owned();
        let failure = parse(vec!["miosa-exec".into(), "--env".into(), not_text], &Vec::new()).err().unwrap();
        assert!(failure.text().starts_with("--env: the value of A is not UTF-8 text"), "{}", failure.text());
    }

    #[test]
    fn help_names_every_option_that_works_and_none_that_does_not() {
        for option in &OPTIONS {
            let listed = crate::help::HELP.contains(&format!("  --{} ", option.name));
            assert_eq!(listed, option.sets != Setting::NotYet, "--{}", option.name);
        }
    }
}
