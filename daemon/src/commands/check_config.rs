//! `--check-config`: says that the settings will do. They were checked when they were loaded; nothing
//! else is looked at, made or locked.

use std::io::{self, Write as _};

use super::CommandError;
use crate::settings::Settings;

/// Prints which configuration file was found good, or that there is none.
///
/// # Errors
/// When standard output is closed.
pub fn check_config(settings: &Settings) -> Result<(), CommandError> {
    let file = settings.file().display();
    let verdict = match settings.has_file() {
        true => file.to_string(),
        false => format!("there is no {file}, and the defaults hold"),
    };
    Ok(writeln!(io::stdout(), "configuration ok: {verdict}")?)
}
