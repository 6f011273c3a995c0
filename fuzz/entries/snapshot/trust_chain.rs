//! A chain of trust documents: a holder of some keys offers documents, good and bad ones, in any order.

use std::sync::OnceLock;

use arbitrary::Unstructured;

use crate::{
    Digest, MAX_NUMBER, Signer, SigningKey, TRUST_PAYLOAD_TYPE, Trust,
    envelope::{Envelope, Signature, pae},
};

/// A document is followed exactly if it is the next version, a threshold of the held roots and one of
/// its own have signed it, and its epoch is not lower: TUF's root rule, read once more.
pub fn run(data: &[u8]) {
    let u = &mut Unstructured::new(data);
    let keys = keys();
    let mut held = Offer { roots: vec![0, 1, 2], threshold: 2, version: 1, epoch: 1, ..Offer::default() };
    held.signed_by = vec![0, 1];
    let first = held.bytes(keys);
    let mut trust = Trust::pin(&first, &Digest::of(&first)).expect("the pinned document");
    let mut seen = vec![(held.clone(), first)];

    for _ in 0..MAX_OFFERS {
        if u.is_empty() {
            break;
        }
        let offer = Offer::choose(u, &held);
        let bytes = offer.bytes(keys);
        check(&mut trust, &mut held, offer.clone(), &bytes);
        seen.push((offer, bytes));
        // Anything that was ever offered comes again, damaged and whole.
        let (offer, bytes) = seen[u.choose_index(seen.len()).unwrap_or(0)].clone();
        check_damaged(&trust, &bytes, u);
        check(&mut trust, &mut held, offer, &bytes);
    }
}

fn check(trust: &mut Trust, held: &mut Offer, offer: Offer, bytes: &[u8]) {
    let taken = trust.advance(bytes);
    if Digest::of(bytes) == trust.digest() {
        assert_eq!(taken.expect("the held document"), *trust);
        return;
    }
    assert_eq!(taken.is_ok(), offer.follows(held), "{taken:?} for {offer:?} on {held:?}");
    let Ok(next) = taken else { return };
    assert_eq!(next.version(), trust.version() + 1);
    assert!(next.epoch() >= trust.epoch());
    assert_eq!(next.digest(), Digest::of(bytes));
    *trust = next;
    *held = offer;
}

/// One byte of a document changed: nothing is followed that was not signed.
fn check_damaged(trust: &Trust, bytes: &[u8], u: &mut Unstructured<'_>) {
    let mut bytes = bytes.to_vec();
    let at = u.choose_index(bytes.len()).unwrap_or(0);
    let by = u.arbitrary::<u8>().unwrap_or(0);
    bytes[at] ^= by;
    if by == 0 {
        return;
    }
    if let Ok(next) = trust.advance(&bytes) {
        // Signatures beyond the thresholds, and those of strangers, may say anything.
        assert_eq!(next.version(), trust.version() + 1);
    }
}

/// What somebody offers.
#[derive(Clone, Debug, Default)]
struct Offer {
    version: u64,
    epoch: u64,
    threshold: u32,
    /// Into [`keys`].
    roots: Vec<usize>,
    signers: Vec<usize>,
    /// In this order; a key id may be listed twice.
    signed_by: Vec<usize>,
    /// Of these, how many carry a signature over something else.
    wrong: usize,
}

impl Offer {
    fn choose(u: &mut Unstructured<'_>, held: &Self) -> Self {
        let near = |number: u64, u: &mut Unstructured<'_>| match u.int_in_range(0..=7).unwrap_or(0) {
            0..=4 => number + 1,
            5 => number,
            6 => number.saturating_sub(1),
            _ => number + 2,
        };
        let signed_by = if u.ratio(1, 4).unwrap_or(false) { subset(u) } else { Vec::new() };
        let roots = if u.arbitrary().unwrap_or(false) { held.roots.clone() } else { subset(u) };
        let all = [held.roots.clone(), roots.clone()].concat();
        Self {
            version: near(held.version, u),
            epoch: u.choose(&[held.epoch, held.epoch, held.epoch + 1, 0, MAX_NUMBER]).copied().unwrap_or(1),
            threshold: u.int_in_range(0..=4).unwrap_or(1),
            signers: subset(u),
            signed_by: if signed_by.is_empty() { distinct(all) } else { signed_by },
            roots,
            wrong: if u.ratio(1, 4).unwrap_or(false) { u.int_in_range(0..=3).unwrap_or(0) } else { 0 },
        }
    }

    /// Written by hand: what the product would refuse to make is offered too.
    fn bytes(&self, keys: &[SigningKey]) -> Vec<u8> {
        let public = |index: &usize| keys[*index].public();
        let signer = |index: &usize| Signer { key: public(index), expires_at: 9, tenants: None };
        let Self { version, epoch, threshold, .. } = *self;
        let roots = serde_json::to_string(&self.roots.iter().map(public).collect::<Vec<_>>()).expect("JSON");
        let signers = self.signers.iter().map(signer).collect::<Vec<_>>();
        let signers = serde_json::to_string(&signers).expect("JSON");
        let payload = format!(
            r#"{{"format":1,"version":{version},"epoch":{epoch},"threshold":{threshold},"roots":{roots},"signers":{signers},"expires_at":9}}"#
        )
        .into_bytes();
        let message = pae(TRUST_PAYLOAD_TYPE, &payload);
        let signature = |(position, index): (usize, &usize)| {
            let key = &keys[*index];
            let bytes = if position < self.wrong { key.sign(b"else") } else { key.sign(&message) };
            Signature { key_id: key.key_id(), bytes }
        };
        let signatures = self.signed_by.iter().enumerate().map(signature).collect();
        Envelope { payload, signatures }.write(TRUST_PAYLOAD_TYPE)
    }

    fn follows(&self, held: &Self) -> bool {
        let good = self.signed_by.get(self.wrong..).unwrap_or_default();
        let signed = |roots: &[usize]| roots.iter().filter(|root| good.contains(root)).count();
        let reached = |offer: &Self| signed(&offer.roots) >= usize::try_from(offer.threshold).expect("small");
        let is_document = (1..=self.roots.len()).contains(&usize::try_from(self.threshold).expect("small"))
            && is_distinct(&self.roots)
            && is_distinct(&self.signers)
            && self.version > 0
            && self.epoch <= MAX_NUMBER;
        let is_envelope = !self.signed_by.is_empty() && is_distinct(&self.signed_by);
        is_document
            && is_envelope
            && reached(held)
            && reached(self)
            && self.version == held.version + 1
            && self.epoch >= held.epoch
    }
}

fn subset(u: &mut Unstructured<'_>) -> Vec<usize> {
    let count = u.int_in_range(0..=4).unwrap_or(0);
    (0..count).map(|_| u.choose_index(KEYS).unwrap_or(0)).collect()
}

fn is_distinct(indices: &[usize]) -> bool {
    distinct(indices.to_vec()).len() == indices.len()
}

fn distinct(mut indices: Vec<usize>) -> Vec<usize> {
    indices.sort_unstable();
    indices.dedup();
    indices
}

fn keys() -> &'static [SigningKey] {
    static KEYS_MADE: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS_MADE.get_or_init(|| (0..KEYS).map(|_| SigningKey::generate().expect("a key").0).collect())
}

const KEYS: usize = 6;
const MAX_OFFERS: usize = 12;
