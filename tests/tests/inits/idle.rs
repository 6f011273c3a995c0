//! What an init costs while nothing happens.

use std::io::Write as _;
use std::time::Duration;

use crate::table::Init::{Catatonit, CatatonitGroup, Dumb, DumbSingle};
use crate::table::shown_by;
use crate::trial::same;

#[test]
fn it_sleeps_until_something_happens() {
    // The other one looks for zombies every second.
    let inits = &[Catatonit, CatatonitGroup, Dumb, DumbSingle];
    shown_by(inits).holds(|trial| {
        let started = trial.run(&["sleep", "1000"]);
        let (init, _) = (started.init()?, started.child()?);
        started.eventually("it sleeps", || (init.standing().ok()?.state == 'S').then_some(()))?;
        let woken = || init.status("voluntary_ctxt_switches");
        let before = woken()?;
        std::thread::sleep(WATCHED);
        same("how often it slept", &woken()?, &before)?;
        let line = format!("{:?} as {:?}: {}\n", trial.init, trial.place, init.status("VmHWM")?);
        let _unheard = std::io::stderr().write_all(line.as_bytes());
        Ok(())
    });
}

const WATCHED: Duration = Duration::from_millis(2_500);
