//! The trust document itself: its JSON form and the rules that hold within one document.

use serde::{Deserialize, Serialize};

use crate::{
    host::is_id,
    json::{list, nullable, objects, read_object},
    numbers::MAX_NUMBER,
    signing::VerifyingKey,
};

/// Who may sign, from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDocument {
    /// Starts at 1; each version is followed by the next.
    pub version: u64,
    /// The highest epoch that updates may have. Raised when a control plane was restored from a
    /// backup, never lowered.
    pub epoch: u64,
    /// How many of `roots` it takes to sign this document and its successor; at least 1.
    pub threshold: u32,
    /// The root keys: distinct, at most [`MAX_ROOTS`].
    pub roots: Vec<VerifyingKey>,
    /// The keys that sign updates: distinct, at most [`MAX_SIGNERS`].
    pub signers: Vec<Signer>,
    /// Past this no new update is accepted under it, in Unix milliseconds.
    pub expires_at: u64,
}

/// A key that may sign updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// The key.
    pub key: VerifyingKey,
    /// Past this nothing that it signs is accepted, in Unix milliseconds.
    pub expires_at: u64,
    /// The ids of the tenants that it may speak for; `None` for all of them.
    #[serde(deserialize_with = "nullable")]
    pub tenants: Option<Vec<String>>,
}

/// P6: the signer may not speak for a tenant whose records the update sets, keeps or takes away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer of the update may not speak for tenant {tenant}")]
pub struct OutOfScope {
    /// The first such tenant.
    pub tenant: String,
}

/// Why bytes are no trust document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not exactly one JSON object with exactly the known members, each of its type, and with no more
    /// roots and signers than allowed.
    #[error("the trust document is not of the documented form at line {line}, column {column}")]
    Json {
        /// Where reading stopped, counted from 1.
        line: usize,
        /// Where in that line, counted from 1.
        column: usize,
    },
    /// `format` is not 1.
    #[error("the trust document is of a format that this version does not know")]
    Format,
    /// A number above 2^53 − 1, or version 0.
    #[error("a number of the trust document is out of range")]
    Number,
    /// A threshold of 0, or above the number of roots.
    #[error("the threshold of the trust document is not between 1 and the number of its roots")]
    Threshold,
    /// A root listed twice, or (when writing) more than [`MAX_ROOTS`] of them.
    #[error("the roots of the trust document are not distinct, or more than {MAX_ROOTS}")]
    Roots,
    /// A signer listed twice, or (when writing) more than [`MAX_SIGNERS`] of them.
    #[error("the signers of the trust document are not distinct, or more than {MAX_SIGNERS}")]
    Signers,
    /// A tenant that is no id.
    #[error("a tenant of a signer of the trust document is no id")]
    Tenant,
}

/// The most root keys of one document.
pub const MAX_ROOTS: usize = 16;

/// The most signers of one document.
pub const MAX_SIGNERS: usize = 64;

impl Signer {
    // P6. The signer may speak for every tenant of the state before and of the state after the update.
    //     An update speaks for all of a state, not for what it changes alone: it sets its times.
    /// Refuses tenants that this signer may not speak for. Which tenants a state is of is known only
    /// to who knows the payload; they are not looked at if the signer speaks for all.
    pub fn check_tenants<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) -> Result<(), OutOfScope> {
        let Some(listed) = &self.tenants else { return Ok(()) };
        match tenants.into_iter().find(|tenant| !listed.iter().any(|known| known == tenant)) {
            Some(tenant) => Err(OutOfScope { tenant: tenant.to_owned() }),
            None => Ok(()),
        }
    }
}

impl OutOfScope {
    /// The number of the check in `docs/snapshot-format.md`.
    pub fn check(&self) -> &'static str {
        "P6"
    }

    /// The stable name of this refusal.
    pub fn name(&self) -> &'static str {
        "signer_scope"
    }
}

impl TrustDocument {
    pub(crate) fn write(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(&self.wire()?).map_err(json_error)
    }

    /// The same, spread over lines.
    pub(crate) fn write_for_people(&self) -> Result<Vec<u8>, DocumentError> {
        let mut text = serde_json::to_vec_pretty(&self.wire()?).map_err(json_error)?;
        text.push(b'\n');
        Ok(text)
    }

    fn wire(&self) -> Result<Wire, DocumentError> {
        self.check()?;
        let Self { version, epoch, threshold, roots, signers, expires_at } = self.clone();
        Ok(Wire { format: FORMAT, version, epoch, threshold, roots, signers, expires_at })
    }

    pub(crate) fn read(text: &[u8]) -> Result<Self, DocumentError> {
        let wire = read_object(text).map_err(json_error)?;
        let Wire { format, version, epoch, threshold, roots, signers, expires_at } = wire;
        if format != FORMAT {
            return Err(DocumentError::Format);
        }
        let document = Self { version, epoch, threshold, roots, signers, expires_at };
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<(), DocumentError> {
        self.check_numbers()?;
        self.check_roots()?;
        self.check_signers()
    }

    fn check_numbers(&self) -> Result<(), DocumentError> {
        let times = self.signers.iter().map(|signer| signer.expires_at);
        let mut numbers = times.chain([self.version, self.epoch, self.expires_at]);
        if self.version == 0 || numbers.any(|number| number > MAX_NUMBER) {
            return Err(DocumentError::Number);
        }
        Ok(())
    }

    fn check_roots(&self) -> Result<(), DocumentError> {
        if self.roots.len() > MAX_ROOTS || !are_distinct(self.roots.iter()) {
            return Err(DocumentError::Roots);
        }
        let reachable = usize::try_from(self.threshold).is_ok_and(|threshold| threshold <= self.roots.len());
        if self.threshold == 0 || !reachable {
            return Err(DocumentError::Threshold);
        }
        Ok(())
    }

    fn check_signers(&self) -> Result<(), DocumentError> {
        if self.signers.len() > MAX_SIGNERS || !are_distinct(self.signers.iter().map(|signer| &signer.key)) {
            return Err(DocumentError::Signers);
        }
        let mut tenants = self.signers.iter().filter_map(|signer| signer.tenants.as_ref()).flatten();
        if tenants.any(|tenant| !is_id(tenant)) {
            return Err(DocumentError::Tenant);
        }
        Ok(())
    }
}

/// The members in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u64,
    version: u64,
    epoch: u64,
    threshold: u32,
    #[serde(deserialize_with = "list::<_, _, MAX_ROOTS>")]
    roots: Vec<VerifyingKey>,
    #[serde(deserialize_with = "objects::<_, _, MAX_SIGNERS>")]
    signers: Vec<Signer>,
    expires_at: u64,
}

fn are_distinct<'a>(keys: impl Iterator<Item = &'a VerifyingKey>) -> bool {
    let mut keys: Vec<_> = keys.collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() == count
}

#[expect(clippy::needless_pass_by_value, reason = "it is used with map_err")]
fn json_error(error: serde_json::Error) -> DocumentError {
    DocumentError::Json { line: error.line(), column: error.column() }
}

const FORMAT: u64 = 1;
