//! Bearer secrets (API keys, join tokens, host tokens) and generated ids: how they look, how they
//! are made, and the hash by which a secret is stored and found again.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The kinds of bearer secret, told apart by their prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A key of the tenant API.
    Tenant,
    /// A key of the platform API.
    Platform,
    /// What a host enrolls with, once.
    Join,
    /// What an enrolled host authenticates with.
    Host,
}

/// A bearer secret in plain: prefix and 43 base64url characters of 32 random bytes. Wiped on drop.
pub(crate) struct Token(Zeroizing<String>);

/// SHA-256 of a bearer secret. The secret has 256 random bits, so that a plain hash can't be
/// searched, and looking the hash up by index compares nothing an attacker could time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenHash([u8; 32]);

/// The operating system's random generator failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot get random bytes from the operating system")]
pub(crate) struct NoRandomness;

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Tenant => "msk_live_",
            Self::Platform => "mpk_live_",
            Self::Join => "mjt_",
            Self::Host => "mht_",
        }
    }

    /// The hash of a presented secret, or `None` when it does not even look like one of this kind.
    pub(crate) fn hash_of(self, presented: &str) -> Option<TokenHash> {
        let random = presented.strip_prefix(self.prefix())?;
        let well_formed = random.len() == RANDOM_CHARS
            && random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        well_formed.then(|| TokenHash::of(presented))
    }
}

impl Token {
    /// Makes a new secret.
    pub(crate) fn generate(kind: TokenKind) -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0_u8; 32]);
        fill_random(random.as_mut_slice())?;
        let mut text = Zeroizing::new(String::with_capacity(RANDOM_CHARS.saturating_add(16)));
        text.push_str(kind.prefix());
        BASE64URL_NOPAD.encode_append(random.as_slice(), &mut text);
        Ok(Self(text))
    }

    /// The secret in plain, to be handed to its owner once.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl TokenHash {
    fn of(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }

    /// The hash as stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A new id: the prefix and 20 lower-case base32 characters (100 random bits).
pub(crate) fn generate_id(prefix: &str) -> Result<String, NoRandomness> {
    let mut random = [0_u8; 15];
    fill_random(&mut random)?;
    let mut id = String::with_capacity(prefix.len().saturating_add(24));
    id.push_str(prefix);
    base32_lower().encode_append(&random, &mut id);
    id.truncate(prefix.len().saturating_add(ID_CHARS));
    Ok(id)
}

/// Fills a buffer from the operating system's generator.
pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(buffer).map_err(|ring::error::Unspecified| NoRandomness)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0_u8; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn base32_lower() -> &'static Encoding {
    static ENCODING: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        #[expect(clippy::expect_used, reason = "32 distinct symbols are a valid specification")]
        spec.encoding().expect("a base32 alphabet is valid")
    });
    &ENCODING
}

const RANDOM_CHARS: usize = 43;
const ID_CHARS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_again_by_its_hash_and_by_its_kind_only() {
        let token = Token::generate(TokenKind::Tenant).unwrap();
        assert_eq!(TokenKind::Tenant.hash_of(token.expose()), Some(token.hash()));
        assert_eq!(TokenKind::Platform.hash_of(token.expose()), None);
        assert_eq!(token.expose().len(), "msk_live_".len() + 43);
    }

    #[test]
    fn what_does_not_look_like_a_token_has_no_hash() {
        for bad in ["", "msk_live_", "msk_live_short", &format!("msk_live_{}", "é".repeat(22))] {
            assert_eq!(TokenKind::Tenant.hash_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        assert_eq!(format!("{:?}", Token::generate(TokenKind::Join).unwrap()), "***");
    }

    #[test]
    fn ids_have_their_prefix_and_twenty_lower_case_characters() {
        let id = generate_id("env_").unwrap();
        assert_eq!(id.len(), 24);
        assert!(id.bytes().skip(4).all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)), "{id}");
    }
}
