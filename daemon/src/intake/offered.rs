//! What is offered to the intake, and by which door it came. None of this is believed: it decides how
//! an offer is told of, never whether it is accepted.

use miosa_snapshot::{TRUST_PAYLOAD_TYPE, UPDATE_PAYLOAD_TYPE};
use serde::Deserialize;

/// Bytes from outside.
pub(crate) enum Offer {
    /// Claimed to be an update.
    Update(Vec<u8>),
    /// Claimed to be a trust document.
    Trust(Vec<u8>),
}

/// What an envelope says that it is. Only a hint: whichever it is, the whole of it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Update,
    Trust,
}

/// The door that an offer came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The intake socket.
    Socket,
    /// The drop directory, under this name.
    Drop(String),
}

/// Which refusals are told: logged, counted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    Always,
    /// Not one that the next offer may make good, for who will try again.
    UnlessItMayFitLater,
}

/// What an envelope says that it is. None: it is no envelope of ours, or half of one.
pub(crate) fn claimed(bytes: &[u8]) -> Option<Claim> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "payloadType", borrow)]
        payload_type: std::borrow::Cow<'a, str>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).ok()?;
    match envelope.payload_type.as_ref() {
        UPDATE_PAYLOAD_TYPE => Some(Claim::Update),
        TRUST_PAYLOAD_TYPE => Some(Claim::Trust),
        _ => None,
    }
}

impl Origin {
    /// The door's name.
    pub(crate) fn door(&self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Drop(_) => "drop",
        }
    }

    /// The name of the file, where there is one.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::Socket => None,
            Self::Drop(file) => Some(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_claims_its_type_and_half_of_one_claims_nothing() {
        let update =
            format!("{{\"payload\":\"\",\"payloadType\":\"{UPDATE_PAYLOAD_TYPE}\",\"signatures\":[]}}");
        assert_eq!(claimed(update.as_bytes()), Some(Claim::Update));
        assert_eq!(claimed(update.replace("update", "trust").as_bytes()), None);
        let trust = format!("{{\"payloadType\":\"{TRUST_PAYLOAD_TYPE}\"}}");
        assert_eq!(claimed(trust.as_bytes()), Some(Claim::Trust));
        for length in 0..update.len() {
            assert_eq!(claimed(&update.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(claimed(b"\xff\xfe"), None);
    }
}
