//! `miosad verify FILE`: what a file is, and whether this host would accept it now. It reads the host's
//! key and what `serve` keeps, changes nothing, and shows no value.

mod report;

use miosa_snapshot::MAX_ENVELOPE_BYTES;

use super::{CommandError, show};
use crate::cli::Verify;
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::disk;
use crate::host::HostFile;
use crate::intake::{Claim, Rehearsal, claimed};
use crate::serve::StateUnusable;
use crate::settings::Settings;
use report::{Report, named};

/// Verifies an update or a trust document as `serve` would, without taking it.
///
/// # Errors
/// When it would be refused, or when this host's own files can't be read.
pub fn verify(settings: &Settings, what: &Verify) -> Result<(), CommandError> {
    let bytes = disk::read_named(&what.file, MAX_ENVELOPE_BYTES)?;
    let claim = claimed(&bytes);
    let clock = Clock::System;
    let mut rehearsal = rehearse(settings, clock.clone())?;
    let verdict = match claim {
        Some(Claim::Trust) => rehearsal.try_trust(&bytes),
        // What claims nothing is refused by the first checks of an update.
        Some(Claim::Update) | None => rehearsal.try_update(&bytes),
    };
    let report = Report::new(&bytes, claim, &mut rehearsal, &verdict, clock.now().unix_ms);
    show(what.print, &report, Report::words)?;
    verdict.map(drop).map_err(|refused| CommandError::NotAcceptable(named(&refused)))
}

fn rehearse(settings: &Settings, clock: Clock) -> Result<Rehearsal, CommandError> {
    let file = HostFile::load(&settings.state)?;
    let (identity, _) = file.identity(&settings.state, &Credentials::from_environment())?;
    Ok(Rehearsal::of(&settings.state, &file, identity, clock).map_err(StateUnusable::from)?)
}
