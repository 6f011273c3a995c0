//! Why a resource starts with what it starts with: for each name the winning layer, its record, a
//! redacted preview, and what it overrode. Values never enter this type.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ErrorDetail;
use crate::launch::{Command, CommandSource};
use crate::merge::{Entry, Layer};
use crate::model::{COMMAND_NAME, CWD_NAME, EnvName, Resource, RunId, SecretValue};
use crate::resolve::Resolution;

/// The body of `GET /v1/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The resource.
    pub resource_id: String,
    /// Its kind.
    pub kind: String,
    /// The run, when one was asked for.
    pub run_id: Option<String>,
    /// The version of the snapshot.
    pub snapshot_version: u64,
    /// The profile, or why there is none.
    pub profile: ProfileExplained,
    /// Every variable, by name.
    pub variables: Vec<VariableExplained>,
    /// What took no part.
    pub ignored: Vec<IgnoredEntry>,
    /// The working directory; absent when the image's is kept.
    pub cwd: Option<CwdExplained>,
    /// The command.
    pub command: CommandExplained,
}

/// Which profile applies and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileExplained {
    /// Its id; absent when none applies.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its harness.
    pub runtime: Option<String>,
    /// Why this one, or why none.
    pub reason: String,
}

/// One variable: who won and what it overrode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableExplained {
    /// Its name.
    pub name: String,
    /// What may be shown of its value.
    pub preview: String,
    /// The winning layer.
    pub layer: String,
    /// The record it comes from.
    pub source_id: String,
    /// `file` or `fd`, where it does not go into the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// What it overrode, the strongest first.
    pub overrode: Vec<Overridden>,
}

/// An entry that lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overridden {
    /// Its layer.
    pub layer: String,
    /// Its record.
    pub source_id: String,
    /// What may be shown of its value.
    pub preview: String,
    /// Why it lost.
    pub why: String,
}

/// An entry that took no part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IgnoredEntry {
    /// The name it would have set.
    pub name: String,
    /// Its layer.
    pub layer: String,
    /// Its record.
    pub source_id: String,
    /// Why it took no part.
    pub why: String,
}

/// The working directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CwdExplained {
    /// The path, or its preview when it comes from an encrypted variable.
    pub path: String,
    /// `run.cwd`, `env` or `--env`.
    pub source: String,
}

/// The command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandExplained {
    /// The argument vector; `["***"]` when it comes from an encrypted variable.
    pub argv: Option<Vec<String>>,
    /// Who said it.
    pub source: Option<String>,
    /// Why there is none.
    pub error: Option<ErrorDetail>,
}

impl Resolution {
    /// Whose resolution it is.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The run it is for, if it is for one.
    #[must_use]
    pub fn run_id(&self) -> Option<&RunId> {
        self.run_id.as_ref()
    }

    /// Where each variable comes from: its name, the winning layer and that layer's record. All of them
    /// but the one that tells the snapshot's version.
    pub fn origins(&self) -> impl Iterator<Item = (&EnvName, impl fmt::Display, &str)> {
        self.merged.histories().map(|(name, winner, _)| (name, winner.layer, winner.source.as_str()))
    }

    /// Explains the resolution, redacted.
    #[must_use]
    pub fn explain(&self, snapshot_version: u64) -> Explanation {
        let mut variables: Vec<VariableExplained> = self
            .merged
            .histories()
            .map(|(name, winner, overridden)| VariableExplained {
                name: name.to_string(),
                preview: preview(winner),
                layer: winner.layer.to_string(),
                source_id: winner.source.clone(),
                delivery: (!winner.deliver.is_env()).then(|| winner.deliver.to_string()),
                overrode: overridden.iter().rev().map(|entry| lost(entry, winner)).collect(),
            })
            .collect();
        variables.push(VariableExplained {
            name: VERSION_NAME.to_owned(),
            preview: snapshot_version.to_string(),
            layer: Layer::Platform.to_string(),
            source_id: "platform".to_owned(),
            delivery: None,
            overrode: Vec::new(),
        });
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        let ignored = self.merged.ignored().iter().map(|entry| IgnoredEntry {
            name: entry.name.to_string(),
            layer: entry.layer.to_string(),
            source_id: entry.source.clone(),
            why: entry.why.to_owned(),
        });
        Explanation {
            resource_id: self.resource.id.to_string(),
            kind: self.resource.kind.to_string(),
            run_id: self.run_id.as_ref().map(ToString::to_string),
            snapshot_version,
            profile: self.explain_profile(),
            variables,
            ignored: ignored.collect(),
            cwd: self.explain_cwd(),
            command: self.explain_command(),
        }
    }

