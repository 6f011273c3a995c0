//! The manual pages: what people wrote in `manual/`, with the parts filled in that a program's own
//! command line says better. A page is whole roff before that too: places are comments.

mod commands;

use clap::{Command, CommandFactory as _};

#[cfg(test)]
pub(crate) use commands::visit;

/// One manual page.
pub(crate) struct Page {
    /// Its name: program and section of the manual.
    pub(crate) file: &'static str,
    /// What people wrote.
    text: &'static str,
    /// The command line that is described in it, where clap knows it.
    command: Option<fn() -> Command>,
}

/// Every page there is.
pub(crate) const PAGES: [Page; 3] = [
    Page {
        file: "miosad.1",
        text: include_str!("../manual/miosad.1"),
        command: Some(miosad::cli::Arguments::command),
    },
    Page {
        file: "miosa-control.1",
        text: include_str!("../manual/miosa-control.1"),
        command: Some(miosa_control::command_line),
    },
    Page { file: "miosa-exec.1", text: include_str!("../manual/miosa-exec.1"), command: None },
];

impl Page {
    /// The page as `man` reads it.
    pub(crate) fn render(&self) -> String {
        let mut page = self.text.replace(VERSION, env!("CARGO_PKG_VERSION"));
        if let Some(command) = self.command {
            let mut command = command();
            // Passes global options and names on to the commands.
            command.build();
            page = page
                .replace(SYNOPSIS, &commands::synopsis(&command))
                .replace(COMMANDS, &commands::commands(&command))
                .replace(OPTIONS, &commands::global_options(&command));
        }
        page
    }
}

const VERSION: &str = "@version@";
const SYNOPSIS: &str = ".\\\" @synopsis@\n";
const COMMANDS: &str = ".\\\" @commands@\n";
const OPTIONS: &str = ".\\\" @options@\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled() {
        for page in PAGES {
            let text = page.render();
            assert!(!text.contains('@'), "{}", page.file);
            assert!(text.contains(concat!("\"", env!("CARGO_PKG_VERSION"), "\"")), "{}", page.file);
        }
    }

    #[test]
    fn a_page_has_every_command_option_and_variable() {
        for page in PAGES {
            let Some(command) = page.command else { continue };
            let text = page.render();
            visit(&command(), &mut |path, command| {
                if !command.has_subcommands() {
                    let heading = format!(".SS \"{}\"", path.join(" ").replace('-', "\\-"));
                    assert!(text.contains(&heading), "{}: {heading}", page.file);
                }
                for argument in command.get_arguments() {
                    let option = argument.get_long().map(|long| format!("--{long}"));
                    let variable = argument.get_env().map(|name| name.to_str().unwrap().to_owned());
                    for word in option.into_iter().chain(variable) {
                        assert!(text.contains(&word.replace('-', "\\-")), "{}: {path:?} {word}", page.file);
                    }
                }
            });
        }
    }

    #[test]
    fn every_page_has_the_sections_that_readers_look_for() {
        for page in PAGES {
            let text = page.render();
            for section in
                ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS"]
            {
                assert!(text.contains(&format!("\n.SH {section}\n")), "{}: {section}", page.file);
            }
            for section in ["SIGNALS", "EXAMPLES", "SEE ALSO"] {
                assert!(text.contains(&format!("\n.SH {section}\n")), "{}: {section}", page.file);
            }
        }
    }
}
