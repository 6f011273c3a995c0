//! The records of a state one by one, each as the payload writes it.

use std::io;

use super::{ProfileOut, ResourceOut, RunOut, VariableOut};
use crate::model::{Profile, Resource, Run, Variable};
use crate::state::Records;

/// One record of a state or of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// A runtime env variable.
    Variable(&'a Variable),
    /// A profile.
    Profile(&'a Profile),
    /// A resource.
    Resource(&'a Resource),
    /// A run.
    Run(&'a Run),
}

impl Records {
    /// Every record, in the order in which a payload has them: by kind, then by id.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let variables = self.variables.values().map(Record::Variable);
        let profiles = self.profiles.values().map(Record::Profile);
        let resources = self.resources.values().map(Record::Resource);
        variables.chain(profiles).chain(resources).chain(self.runs.values().map(Record::Run))
    }
}

impl<'a> Record<'a> {
    /// Its id, which no other record of its kind has.
    #[must_use]
    pub fn id(self) -> &'a str {
        match self {
            Self::Variable(record) => record.id.as_str(),
            Self::Profile(record) => record.id.as_str(),
            Self::Resource(record) => record.id.as_str(),
            Self::Run(record) => record.id.as_str(),
        }
    }

    /// Writes it as it stands in a payload, secrets and all, without a copy anywhere else. Equal records
    /// give equal bytes.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, to: &mut impl io::Write) -> io::Result<()> {
        let written = match self {
            Self::Variable(record) => serde_json::to_writer(to, &VariableOut::from(record)),
            Self::Profile(record) => serde_json::to_writer(to, &ProfileOut::from(record)),
            Self::Resource(record) => serde_json::to_writer(to, &ResourceOut::from(record)),
            Self::Run(record) => serde_json::to_writer(to, &RunOut::from(record)),
        };
        written.map_err(io::Error::from)
    }
}