    fn explain_profile(&self) -> ProfileExplained {
        let profile = self.profile.as_ref();
        ProfileExplained {
            id: profile.map(|profile| profile.id.to_string()),
            name: profile.map(|profile| profile.name.clone()),
            runtime: profile.map(|profile| profile.runtime.to_string()),
            reason: self.profile_reason.to_owned(),
        }
    }

    fn explain_cwd(&self) -> Option<CwdExplained> {
        let cwd = self.launch.cwd.as_ref()?;
        let shown = self.says_openly(cwd.source.as_str(), CWD_NAME);
        let path = if shown { cwd.path.expose().to_owned() } else { cwd.path.preview() };
        Some(CwdExplained { path, source: cwd.source.as_str().to_owned() })
    }

    fn explain_command(&self) -> CommandExplained {
        match &self.launch.command {
            Ok(Command { argv, source }) => {
                let shown = *source != CommandSource::Env || self.says_openly(source.as_str(), COMMAND_NAME);
                let argv = if shown { argv.clone() } else { vec!["***".to_owned()] };
                CommandExplained { argv: Some(argv), source: Some(source.as_str().to_owned()), error: None }
            }
            Err(error) => {
                let error = ErrorDetail {
                    code: error.code.to_owned(),
                    message: error.message.clone(),
                    details: None,
                };
                CommandExplained { argv: None, source: None, error: Some(error) }
            }
        }
    }

    /// Whether something said by `source` is no secret: profile env is non-secret by definition,
    /// every other variable is encrypted.
    fn says_openly(&self, source: &str, name: &str) -> bool {
        source != "env" || self.merged.winner(name).is_none_or(|entry| entry.layer == Layer::Profile)
    }
}

impl Explanation {
    /// Puts a variable of the shim's own command line on top, with what it changes about the start.
    pub fn add_command_line(&mut self, name: &EnvName, value: &SecretValue) {
        let by_a_run = self.command.source.as_deref().is_some_and(|source| source.starts_with("run."));
        let source = COMMAND_LINE.to_owned();
        match name.as_str() {
            _ if value.expose().is_empty() => {}
            CWD_NAME => self.cwd = Some(CwdExplained { path: value.preview(), source }),
            COMMAND_NAME if !by_a_run => {
                let argv = Some(vec!["***".to_owned()]);
                self.command = CommandExplained { argv, source: Some(source), error: None };
            }
            _ => {}
        }
        let top = |overrode| VariableExplained {
            name: name.to_string(),
            preview: value.preview(),
            layer: COMMAND_LINE.to_owned(),
            source_id: "-".to_owned(),
            delivery: None,
            overrode,
        };
        match self.variables.binary_search_by(|variable| variable.name.as_str().cmp(name.as_str())) {
            Ok(position) => {
                if let Some(variable) = self.variables.get_mut(position) {
                    let former = Overridden {
                        layer: variable.layer.clone(),
                        source_id: variable.source_id.clone(),
                        preview: variable.preview.clone(),
                        why: below(&variable.layer, COMMAND_LINE),
                    };
                    let mut overrode = vec![former];
                    overrode.append(&mut variable.overrode);
                    *variable = top(overrode);
                }
            }
            Err(position) => self.variables.insert(position, top(Vec::new())),
        }
    }
}

fn preview(entry: &Entry) -> String {
    match entry.layer {
        // Ids and words of the platform's own, shown so that a person can read them.
        Layer::Platform => entry.value.expose().to_owned(),
        Layer::Catalog
        | Layer::Profile
        | Layer::Tenant(_)
        | Layer::Workspace(_)
        | Layer::Project(_)
        | Layer::Resource
        | Layer::Run => entry.value.preview(),
    }
}

fn lost(entry: &Entry, winner: &Entry) -> Overridden {
    let why = if entry.layer == winner.layer {
        format!("of the same layer: {} comes later in it", winner.source)
    } else if winner.layer == Layer::Platform {
        "the name is the platform's own".to_owned()
    } else {
        below(&entry.layer.to_string(), &winner.layer.to_string())
    };
    Overridden {
        layer: entry.layer.to_string(),
        source_id: entry.source.clone(),
        preview: preview(entry),
        why,
    }
}

fn below(layer: &str, winner: &str) -> String {
    format!("less specific: {layer} is below {winner}")
}

const COMMAND_LINE: &str = "--env";
const VERSION_NAME: &str = "MIOSA_SNAPSHOT_VERSION";
