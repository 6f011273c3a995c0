//! How data travels from a publisher to one host: bytes in, verified bytes out.
//!
//! An update is signed and sealed end to end, so the way it takes (stream, file, socket, object
//! store) needs no trust. This crate owns everything cryptographic on that way:
//!
//! - [`seal()`] makes an update, [`open()`] verifies one and is the only maker of [`Verified`];
//! - [`Trust`] says who may sign, and how that changes;
//! - [`judge()`] says what may follow what a host already holds.
//!
//! Deliberately absent: I/O, clocks (time is an argument, in Unix milliseconds), and any idea of
//! what the payload means. To this crate it is one opaque JSON object.
//!
//! The format is described byte for byte in `docs/snapshot-format.md`. Each check carries the same
//! number there, above the function that makes it, and in the docs of the error it ends in.

mod base64;
mod digest;
mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod host;
mod json;
mod judge;
mod numbers;
mod open;
mod randomness;
mod seal;
mod sealing;
mod signing;
mod stack;
mod statement;
mod trust;
#[cfg(test)]
mod world;

pub use digest::{Digest, DigestError};
pub use envelope::EnvelopeError;
pub use host::{HostId, HostIdError, HostIdentity, HostKeyError, HostPrivateKey, HostPublicKey};
pub use judge::{Floor, FloorCheck, Held, Refusal, Unsettled, Verdict, judge};
pub use numbers::MAX_NUMBER;
pub use open::{Admission, MAX_CLOCK_LEAD_MS, OpenError, Verified, open};
pub use randomness::NoRandomness;
pub use seal::{Draft, SealError, seal};
pub use sealing::{ContentKey, OpenedKeys};
pub use signing::{KeyError, KeyId, SigningKey, VerifyingKey};
pub use statement::{Age, Kind, Statement, StatementError, Times};
pub use trust::{
    DocumentError, MAX_ROOTS, MAX_SIGNERS, MAX_TRUST_BYTES, OutOfScope, Proposal, Signer, Trust,
    TrustDocument, TrustError,
};

/// The largest update envelope that is made or opened, in bytes: 16 MiB.
pub const MAX_ENVELOPE_BYTES: usize = 16 * 1024 * 1024;

/// The most signatures that an envelope may carry. A trust document needs up to two thresholds of
/// them (its own and its predecessor's); an update carries exactly one.
pub const MAX_SIGNATURES: usize = 32;

/// The DSSE payload type of an update. It names the cipher suite, so that another one can follow.
pub const UPDATE_PAYLOAD_TYPE: &str = "application/vnd.miosa.update.v1+hpke-x25519-aes256gcm";

/// The DSSE payload type of a trust document.
pub const TRUST_PAYLOAD_TYPE: &str = "application/vnd.miosa.trust.v1+json";
