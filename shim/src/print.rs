//! Shows what would be started. Values are masked unless a person asked for them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use miosa_injector::model::{EnvName, SecretValue};
use miosa_injector::protocol::{CommandExplained, CwdExplained, Explanation, ResolveResponse};
use nix::errno::Errno;
use nix::unistd::write;
use serde_json::{Map, Value, json};

use crate::delivery::Deliveries;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::launch;
use crate::options::{Options, Values};

/// Prints bytes as they are.
pub(crate) fn text(mut bytes: &[u8]) -> Result<(), Failure> {
    // Not by the standard library, to which all is well where stdout is closed.
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match write(&stdout, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(error) => {
                return Err(Failure::own(format_args!("cannot write to stdout: {}", error.desc())));
            }
        }
    }
    Ok(())
}

/// One `NAME='value'` a line, by name, fit to be read by a shell.
pub(crate) fn env(environment: &Environment, elsewhere: &Deliveries, values: Values) -> Result<(), Failure> {
    let mut variables: Vec<_> = environment.variables().collect();
    variables.sort_unstable();
    let mut out = Vec::new();
    for (name, value) in variables {
        if !is_shell_name(name) {
            // A shell would take such a line for a command.
            out.extend_from_slice(b"# not a name that a shell takes: ");
            out.extend_from_slice(name.escape_ascii().to_string().as_bytes());
        } else {
            out.extend_from_slice(name);
            out.push(b'=');
            let values = if elsewhere.says_where(name) { Values::Revealed } else { values };
            out.extend_from_slice(&quoted(&shown(name, value, values)));
        }
        out.push(b'\n');
    }
    text(&out)
}

/// The whole launch as one JSON object. Bytes that are not UTF-8 can't be written in JSON.
pub(crate) fn json(
    environment: &Environment,
    elsewhere: &Deliveries,
    resolution: &ResolveResponse,
    options: &Options,
) -> Result<(), Failure> {
    let variables: Map<String, Value> = environment
        .variables()
        .map(|(name, value)| {
            let values = if elsewhere.says_where(name) { Values::Revealed } else { options.values };
            let value = shown(name, value, values);
            (lossy(name), lossy(&value).into())
        })
        .collect();
    let command = launch::command(options, resolution);
    let words = command.as_ref().ok().map(|words| shown_words(words, options, resolution));
    let directory = launch::directory(options, resolution).map(|directory| {
        let path = directory.path.as_os_str().as_bytes();
        let values = if directory.is_a_value() { options.values } else { Values::Revealed };
        lossy(&shown(b"MIOSA_AGENT_CWD", path, values))
    });
    let chosen = resolution.delivery.iter().filter(|(name, _)| !options.env.contains_key(*name));
    let chosen = chosen.map(|(name, word)| (name.as_str(), word.as_str()));
    let typed = options.places.iter().map(|(name, place)| (name.as_str(), place.word()));
    let delivery: BTreeMap<_, _> = chosen.chain(typed).collect();
    let launch = json!({
        "resource_id": resolution.resource_id,
        "run_id": resolution.run_id,
        "snapshot_version": resolution.snapshot_version,
        "stale": resolution.stale,
        "age_seconds": resolution.age_seconds,
        "profile": resolution.profile,
        "cwd": directory,
        "command": words.map(|words| words.iter().map(|word| lossy(word)).collect::<Vec<_>>()),
        "command_error": command.as_ref().err().map(Failure::text),
        "env": variables,
        "delivery": delivery,
    });
    text(format!("{launch:#}\n").as_bytes())
}

/// The command as one line that a shell splits back into the same words.
pub(crate) fn command(resolution: &ResolveResponse, options: &Options) -> Result<(), Failure> {
    let command = launch::command(options, resolution)?;
    let mut line = Vec::new();
    for (position, word) in shown_words(&command, options, resolution).into_iter().enumerate() {
        if position > 0 {
            line.push(b' ');
        }
        // A shell would take a first word with a = for an assignment.
        let is_assignment = position == 0 && word.contains(&b'=');
        line.extend_from_slice(&if is_assignment { in_quotes(word) } else { quoted(word) });
    }
    line.push(b'\n');
    text(&line)
}

/// The words of the command; only that there is one, when it is the value of a variable.
fn shown_words<'a>(command: &'a [CString], options: &Options, resolution: &ResolveResponse) -> Vec<&'a [u8]> {
    if options.values == Values::Masked && launch::command_is_a_value(options, resolution) {
        return vec![b"***"];
    }
    command.iter().map(|word| word.to_bytes()).collect()
}

/// Where each variable comes from, and what is typed above all of it.
pub(crate) fn explanation(mut explanation: Explanation, options: &Options) -> Result<(), Failure> {
    for (name, value) in &options.env {
        explanation.add_command_line(name, value);
    }
    if !options.command.is_empty() {
        let argv = options.command.iter().map(|word| lossy(word.as_bytes())).collect();
        let source = Some("the command line".to_owned());
        explanation.command = CommandExplained { argv: Some(argv), source, error: None };
    }
    if let Some(path) = &options.cwd {
        explanation.cwd = Some(CwdExplained { path: path.display().to_string(), source: "--cwd".to_owned() });
    }
    for variable in &mut explanation.variables {
        let typed = options.places.iter().find(|(name, _)| name.as_str() == variable.name);
        if let Some((_, place)) = typed {
            variable.delivery = Some(place.word().to_owned());
        }
    }
    text(explanation.table(WIDTH).as_bytes())
}

/// What the platform sets is no secret; everything else may be one, the image's own included.
fn shown<'a>(name: &[u8], value: &'a [u8], values: Values) -> Cow<'a, [u8]> {
    let is_platform = || EnvName::parse(&lossy(name)).is_ok_and(|name| name.is_reserved());
    if values == Values::Revealed || is_platform() {
        return Cow::Borrowed(value);
    }
    match SecretValue::new(lossy(value)) {
        Ok(secret) => Cow::Owned(secret.preview().into_bytes()),
        // A NUL can't be in an environment.
        Err(_) => Cow::Borrowed(b"***"),
    }
}

/// Quotes a word for a POSIX shell; plain words stay as they are.
fn quoted(word: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        return word.to_vec();
    }
    in_quotes(word)
}

fn in_quotes(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn is_shell_name(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| EnvName::parse(name).is_ok())
}

fn lossy(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

/// Of what is printed for people: it may go into a log, which has no width.
const WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word_to_a_shell() {
        for (word, expected) in [
            ("plain-1.0/x:y=z", "plain-1.0/x:y=z"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME `id` \"x\" \\", "'$HOME `id` \"x\" \\'"),
            ("~", "'~'"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(quoted(word.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn masked_values_show_their_ends_only_and_platform_ids_whole() {
        let shown =
            |name: &str, value: &str| lossy(&shown(name.as_bytes(), value.as_bytes(), Values::Masked));
        assert_eq!(shown("KEY", "short"), "***");
        assert_eq!(shown("KEY", "sk-ant-0123456789012345678901abcd"), "sk-ant...abcd");
        assert_eq!(shown("MIOSA_RESOURCE_ID", "sbx-1"), "sbx-1");
    }
}
