//! A host made of the two crates: what the daemon's intake does, in the same order, without disk.

use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER};
use miosa_injector::{Change, PayloadError, State};
use miosa_snapshot as snapshot;
use miosa_snapshot::{
    Admission, Digest, FloorCheck, HostIdentity, HostPrivateKey, OpenedKeys, Refusal, Signer, Trust,
    Verified, judge, open,
};
use miosa_tests::vectors::{
    Age, Case, End, Floor, FloorRead, Held, Keys, Numbers, Outcome, Records, Refuse, Standing, TrustHeld,
};

use crate::coverage;

/// What came of a step, as a case states it.
pub type Verdict = Outcome;

/// One host under test.
pub struct Host {
    identity: HostIdentity,
    pin: Digest,
    trust: Option<Trust>,
    /// The newest version of a trust document that was followed.
    followed: u64,
    /// The documents that led to it.
    chain: BTreeSet<Digest>,
    held: Option<Content>,
    floor: Option<snapshot::Floor>,
    keys: OpenedKeys,
}

/// What is held: a state, its position, and the updates on which both rest.
#[derive(Clone)]
struct Content {
    state: State,
    held: snapshot::Held,
    made_by: Vec<Vec<u8>>,
    heartbeat: Option<Vec<u8>>,
}

/// Why something is refused: check, name, and the reason as the crates have it.
pub struct Refused {
    pub check: Option<&'static str>,
    pub name: &'static str,
    pub because: String,
}

impl Host {
    pub fn new(case: &Case, keys: &Keys) -> Self {
        let private = HEXLOWER.decode(keys.x25519[&case.host.key].private.as_bytes()).unwrap();
        let key = HostPrivateKey::from_bytes(&private).unwrap();
        assert_eq!(BASE64.encode(key.public().as_bytes()), keys.x25519[&case.host.key].public);
        Self {
            identity: HostIdentity { id: case.host.id.parse().unwrap(), key },
            pin: case.pin.parse().unwrap(),
            trust: None,
            followed: 0,
            chain: BTreeSet::new(),
            held: None,
            floor: Some(GROUND),
            keys: OpenedKeys::new(),
        }
    }

    pub fn offer_trust(&mut self, bytes: &[u8]) -> Verdict {
        stated(self.take_trust(bytes))
    }

    pub fn offer_update(&mut self, bytes: &[u8], now: u64) -> Verdict {
        stated(self.take_update(bytes, now))
    }

    /// Forgets all but the pin and the floor, and reads again what was kept.
    pub fn restart(
        &mut self,
        trust: &[Vec<u8>],
        updates: &[Vec<u8>],
        floor: FloorRead,
        now: u64,
    ) -> (Vec<Verdict>, Verdict) {
        (self.trust, self.held) = (None, None);
        self.chain.clear();
        for document in trust {
            self.take_trust(document).unwrap_or_else(|_| panic!("a case keeps good documents"));
        }
        if floor == FloorRead::Lost {
            self.floor = None;
        }
        let mut chain = None;
        let mut verdicts = Vec::new();
        for update in updates {
            verdicts.push(stated(self.take_cached(&mut chain, update, now)));
        }
        (verdicts, stated(self.serve(chain)))
    }

    pub fn end(&self, now: u64) -> End {
        let held = self.standing();
        let standing = match (&self.held, &held) {
            (None, _) => Standing::Nothing,
            (Some(_), None) => Standing::SignerRevoked,
            (Some(_), Some(_)) => Standing::Good,
        };
        let trusted = |trust: &Trust| TrustHeld {
            version: trust.version(),
            epoch: trust.epoch(),
            digest: trust.digest().to_string(),
        };
        End {
            trust: self.usable_trust().map(trusted),
            standing,
            held: held.map(|content| {
                let snapshot::Held { epoch, version, state, last, times } = content.held;
                Held {
                    epoch,
                    version,
                    state: state.to_string(),
                    last: last.to_string(),
                    issued_at: times.issued_at,
                    expires_at: times.expires_at,
                    serve_until: times.serve_until,
                }
            }),
            age: held.map(|content| match content.held.times.age_at(now) {
                snapshot::Age::Fresh => Age::Fresh,
                snapshot::Age::Stale => Age::Stale,
                snapshot::Age::Expired => Age::Expired,
            }),
            floor: match self.floor {
                Some(snapshot::Floor { epoch, version, issued_at }) => {
                    Floor::At(Numbers { epoch, version, issued_at })
                }
                None => Floor::Lost("lost".to_owned()),
            },
            records: held.map(|content| records(&content.state)),
        }
    }

