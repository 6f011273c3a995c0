//! Who may follow whom: pinning, the root rule as a table, and the rules within one document.

use crate::world::{NOW, signing_key, unlimited};

use super::*;

/// What a successor is like, and the name of its refusal.
struct Case {
    what: &'static str,
    change: fn(&mut TrustDocument, &Roots),
    signed_by: &'static str,
    refusal: &'static str,
}

/// Root keys by letter. The held document has version 5, epoch 3, roots a, b and c, and threshold 2.
struct Roots {
    keys: Vec<(char, SigningKey)>,
}

#[test]
fn the_root_rule() {
    let same = |_document: &mut TrustDocument, _roots: &Roots| {};
    let cases = [
        case("next, by the same roots", same, "ab", "none"),
        case("next, by all roots", same, "abc", "none"),
        case("next, by any two of three", same, "ca", "none"),
        case("next, by one root too few", same, "a", "not_signed_by_held_roots"),
        case("next, by nobody known", same, "xy", "not_signed_by_held_roots"),
        case("next, with a junk signature beside the good ones", same, "axb", "none"),
        case("next, with a broken signature in place of a good one", same, "aB", "not_signed_by_held_roots"),
        case("next, with a broken signature beside good ones", same, "aBc", "none"),
        case("next, with stray signatures up to the limit", same, "ab*", "none"),
        case("rotated to new roots, by both", |d, r| d.roots = r.public("xyz"), "abxy", "none"),
        case("rotated, by the old only", |d, r| d.roots = r.public("xyz"), "abc", "not_signed_by_own_roots"),
        case("rotated, by the new only", |d, r| d.roots = r.public("xyz"), "xyz", "not_signed_by_held_roots"),
        case(
            "rotated, by one old too few",
            |d, r| d.roots = r.public("xyz"),
            "axyz",
            "not_signed_by_held_roots",
        ),
        case(
            "rotated, by one new too few",
            |d, r| d.roots = r.public("xyz"),
            "abcx",
            "not_signed_by_own_roots",
        ),
        case("one root replaced, by the two that stay", |d, r| d.roots = r.public("abx"), "ab", "none"),
        case(
            "one root replaced, by one that stays and one that goes",
            |d, r| d.roots = r.public("abx"),
            "ac",
            "not_signed_by_own_roots",
        ),
        case(
            "one root replaced, by one that stays and the new one",
            |d, r| d.roots = r.public("abx"),
            "ax",
            "not_signed_by_held_roots",
        ),
        case("threshold lowered, by the old threshold", |d, _| d.threshold = 1, "ab", "none"),
        case(
            "threshold lowered, by the new one only",
            |d, _| d.threshold = 1,
            "a",
            "not_signed_by_held_roots",
        ),
        case("threshold raised, by the new one", |d, _| d.threshold = 3, "abc", "none"),
        case(
            "threshold raised, by the old one only",
            |d, _| d.threshold = 3,
            "ab",
            "not_signed_by_own_roots",
        ),
        case("the held version again, other bytes", |d, _| d.version = 5, "cba", "trust_equivocation"),
        case("an earlier version", |d, _| d.version = 4, "abc", "stale_trust"),
        case("a much earlier version", |d, _| d.version = 1, "abc", "stale_trust"),
        case("a skipped version", |d, _| d.version = 7, "abc", "trust_version_skipped"),
        case("the highest version", |d, _| d.version = crate::MAX_NUMBER, "abc", "trust_version_skipped"),
        case("a raised epoch", |d, _| d.epoch = 4, "ab", "none"),
        case("a lowered epoch", |d, _| d.epoch = 2, "ab", "epoch_lowered"),
        case("signers revoked", |d, _| d.signers.clear(), "ab", "none"),
        case("an earlier expiry", |d, _| d.expires_at = 1, "ab", "none"),
    ];
    let roots = Roots::new();
    let held = roots.held();
    for Case { what, change, signed_by, refusal } in cases {
        let mut document = TrustDocument { version: 6, ..held.document.clone() };
        change(&mut document, &roots);
        let bytes = roots.sign(&document, signed_by);
        let result = held.advance(&bytes);
        let name = result.as_ref().map_or_else(TrustError::name, |_trust| "none");
        assert_eq!(name, refusal, "{what}");
        if let Ok(trust) = result {
            assert_eq!((trust.document(), trust.digest()), (&document, Digest::of(&bytes)), "{what}");
        }
    }
}

