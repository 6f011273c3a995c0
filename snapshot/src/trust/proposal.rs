//! A trust document on its way to being signed: drafted on one machine, looked at and signed on
//! others. Nothing is trusted for having been read here; [`Trust`](super::Trust) alone says what is.

use crate::{
    TRUST_PAYLOAD_TYPE,
    envelope::{Envelope, EnvelopeError, pae},
    signing::{SigningKey, VerifyingKey},
};

use super::{SHAPE, TrustDocument, TrustError, add_signature, finish};

/// A document that root keys are asked to sign.
///
/// Until one has, its file is the document itself, as JSON for people to read; from then on it is the
/// envelope, which is finished when enough of them have.
pub struct Proposal {
    document: TrustDocument,
    envelope: Option<Envelope>,
}

impl Proposal {
    /// Proposes a document. An error if it breaks a rule that holds within one document.
    pub fn new(document: TrustDocument) -> Result<Self, TrustError> {
        document.write().map_err(TrustError::Document)?;
        Ok(Self { document, envelope: None })
    }

    /// Reads what [`Proposal::write`] wrote, or any envelope of a trust document.
    pub fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = match Envelope::read(bytes, &SHAPE) {
            Ok(envelope) => Some(envelope),
            Err(EnvelopeError::Malformed { .. }) => None,
            Err(error) => return Err(TrustError::Envelope(error)),
        };
        let text = envelope.as_ref().map_or(bytes, |envelope| &envelope.payload);
        let document = TrustDocument::read(text).map_err(TrustError::Document)?;
        Ok(Self { document, envelope })
    }

    /// What it says.
    pub fn document(&self) -> &TrustDocument {
        &self.document
    }

    /// Whether this key has signed it.
    pub fn is_signed_by(&self, root: &VerifyingKey) -> bool {
        let Some(envelope) = &self.envelope else { return false };
        envelope.is_signed_by(root, &pae(TRUST_PAYLOAD_TYPE, &envelope.payload))
    }

    /// How many of these keys have signed it. They must be distinct.
    pub fn count_signed(&self, roots: &[VerifyingKey]) -> u32 {
        self.envelope.as_ref().map_or(0, |envelope| {
            super::count_signed(roots, envelope, &pae(TRUST_PAYLOAD_TYPE, &envelope.payload))
        })
    }

    /// Adds the signature of a root key, in place of a former one of the same key.
    pub fn sign(&mut self, root: &SigningKey) -> Result<(), TrustError> {
        let mut envelope = match self.envelope.take() {
            Some(envelope) => envelope,
            None => Envelope {
                payload: self.document.write().map_err(TrustError::Document)?,
                signatures: Vec::new(),
            },
        };
        add_signature(&mut envelope, root);
        self.envelope = Some(envelope);
        Ok(())
    }

    /// Its file: the envelope, without a line end, or the document while nobody has signed it.
    pub fn write(&self) -> Result<Vec<u8>, TrustError> {
        match &self.envelope {
            Some(envelope) => finish(envelope),
            None => self.document.write_for_people().map_err(TrustError::Document),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Trust, world::signing_key};

    #[test]
    fn a_draft_is_read_by_people_and_becomes_an_envelope_with_its_first_signature() {
        let (one, other, stranger) = (signing_key(), signing_key(), signing_key());
        let roots = vec![one.public(), other.public()];
        let document = TrustDocument {
            version: 1,
            epoch: 1,
            threshold: 2,
            roots: roots.clone(),
            signers: Vec::new(),
            expires_at: 9,
        };
        let draft = Proposal::new(document.clone()).unwrap().write().unwrap();
        assert!(String::from_utf8(draft.clone()).unwrap().contains("\n  \"threshold\": 2,\n"));
        let mut proposal = Proposal::read(&draft).unwrap();
        assert_eq!((proposal.document(), proposal.count_signed(&roots)), (&document, 0));
        for (count, root) in [(1, &one), (2, &other), (2, &one), (2, &stranger)] {
            proposal.sign(root).unwrap();
            proposal = Proposal::read(&proposal.write().unwrap()).unwrap();
            assert_eq!(proposal.count_signed(&roots), count);
            assert!(proposal.is_signed_by(&root.public()));
        }
        let finished = proposal.write().unwrap();
        assert_eq!(Trust::pin(&finished, &Digest::of(&finished)).unwrap().document(), &document);
    }

    #[test]
    fn what_no_host_would_read_is_not_proposed() {
        let document = TrustDocument {
            version: 1,
            epoch: 1,
            threshold: 1,
            roots: Vec::new(),
            signers: Vec::new(),
            expires_at: 9,
        };
        assert_eq!(Proposal::new(document).err().map(|error| error.name()), Some("malformed_trust"));
        assert_eq!(Proposal::read(b"{}").err().map(|error| error.name()), Some("malformed_trust"));
    }
}
