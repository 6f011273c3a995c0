//! Opening an update past its signature and its seal: the input stands for what is signed, for what is
//! sealed, or for choices from which a whole update is made, mostly a good one.

use std::sync::OnceLock;

use arbitrary::Unstructured;

use crate::{
    Admission, ContentKey, Digest, HostIdentity, HostPrivateKey, MAX_CLOCK_LEAD_MS, MAX_NUMBER, OpenError,
    OpenedKeys, Signer, SigningKey, Statement, Trust, TrustDocument, UPDATE_PAYLOAD_TYPE, Verified,
    envelope::{Envelope, Signature, pae},
    open,
};

/// An update opens exactly if a second reading of the checks U1 to U14 says so, and under that name.
pub fn run(data: &[u8]) {
    let world = world();
    let Some((layer, rest)) = data.split_first() else { return };
    match layer % 3 {
        0 => check_signed(world, rest),
        1 => check_sealed(world, rest),
        _ => check_made(world, &mut Unstructured::new(rest)),
    }
}

/// Any bytes, properly signed.
fn check_signed(world: &World, body: &[u8]) {
    let opened = world.open(&world.envelope(body.to_vec(), &world.signers[0]), NEW);
    // Nobody can seal without knowing what for: at best the seal does not open.
    let name = opened.expect_err("no seal was made").name();
    assert!(["malformed_body", "wrong_host", "undecryptable"].contains(&name), "{name}");
}

/// Any bytes, properly sealed and signed.
fn check_sealed(world: &World, text: &[u8]) {
    let bytes = world.envelope(world.key.encrypt(text).expect("encrypt"), &world.signers[0]);
    for admission in [NEW, Admission::Cached] {
        let Ok(verified) = world.open(&bytes, admission) else { continue };
        let (statement, place) = Statement::read(text).expect("only a statement is taken");
        assert_eq!(*verified.statement(), statement);
        assert_eq!(text.get(place), Some(verified.payload()));
        assert_eq!(verified.digest(), Digest::of(&bytes));
        assert_eq!(statement.host_id, world.host.id);
        assert_eq!(statement.signer, world.signers[0].key_id());
        assert!(statement.epoch <= EPOCH);
    }
}

fn check_made(world: &World, u: &mut Unstructured<'_>) {
    let made = Made::choose(u);
    let bytes = made.bytes(world);
    let name = match world.open(&bytes, made.admission) {
        Ok(_) => "none",
        Err(error) => error.name(),
    };
    assert_eq!(name, made.expected(world), "{}", made.text(world));
}

struct World {
    trust: Trust,
    host: HostIdentity,
    key: ContentKey,
    /// Sealed to another host's key, under this host's id.
    key_of_other: ContentKey,
    /// Of this host's key, under another id.
    key_for_other: ContentKey,
    /// The first speaks long, the second has expired, the third is not listed.
    signers: [SigningKey; 3],
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let root = key(1);
        let signers = [key(2), key(3), key(4)];
        let [long, short, _] = &signers;
        let listed = |key: &SigningKey, expires_at| Signer { key: key.public(), expires_at, tenants: None };
        let document = TrustDocument {
            version: 1,
            epoch: EPOCH,
            threshold: 1,
            roots: vec![root.public()],
            signers: vec![listed(long, LONG), listed(short, NOW)],
            expires_at: TRUST_EXPIRY,
        };
        let bytes = document.sign(&[&root]).expect("sign");
        let trust = Trust::pin(&bytes, &Digest::of(&bytes)).expect("pin");
        let host = HostIdentity { id: OURS.parse().expect("an id"), key: private(5) };
        let public = host.key.public();
        World {
            key: ContentKey::for_host(&host.id, &public).expect("seal"),
            key_of_other: ContentKey::for_host(&host.id, &private(6).public()).expect("seal"),
            key_for_other: ContentKey::for_host(&THEIRS.parse().expect("an id"), &public).expect("seal"),
            trust,
            host,
            signers,
        }
    })
}

