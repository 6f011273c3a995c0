//! Updates: what a statement says, and the envelope around it. Every part can be chosen.

use super::dsse::{Envelope, UPDATE};
use super::keys::{HOST_1, HostKey, Key, SIGNER_1, sha256};
use super::records::{self, Change};
use super::seal::{Body, Seal};

/// The time at which everything is issued and offered unless a case is about time: 2026-01-01T00:00:00Z.
pub(super) const T0: u64 = 1_767_225_600_000;
pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
/// The largest number, which as a time means never.
pub(super) const NEVER: u64 = 9_007_199_254_740_991;

/// An update that is still to be sealed.
#[derive(Clone)]
pub(super) struct Update {
    host_id: String,
    host: HostKey,
    signer: Key,
    epoch: u64,
    version: u64,
    kind: &'static str,
    /// The version and the digest that it is on top of.
    base: Option<(u64, String)>,
    issued_at: u64,
    expires_at: u64,
    serve_until: u64,
    payload: String,
}

/// Something to offer: the bytes, and the statement in it where it may be accepted.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) bytes: Vec<u8>,
    pub(super) statement: Option<String>,
}

impl Update {
    /// A full update of this version for the host under test, by signer 1, that never ages.
    pub(super) fn full(version: u64, state: &Change) -> Self {
        Self {
            host_id: "host_1".to_owned(),
            host: HOST_1,
            signer: SIGNER_1,
            epoch: 1,
            version,
            kind: "full",
            base: None,
            issued_at: T0,
            expires_at: NEVER,
            serve_until: NEVER,
            payload: state.text(),
        }
    }

    /// The change that leads from this one to a later version.
    pub(super) fn then(&self, version: u64, change: &Change) -> Self {
        Self { version, kind: "incremental", payload: change.text(), ..self.clone() }.on(self)
    }

    /// Newer times for the state that this one made.
    pub(super) fn beat(&self) -> Self {
        let beat = Self { kind: "heartbeat", payload: "{}".to_owned(), ..self.clone() };
        beat.on(self).issued(self.issued_at + 1)
    }

    /// On top of what `base` made, whatever this is.
    pub(super) fn on(self, base: &Self) -> Self {
        self.claims_base(base.version, &base.digest())
    }

    /// On top of this version and digest, whatever is true.
    pub(super) fn claims_base(mut self, version: u64, digest: &str) -> Self {
        self.base = Some((version, digest.to_owned()));
        self
    }

    pub(super) fn by(mut self, signer: Key) -> Self {
        self.signer = signer;
        self
    }

    pub(super) fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    pub(super) fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    pub(super) fn issued(mut self, at: u64) -> Self {
        self.issued_at = at;
        self
    }

    pub(super) fn expires(mut self, at: u64) -> Self {
        self.expires_at = at;
        self
    }

    pub(super) fn served_until(mut self, at: u64) -> Self {
        self.serve_until = at;
        self
    }

    /// With a payload of any text.
    pub(super) fn carrying(mut self, payload: &str) -> Self {
        payload.clone_into(&mut self.payload);
        self
    }

    /// For a host of this id.
    pub(super) fn to(mut self, host_id: &str) -> Self {
        host_id.clone_into(&mut self.host_id);
        self
    }

    /// Sealed to this key.
    pub(super) fn sealed_to(mut self, host: HostKey) -> Self {
        self.host = host;
        self
    }

    /// The statement.
    pub(super) fn text(&self) -> String {
        let Self { host_id, epoch, version, kind, issued_at, expires_at, serve_until, payload, .. } = self;
        let (from, prev) = match &self.base {
            Some((from, prev)) => (from.to_string(), format!("\"{prev}\"")),
            None => ("null".to_owned(), "null".to_owned()),
        };
        let signer = self.signer.id();
        [
            format!(r#"{{"format":1,"host_id":"{host_id}","signer":"{signer}","epoch":{epoch},"#),
            format!(r#""version":{version},"kind":"{kind}","from":{from},"prev":{prev},"#),
            format!(r#""issued_at":{issued_at},"expires_at":{expires_at},"serve_until":{serve_until},"#),
            format!(r#""payload":{payload}}}"#),
        ]
        .concat()
    }

    /// How a statement of this update is sealed.
    pub(super) fn sealing(&self, text: &[u8]) -> Seal {
        Seal::to(&self.host_id, self.host, text)
    }

    pub(super) fn body(&self) -> Body {
        let text = self.text().into_bytes();
        self.sealing(&text).seal(&text)
    }

    pub(super) fn envelope(&self) -> Envelope {
        self.around(&self.body().bytes())
    }

    /// The envelope of another body, properly signed.
    pub(super) fn around(&self, body: &[u8]) -> Envelope {
        Envelope::signed(UPDATE, body, &[self.signer])
    }

    /// Properly sealed and signed, with any text in the place of the statement.
    pub(super) fn saying(&self, text: impl AsRef<[u8]>) -> Offer {
        let text = text.as_ref();
        let body = self.sealing(text).seal(text).bytes();
        Offer { bytes: self.around(&body).bytes(), statement: String::from_utf8(text.to_vec()).ok() }
    }

    /// The same with one replacement in the statement.
    pub(super) fn but(&self, from: &str, to: &str) -> Offer {
        let text = self.text();
        assert!(text.contains(from), "{from} is not in {text}");
        self.saying(text.replacen(from, to, 1))
    }

    /// The same state in other bytes: sealed with another salt.
    pub(super) fn sealed_again(&self) -> Offer {
        let text = self.text();
        let mut seal = self.sealing(text.as_bytes());
        seal.salt[0] ^= 1;
        let body = seal.seal(text.as_bytes()).bytes();
        Offer { bytes: self.around(&body).bytes(), statement: Some(text) }
    }

    pub(super) fn digest(&self) -> String {
        sha256(&self.envelope().bytes())
    }

    pub(super) fn offer(&self) -> Offer {
        Offer { bytes: self.envelope().bytes(), statement: Some(self.text()) }
    }
}

impl From<&Update> for Offer {
    fn from(update: &Update) -> Self {
        update.offer()
    }
}

impl From<Update> for Offer {
    fn from(update: Update) -> Self {
        update.offer()
    }
}

impl From<Vec<u8>> for Offer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, statement: None }
    }
}

impl From<String> for Offer {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Envelope> for Offer {
    fn from(envelope: Envelope) -> Self {
        envelope.bytes().into()
    }
}

/// The update that most cases start from.
pub(super) fn first() -> Update {
    Update::full(1, &records::one())
}

/// The same with a value of such a length that the base64 of its body ends in padding.
pub(super) fn valued_to_pad() -> Update {
    let mut updates = (0..3).map(|length| Update::full(1, &records::valued(&"x".repeat(length))));
    updates.find(|update| update.envelope().payload.ends_with('=')).expect("one of three")
}
