//! What is left to do after enrolling, for people. It starts nothing itself.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Says on standard error what to start, where the services of this machine would serve what was
/// enrolled, and nothing starts them.
pub(super) fn say(state: &Path, has_control: bool) {
    let is_the_services = state == Path::new(STATE_OF_THE_SERVICES);
    let is_booted = sd_notify::booted().unwrap_or(false);
    if !is_the_services || !is_booted || is_active(STARTS_BY_ITSELF) {
        return;
    }
    let units = if has_control { "miosad miosad-link" } else { "miosad" };
    // With standard error closed there is nobody to tell.
    let _unheard = writeln!(io::stderr(), "now run `systemctl start {units}`");
}

/// The full path, since whose PATH this is, nobody knows.
fn is_active(unit: &str) -> bool {
    let mut command = Command::new("/usr/bin/systemctl");
    command.args(["--quiet", "is-active", unit]).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `StateDirectory=` of the units.
const STATE_OF_THE_SERVICES: &str = "/var/lib/miosa";

/// The unit that starts the daemon when this machine is enrolled.
const STARTS_BY_ITSELF: &str = "miosad.path";
