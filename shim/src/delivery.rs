//! Values that are not delivered in the environment: as files in memory, or as descriptors that hold them. So
//! `/proc/PID/environ`, which every process of the same user can read, does not.

mod files;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::os::fd::RawFd;
use std::path::PathBuf;

use miosa_injector::model::{EnvMap, EnvName, SecretValue};
use nix::sys::resource::{Resource, getrlimit};

use crate::failure::Failure;
use crate::options::Place;
use crate::sys;

pub(crate) use files::{Placed, Shelf};

/// What is delivered how, with the variables that say where.
#[derive(Default)]
pub(crate) struct Deliveries {
    files: Vec<(PathBuf, SecretValue)>,
    descriptors: Vec<(RawFd, EnvName, SecretValue)>,
    /// In the place of the variables themselves.
    variables: BTreeMap<String, OsString>,
    names: BTreeSet<EnvName>,
}

impl Deliveries {
    /// Decides, and makes nothing but a directory for files that nobody named a place for. What is typed
    /// stands above what the resolution says.
    pub(crate) fn of(
        env: &EnvMap,
        chosen: &BTreeMap<EnvName, String>,
        typed: &BTreeMap<EnvName, Place>,
        shelf: &mut Shelf,
    ) -> Result<Self, Failure> {
        let mut deliveries = Self::default();
        for (name, place) in typed {
            let Some(value) = env.get(name) else {
                let text = "is to be delivered as a file or descriptor, and no variable has that name";
                return Err(Failure::own(format_args!("{name} {text}; see --print explain")));
            };
            match place {
                Place::File(path) => deliveries.add_file(name, value, path.clone()),
                Place::Descriptor(number) => deliveries.add_descriptor(name, value, *number)?,
            }
        }
        for (name, word) in chosen.iter().filter(|(name, _)| !typed.contains_key(name)) {
            let Some(value) = env.get(name) else { continue };
            match word.as_str() {
                "env" => {}
                "file" => match shelf.path_of(name) {
                    Some(path) => deliveries.add_file(name, value, path),
                    None => deliveries.add_file_of_memory(name, value, typed)?,
                },
                "fd" => {
                    let number = deliveries.free_number(typed)?;
                    deliveries.add_descriptor(name, value, number)?;
                }
                other => {
                    let text = "which this version can't do; put a newer miosa-exec into the image";
                    let word: String = other.chars().take(LONGEST_QUOTE).collect();
                    return Err(Failure::own(format_args!(
                        "miosad asks for {name} to be delivered as {word:?}, {text}"
                    )));
                }
            }
        }
        Ok(deliveries)
    }

    /// Whether the environment is to leave a variable out.
    pub(crate) fn takes(&self, name: &EnvName) -> bool {
        self.names.contains(name)
    }

    /// The variables that say where the values are.
    pub(crate) fn variables(&self) -> &BTreeMap<String, OsString> {
        &self.variables
    }

    /// Whether a variable says where a value is, and is none itself.
    pub(crate) fn says_where(&self, variable: &[u8]) -> bool {
        std::str::from_utf8(variable).is_ok_and(|name| self.variables.contains_key(name))
    }

    /// The files there have to be.
    pub(crate) fn files(&self) -> &[(PathBuf, SecretValue)] {
        &self.files
    }

    /// Opens the descriptors, for the command to inherit.
    pub(crate) fn open(&self) -> Result<(), Failure> {
        self.descriptors.iter().try_for_each(|(number, name, value)| memory::hold(*number, name, value))
    }

    fn add_file(&mut self, name: &EnvName, value: &SecretValue, path: PathBuf) {
        self.say(name, "_FILE", path.clone().into());
        self.files.push((path, value.clone()));
    }

    /// Without a file system that is memory, a descriptor has a path too.
    fn add_file_of_memory(
        &mut self,
        name: &EnvName,
        value: &SecretValue,
        typed: &BTreeMap<EnvName, Place>,
    ) -> Result<(), Failure> {
        let number = self.free_number(typed)?;
        self.descriptors.push((number, name.clone(), value.clone()));
        self.say(name, "_FILE", format!("/proc/self/fd/{number}").into());
        Ok(())
    }

    fn add_descriptor(&mut self, name: &EnvName, value: &SecretValue, number: RawFd) -> Result<(), Failure> {
        if sys::is_inherited(number) {
            let text = "is open already; give another number";
            return Err(Failure::own(format_args!("cannot deliver {name}: descriptor {number} {text}")));
        }
        self.descriptors.push((number, name.clone(), value.clone()));
        self.say(name, "_FD", number.to_string().into());
        Ok(())
    }

    fn say(&mut self, name: &EnvName, what: &str, place: OsString) {
        self.names.insert(name.clone());
        self.variables.insert(format!("{name}{what}"), place);
    }

    /// The lowest number that nothing has or is to have.
    fn free_number(&self, typed: &BTreeMap<EnvName, Place>) -> Result<RawFd, Failure> {
        let is_typed = |number: RawFd| typed.values().any(|place| *place == Place::Descriptor(number));
        let is_given = |number: RawFd| self.descriptors.iter().any(|(given, ..)| *given == number);
        (FIRST..LAST)
            .find(|number| !is_typed(*number) && !is_given(*number) && !sys::is_inherited(*number))
            .ok_or_else(|| Failure::own("no descriptor is free to deliver a variable"))
    }
}

/// What the command is given: values and places.
impl Hash for Deliveries {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (path, value) in &self.files {
            (path, value.expose()).hash(hasher);
        }
        for (number, name, value) in &self.descriptors {
            (number, name.as_str(), value.expose()).hash(hasher);
        }
    }
}

/// Writing more would end us by SIGXFSZ, without a word. Files of memory are no exception.
fn is_over_the_limit(bytes: usize) -> bool {
    let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft);
    u64::try_from(bytes).unwrap_or(u64::MAX) > limit
}

const OVER_THE_LIMIT: &str = "the limit on the size of files (ulimit -f) is too low for it";
/// A line for people has no room for a word without end.
const LONGEST_QUOTE: usize = 32;
const FIRST: RawFd = 3;
const LAST: RawFd = 1024;
