//! The command line of `miosa-exec` for completions. The program reads it without clap, to stay small; what
//! is written here is held to what its own help says.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};

/// The command line.
pub(crate) fn command_line() -> Command {
    Command::new("miosa-exec")
        .about("Start an agent with what its host holds for it")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(takes("socket", "ADDR", "miosad's socket").value_hint(ValueHint::FilePath))
        .arg(takes("run", "ID", "The run to start"))
        .arg(takes("env", "NAME=VALUE", "One more variable, above all others").action(ArgAction::Append))
        .arg(takes("file", "NAME=PATH", "A variable in a file").action(ArgAction::Append))
        .arg(takes("fd", "NAME=N", "A variable as a descriptor").action(ArgAction::Append))
        .arg(takes("cwd", "DIR", "The directory to start in").value_hint(ValueHint::DirPath))
        .arg(switch("clear-env", "Do not pass on the environment it was started with"))
        .arg(takes("wait", "SECONDS", "How long to wait for miosad"))
        .arg(one_of("on-failure", "When there is nothing to start with", &["fail", "continue"]))
        .arg(switch("init", "Stay as the command's parent"))
        .arg(takes("grace", "SECONDS", "After SIGTERM, SIGKILL"))
        .arg(one_of(
            "on-change",
            "When something changes",
            &["ignore", "restart", "signal=HUP", "signal=USR1"],
        ))
        .arg(takes("settle", "SECONDS", "How long a change has to rest"))
        .arg(switch("vm", "Be the init of a virtual machine"))
        .arg(one_of("print", "Show instead of starting", &["env", "json", "explain", "command"]))
        .arg(switch("reveal", "Show the values"))
        .arg(
            Arg::new("command")
                .help("What to start")
                .num_args(0..)
                .trailing_var_arg(true)
                .value_hint(ValueHint::CommandWithArguments),
        )
}

fn takes(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn one_of(name: &'static str, help: &'static str, words: &[&'static str]) -> Arg {
    takes(name, "WHAT", help).value_parser(PossibleValuesParser::new(words))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_has_the_options_of_the_programs_help() {
        let help = include_str!("../../shim/src/help.rs");
        let words = help.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        let in_help: BTreeSet<&str> =
            words.filter_map(|word| word.strip_prefix("--")).filter(|name| !name.is_empty()).collect();
        let mut command = command_line();
        command.build();
        let here: BTreeSet<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        assert_eq!(here, in_help);
    }

    #[test]
    fn words_that_an_option_takes_are_words_of_the_help() {
        let help = include_str!("../../shim/src/help.rs");
        for argument in command_line().get_arguments() {
            for word in argument.get_possible_values() {
                let word = word.get_name().split('=').next().unwrap_or_default();
                assert!(help.contains(word), "{} {word}", argument.get_id());
            }
        }
    }
}
