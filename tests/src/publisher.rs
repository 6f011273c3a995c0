//! A publisher of a few lines for one host: keys, trust documents and updates of states in which
//! every value names its version, so that a mixture of two states shows. It sends nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use miosa_snapshot::{
    ContentKey, Digest, Draft, HostId, HostPublicKey, Kind, MAX_NUMBER, Signer, SigningKey, Times,
    TrustDocument, seal,
};
use serde_json::{Value, json};

/// One publisher and the host that it publishes for.
pub struct Publisher {
    root: SigningKey,
    signer: SigningKey,
    host: HostId,
    key: Option<ContentKey>,
    /// When the next update is issued, in Unix milliseconds.
    pub now_ms: u64,
    /// How long its updates count as fresh, in milliseconds.
    pub fresh_for_ms: u64,
    /// How long they may be served, in milliseconds.
    pub serve_for_ms: u64,
}

impl Publisher {
    /// A publisher with keys of its own for the host of this id.
    ///
    /// # Panics
    /// When the id is none.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            root: new_key(),
            signer: new_key(),
            host: host.parse().expect("a host id"),
            key: None,
            now_ms: now_ms(),
            fresh_for_ms: 15 * 60 * 1_000,
            serve_for_ms: 72 * 60 * 60 * 1_000,
        }
    }

    /// Seals to this key from here on.
    ///
    /// # Panics
    /// When it is no key of a host.
    pub fn seal_to(&mut self, public: &[u8]) {
        let public = HostPublicKey::from_bytes(public).expect("a public key");
        self.key = Some(ContentKey::for_host(&self.host, &public).expect("a content key"));
    }

    /// A version of the trust document.
    ///
    /// # Panics
    /// When it can't be signed.
    #[must_use]
    pub fn trust(&self, version: u64) -> Vec<u8> {
        let signer = Signer { key: self.signer.public(), expires_at: MAX_NUMBER, tenants: None };
        let document = TrustDocument {
            version,
            epoch: 1,
            threshold: 1,
            roots: vec![self.root.public()],
            signers: vec![signer],
            expires_at: MAX_NUMBER,
        };
        document.sign(&[&self.root]).expect("a signed trust document")
    }

    /// The whole state of a version.
    #[must_use]
    pub fn full(&self, version: u64) -> Vec<u8> {
        self.full_with(version, records(version, 0))
    }

    /// The same with a value of that many bytes in it.
    #[must_use]
    pub fn full_of_size(&self, version: u64, bytes: usize) -> Vec<u8> {
        self.full_with(version, records(version, bytes))
    }

    /// The same with these resources, each with its tenant, and no other.
    #[must_use]
    pub fn full_for(&self, version: u64, resources: &[(&str, &str)]) -> Vec<u8> {
        let mut records = records(version, 0);
        let mut tenants: Vec<&str> = resources.iter().map(|(tenant, _)| *tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        for kind in ["env", "profiles"] {
            records[kind] = tenants.iter().flat_map(|tenant| of_tenant(&records[kind], tenant)).collect();
        }
        let of = records["resources"][0].clone();
        records["resources"] = resources.iter().map(|(tenant, id)| resource_of(&of, tenant, id)).collect();
        self.full_with(version, records)
    }

    /// The change from the version before, which `prev` made.
    #[must_use]
    pub fn incremental(&self, version: u64, prev: &[u8]) -> Vec<u8> {
        let from = version - 1;
        let gone = json!({"env": [format!("env_{from}")], "profiles": [], "resources": [], "runs": []});
        let change = json!({"put": records(version, 0), "delete": gone});
        self.seal(version, Kind::Incremental { from, prev: Digest::of(prev) }, &change)
    }

    /// Newer times for the state that `prev` made.
    #[must_use]
    pub fn heartbeat(&self, version: u64, prev: &[u8]) -> Vec<u8> {
        self.seal(version, Kind::Heartbeat { from: version, prev: Digest::of(prev) }, &json!({}))
    }

    /// A state with these resources, each of which answers about four kilobytes.
    #[must_use]
    pub fn full_on(&self, version: u64, resources: &[&str]) -> Vec<u8> {
        let mut put = records(version, 0);
        let like = put["resources"][0].clone();
        put["resources"] = resources.iter().map(|id| resource_of(&like, "acme", id)).collect();
        let variable = put["env"][0].clone();
        let many = (0..40).map(|number| {
            let mut variable = variable.clone();
            variable["id"] = json!(format!("env_many_{number}"));
            variable["name"] = json!(format!("MANY_VARIABLES_{number}"));
            variable["value"] = json!("v".repeat(64));
            variable
        });
        put["env"].as_array_mut().expect("variables").extend(many);
        self.full_with(version, put)
    }

    fn full_with(&self, version: u64, put: Value) -> Vec<u8> {
        let nothing = json!({"env": [], "profiles": [], "resources": [], "runs": []});
        self.seal(version, Kind::Full, &json!({"put": put, "delete": nothing}))
    }

    fn seal(&self, version: u64, kind: Kind, payload: &Value) -> Vec<u8> {
        let times = Times {
            issued_at: self.now_ms,
            expires_at: self.now_ms + self.fresh_for_ms,
            serve_until: self.now_ms + self.serve_for_ms,
        };
        let key = self.key.as_ref().expect("a key to seal to");
        let draft = Draft { epoch: 1, version, kind, times };
        seal(&draft, payload.to_string().as_bytes(), key, &self.signer).expect("a sealed update")
    }
}

