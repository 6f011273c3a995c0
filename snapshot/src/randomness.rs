//! Fresh random bytes from the operating system, through ring.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot get random bytes from the operating system")]
pub struct NoRandomness;

/// Thirty-two fresh bytes, wiped on drop since most of them become keys.
pub(crate) fn fresh32() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    // ring's error says nothing more than that it failed.
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|ring::error::Unspecified| NoRandomness)?;
    Ok(bytes)
}
