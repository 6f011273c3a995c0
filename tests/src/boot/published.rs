//! A machine that is a host of a publisher without a control plane: enrolled with a trust document, fed by
//! hand.

use std::fs;

use data_encoding::BASE64;
use serde_json::Value;

use super::Machine;
use crate::http::{Answer, Endpoint};
use crate::program::eventually;
use crate::publisher::Publisher;

/// The machine and its publisher.
pub struct Published {
    /// The machine.
    pub machine: Machine,
    /// Who publishes for it.
    pub publisher: Publisher,
    /// The version that was published last.
    pub version: u64,
}

impl Published {
    /// A machine with our packages, enrolled, that holds these resources of the tenant `acme`.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn holding(resources: &[&str]) -> Self {
        let mut host = Self::enrolled(Machine::with_packages());
        let resources: Vec<(&str, &str)> = resources.iter().map(|id| ("acme", *id)).collect();
        host.publish(&resources);
        host
    }

    /// Enrolls a machine that has our packages, and does nothing else.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn enrolled(machine: Machine) -> Self {
        let mut publisher = Publisher::new("host_1");
        fs::write(machine.path("/root/trust.json"), publisher.trust(1)).expect("write the trust document");
        let public = machine.run("miosad enroll --host-id host_1 --trust /root/trust.json");
        publisher.seal_to(&BASE64.decode(public.as_bytes()).expect("base64"));
        let host = Self { machine, publisher, version: 0 };
        host.await_intake();
        host
    }

    /// Publishes the next version, with these resources of these tenants, and waits until they are served.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&mut self, resources: &[(&str, &str)]) {
        let update = self.next(resources);
        let answer = self.offer(&update);
        assert_eq!(answer.status, 200, "{}", answer.json());
        self.serves(resources);
    }

    /// The next version, published to nobody yet.
    #[must_use]
    pub fn next(&mut self, resources: &[(&str, &str)]) -> Vec<u8> {
        self.version += 1;
        self.publisher.full_for(self.version, resources)
    }

    /// Offers an update at the intake socket.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn offer(&self, update: &[u8]) -> Answer {
        let intake = self.machine.socket("/run/miosa/intake.sock");
        intake.request("PUT", "/v1/updates", &[], update).expect("an answer of the intake socket")
    }

    /// Lays an update into the drop directory.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn drop_update(&self, update: &[u8]) {
        let (hidden, name) = ("/var/lib/miosa/drop/.next", "/var/lib/miosa/drop/next");
        fs::write(self.machine.path(hidden), update).expect("write an update");
        self.machine.run(&format!("chown miosad:miosa {hidden} && mv {hidden} {name}"));
    }

    /// Waits until the daemon listens at the intake socket.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn await_intake(&self) {
        let intake = self.machine.socket("/run/miosa/intake.sock");
        eventually("the intake socket answers", || intake.request("GET", "/v1/position", &[], b"").ok());
    }

    /// Waits until each of these is served at the version that was published last.
    ///
    /// # Panics
    /// When one is not within a minute.
    pub fn serves(&self, resources: &[(&str, &str)]) {
        self.serves_at(self.version, resources);
    }

    /// Waits until each of these is served at this version.
    ///
    /// # Panics
    /// When one is not within a minute.
    pub fn serves_at(&self, version: u64, resources: &[(&str, &str)]) {
        for (_, id) in resources {
            eventually(&format!("{id} is served at version {version}"), || {
                let answer = self.socket(id).request("GET", "/v1/resolve", &[], b"").ok()?;
                let served = answer.json()["snapshot_version"].as_u64();
                (answer.status == 200 && served == Some(version)).then_some(())
            });
        }
    }

    /// The socket of a resource.
    #[must_use]
    pub fn socket(&self, resource: &str) -> Endpoint {
        self.machine.socket(&format!("/run/miosa/resources/{resource}/miosa.sock"))
    }

    /// The daemon's status.
    ///
    /// # Panics
    /// When the admin socket does not answer.
    #[must_use]
    pub fn status(&self) -> Value {
        let admin = self.machine.socket("/run/miosa/admin.sock");
        admin.request("GET", "/v1/status", &[], b"").expect("an answer of the admin socket").json()
    }

    /// How many descriptors systemd keeps for the daemon.
    ///
    /// # Panics
    /// When systemd does not say.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.machine.property("miosad.service", "NFileDescriptorStore").parse().expect("a number")
    }
}
