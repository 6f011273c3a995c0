//! The command line and the variables that the shim is started with.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use arbitrary::Unstructured;

use crate::address::Address;
use crate::delivery::Deliveries;
use crate::environment::Environment;
use crate::options::{ImageEnv, Inherited, Place, Request, parse};
use miosa_injector::model::EnvMap;

/// Everything typed is taken or refused in a line that shows no value; what is taken keeps its bytes, and
/// the platform's names are nobody's to set.
pub fn run(data: &[u8]) {
    let u = &mut Unstructured::new(data);
    let inherited: Inherited = (0..u.int_in_range(0..=4).unwrap_or(0)).map(|_| variable(u)).collect();
    let mut args = vec![OsString::from("miosa-exec")];
    while !u.is_empty() && args.len() < MAX_ARGUMENTS {
        args.push(argument(u));
    }
    let options = match parse(args.clone(), &inherited) {
        Ok(Request::Start(options)) => options,
        Ok(Request::Help | Request::Version) => return,
        Err(failure) => {
            assert!(!failure.text().contains(SECRET), "{}", failure.text());
            return;
        }
    };
    assert!(!matches!(&options.socket, Address::Unix(path) if !path.is_absolute()));
    assert!(args.ends_with(&options.command), "the command is not what was typed");
    assert!(options.env.keys().chain(options.places.keys()).all(|name| !name.is_reserved()));
    for place in options.places.values() {
        match place {
            Place::File(path) => assert!(path.is_absolute() && path.file_name().is_some()),
            Place::Descriptor(number) => assert!(*number > 2),
        }
    }

    let environment = Environment::layered(&inherited, &EnvMap::new(), &options, &Deliveries::default());
    let Ok(environment) = environment else {
        let has_nul = |text: &OsString| text.as_bytes().contains(&0);
        assert!(
            has_nul(&options.socket.text().into_owned())
                || inherited.iter().any(|(name, value)| has_nul(name) || has_nul(value))
        );
        return;
    };
    for ((name, value), place) in inherited.iter().zip(1..) {
        if inherited.iter().skip(place).any(|(later, _)| later == name) {
            continue;
        }
        let text = name.to_str().unwrap_or_default();
        let is_passed_on =
            environment.variables().any(|passed| passed == (name.as_bytes(), value.as_bytes()));
        if name.as_bytes().starts_with(b"MIOSA_EXEC_") {
            assert!(!is_passed_on, "{name:?} is ours");
        } else if options.image_env == ImageEnv::Keep
            && !text.starts_with("MIOSA_")
            && !name.as_bytes().contains(&b'=')
        {
            let covered = options.env.keys().any(|known| known.as_str() == text);
            assert!(covered || is_passed_on, "{name:?} was lost");
        }
    }
}

fn variable(u: &mut Unstructured<'_>) -> (OsString, OsString) {
    let name = match u.int_in_range(0..=4).unwrap_or(0) {
        0 => "PATH".into(),
        1 => bytes(u),
        2 => pick(u, &["MIOSA_SOCKET", "MIOSA_RUN_ID", "MIOSA_TENANT_ID", "MIOSA_AGENT_CWD"]).into(),
        3 => {
            let kind = pick(u, &["ENV", "FILE", "FD"]);
            format!("MIOSA_EXEC_{kind}_{}", pick(u, &["A", "b_c", "9", "MIOSA_RUN_ID", ""])).into()
        }
        _ => format!("MIOSA_EXEC_{}", pick(u, &OPTIONS).to_ascii_uppercase().replace('-', "_")).into(),
    };
    (name, value(u))
}

fn argument(u: &mut Unstructured<'_>) -> OsString {
    match u.int_in_range(0..=6).unwrap_or(0) {
        0 | 1 => format!("--{}", pick(u, &OPTIONS)).into(),
        2 => {
            let mut argument = OsString::from(format!("--{}=", pick(u, &OPTIONS)));
            argument.push(value(u));
            argument
        }
        3 => pick(u, &["--", "-h", "-V", "-", "--help", "agent"]).into(),
        4 => bytes(u),
        _ => value(u),
    }
}

fn value(u: &mut Unstructured<'_>) -> OsString {
    match u.int_in_range(0..=4).unwrap_or(0) {
        0 => format!("A={SECRET}").into(),
        1 => pick(u, &["A=1", "A=7", "MIOSA_RUN_ID=x", "MIOSA_AGENT_COMMAND=a 'b", "=", "9=x"]).into(),
        2 => {
            let numbers = ["0", "10", "4294967295", "1", "true", "env", "json", "run_1", "/s", "vsock:2:1"];
            let words = ["restart", "ignore", "signal=HUP", "signal=", "continue", "fail"];
            pick(u, &[&numbers[..], &words].concat()).into()
        }
        3 => format!("9={SECRET}\n").into(),
        _ => bytes(u),
    }
}

fn bytes(u: &mut Unstructured<'_>) -> OsString {
    let length = u.int_in_range(0..=12).unwrap_or(0).min(u.len());
    OsString::from_vec(u.bytes(length).unwrap_or_default().to_vec())
}

fn pick<'a>(u: &mut Unstructured<'_>, from: &[&'a str]) -> &'a str {
    u.choose(from).copied().unwrap_or(from[0])
}

const SECRET: &str = "hunter2hunter2";
const MAX_ARGUMENTS: usize = 24;
const OPTIONS: [&str; 19] = [
    "socket",
    "run",
    "env",
    "wait",
    "clear-env",
    "cwd",
    "print",
    "reveal",
    "init",
    "grace",
    "on-change",
    "settle",
    "on-failure",
    "file",
    "fd",
    "vm",
    "help",
    "version",
    "unknown",
];
