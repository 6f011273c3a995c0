//! A publisher of a few lines: what a control plane does for one host, without the control plane.

use std::collections::BTreeMap;

use miosa_injector::model::{EnvName, Resource, ResourceKind, Run, SecretValue, Selection};
use miosa_injector::{Change, Records};
use miosa_snapshot::{
    ContentKey, Digest, Draft, HostId, HostPublicKey, Kind, MAX_NUMBER, Signer, SigningKey, Times,
    TrustDocument, seal,
};

/// One publisher and the host that it publishes for.
pub(crate) struct Publisher {
    root: SigningKey,
    pub(crate) signer: SigningKey,
    host: HostId,
    key: Option<ContentKey>,
    /// What `issued_at` of the next update says, in Unix milliseconds.
    pub(crate) now_ms: u64,
    pub(crate) epoch: u64,
    pub(crate) fresh_for_ms: u64,
    pub(crate) serve_for_ms: u64,
    /// What the next trust document says of the signer.
    pub(crate) signer_tenants: Option<Vec<String>>,
    pub(crate) signer_expires_at: u64,
    /// Listed beside it.
    other_signers: Vec<Signer>,
}

impl Publisher {
    pub(crate) fn new(host: &str, now_ms: u64) -> Self {
        Self {
            root: new_key(),
            signer: new_key(),
            host: host.parse().unwrap(),
            key: None,
            now_ms,
            epoch: 1,
            fresh_for_ms: 15 * 60 * 1_000,
            serve_for_ms: 72 * 60 * 60 * 1_000,
            signer_tenants: None,
            signer_expires_at: MAX_NUMBER,
            other_signers: Vec::new(),
        }
    }

    /// Seals to this key from here on. A host's key is known only once it is enrolled, and it enrolls
    /// with this publisher's trust document.
    pub(crate) fn seal_to(mut self, public: &HostPublicKey) -> Self {
        self.key = Some(ContentKey::for_host(&self.host, public).unwrap());
        self
    }

    /// The trust document with this publisher's signer.
    pub(crate) fn trust(&self, version: u64) -> Vec<u8> {
        let signer = Signer {
            key: self.signer.public(),
            expires_at: self.signer_expires_at,
            tenants: self.signer_tenants.clone(),
        };
        let document = TrustDocument {
            version,
            epoch: self.epoch,
            threshold: 1,
            roots: vec![self.root.public()],
            signers: [vec![signer], self.other_signers.clone()].concat(),
            expires_at: MAX_NUMBER,
        };
        document.sign(&[&self.root]).unwrap()
    }

    /// From here on another key signs the updates. The next trust document lists it in place of the
    /// former one.
    pub(crate) fn change_signer(&mut self) {
        self.signer = new_key();
    }

    /// From here on a new key signs the updates, for these tenants, and the next trust documents list it
    /// beside the former one, which is returned.
    pub(crate) fn add_signer(&mut self, tenants: Option<Vec<String>>) -> SigningKey {
        let former = std::mem::replace(&mut self.signer, new_key());
        self.other_signers.push(Signer {
            key: former.public(),
            expires_at: self.signer_expires_at,
            tenants: std::mem::replace(&mut self.signer_tenants, tenants),
        });
        former
    }

    pub(crate) fn full(&self, version: u64, records: Records) -> Vec<u8> {
        self.seal(version, Kind::Full, &Change::full(records).encode())
    }

    pub(crate) fn incremental(&self, version: u64, from: u64, prev: &[u8], change: &Change) -> Vec<u8> {
        self.seal(version, Kind::Incremental { from, prev: Digest::of(prev) }, &change.encode())
    }

    pub(crate) fn heartbeat(&self, version: u64, prev: &[u8]) -> Vec<u8> {
        self.seal(version, Kind::Heartbeat { from: version, prev: Digest::of(prev) }, b"{}")
    }

    pub(crate) fn seal(&self, version: u64, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let times = Times {
            issued_at: self.now_ms,
            expires_at: self.now_ms + self.fresh_for_ms,
            serve_until: self.now_ms + self.serve_for_ms,
        };
        let key = self.key.as_ref().expect("a key to seal to");
        seal(&Draft { epoch: self.epoch, version, kind, times }, payload, key, &self.signer).unwrap()
    }
}

/// Resources, each with one variable of its own.
pub(crate) fn resources(of: &[(&str, &str, &str)]) -> Records {
    let mut records = Records::default();
    for (id, tenant, value) in of {
        let resource = resource(id, tenant, &[("GREETING", value)]);
        records.resources.insert(resource.id.clone(), resource);
    }
    records
}

pub(crate) fn resource(id: &str, tenant: &str, env: &[(&str, &str)]) -> Resource {
    Resource {
        id: id.parse().unwrap(),
        tenant_id: tenant.parse().unwrap(),
        workspace_id: None,
        project_id: None,
        kind: ResourceKind::Sandbox,
        env: env
            .iter()
            .map(|(name, value)| {
                (EnvName::parse(name).unwrap(), SecretValue::new((*value).to_owned()).unwrap())
            })
            .collect(),
        selection: Selection::default(),
    }
}

pub(crate) fn run(id: &str, resource: &str) -> Run {
    Run {
        id: id.parse().unwrap(),
        resource_id: resource.parse().unwrap(),
        env: BTreeMap::new(),
        selection: Selection::default(),
        instruction: None,
        cwd: None,
        command: None,
        runtime_command: None,
        model: None,
        provider: None,
        approval_policy: None,
    }
}

fn new_key() -> SigningKey {
    SigningKey::generate().unwrap().0
}
