//! What the command line and the variables come to.

use std::path::Path;

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

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

fn env_of(options: &Options) -> Vec<(&str, &str)> {
    options.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

#[test]
fn nothing_typed_means_the_defaults() {
    let options = parsed(&[], &[]).unwrap();
    assert_eq!(options.socket, unix("/run/miosa/miosa.sock"));
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
    assert_eq!(options.socket, unix("/s"));
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
    assert_eq!(options.socket, unix("/v"));
    assert_eq!(options.run.as_ref().unwrap().as_str(), "run_v");
    assert_eq!(env_of(&options), [("A", "v a"), ("lower", "v")]);
    assert_eq!(options.wait, Duration::from_secs(30));
    assert_eq!(options.image_env, ImageEnv::Clear);
    assert_eq!(options.cwd.as_deref(), Some(Path::new("/v/dir")));
    assert_eq!((options.print, options.values), (Some(Print::Env), Values::Revealed));

    let options =
        parsed(&["--socket", "/t", "--run", "run_t", "--env", "A=t", "--wait", "5"], &variables).unwrap();
    assert_eq!(options.socket, unix("/t"));
    assert_eq!(options.run.as_ref().unwrap().as_str(), "run_t");
    assert_eq!(env_of(&options), [("A", "t"), ("lower", "v")]);
    assert_eq!(options.wait, Duration::from_secs(5));
}

#[test]
fn socket_and_run_come_from_the_platform_where_nothing_else_names_them() {
    let platform = [("MIOSA_SOCKET", "/p.sock"), ("MIOSA_RUN_ID", "run_p")];
    let options = parsed(&[], &platform).unwrap();
    assert_eq!(options.socket, unix("/p.sock"));
    assert_eq!(options.run.as_ref().unwrap().as_str(), "run_p");
    // Whatever the order in which the variables stand.
    for variables in [
        [("MIOSA_EXEC_SOCKET", "/v.sock"), ("MIOSA_SOCKET", "/p.sock")],
        [("MIOSA_SOCKET", "/p.sock"), ("MIOSA_EXEC_SOCKET", "/v.sock")],
    ] {
        assert_eq!(parsed(&[], &variables).unwrap().socket, unix("/v.sock"));
    }
}

#[test]
fn an_empty_variable_is_as_if_it_were_not_set_unless_it_is_for_the_command() {
    let empty = [("MIOSA_SOCKET", ""), ("MIOSA_RUN_ID", ""), ("MIOSA_EXEC_WAIT", ""), ("MIOSA_EXEC_VM", "")];
    let options = parsed(&[], &empty).unwrap();
    assert_eq!(options.socket, unix(DEFAULT_SOCKET));
    assert_eq!((options.run, options.wait), (None, DEFAULT_WAIT));
}

#[test]
fn a_relative_socket_is_made_absolute_since_the_command_may_start_elsewhere() {
    let Address::Unix(path) = parsed(&["--socket", "miosa.sock"], &[]).unwrap().socket else {
        panic!("a path")
    };
    assert!(path.is_absolute());
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
        (&["--socket", "vsock:2"], "--socket takes vsock:CID:PORT in decimal numbers"),
        (&["--file", "A"], "--file takes NAME=PATH; see miosa-exec --help"),
        (&["--file", "A="], "--file takes the path of a file; see miosa-exec --help"),
        (&["--file", "A=/"], "--file takes the path of a file; see miosa-exec --help"),
        (&["--file", "9=/a"], "--file: the name \"9\" must be letters, digits and _"),
        (&["--file", "MIOSA_TENANT_ID=/a"], "--file: MIOSA_TENANT_ID is set by the platform alone"),
        (&["--file", "A=/a", "--file", "B=/a"], "the file /a is to hold B, and A too; see miosa-exec --help"),
        (&["--fd", "MIOSA_AGENT_CWD=3"], "--fd: MIOSA_AGENT_CWD is read from the environment"),
        (&["--fd", "A=2"], "--fd takes a descriptor's number, 3 or more; see miosa-exec --help"),
        (&["--fd", "A=+3"], "--fd takes a descriptor's number, 3 or more; see miosa-exec --help"),
        (&["--fd", "A=3", "--fd", "B=3"], "descriptor 3 is to hold B, and A too; see miosa-exec --help"),
        (&["--on-change", "signal"], "--on-change takes ignore, restart or signal=NAME, such as signal=HUP"),
        (&["--on-change", "signal=KILL"], "--on-change takes ignore, restart or signal=NAME"),
        (&["--on-change", "signal=SIGSIGHUP"], "--on-change takes ignore, restart or signal=NAME"),
        (&["--on-failure", "go"], "--on-failure takes fail or continue; see miosa-exec --help"),
        (&["--grace", "1.5"], "--grace takes a whole number of seconds; see miosa-exec --help"),
        (&["--init=1"], "--init takes no value; see miosa-exec --help"),
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
        (("MIOSA_SOCKET", "vsock:2"), "MIOSA_SOCKET takes vsock:CID:PORT"),
        (("MIOSA_EXEC_FILE", "A=/a"), "MIOSA_EXEC_FILE sets no option of miosa-exec"),
        (("MIOSA_EXEC_FD_A", "x"), "MIOSA_EXEC_FD_A takes a descriptor's number, 3 or more"),
        (("MIOSA_EXEC_FD_MIOSA_RUN_ID", "3"), "MIOSA_EXEC_FD_MIOSA_RUN_ID: MIOSA_RUN_ID is set by"),
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
fn who_stays_is_told_what_to_do_about_changes_and_endings() {
    let options = parsed(
        &["--init", "--grace=3", "--settle=0", "--on-change=signal=HUP", "--on-failure=continue"],
        &[],
    );
    let options = options.unwrap();
    assert!(options.init && !options.vm);
    assert_eq!((options.grace, options.settle), (Duration::from_secs(3), Duration::ZERO));
    assert_eq!(options.on_change, OnChange::Signal(Signal::SIGHUP));
    assert_eq!(options.on_failure, OnFailure::Continue);
    let variables = [
        ("MIOSA_EXEC_INIT", "1"),
        ("MIOSA_EXEC_GRACE", "4"),
        ("MIOSA_EXEC_SETTLE", "5"),
        ("MIOSA_EXEC_ON_CHANGE", "signal=SIGUSR1"),
        ("MIOSA_EXEC_ON_FAILURE", "continue"),
    ];
    let options = parsed(&["--on-failure", "fail"], &variables).unwrap();
    assert_eq!((options.grace, options.settle), (Duration::from_secs(4), Duration::from_secs(5)));
    assert_eq!(options.on_change, OnChange::Signal(Signal::SIGUSR1));
    assert_eq!(options.on_failure, OnFailure::Fail);
}

#[test]
fn who_restarts_the_command_or_ends_the_machine_stays() {
    for args in [&["--on-change", "restart"][..], &["--on-change", "signal=HUP"], &["--vm"]] {
        assert!(parsed(args, &[]).unwrap().init, "{args:?}");
    }
    assert!(!parsed(&["--on-change", "ignore"], &[]).unwrap().init);
}

#[test]
fn a_variable_may_have_a_place_of_its_own() {
    let options = parsed(
        &["--file", "A=/a", "--fd", "B=7", "--file", "B=b"],
        &[("MIOSA_EXEC_FILE_A", "/other"), ("MIOSA_EXEC_FD_c", "9"), ("MIOSA_EXEC_FILE_D", "")],
    );
    let places = options.unwrap().places;
    let here = std::env::current_dir().unwrap().join("b");
    let told: Vec<_> = places.iter().map(|(name, place)| (name.as_str(), place.clone())).collect();
    assert_eq!(
        told,
        [("A", Place::File("/a".into())), ("B", Place::File(here)), ("c", Place::Descriptor(9)),]
    );
}

#[test]
fn a_value_is_in_no_message() {
    for args in [
        &["--env", "hunter2"][..],
        &["--env", "=hunter2"],
        &["--env", "sk-ant-hunter2-0123456789=="],
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
fn help_names_every_option() {
    for option in &OPTIONS {
        assert!(crate::help::HELP.contains(&format!("  --{} ", option.name)), "--{}", option.name);
    }
}
