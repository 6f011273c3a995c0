//! Making an update: statement, seal, signature, envelope, in this order.

use crate::{
    MAX_ENVELOPE_BYTES, UPDATE_PAYLOAD_TYPE,
    envelope::{Envelope, Signature, pae},
    randomness::NoRandomness,
    sealing::ContentKey,
    signing::SigningKey,
    statement::{Kind, Statement, StatementError, Times},
};

/// What a publisher decides about an update. Host and signer follow from the keys it is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The lineage of versions, at most the epoch of the trust document.
    pub epoch: u64,
    /// The version of the state that the host has after accepting it.
    pub version: u64,
    /// What it carries, and on top of what.
    pub kind: Kind,
    /// Its three times.
    pub times: Times,
}

/// Why an update could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There were no random bytes.
    #[error("cannot make the keys of an update")]
    Randomness(#[source] NoRandomness),
    /// The draft or the payload breaks a rule that every host checks.
    #[error("cannot state an update that no host would accept")]
    Statement(#[source] StatementError),
    /// The finished envelope would be over [`MAX_ENVELOPE_BYTES`].
    #[error("an update of {size} bytes is over the limit of {limit}")]
    Oversize {
        /// The bytes that it would have.
        size: usize,
        /// The bytes allowed.
        limit: usize,
    },
    /// A cipher refused its input.
    #[error("cannot encrypt an update")]
    Encryption,
}

/// Makes an update. `payload` is one JSON object, `{}` for a heartbeat.
///
/// The result is the envelope: one line of text without its line end. Its digest is what a later
/// incremental update or heartbeat names in `prev`.
pub fn seal(
    draft: &Draft,
    payload: &[u8],
    key: &ContentKey,
    signer: &SigningKey,
) -> Result<Vec<u8>, SealError> {
    let statement = Statement {
        host_id: key.host_id().clone(),
        signer: signer.key_id(),
        epoch: draft.epoch,
        version: draft.version,
        kind: draft.kind,
        times: draft.times,
    };
    let text = statement.write(payload).map_err(SealError::Statement)?;
    let body = key.encrypt(&text)?;
    let signature = signer.sign(&pae(UPDATE_PAYLOAD_TYPE, &body));
    let signatures = vec![Signature { key_id: signer.key_id(), bytes: signature }];
    let envelope = Envelope { payload: body, signatures }.write(UPDATE_PAYLOAD_TYPE);
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(SealError::Oversize { size: envelope.len(), limit: MAX_ENVELOPE_BYTES });
    }
    Ok(envelope)
}
