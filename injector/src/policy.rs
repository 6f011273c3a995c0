//! The policy in force: the profile's, with the run's word on approval in it.

use serde_json::Value;

use crate::launch::CommandError;
use crate::model::{Approval, Policy, Profile, Run};

/// The policy a harness is held to, and told. A run's `approval_policy` is a word, or an object whose
/// members replace the profile's; `None` when neither says anything.
pub(crate) fn in_force(profile: Option<&Profile>, run: Option<&Run>) -> Option<Policy> {
    let policy = profile.map(|profile| profile.policy.clone());
    let Some(said) = run.and_then(|run| run.approval_policy.as_ref()) else { return policy };
    let mut policy = policy.unwrap_or_default();
    let mut approval = said;
    if let Value::Object(members) = said {
        policy.extend(members.clone());
        // One that names no approval stands there itself, and is an error at launch: falling back to
        // the profile's could be looser than what was meant.
        approval = members.get(APPROVAL).filter(|named| !named.is_null()).unwrap_or(said);
    }
    policy.insert(APPROVAL.to_owned(), approval.clone());
    Some(policy)
}

/// The approval that a policy asks for.
pub(crate) fn approval(policy: Option<&Policy>) -> Result<Option<Approval>, CommandError> {
    let Some(named) = policy.and_then(|policy| policy.get(APPROVAL)).filter(|named| !named.is_null()) else {
        return Ok(None);
    };
    let known = named.as_str().and_then(Approval::from_word);
    known.map(Some).ok_or_else(|| {
        let word = named.as_str().map_or_else(|| named.to_string(), str::to_owned);
        CommandError {
            code: "approval_unknown",
            message: format!(
                "the policy asks for approval {:?}; known are never, auto, confirm-risky, always",
                excerpt(&word)
            ),
        }
    })
}

/// As much of a foreign word as an error repeats.
pub(crate) fn excerpt(word: &str) -> String {
    word.chars().take(EXCERPT_CHARS).collect()
}

const APPROVAL: &str = "approval";
const EXCERPT_CHARS: usize = 64;