    fn take_trust(&mut self, bytes: &[u8]) -> Result<&'static str, Refused> {
        if self.chain.contains(&Digest::of(bytes)) {
            return Ok("unchanged");
        }
        let (trust, word) = match &self.trust {
            Some(trust) => (trust.advance(bytes), "follow"),
            None => (Trust::pin(bytes, &self.pin), "pin"),
        };
        let trust = trust.map_err(|error| coverage::of_trust(&error))?;
        self.chain.insert(trust.digest());
        self.followed = self.followed.max(trust.version());
        self.trust = Some(trust);
        Ok(word)
    }

    fn take_update(&mut self, bytes: &[u8], now: u64) -> Result<&'static str, Refused> {
        let update = self.open(bytes, Admission::New { now_ms: now })?;
        let floor = self.floor.map_or(FloorCheck::Lost { now_ms: now }, FloorCheck::AtLeast);
        let base = self.standing().cloned();
        let (word, content) = apply(&update, bytes, base.as_ref(), floor)?;
        if let Some(content) = content {
            self.raise_floor(&content.held);
            self.held = Some(content);
        }
        Ok(word)
    }

    fn take_cached(
        &mut self,
        chain: &mut Option<Content>,
        bytes: &[u8],
        now: u64,
    ) -> Result<&'static str, Refused> {
        let update = self.open(bytes, Admission::Cached)?;
        let floor = self.floor.map_or(FloorCheck::Lost { now_ms: now }, |_| FloorCheck::None);
        let (word, content) = apply(&update, bytes, chain.as_ref(), floor)?;
        if content.is_some() {
            *chain = content;
        }
        Ok(word)
    }

    fn serve(&mut self, chain: Option<Content>) -> Result<&'static str, Refused> {
        let Some(content) = chain else { return Ok("nothing") };
        let position = (content.held.epoch, content.held.version);
        if self.floor.is_some_and(|floor| position < (floor.epoch, floor.version)) {
            return Err(coverage::of_refusal(Refusal::BelowFloor));
        }
        self.raise_floor(&content.held);
        self.held = Some(content);
        Ok("served")
    }

    fn raise_floor(&mut self, held: &snapshot::Held) {
        self.floor = Some(self.floor.map_or(held.floor(), |floor| floor.higher(held.floor())));
    }

    fn open(&mut self, bytes: &[u8], admission: Admission) -> Result<Verified, Refused> {
        let no_trust = || Refused { check: None, name: "no_trust", because: "Refused::NoTrust".to_owned() };
        let trust = self.usable_trust().cloned().ok_or_else(no_trust)?;
        open(bytes, &self.identity, &trust, admission, &mut self.keys)
            .map_err(|error| coverage::of_open(&error))
    }

    /// None below the newest one that was followed.
    fn usable_trust(&self) -> Option<&Trust> {
        self.trust.as_ref().filter(|trust| trust.version() >= self.followed)
    }

    /// What is held, if everybody on whose word it rests may still speak: all of it is verified anew.
    fn standing(&self) -> Option<&Content> {
        let (content, trust) = (self.held.as_ref()?, self.usable_trust()?);
        let mut chain = None;
        for bytes in content.made_by.iter().chain(&content.heartbeat) {
            let update =
                open(bytes, &self.identity, trust, Admission::Cached, &mut OpenedKeys::new()).ok()?;
            let (_, next) = apply(&update, bytes, chain.as_ref(), FloorCheck::None).ok()?;
            chain = next.or(chain);
        }
        Some(content)
    }
}

fn apply(
    update: &Verified,
    bytes: &[u8],
    base: Option<&Content>,
    floor: FloorCheck,
) -> Result<(&'static str, Option<Content>), Refused> {
    let held = base.map(|base| base.held);
    let verdict = judge(update, held.as_ref(), floor).map_err(coverage::of_refusal)?;
    let decode = || Change::decode(update.payload()).map_err(|error| coverage::of_payload(&error));
    let full = || State::from_full(decode()?).map_err(|error| coverage::of_payload(&error));
    let (mut made_by, mut heartbeat) = (Vec::new(), None);
    let (name, state) = match (verdict, base) {
        (snapshot::Verdict::Unchanged, _) => return Ok(("unchanged", None)),
        (snapshot::Verdict::Refresh, Some(base)) => {
            made_by.clone_from(&base.made_by);
            heartbeat = Some(bytes.to_vec());
            ("refresh", base.state.clone())
        }
        (snapshot::Verdict::Extend, Some(base)) => {
            made_by.clone_from(&base.made_by);
            made_by.push(bytes.to_vec());
            let state = base.state.apply(decode()?).map_err(PayloadError::from);
            ("extend", state.map_err(|error| coverage::of_payload(&error))?)
        }
        (snapshot::Verdict::Replace, _) => {
            made_by.push(bytes.to_vec());
            ("replace", full()?)
        }
        (snapshot::Verdict::ReplaceIfStateEqual(unsettled), Some(base)) => {
            made_by.push(bytes.to_vec());
            let state = full()?;
            unsettled.settle(&base.state, &state).map_err(coverage::of_refusal)?;
            ("replace", state)
        }
        (
            snapshot::Verdict::Refresh
            | snapshot::Verdict::Extend
            | snapshot::Verdict::ReplaceIfStateEqual(_),
            None,
        ) => panic!("a verdict about what is held, and nothing is"),
    };
    check_scope(update.signer(), base.map(|base| &base.state).into_iter().chain([&state]))?;
    let held = snapshot::Held::after(held.as_ref(), update);
    Ok((name, Some(Content { state, held, made_by, heartbeat })))
}

fn check_scope<'a>(signer: &Signer, states: impl IntoIterator<Item = &'a State>) -> Result<(), Refused> {
    let tenants = states.into_iter().flat_map(State::tenants).map(|tenant| tenant.as_str());
    signer.check_tenants(tenants).map_err(|error| coverage::of_scope(&error))
}

fn stated(verdict: Result<&'static str, Refused>) -> Verdict {
    match verdict {
        Ok(word) => Outcome::Accept(word.to_owned()),
        Err(Refused { check, name, because }) => {
            Outcome::Refuse(Refuse { check: check.map(str::to_owned), name: name.to_owned(), because })
        }
    }
}

fn records(state: &State) -> Records {
    let records = state.records();
    let variables = records.variables.values();
    Records {
        env: variables.map(|record| (record.id.to_string(), record.value.expose().to_owned())).collect(),
        profiles: records.profiles.keys().map(ToString::to_string).collect(),
        resources: records.resources.keys().map(ToString::to_string).collect(),
        runs: records.runs.keys().map(ToString::to_string).collect(),
    }
}

const GROUND: snapshot::Floor = snapshot::Floor { epoch: 0, version: 0, issued_at: 0 };
