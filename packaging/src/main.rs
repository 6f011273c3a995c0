//! Makes what the packages hold beside the programs, from what the programs say of themselves: manual
//! pages, completions, and the copyright file of each. It builds no package: that is `build.sh`.

mod copyright;
mod manual;
mod shim;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Writes everything below the one folder that is named.
fn run(arguments: Vec<OsString>) -> Result<(), Box<dyn Error>> {
    let [folder] = arguments.as_slice() else {
        return Err("usage: make-package-files FOLDER".into());
    };
    let folder = Path::new(folder);
    for page in manual::PAGES {
        write(&folder.join("manual").join(page.file), &page.render())?;
    }
    for (name, command) in command_lines() {
        for (shell, file) in [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ] {
            write(&folder.join("completions").join(file), &completions(command.clone(), name, shell)?)?;
        }
    }
    for program in copyright::PROGRAMS {
        write(&folder.join("copyright").join(program.name), &program.copyright()?)?;
    }
    Ok(())
}

/// The command line of each program.
fn command_lines() -> [(&'static str, Command); 3] {
    [
        ("miosad", miosad::cli::Arguments::command()),
        ("miosa-control", miosa_control::command_line()),
        ("miosa-exec", shim::command_line()),
    ]
}

fn completions(mut command: Command, name: &str, shell: Shell) -> Result<String, Box<dyn Error>> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    Ok(String::from_utf8(text)?)
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let folder = path.parent().ok_or("a file has a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

#[expect(clippy::print_stderr, reason = "the one place where this program speaks")]
fn complain(error: &dyn Error) {
    eprintln!("make-package-files: {error}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_of_the_control_plane_has_every_option_of_its_service() {
        let text = include_str!("../../systemd/control.env");
        let variable = |line: &'static str| line.strip_prefix('#')?.split_once('=').map(|(name, _)| name);
        let named: BTreeSet<&str> =
            text.lines().filter_map(variable).filter(|name| name.starts_with("MIOSA_")).collect();
        let command = miosa_control::command_line();
        let serve = command.find_subcommand("serve").unwrap();
        let options = command.get_arguments().chain(serve.get_arguments());
        let variables: BTreeSet<&str> =
            options.filter_map(clap::Arg::get_env).map(|name| name.to_str().unwrap()).collect();
        assert_eq!(named, variables);
        let set = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(set, None, "the file changes nothing until somebody edits it");
    }

    #[test]
    fn completions_know_every_command_and_option() {
        for (name, command) in command_lines() {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let text = completions(command.clone(), name, shell).unwrap();
                manual::visit(&command, &mut |path, command| {
                    let last = path.last().unwrap();
                    assert!(text.contains(last.as_str()), "{shell}: {path:?}");
                    for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                        assert!(text.contains(long), "{shell}: {path:?} --{long}");
                    }
                });
            }
        }
    }
}
