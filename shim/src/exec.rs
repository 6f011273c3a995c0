//! Becomes the command: looks it up as a shell would, and calls `execve`.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use miosa_injector::model::MAX_ENTRY_BYTES;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execve};

use crate::environment::Environment;
use crate::failure::Failure;

/// Replaces this program; comes back only with the reason why it could not.
pub(crate) fn become_command(command: &[CString], environment: &Environment) -> Result<Infallible, Failure> {
    let Some(program) = command.first() else {
        return Err(Failure::own("no command to start"));
    };
    let mut refused = None;
    for path in candidates(program, environment) {
        // The point of no return: where this succeeds, nothing of us is left.
        let Err(error) = execve(&path, command, environment.entries());
        let missing = error == Errno::ENOENT || error == Errno::ENOTDIR;
        if missing && !exists(&path) {
            continue;
        }
        // As execvp(3): one that we may not run does not hide one further on that we may.
        if !missing && error != Errno::EACCES {
            refused = Some((path, error));
            break;
        }
        refused.get_or_insert((path, error));
    }
    Err(match refused {
        Some((path, error)) => explain(&path, error, command, environment),
        None => not_found(program, environment),
    })
}

/// As [`become_command`] in this directory, as far as it can be told without running anything.
pub(crate) fn check(command: &[CString], environment: &Environment, directory: &Path) -> Result<(), Failure> {
    let Some(program) = command.first() else { return Ok(()) };
    let mut refused = None;
    for path in candidates(program, environment) {
        let file = directory.join(OsStr::from_bytes(path.to_bytes()));
        match access(&file, AccessFlags::X_OK) {
            Ok(()) if !file.is_dir() => return Ok(()),
            Ok(()) => refused = refused.or(Some((path, Errno::EACCES))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => refused = refused.or(Some((path, error))),
        }
    }
    Err(match refused {
        Some((path, error)) => explain(&path, error, command, environment),
        None => not_found(program, environment),
    })
}

/// Where a program may be: a path is taken as it is, a bare name is looked for in the directories of
/// the command's own `PATH`, where an empty one means the current directory.
fn candidates(program: &CStr, environment: &Environment) -> Vec<CString> {
    let name = program.to_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![program.to_owned()];
    }
    let directories = environment.get("PATH").unwrap_or(DEFAULT_PATH);
    directories
        .split(|byte| *byte == b':')
        .filter_map(|directory| {
            let directory = if directory.is_empty() { b".".as_slice() } else { directory };
            CString::new([directory, b"/", name].concat()).ok()
        })
        .collect()
}

fn explain(path: &CStr, error: Errno, command: &[CString], environment: &Environment) -> Failure {
    let (file, path) = (path, display(path));
    if error == Errno::ENOENT || error == Errno::ENOTDIR {
        Failure::not_found(format_args!("{path} is there, but the interpreter or loader it needs is not"))
    } else if error == Errno::ENOEXEC {
        let text = "neither a program for this machine nor a script that begins with #!";
        Failure::cannot_run(format_args!("cannot run {path}: {text}"))
    } else if error == Errno::E2BIG {
        let text = what_is_too_large(command, environment);
        Failure::cannot_run(format_args!("cannot run {path}: {text}"))
    } else {
        let hint = if error == Errno::EACCES { why_not_permitted(file) } else { "" };
        Failure::cannot_run(format_args!("cannot run {path}: {}{hint}", error.desc()))
    }
}

/// Linux says only that it is not permitted.
fn why_not_permitted(path: &CStr) -> &'static str {
    match std::fs::metadata(OsStr::from_bytes(path.to_bytes())) {
        Ok(file) if file.is_dir() => "; it is a directory",
        Ok(file) if file.permissions().mode() & 0o111 == 0 => "; it is not executable (chmod +x)",
        Ok(_) => "; is it on a file system mounted noexec, or for other users only?",
        Err(_) => "",
    }
}

fn not_found(program: &CStr, environment: &Environment) -> Failure {
    let name = display(program);
    if program.is_empty() {
        return Failure::not_found("the name of the command is empty");
    }
    if program.to_bytes().contains(&b'/') {
        return Failure::not_found(format_args!("{name} does not exist"));
    }
    // Not its value: a variable's value is never in an error.
    match environment.get("PATH") {
        Some(_) => Failure::not_found(format_args!("{name} is in no directory of PATH")),
        None => Failure::not_found(format_args!(
            "{name} is in none of {}, and PATH is not set",
            OsStr::from_bytes(DEFAULT_PATH).display()
        )),
    }
}

/// Linux says only "too long". The values stay unsaid here too.
fn what_is_too_large(command: &[CString], environment: &Environment) -> String {
    let variable = environment
        .variables()
        .map(|(name, value)| (name.len().saturating_add(value.len()).saturating_add(1), name))
        .max()
        .map(|(size, name)| (size, format!("the variable {}", OsStr::from_bytes(name).display())));
    let argument = command
        .iter()
        .enumerate()
        .map(|(position, word)| (word.as_bytes().len(), position))
        .max()
        .map(|(size, position)| (size, format!("argument {position} of the command")));
    let (size, what) = variable.max(argument).unwrap_or_default();
    if size > MAX_ENTRY_BYTES {
        return format!("{what} has {size} bytes, and Linux takes at most {MAX_ENTRY_BYTES}");
    }
    format!(
        "environment and arguments together are more than Linux takes (a quarter of the stack limit, ulimit -s); the largest is {what} with {size} bytes"
    )
}

fn exists(path: &CStr) -> bool {
    Path::new(OsStr::from_bytes(path.to_bytes())).exists()
}

fn display(path: &CStr) -> impl std::fmt::Display {
    OsStr::from_bytes(path.to_bytes()).display()
}

/// Where to look when nothing says where.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";
