//! `miosad doctor`: looks at everything a host needs to take updates and serve them, and says in one line
//! each what is well, what is wrong and what to do. It works whether `serve` runs or not, mends nothing,
//! and never connects to a socket that a sandbox can reach.

mod clock;
mod finding;
mod keys;
mod link;
mod mounts;
mod patient;
mod runtime;
mod service;
mod state;
mod trust;

use serde::{Deserialize, Serialize};

use crate::cli::{Options, Print};
use crate::commands::{CommandError, show};
use crate::failure::Failure;
use finding::{Finding, Verdict};
use patient::Patient;

/// Prints a line for each check.
///
/// # Errors
/// When a check failed, nothing can be printed, or there are no directories to look at.
pub fn examine(options: &Options, print: Print) -> Result<(), Failure> {
    let report = Report::of(&Patient::meet(options)?);
    show(print, &report, Report::words)?;
    match report.failed {
        0 => Ok(()),
        failed => Err(CommandError::Unwell { failed }.into()),
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// Whether no check failed.
    well: bool,
    /// How many did.
    failed: usize,
    /// How many warn.
    warned: usize,
    /// How many could not be made.
    unknown: usize,
    /// A line each.
    checks: Vec<Finding>,
}

impl Report {
    fn of(patient: &Patient) -> Self {
        let checks: Vec<Finding> =
            CHECKS.iter().flat_map(|check| check(patient)).map(Finding::in_one_line).collect();
        let count = |verdict| checks.iter().filter(|finding| finding.verdict == verdict).count();
        let failed = count(Verdict::Fail);
        let (warned, unknown) = (count(Verdict::Warn), count(Verdict::Unknown));
        Self { well: failed == 0, failed, warned, unknown, checks }
    }

    fn words(&self) -> String {
        let lines: Vec<String> = self.checks.iter().map(Finding::words).collect();
        lines.join("\n")
    }
}

/// In the order in which one would look.
const CHECKS: &[fn(&Patient) -> Vec<Finding>] = &[
    service::configuration,
    service::daemon,
    service::alarms,
    service::versions,
    clock::check,
    state::directory,
    keys::check,
    trust::check,
    state::disk,
    state::cache,
    state::evidence,
    state::drop_directory,
    runtime::directory,
    runtime::sockets,
    mounts::check,
    link::check,
    service::limits,
];
