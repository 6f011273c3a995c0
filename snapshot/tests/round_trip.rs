//! The whole way through the public API: publisher, envelope, host.

use miosa_snapshot::{
    Admission, ContentKey, Draft, FloorCheck, Held, HostIdentity, HostPrivateKey, Kind, OpenedKeys, Signer,
    SigningKey, Times, Trust, TrustDocument, Verdict, judge, open, seal,
};

#[test]
fn a_host_follows_a_publisher_from_enrollment_on() {
    let (root, _) = SigningKey::generate().unwrap();
    let (signer, _) = SigningKey::generate().unwrap();
    let document = TrustDocument {
        version: 1,
        epoch: 1,
        threshold: 1,
        roots: vec![root.public()],
        signers: vec![Signer { key: signer.public(), expires_at: 9_000, tenants: None }],
        expires_at: 9_000,
    };
    let trust = document.sign(&[&root]).unwrap();
    let trust = Trust::pin(&trust, &miosa_snapshot::Digest::of(&trust)).unwrap();
    let host = HostIdentity { id: "host_1".parse().unwrap(), key: HostPrivateKey::generate().unwrap() };
    let key = ContentKey::for_host(&host.id, &host.key.public()).unwrap();
    let mut opened = OpenedKeys::new();

    let times = Times { issued_at: 1_000, expires_at: 2_000, serve_until: 3_000 };
    let full = Draft { epoch: 1, version: 7, kind: Kind::Full, times };
    let full = seal(&full, br#"{"put":{"a":1}}"#, &key, &signer).unwrap();
    let now = Admission::New { now_ms: 1_500 };
    let full = open(&full, &host, &trust, now, &mut opened).unwrap();
    assert_eq!(full.payload(), br#"{"put":{"a":1}}"#);
    assert_eq!(judge(&full, None, FloorCheck::None), Ok(Verdict::Replace));
    let held = Held::after(None, &full);

    let kind = Kind::Incremental { from: 7, prev: held.state };
    let next =
        seal(&Draft { epoch: 1, version: 9, kind, times }, br#"{"delete":{}}"#, &key, &signer).unwrap();
    let next = open(&next, &host, &trust, now, &mut opened).unwrap();
    assert_eq!(judge(&next, Some(&held), FloorCheck::AtLeast(held.floor())), Ok(Verdict::Extend));
    let held = Held::after(Some(&held), &next);

    let kind = Kind::Heartbeat { from: 9, prev: held.state };
    let beat = seal(&Draft { epoch: 1, version: 9, kind, times }, b"{}", &key, &signer).unwrap();
    let beat = open(&beat, &host, &trust, now, &mut opened).unwrap();
    assert_eq!(judge(&beat, Some(&held), FloorCheck::AtLeast(held.floor())), Ok(Verdict::Refresh));
    assert_eq!(Held::after(Some(&held), &beat).state, next.digest());
}
