//! A host without a daemon: it enrolls, keeps its stream, opens and judges what comes, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use miosa_injector::{Change, Records, State, Understands};
use miosa_snapshot::{
    Admission, Digest, Floor, FloorCheck, Held, HostIdentity, HostPrivateKey, KeyId, Kind, OpenedKeys,
    Statement, Trust, Verdict, judge, open,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::client::{Answer, Client};
use crate::control::Control;

/// An enrolled host and what it holds.
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) client: Client,
    identity: HostIdentity,
    pub(crate) trust: Trust,
    /// The trust documents taken so far.
    chain: BTreeSet<Digest>,
    keys: OpenedKeys,
    pub(crate) held: Option<Held>,
    floor: Option<Floor>,
    /// On whose word the state rests.
    signers: BTreeSet<KeyId>,
    pub(crate) state: State,
    /// What its programs know, as they say it; the first of them said nothing.
    pub(crate) knows: Option<String>,
}

/// An open stream of updates.
pub(crate) struct Stream {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Host {
    /// Makes a host on the command line and enrolls it.
    pub(crate) async fn enroll(control: &Control, name: &str) -> Self {
        Self::join(control, &control.run(&["host", "create", "--name", name])).await
    }

    /// Enrolls with this join token.
    pub(crate) async fn join(control: &Control, join: &str) -> Self {
        let (token, pin) = join.split_once('.').unwrap();
        let key = HostPrivateKey::generate().unwrap();
        let answer = enroll_with(&control.stranger(), token, &key).await;
        let data = answer.data(201);
        let body: BTreeMap<String, BTreeMap<String, Box<RawValue>>> =
            serde_json::from_str(&answer.text).unwrap();
        let chain: Vec<Box<RawValue>> = serde_json::from_str(body["data"]["trust"].get()).unwrap();
        let mut trust = Trust::pin(chain[0].get().as_bytes(), &pin.parse().unwrap()).unwrap();
        for next in &chain[1..] {
            trust = trust.advance(next.get().as_bytes()).unwrap();
        }
        let chain = chain.iter().map(|document| Digest::of(document.get().as_bytes())).collect();
        let id = data["host_id"].as_str().unwrap().to_owned();
        Self {
            client: control.client(data["host_token"].as_str().unwrap()),
            identity: HostIdentity { id: id.parse().unwrap(), key },
            id,
            trust,
            chain,
            keys: OpenedKeys::new(),
            held: None,
            floor: None,
            signers: BTreeSet::new(),
            state: State::default(),
            knows: Some(Understands::ALL.to_string()),
        }
    }

    /// Opens the stream, saying what is held.
    pub(crate) async fn connect(&self) -> Stream {
        let held = self
            .held
            .map(|held| format!("&epoch={}&version={}&digest={}", held.epoch, held.version, held.state));
        self.open(&format!("?trust_version={}{}", self.trust.version(), held.unwrap_or_default())).await
    }

    /// Opens the stream as who needs everything, whatever is held.
    pub(crate) async fn connect_for_everything(&self) -> Stream {
        self.open("").await
    }

