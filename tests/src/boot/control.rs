//! A control plane on a machine, as its own package runs it, and the host that the same machine is.

use serde_json::{Value, json};

use super::Machine;
use crate::http::{Answer, Endpoint};
use crate::program::eventually;

/// The control plane of a machine that has our packages. It listens on that machine's loopback interface.
pub struct ControlPlane<'a> {
    machine: &'a Machine,
    platform_key: String,
}

impl Machine {
    /// The control plane that runs on it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn control_plane(&self) -> ControlPlane<'_> {
        let port = self.port(PORT);
        eventually("the control plane answers", || port.request("GET", "/api/v1/runtime-env", &[], b"").ok());
        let platform_key = control(self, "key create --role platform");
        ControlPlane { machine: self, platform_key }
    }
}

impl ControlPlane<'_> {
    /// Makes the machine a host of this control plane, as root, and does nothing else; its id.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn enroll(&self, name: &str) -> String {
        let token = control(self.machine, &format!("host create --name {name}"));
        self.machine.run(&format!("miosad enroll --control http://127.0.0.1:{PORT} --token {token}"));
        let hosts = self.platform("GET", "hosts", &Value::Null).json();
        let hosts = hosts["data"].as_array().unwrap_or_else(|| panic!("no list of hosts: {hosts}"));
        let host = hosts.iter().find(|host| host["name"] == name).expect("the host");
        host["id"].as_str().expect("an id").to_owned()
    }

    /// Places a resource on a host, with this environment of its own, and waits until the host has it.
    ///
    /// # Panics
    /// When it is refused or does not arrive.
    pub fn place(&self, host: &str, tenant: &str, id: &str, env: &Value) {
        let body = json!({"id": id, "tenant_id": tenant, "host_id": host, "kind": "sandbox", "env": env});
        let answer = self.platform("POST", "resources?wait=30", &body);
        assert_eq!(answer.status, 201, "{}", answer.json());
        assert_eq!(answer.header("miosa-applied"), Some("yes"), "{answer:?}");
    }

    /// A request to the platform API, with its key.
    ///
    /// # Panics
    /// When the control plane does not answer.
    #[must_use]
    pub fn platform(&self, method: &str, target: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.platform_key);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = if body.is_empty() { &headers[..1] } else { &headers[..] };
        let port: Endpoint = self.machine.port(PORT);
        let answer = port.request(method, &format!("/platform/v1/{target}"), headers, &body);
        answer.expect("an answer of the control plane")
    }
}

/// Runs `miosa-control` as the user whose state it is.
fn control(machine: &Machine, line: &str) -> String {
    machine.run(&format!("runuser -u miosa-control -- miosa-control {line}"))
}

const PORT: u16 = 7400;