#[test]
fn what_is_held_already_changes_nothing() {
    let roots = Roots::new();
    let held = roots.held();
    let bytes = roots.sign(&held.document, "abc");
    assert_eq!(held.advance(&bytes), Ok(held.clone()));
    // The same document with other signatures is not the same bytes.
    let error = held.advance(&roots.sign(&held.document, "ab")).unwrap_err();
    assert_eq!(error, TrustError::Equivocation { version: 5, contradicts: false });
    let other = TrustDocument { expires_at: held.document.expires_at + 1, ..held.document.clone() };
    let error = held.advance(&roots.sign(&other, "abc")).unwrap_err();
    assert_eq!(error, TrustError::Equivocation { version: 5, contradicts: true });
}

#[test]
fn a_newer_document_is_reachable_from_an_expired_one() {
    let roots = Roots::new();
    let mut expired = roots.held().document;
    expired.expires_at = 0;
    let bytes = roots.sign(&expired, "abc");
    let expired = Trust::pin(&bytes, &Digest::of(&bytes)).unwrap();
    let renewed = TrustDocument { version: 6, expires_at: NOW, ..expired.document.clone() };
    assert_eq!(expired.advance(&roots.sign(&renewed, "ab")).unwrap().expires_at(), NOW);
}

#[test]
fn a_chain_is_followed_one_step_at_a_time() {
    let roots = Roots::new();
    let mut trust = roots.held();
    let mut envelopes = Vec::new();
    for (version, own, signed_by) in [(6, "abx", "abx"), (7, "bxy", "abx"), (8, "xyz", "bxyz")] {
        let document = TrustDocument { version, roots: roots.public(own), ..trust.document.clone() };
        envelopes.push(roots.sign(&document, signed_by));
        trust = trust.advance(envelopes.last().unwrap()).unwrap();
    }
    assert_eq!((trust.version(), trust.epoch()), (8, 3));
    let skipping = roots.held().advance(&envelopes[1]);
    assert_eq!(skipping.unwrap_err().name(), "trust_version_skipped");
    let back = trust.advance(&envelopes[0]);
    assert_eq!(back.unwrap_err().name(), "not_signed_by_held_roots");
}

#[test]
fn only_the_pinned_bytes_are_taken_and_only_if_they_hold_up() {
    let roots = Roots::new();
    let document = roots.held().document;
    let bytes = roots.sign(&document, "ab");
    assert_eq!(Trust::pin(&bytes, &Digest::of(&bytes)).unwrap().document(), &document);
    let other = roots.sign(&document, "bc");
    assert_eq!(Trust::pin(&other, &Digest::of(&bytes)).unwrap_err(), TrustError::PinMismatch);
    // A pin does not replace the document's own threshold.
    let too_few = roots.sign(&document, "a");
    let error = Trust::pin(&too_few, &Digest::of(&too_few)).unwrap_err();
    assert_eq!(error, TrustError::NotSignedByOwnRoots { valid: 1, threshold: 2 });
    let update = crate::world::World::new().seal(&crate::world::full(1), b"{}");
    assert_eq!(Trust::pin(&update, &Digest::of(&update)).unwrap_err().name(), "wrong_payload_type");
    let long = vec![b'{'; MAX_TRUST_BYTES + 1];
    assert_eq!(Trust::pin(&long, &Digest::of(&long)).unwrap_err().name(), "oversize");
}

