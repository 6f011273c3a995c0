//! The vocabulary of the system as types: a value that exists has been checked. The rules that
//! combine these values live elsewhere.

mod command;
mod deliver;
mod id;
mod kind;
mod name;
mod profile;
mod record;
mod secret;

pub use command::{CommandSpec, CommandSpecError};
pub use deliver::{Deliver, DeliverError};
pub use id::{IdError, ProfileId, ProjectId, ResourceId, RunId, TenantId, VariableId, WorkspaceId};
pub use kind::{KindError, ResourceKind, Scope, Target};
pub(crate) use name::{COMMAND_NAME, CWD_NAME};
pub use name::{EntryError, EnvName, MAX_ENTRY_BYTES, NameError, check_entry};
pub use profile::{
    AppliesTo, AppliesToError, Approval, Connector, ConnectorError, Policy, Profile, Runtime, TOOLS,
};
pub use record::{Resource, Run, Selection, Variable};
pub(crate) use secret::is_printable;
pub(crate) use secret::strict_words;
pub use secret::{EnvMap, SecretValue, ValueError, strict_env};