/// The version that a resolution is of.
///
/// # Panics
/// When it is a mixture of versions.
#[must_use]
pub fn version_of(resolution: &Value) -> u64 {
    let version = resolution["snapshot_version"].as_u64().unwrap_or_else(|| panic!("{resolution}"));
    let env = resolution["env"].as_object().expect("an environment");
    let mine = env.iter().filter(|(name, _)| name.starts_with("OF_"));
    let found: Vec<_> = mine.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
    let (text, only) = (version.to_string(), format!("OF_{version}_ONLY"));
    let expected = ["OF_PROFILE", "OF_RESOURCE", "OF_TENANT", "OF_WORKSPACE", only.as_str()];
    let mut names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected, "not the names of version {version}: {found:?}");
    assert!(found.iter().all(|(_, value)| value.trim_end_matches('.') == text), "a mixture: {resolution}");
    assert_eq!(env["MIOSA_SNAPSHOT_VERSION"], text.as_str());
    version
}

/// The resources of every state.
pub const RESOURCES: [&str; 2] = ["sbx-1", "sbx-2"];

/// Unix time in milliseconds.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a year of four digits")
}

/// Each layer says the version, and one variable is there in this version only.
fn records(version: u64, padding: usize) -> Value {
    let value = version.to_string();
    let padded = format!("{value}{}", ".".repeat(padding));
    let variable = |id: &str, scope: Value, name: &str, value: &str| {
        json!({"id": id, "tenant_id": "acme", "scope": scope, "target": "all", "name": name, "value": value,
               "enabled": true})
    };
    let resource = |id: &str| {
        json!({"id": id, "tenant_id": "acme", "workspace_id": "ws_1", "project_id": null, "kind": "sandbox",
               "env": {"OF_RESOURCE": value}, "selection": {"skip": false, "profile_id": null}})
    };
    json!({
        "env": [
            variable("env_tenant", json!("tenant"), "OF_TENANT", &value),
            variable("env_ws", json!({"workspace": "ws_1"}), "OF_WORKSPACE", &padded),
            variable(&format!("env_{version}"), json!("tenant"), &format!("OF_{version}_ONLY"), &value),
        ],
        "profiles": [{
            "id": "arp_1", "tenant_id": "acme", "workspace_id": null, "project_id": null, "name": "p",
            "runtime": "custom", "applies_to": [], "tools": null, "connectors": [],
            "env": {"OF_PROFILE": value}, "policy": {}, "is_default": true
        }],
        "resources": RESOURCES.map(resource),
        "runs": [],
    })
}

/// The records of another tenant, with ids of its own.
fn of_tenant(records: &Value, tenant: &str) -> Vec<Value> {
    let mut records = records.as_array().expect("records").clone();
    for record in &mut records {
        let id = record["id"].as_str().expect("an id").to_owned();
        record["id"] = json!(format!("{id}_{tenant}"));
        record["tenant_id"] = json!(tenant);
    }
    records
}

fn resource_of(like: &Value, tenant: &str, id: &str) -> Value {
    let mut resource = like.clone();
    resource["tenant_id"] = json!(tenant);
    resource["id"] = json!(id);
    resource
}

fn new_key() -> SigningKey {
    SigningKey::generate().expect("a key").0
}