    /// Opens the stream with these parameters.
    pub(crate) async fn open(&self, held: &str) -> Stream {
        let response = self.get(&format!("/host/v1/updates{held}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Stream { body: response.into_body(), buffer: Vec::new() }
    }

    /// Takes the next update, as a daemon would, and the trust documents before it; gives what it says.
    pub(crate) async fn follow(&mut self, stream: &mut Stream) -> Statement {
        loop {
            let (kind, envelope) = stream.envelope().await;
            if kind == "update" {
                return self.accept(&envelope);
            }
            self.take_trust(&envelope);
        }
    }

    /// Follows a trust document. A state whose signer it drops counts as not held.
    pub(crate) fn take_trust(&mut self, envelope: &[u8]) {
        if !self.chain.insert(Digest::of(envelope)) {
            return;
        }
        self.trust = self.trust.advance(envelope).unwrap();
        let listed = |signer: &KeyId| {
            self.trust.document().signers.iter().any(|listed| listed.key.key_id() == *signer)
        };
        if !self.signers.iter().all(listed) {
            self.lose_state();
        }
    }

    /// Takes updates until one carries a state, reports it, and gives what it says.
    pub(crate) async fn follow_state(&mut self, stream: &mut Stream) -> Statement {
        loop {
            let statement = self.follow(stream).await;
            self.report(None).await;
            if !matches!(statement.kind, Kind::Heartbeat { .. }) {
                return statement;
            }
        }
    }

    /// Takes updates until the state is as wanted, and reports each.
    pub(crate) async fn follow_until(&mut self, stream: &mut Stream, wanted: impl Fn(&Records) -> bool) {
        while !wanted(self.state.records()) {
            self.follow(stream).await;
            self.report(None).await;
        }
    }

    /// Opens an update and applies it.
    pub(crate) fn accept(&mut self, envelope: &[u8]) -> Statement {
        let admission = Admission::New { now_ms: now_ms() };
        let update = open(envelope, &self.identity, &self.trust, admission, &mut self.keys).unwrap();
        let floor = self.floor.map_or(FloorCheck::None, FloorCheck::AtLeast);
        match judge(&update, self.held.as_ref(), floor).unwrap() {
            Verdict::Replace => self.state = decode(update.payload()),
            Verdict::ReplaceIfStateEqual(unsettled) => {
                unsettled.settle(&self.state, &decode(update.payload())).unwrap();
            }
            Verdict::Refresh | Verdict::Unchanged => {}
            Verdict::Extend => {
                let change = Change::decode(update.payload()).unwrap();
                self.state = self.state.apply(change).unwrap();
            }
        }
        if update.statement().kind == Kind::Full {
            self.signers.clear();
        }
        self.signers.insert(update.statement().signer);
        self.held = Some(Held::after(self.held.as_ref(), &update));
        self.floor = self.held.map(|held| held.floor());
        update.statement().clone()
    }

    /// Says what is held, and what is wrong.
    pub(crate) async fn report(&self, error: Option<&str>) {
        let error = error.map(|code| json!({"code": code, "message": "as told by a test"}));
        let body = match self.held {
            Some(held) => {
                json!({"epoch": held.epoch, "version": held.version, "digest": held.state.to_string(), "error": error})
            }
            None => json!({"epoch": null, "version": null, "digest": null, "error": error}),
        };
        let answer = self.client.post("/host/v1/status", body).send().await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"ok":true}"#));
    }

    /// Says what is held, and asks for a full update.
    pub(crate) async fn ask_for_full(&self) {
        let Held { epoch, version, state, .. } = self.held.unwrap();
        let held = json!({"epoch": epoch, "version": version, "digest": state.to_string()});
        let mut body = held.as_object().unwrap().clone();
        body.extend([("need_full".to_owned(), json!(true)), ("error".to_owned(), json!(null))]);
        let answer = self.client.post("/host/v1/status", body.into()).send().await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    }

    /// Forgets everything but the keys, the trust and how far it had come.
    pub(crate) fn lose_state(&mut self) {
        self.held = None;
        self.signers.clear();
        self.state = State::default();
    }

    /// Holds what it held before, as a machine does that is put back from a backup.
    pub(crate) fn go_back_to(&mut self, held: Option<Held>, state: State) {
        self.held = held;
        self.floor = held.map(|held| held.floor());
        self.state = state;
    }

    /// A value of a resource's own env, as held.
    pub(crate) fn env_of(&self, resource: &str, name: &str) -> Option<String> {
        let resource = self.state.records().resources.get(&resource.parse().unwrap())?;
        let value = resource.env.iter().find(|(held, _)| held.as_str() == name)?.1;
        Some(value.expose().to_owned())
    }

    pub(crate) fn version(&self) -> u64 {
        self.held.unwrap().version
    }

    async fn get(&self, path: &str) -> Response<Incoming> {
        let stream = UnixStream::connect(&self.client.socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path)
            .header("host", "control")
            .header("authorization", format!("Bearer {}", self.client.key.as_deref().unwrap()));
        if let Some(knows) = &self.knows {
            request = request.header("miosa-understands", knows);
        }
        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    }
}

impl Stream {
    /// The next line without its end; `None` when the stream has ended.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        timeout(PATIENCE, self.read_line()).await.expect("the next line in time")
    }

    /// The next update's envelope; empty lines are passed over, and so are trust documents.
    pub(crate) async fn update(&mut self) -> Vec<u8> {
        loop {
            let (kind, envelope) = self.envelope().await;
            if kind == "update" {
                return envelope;
            }
            assert_eq!(kind, "trust");
        }
    }

    /// The next line that is not empty: what it carries, and that.
    pub(crate) async fn envelope(&mut self) -> (String, Vec<u8>) {
        loop {
            let line = self.line().await.expect("an open stream");
            if !line.is_empty() {
                let line: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&line).unwrap();
                let (kind, envelope) = line.into_iter().next().unwrap();
                return (kind, envelope.get().as_bytes().to_vec());
            }
        }
    }

    /// Whether nothing but empty lines comes for a while.
    pub(crate) async fn is_silent(&mut self, for_a: Duration) -> bool {
        timeout(for_a, self.update()).await.is_err()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) {
        while self.line().await.is_some() {}
    }

    async fn read_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Some(line);
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }
}

/// Redeems a join token.
pub(crate) async fn enroll_with(stranger: &Client, token: &str, key: &HostPrivateKey) -> Answer {
    let public_key = BASE64.encode(key.public().as_bytes());
    let body = json!({"token": token, "public_key": public_key, "agent": "miosad 0.1.0"});
    stranger.post("/host/v1/enroll", body).send().await
}

/// Creates something and gives its id.
#[track_caller]
pub(crate) fn id_of(answer: &Answer) -> String {
    let data: Value = answer.data(201);
    data["id"].as_str().unwrap().to_owned()
}

/// A caller with a new platform key.
pub(crate) fn platform(control: &Control) -> Client {
    control.client(&control.run(&["key", "create", "--role", "platform"]))
}

/// The body of a resource.
pub(crate) fn sandbox(id: &str, tenant: &str, host: &Host) -> Value {
    json!({"id": id, "tenant_id": tenant, "host_id": host.id, "kind": "sandbox"})
}

/// What `now` is to a host.
fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn decode(payload: &[u8]) -> State {
    State::from_full(Change::decode(payload).unwrap()).unwrap()
}

/// The digest of what nobody holds.
pub(crate) fn any_digest() -> Digest {
    Digest::of(b"")
}

const PATIENCE: Duration = Duration::from_secs(20);