impl World {
    fn open(&self, bytes: &[u8], admission: Admission) -> Result<Verified, OpenError> {
        open(bytes, &self.host, &self.trust, admission, &mut OpenedKeys::new())
    }

    fn envelope(&self, body: Vec<u8>, signer: &SigningKey) -> Vec<u8> {
        let bytes = signer.sign(&pae(UPDATE_PAYLOAD_TYPE, &body));
        let signatures = vec![Signature { key_id: signer.key_id(), bytes }];
        Envelope { payload: body, signatures }.write(UPDATE_PAYLOAD_TYPE)
    }
}

/// All that an update may say, and how it is sealed and signed.
struct Made {
    seal: Seal,
    signer: usize,
    flipped: Option<usize>,
    host_inside: &'static str,
    signer_inside: usize,
    epoch: u64,
    version: u64,
    kind: &'static str,
    from: Option<u64>,
    has_prev: bool,
    times: [u64; 3],
    payload: &'static str,
    admission: Admission,
}

#[derive(Clone, Copy, PartialEq)]
enum Seal {
    Ours,
    OfOther,
    ForOther,
}

impl Made {
    fn choose(u: &mut Unstructured<'_>) -> Self {
        Self {
            seal: pick(u, &[Seal::Ours, Seal::Ours, Seal::Ours, Seal::OfOther, Seal::ForOther]),
            signer: pick(u, &[0, 0, 0, 1, 2]),
            flipped: u.ratio(1, 8).unwrap_or(false).then(|| u.int_in_range(0..=511).unwrap_or(0)),
            host_inside: pick(u, &[OURS, OURS, OURS, THEIRS]),
            signer_inside: pick(u, &[0, 0, 1, 2]),
            epoch: pick(u, &[EPOCH, 0, 1, EPOCH + 1, MAX_NUMBER, MAX_NUMBER + 1]),
            version: pick(u, &[7, 8, 0, MAX_NUMBER, MAX_NUMBER + 1, u64::MAX]),
            kind: pick(u, &["full", "incremental", "heartbeat", "Full", ""]),
            from: pick(u, &[None, Some(7), Some(8), Some(0), Some(MAX_NUMBER), Some(MAX_NUMBER + 1)]),
            has_prev: u.arbitrary().unwrap_or(false),
            times: [time(u), time(u), time(u)],
            payload: pick(u, &["{}", r#"{"put":{}}"#, "{ }", "[]", "null", r#"{"a":"\ud800"}"#]),
            admission: if u.arbitrary().unwrap_or(false) {
                Admission::Cached
            } else {
                Admission::New { now_ms: time(u) }
            },
        }
    }

    fn text(&self, world: &World) -> String {
        let Self { epoch, version, kind, payload, .. } = self;
        let [issued_at, expires_at, serve_until] = self.times;
        let (host, signer) = (self.host_inside, world.signers[self.signer_inside].key_id());
        let from = self.from.map_or("null".to_owned(), |from| from.to_string());
        let prev = if self.has_prev { format!("\"{}\"", Digest::of(b"")) } else { "null".to_owned() };
        format!(
            r#"{{"format":1,"host_id":"{host}","signer":"{signer}","epoch":{epoch},"version":{version},"kind":"{kind}","from":{from},"prev":{prev},"issued_at":{issued_at},"expires_at":{expires_at},"serve_until":{serve_until},"payload":{payload}}}"#
        )
    }

    fn bytes(&self, world: &World) -> Vec<u8> {
        let key = match self.seal {
            Seal::Ours => &world.key,
            Seal::OfOther => &world.key_of_other,
            Seal::ForOther => &world.key_for_other,
        };
        let body = key.encrypt(self.text(world).as_bytes()).expect("encrypt");
        let signer = &world.signers[self.signer];
        let mut bytes = signer.sign(&pae(UPDATE_PAYLOAD_TYPE, &body));
        if let Some(bit) = self.flipped {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let signatures = vec![Signature { key_id: signer.key_id(), bytes }];
        Envelope { payload: body, signatures }.write(UPDATE_PAYLOAD_TYPE)
    }

    /// The checks as the document has them, read once more.
    fn expected(&self, world: &World) -> &'static str {
        let [issued_at, expires_at, _] = self.times;
        let signer_expiry = [LONG, NOW, 0][self.signer];
        let now = match self.admission {
            Admission::New { now_ms } => Some(now_ms),
            Admission::Cached => None,
        };
        let is_past = |time: u64| now.is_some_and(|now| now > time);
        let rules: [(bool, &'static str); 12] = [
            (self.seal == Seal::ForOther, "wrong_host"),
            (self.signer == 2, "unknown_signer"),
            (self.flipped.is_some(), "bad_signature"),
            (self.seal == Seal::OfOther, "undecryptable"),
            (!self.is_statement(), "malformed_statement"),
            (self.host_inside != OURS, "host_mismatch"),
            (
                world.signers[self.signer_inside].key_id() != world.signers[self.signer].key_id(),
                "signer_mismatch",
            ),
            (self.epoch > EPOCH, "epoch_above_trust"),
            (is_past(TRUST_EXPIRY), "trust_expired"),
            (issued_at > signer_expiry || is_past(signer_expiry), "signer_expired"),
            (is_past(expires_at), "expired"),
            (now.is_some_and(|now| issued_at > now + MAX_CLOCK_LEAD_MS), "from_the_future"),
        ];
        rules.into_iter().find(|(refused, _)| *refused).map_or("none", |(_, name)| name)
    }

    fn is_statement(&self) -> bool {
        let [issued_at, expires_at, serve_until] = self.times;
        let fits = match (self.kind, self.from, self.has_prev) {
            ("full", None, false) => true,
            ("incremental", Some(from), true) => from < self.version,
            ("heartbeat", Some(from), true) => from == self.version && self.payload == "{}",
            _ => false,
        };
        // A payload is passed over: what its strings hold is not looked at.
        let is_object = self.payload.starts_with('{');
        let in_range = [self.epoch, self.version, issued_at, expires_at, serve_until];
        fits && is_object
            && in_range.into_iter().all(|number| number <= MAX_NUMBER)
            && issued_at <= expires_at
            && expires_at <= serve_until
    }
}

/// A time around those that count.
fn time(u: &mut Unstructured<'_>) -> u64 {
    const AROUND: [u64; 7] =
        [NOW, NOW - MAX_CLOCK_LEAD_MS, NOW + MAX_CLOCK_LEAD_MS, LONG, TRUST_EXPIRY, 1, MAX_NUMBER];
    let around = pick(u, &AROUND);
    around + u.int_in_range(0..=2_u64).unwrap_or(1) - 1
}

fn pick<T: Copy>(u: &mut Unstructured<'_>, from: &[T]) -> T {
    u.choose(from).copied().unwrap_or(from[0])
}

fn key(seed: u8) -> SigningKey {
    // PKCS#8 version 1 is a fixed head and the seed.
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    SigningKey::from_pkcs8(&[HEAD.as_slice(), &[seed; 32]].concat()).expect("a key")
}

fn private(seed: u8) -> HostPrivateKey {
    HostPrivateKey::from_bytes(&[seed; 32]).expect("a key")
}

const OURS: &str = "host_1";
const THEIRS: &str = "host_2";
const EPOCH: u64 = 3;
const NOW: u64 = 1_750_000_000_000;
const NEW: Admission = Admission::New { now_ms: NOW };
const LONG: u64 = NOW + 100 * MAX_CLOCK_LEAD_MS;
const TRUST_EXPIRY: u64 = NOW + 90 * MAX_CLOCK_LEAD_MS;