#[test]
fn every_single_bit_flip_and_truncation_is_refused() {
    let roots = Roots::new();
    let held = roots.held();
    let bytes = roots.sign(&TrustDocument { version: 6, ..held.document.clone() }, "ab");
    assert!(held.advance(&bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(held.advance(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(held.advance(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn offline_roots_sign_one_after_the_other() {
    let roots = Roots::new();
    let document = roots.held().document;
    let one = document.sign(&[roots.key('a')]).unwrap();
    let two = TrustDocument::countersign(&one, roots.key('b')).unwrap();
    assert_eq!(two, document.sign(&[roots.key('a'), roots.key('b')]).unwrap());
    // Signing again puts the new signature last, and counts no more than before.
    let again = TrustDocument::countersign(&two, roots.key('a')).unwrap();
    assert_eq!(again, document.sign(&[roots.key('b'), roots.key('a')]).unwrap());
    assert!(TrustDocument::countersign(b"{}", roots.key('a')).is_err());
    assert_eq!(document.sign(&[]).unwrap_err().name(), "wrong_signature_count");
}

#[test]
fn the_text_is_exactly_this() {
    let roots = Roots::new();
    let mut document = roots.held().document;
    document.roots.truncate(2);
    document.signers[0].tenants = Some(vec!["t_1".to_owned()]);
    let [a, b, signer] = [document.roots[0], document.roots[1], document.signers[0].key]
        .map(|key| crate::base64::encode(key.as_bytes()));
    let expected = format!(
        r#"{{"format":1,"version":5,"epoch":3,"threshold":2,"roots":["{a}","{b}"],"signers":[{{"key":"{signer}","expires_at":{},"tenants":["t_1"]}}],"expires_at":{NOW}}}"#,
        document.signers[0].expires_at,
    );
    assert_eq!(str::from_utf8(&document.write().unwrap()).unwrap(), expected);
    assert_eq!(TrustDocument::read(expected.as_bytes()), Ok(document));
}

#[test]
fn a_document_that_breaks_its_own_rules_is_neither_written_nor_read() {
    type Change = fn(&mut TrustDocument);
    let roots = Roots::new();
    let table: [(DocumentError, Change); 15] = [
        (DocumentError::Number, |d| d.version = 0),
        (DocumentError::Number, |d| d.version = crate::MAX_NUMBER + 1),
        (DocumentError::Number, |d| d.epoch = crate::MAX_NUMBER + 1),
        (DocumentError::Number, |d| d.expires_at = crate::MAX_NUMBER + 1),
        (DocumentError::Number, |d| d.signers[0].expires_at = crate::MAX_NUMBER + 1),
        (DocumentError::Threshold, |d| d.threshold = 0),
        (DocumentError::Threshold, |d| d.threshold = 4),
        (DocumentError::Threshold, |d| d.threshold = u32::MAX),
        (DocumentError::Threshold, |d| d.roots.clear()),
        (DocumentError::Roots, |d| d.roots.push(d.roots[0])),
        (DocumentError::Roots, |d| d.roots = (0..17).map(|_| signing_key().public()).collect()),
        (DocumentError::Signers, |d| d.signers.push(d.signers[0].clone())),
        (DocumentError::Signers, |d| d.signers = (0..65).map(|_| unlimited(&signing_key())).collect()),
        (DocumentError::Tenant, |d| d.signers[0].tenants = Some(vec![String::new()])),
        (DocumentError::Tenant, |d| d.signers[0].tenants = Some(vec!["t/1".to_owned()])),
    ];
    for (row, (error, change)) in table.into_iter().enumerate() {
        let mut document = roots.held().document;
        change(&mut document);
        assert_eq!(document.sign(&[roots.key('a')]), Err(TrustError::Document(error)), "row {row}");
    }
}

#[test]
fn every_other_text_is_refused() {
    let document = Roots::new().held().document;
    let good = String::from_utf8(document.write().unwrap()).unwrap();
    let root = crate::base64::encode(document.roots[0].as_bytes());
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let signer = crate::base64::encode(document.signers[0].key.as_bytes());
    let signer_expires_at = document.signers[0].expires_at;
    let roots = serde_json::to_string(&document.roots).unwrap();
    let signers = format!(r#"[{{"key":"{signer}","expires_at":{signer_expires_at},"tenants":null}}]"#);
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&good).unwrap();
    let mut table: Vec<String> = Vec::new();
    for (name, value) in &members {
        let mut fewer = members.clone();
        fewer.remove(name);
        table.push(serde_json::to_string(&fewer).unwrap());
        table.push(good.replacen('{', &format!("{{\"{name}\":{value},"), 1));
    }
    table.extend([
        String::new(),
        "null".to_owned(),
        format!("{good} x"),
        // The same values without their names, and one object more or less around them.
        format!("[1,5,3,2,{roots},{signers},{NOW}]"),
        format!("[{good}]"),
        replaced(&signers, &format!(r#"[["{signer}",{signer_expires_at},null]]"#)),
        replaced(&signers, signers.trim_matches(['[', ']'])),
        replaced(&signers, "null"),
        replaced(&roots, &format!("\"{root}\"")),
        replaced(&format!("\"{root}\""), &format!("[\"{root}\"]")),
        replaced("{", r#"{"extra":1,"#),
        replaced(r#"{"key":"#, r#"{"extra":1,"key":"#),
        replaced(r#","tenants":null"#, ""),
        replaced(r#""tenants":null"#, r#""tenants":"t_1""#),
        replaced(r#""tenants":null"#, r#""tenants":null,"tenants":null"#),
        replaced("\"format\":1", "\"format\":2"),
        replaced("\"threshold\":2", "\"threshold\":2.0"),
        replaced("\"threshold\":2", "\"threshold\":4294967296"),
        replaced("\"version\":5", "\"version\":-5"),
        replaced("\"version\":5", "\"version\":9007199254740992"),
        replaced("\"version\":5", "\"version\":0"),
        replaced(&root, &root[4..]),
        replaced(&root, &root.replace('=', "")),
        replaced(&root, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ]);
    for bad in table {
        assert!(TrustDocument::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn reading_ends_at_the_first_root_or_signer_too_many() {
    let document = Roots::new().held().document;
    let good = String::from_utf8(document.write().unwrap()).unwrap();
    let root = || format!("\"{}\"", crate::base64::encode(signing_key().public().as_bytes()));
    let signer = || format!(r#"{{"key":{},"expires_at":1,"tenants":null}}"#, root());
    let lists: [(&str, &str, usize, &dyn Fn() -> String); 2] =
        [("roots", "signers", MAX_ROOTS, &root), ("signers", "expires_at", MAX_SIGNERS, &signer)];
    for (name, next, limit, entry) in lists {
        let (before, rest) = good.split_once(&format!("\"{name}\":[")).unwrap();
        let (_, after) = rest.split_once(&format!("],\"{next}\":")).unwrap();
        let with = |count, more: &str| {
            let entries = (0..count).map(|_| entry()).collect::<Vec<_>>().join(",");
            format!("{before}\"{name}\":[{entries}{more}],\"{next}\":{after}")
        };
        assert!(TrustDocument::read(with(limit, "").as_bytes()).is_ok(), "{name}");
        // What follows the first one too many is not even JSON.
        let text = with(limit + 1, ",garbage");
        let refusal = TrustDocument::read(text.as_bytes());
        let Err(DocumentError::Json { column, .. }) = refusal else { panic!("{name}: {refusal:?}") };
        assert!(column <= text.find("garbage").unwrap(), "{name}: column {column}");
    }
}

#[test]
fn every_refusal_has_a_text_of_its_own() {
    let table = [
        (TrustError::PinMismatch, "the trust document is not the pinned one"),
        (
            TrustError::Envelope(EnvelopeError::DuplicateSignature),
            "cannot take the envelope of a trust document apart",
        ),
        (
            TrustError::NotSignedByHeldRoots { version: 5, valid: 1, threshold: 2 },
            "the trust document is signed by 1 roots of version 5, not by 2",
        ),
        (TrustError::Document(DocumentError::Format), "cannot read the trust document"),
        (
            TrustError::NotSignedByOwnRoots { valid: 1, threshold: 2 },
            "the trust document is signed by 1 of its own roots, not by 2",
        ),
        (
            TrustError::StaleVersion { offered: 4, held: 5 },
            "the trust document of version 4 is older than the held version 5",
        ),
        (
            TrustError::Equivocation { version: 5, contradicts: true },
            "another trust document of version 5 is held",
        ),
        (
            TrustError::SkippedVersion { offered: 7, held: 5 },
            "the trust document of version 7 does not follow the held version 5",
        ),
        (TrustError::EpochLowered { offered: 2, held: 3 }, "the trust document lowers the epoch from 3 to 2"),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
    }
}

fn case(
    what: &'static str,
    change: fn(&mut TrustDocument, &Roots),
    signed_by: &'static str,
    refusal: &'static str,
) -> Case {
    Case { what, change, signed_by, refusal }
}

impl Roots {
    fn new() -> Self {
        Self { keys: "abcxyz".chars().map(|letter| (letter, signing_key())).collect() }
    }

    fn key(&self, letter: char) -> &SigningKey {
        &self.keys.iter().find(|(known, _)| *known == letter).unwrap().1
    }

    fn public(&self, letters: &str) -> Vec<VerifyingKey> {
        letters.chars().map(|letter| self.key(letter).public()).collect()
    }

    fn held(&self) -> Trust {
        let document = TrustDocument {
            version: 5,
            epoch: 3,
            threshold: 2,
            roots: self.public("abc"),
            signers: vec![unlimited(&signing_key())],
            expires_at: NOW,
        };
        let bytes = self.sign(&document, "abc");
        Trust::pin(&bytes, &Digest::of(&bytes)).unwrap()
    }

    /// Signs by the keys of these letters; a capital letter puts a broken signature under that
    /// key's id, and `*` fills up with signatures of keys that nobody knows.
    fn sign(&self, document: &TrustDocument, letters: &str) -> Vec<u8> {
        let mut envelope = Envelope { payload: document.write().unwrap(), signatures: Vec::new() };
        for letter in letters.chars() {
            if letter == '*' {
                while envelope.signatures.len() < MAX_SIGNATURES {
                    add_signature(&mut envelope, &signing_key());
                }
            } else {
                add_signature(&mut envelope, self.key(letter.to_ascii_lowercase()));
            }
            if letter.is_ascii_uppercase() {
                envelope.signatures.last_mut().unwrap().bytes[0] ^= 1;
            }
        }
        finish(&envelope).unwrap()
    }
}

#[test]
fn p6_a_signer_speaks_for_the_tenants_that_are_listed_or_for_all() {
    let speaks_for = |tenants: Option<&[&str]>| {
        let tenants = tenants.map(|ids| ids.iter().map(|&id| id.to_owned()).collect());
        Signer { key: SigningKey::generate().unwrap().0.public(), expires_at: 9, tenants }
    };
    let refused = |signer: &Signer, tenants: &[&str]| {
        signer.check_tenants(tenants.iter().copied()).err().map(|error| error.tenant)
    };
    assert_eq!(refused(&speaks_for(None), &["t_1", "t_2"]), None);
    assert_eq!(refused(&speaks_for(Some(&["t_2", "t_1"])), &["t_1", "t_2", "t_1"]), None);
    assert_eq!(refused(&speaks_for(Some(&["t_1"])), &["t_1", "t_2", "t_3"]), Some("t_2".to_owned()));
    assert_eq!(refused(&speaks_for(Some(&["t_1"])), &["t_11"]), Some("t_11".to_owned()));
    assert_eq!(refused(&speaks_for(Some(&[])), &["t_1"]), Some("t_1".to_owned()));
    assert_eq!(refused(&speaks_for(Some(&[])), &[]), None);
}
