//! What is started: decided once from the resolution and the options, before anything is done.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::Path;

use miosa_injector::model::EnvName;
use miosa_injector::protocol::ResolveResponse;

use crate::daemon;
use crate::delivery::{Deliveries, Placed, Shelf};
use crate::environment::Environment;
use crate::exec;
use crate::failure::Failure;
use crate::launch::{self, Directory};
use crate::options::{Inherited, Options, Place};

/// A command, and all that it is given.
pub(crate) struct Plan {
    command: Vec<CString>,
    directory: Option<Directory>,
    environment: Environment,
    deliveries: Deliveries,
}

impl Plan {
    /// Decides what a resolution comes to.
    pub(crate) fn of(
        resolution: &ResolveResponse,
        options: &Options,
        inherited: &Inherited,
        shelf: &mut Shelf,
    ) -> Result<Self, Failure> {
        Self::decided(resolution, &options.places, options, inherited, shelf)
    }

    /// Decides what there is to start without the daemon's part. What that would have given may be missing, so
    /// it is not asked to be delivered.
    pub(crate) fn without_daemon(
        options: &Options,
        inherited: &Inherited,
        shelf: &mut Shelf,
    ) -> Result<Self, Failure> {
        let mut places = options.places.clone();
        places.retain(|name, _| options.env.contains_key(name));
        Self::decided(&daemon::nothing(), &places, options, inherited, shelf)
    }

    fn decided(
        resolution: &ResolveResponse,
        places: &BTreeMap<EnvName, Place>,
        options: &Options,
        inherited: &Inherited,
        shelf: &mut Shelf,
    ) -> Result<Self, Failure> {
        let command = launch::command(options, resolution)?;
        let directory = launch::directory(options, resolution);
        let (environment, deliveries) = environment(resolution, places, options, inherited, shelf)?;
        Ok(Self { command, directory, environment, deliveries })
    }

    /// What would keep the command from being started, as far as it can be told beforehand: while another one
    /// runs, which is not to be ended in vain.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let directory = self.directory.as_ref();
        launch::check(directory)?;
        let directory = directory.map_or(Path::new("."), |directory| directory.path.as_path());
        exec::check(&self.command, &self.environment, directory)
    }

    /// Puts the files there that the command is to find.
    pub(crate) fn put_files(&self, placed: &mut Placed) -> Result<(), Failure> {
        placed.put(&self.deliveries)
    }

    /// Becomes the command; comes back only with the reason why it could not. Signals, limits and open files
    /// are still those we were started with, but for the descriptors that hold values.
    pub(crate) fn become_it(&self) -> Result<Infallible, Failure> {
        launch::enter(self.directory.as_ref())?;
        self.deliveries.open()?;
        exec::become_command(&self.command, &self.environment)
    }

    /// A number that another plan has only if it comes to the same, whichever version of the snapshot each of
    /// them is of. It tells nothing of the values to who does not know the hasher's keys.
    pub(crate) fn mark(&self, hasher: &impl BuildHasher) -> u64 {
        let mut state = hasher.build_hasher();
        self.command.hash(&mut state);
        self.directory.as_ref().map(|directory| &directory.path).hash(&mut state);
        for (name, value) in self.environment.variables().filter(|(name, _)| *name != VERSION) {
            (name, value).hash(&mut state);
        }
        self.deliveries.hash(&mut state);
        state.finish()
    }
}

/// The environment that a resolution comes to, and what is delivered elsewhere.
pub(crate) fn environment(
    resolution: &ResolveResponse,
    places: &BTreeMap<EnvName, Place>,
    options: &Options,
    inherited: &Inherited,
    shelf: &mut Shelf,
) -> Result<(Environment, Deliveries), Failure> {
    if places.is_empty() && resolution.delivery.is_empty() {
        let deliveries = Deliveries::default();
        return Ok((Environment::layered(inherited, &resolution.env, options, &deliveries)?, deliveries));
    }
    let mut env = resolution.env.clone();
    env.extend(options.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    // What is typed is delivered as it is typed.
    let chosen = resolution.delivery.iter().filter(|(name, _)| !options.env.contains_key(*name));
    let chosen = chosen.map(|(name, word)| (name.clone(), word.clone())).collect();
    let deliveries = Deliveries::of(&env, &chosen, places, shelf)?;
    let environment = Environment::layered(inherited, &resolution.env, options, &deliveries)?;
    Ok((environment, deliveries))
}

/// The one variable that changes although nothing else does.
const VERSION: &[u8] = b"MIOSA_SNAPSHOT_VERSION";
