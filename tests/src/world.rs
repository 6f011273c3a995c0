//! A control plane with hosts, tenants and resources, all real and all in one throw-away folder.

use std::cell::RefCell;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Endpoint};
use crate::program::{Program, command, eventually};

/// A control plane and everything that hangs on it. Each program logs at its most verbose level.
pub struct World {
    // Before the folder, so that its log is still there when it ends.
    control: RefCell<Option<Program>>,
    folder: TempDir,
    endpoint: Endpoint,
    port: u16,
    platform_key: String,
}

/// A tenant with a key.
pub struct Tenant<'a> {
    world: &'a World,
    /// Its id.
    pub id: String,
    /// Its API key.
    pub key: String,
}

/// An enrolled host with its daemon and its link.
pub struct Host<'a> {
    world: &'a World,
    name: String,
    /// Its id.
    pub id: String,
    serve: Option<Program>,
    link: Option<Program>,
    config: Option<PathBuf>,
}

/// Where a host finds its control plane.
pub struct Address<'a> {
    /// The URL that it enrolls with.
    pub url: &'a str,
    /// The certificates to trust there.
    pub ca: Option<&'a Path>,
    /// The text of its configuration file.
    pub config: &'a str,
}

impl World {
    /// Starts a control plane on a fresh state.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a control plane with further flags.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("miosa-").tempdir().expect("a scratch folder");
        let port = free_port();
        let endpoint = Endpoint::Tcp(port);
        let mut world =
            Self { folder, control: RefCell::new(None), endpoint, port, platform_key: String::new() };
        world.start_control(flags);
        world.platform_key = world.control_says(&["key", "create", "--role", "platform"]);
        world
    }

    /// Starts the control plane again, on the state it left.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_control(&self, flags: &[&str]) {
        let level: &[&str] = if flags.contains(&"--log-level") { &[] } else { &["--log-level", "trace"] };
        let mut command = self.control_command(&["serve"]);
        command.args(level).arg("--listen").arg(format!("127.0.0.1:{}", self.port)).args(flags);
        let control = Program::start("miosa-control", command, &self.path("control.log"));
        self.control.replace(Some(control));
        eventually("the control plane answers", || {
            self.endpoint
                .request("GET", "/api/v1/runtime-env", &[], b"")
                .ok()
                .filter(|answer| answer.status == 401)
        });
    }

    /// Stops the control plane.
    ///
    /// # Panics
    /// When it was not running or does not end cleanly.
    pub fn stop_control(&self) {
        let status = self.control.borrow_mut().take().expect("a running control plane").stop();
        assert!(status.success(), "miosa-control ended with {status}");
    }

    /// The process of the control plane.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn control_pid(&self) -> i32 {
        self.control.borrow().as_ref().expect("a running control plane").pid()
    }

    /// Where the control plane listens, for clients of other makers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The loopback port on which the control plane listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the control plane listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A path in the world's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A tenant with a fresh key.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Tenant<'_> {
        let key = self.control_says(&["key", "create", "--tenant", id]);
        Tenant { world: self, id: id.to_owned(), key }
    }

    /// Enrolls a host and starts its daemon and its link.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn host(&self, name: &str) -> Host<'_> {
        self.enroll(name, &["--control", &self.url()], None)
    }

    /// As [`World::host`], by another way to the control plane, and with a configuration file.
    ///
    /// # Panics
    /// When any step fails.
    #[must_use]
    pub fn host_at(&self, name: &str, at: &Address<'_>) -> Host<'_> {
        let config = self.path(&format!("{name}.toml"));
        std::fs::write(&config, at.config).expect("write a configuration");
        let mut way = vec!["--control", at.url];
        if let Some(ca) = at.ca {
            way.extend(["--ca", ca.to_str().expect("a path that is text")]);
        }
        self.enroll(name, &way, Some(config))
    }

    fn enroll(&self, name: &str, way: &[&str], config: Option<PathBuf>) -> Host<'_> {
        let token = self.control_says(&["host", "create", "--name", name]);
        let (id, serve, link) = (String::new(), None, None);
        let mut host = Host { world: self, name: name.to_owned(), id, serve, link, config };
        let enrolled = host.run(&[&["enroll", "--token", &token], way].concat());
        assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
        host.start_serve();
        host.start_link();
        host.id = host.status()["host_id"].as_str().expect("a host id").to_owned();
        host
    }

    /// A request to the platform API, with its key.
    ///
    /// # Panics
    /// When the control plane does not answer.
    #[must_use]
    pub fn platform(&self, method: &str, target: &str, body: Value) -> Answer {
        self.call(method, &format!("/platform/v1/{target}"), &self.platform_key, body)
    }

    /// Runs `miosa-control` with the world's state; its stdout, trimmed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn control_says(&self, args: &[&str]) -> String {
        let output = self.control(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Runs `miosa-control` with the world's state, however it ends.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn control(&self, args: &[&str]) -> std::process::Output {
        self.control_command(args).output().expect("run miosa-control")
    }

    fn control_command(&self, args: &[&str]) -> Command {
        let mut command = command("miosa-control");
        command.args(args).arg("--state-dir").arg(self.path("control"));
        command
    }

    fn call(&self, method: &str, target: &str, key: &str, body: Value) -> Answer {
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = if body.is_empty() { &headers[..1] } else { &headers[..] };
        self.endpoint.request(method, target, headers, &body).expect("an answer of the control plane")
    }
}

impl Tenant<'_> {
    /// A request to the tenant API, with the tenant's key.
    ///
    /// # Panics
    /// When the control plane does not answer.
    #[must_use]
    pub fn call(&self, method: &str, target: &str, body: Value) -> Answer {
        self.world.call(method, &format!("/api/v1/{target}"), &self.key, body)
    }

    /// Sets a runtime env variable; its id.
    ///
    /// # Panics
    /// When it is refused.
    pub fn set(&self, name: &str, value: &str, fields: Value) -> String {
        let mut body = json!({"scope": "tenant", "name": name, "value": value});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        created(&self.call("POST", "runtime-env", body))
    }

    /// Creates a profile; its id.
    ///
    /// # Panics
    /// When it is refused.
    pub fn profile(&self, body: Value) -> String {
        created(&self.call("POST", "agent-runtime-profiles", body))
    }
}

impl Host<'_> {
    /// Places a resource of a tenant here and waits until the host has it.
    ///
    /// # Panics
    /// When it is refused or does not arrive.
    pub fn place(&self, tenant: &Tenant<'_>, id: &str, fields: Value) {
        let mut body = json!({"id": id, "tenant_id": tenant.id, "host_id": self.id, "kind": "sandbox"});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        let answer = self.world.platform("POST", "resources?wait=20", body);
        assert_eq!(answer.status, 201, "{}", answer.json());
        assert_eq!(answer.header("miosa-applied"), Some("yes"), "{answer:?}");
    }

    /// Creates a run on a resource and waits until the host has it; its id.
    ///
    /// # Panics
    /// When it is refused or does not arrive.
    pub fn start_run(&self, resource: &str, body: Value) -> String {
        let answer = self.world.platform("POST", &format!("resources/{resource}/runs?wait=20"), body);
        assert_eq!(answer.header("miosa-applied"), Some("yes"), "{answer:?}");
        created(&answer)
    }

    /// The folder to mount into a resource.
    #[must_use]
    pub fn resource_dir(&self, resource: &str) -> PathBuf {
        self.runtime_dir().join("resources").join(resource)
    }

    /// The resource's socket.
    #[must_use]
    pub fn socket(&self, resource: &str) -> Endpoint {
        Endpoint::Unix(self.resource_dir(resource).join("miosa.sock"))
    }

    /// A GET on a resource's socket.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn ask(&self, resource: &str, target: &str) -> Answer {
        self.socket(resource).request("GET", target, &[], b"").expect("an answer of miosad")
    }

    /// What a resource starts with.
    ///
    /// # Panics
    /// When it does not resolve.
    #[must_use]
    pub fn resolve(&self, resource: &str) -> Value {
        let answer = self.ask(resource, "/v1/resolve");
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    }

    /// One variable of a resource.
    #[must_use]
    pub fn env(&self, resource: &str, name: &str) -> Option<String> {
        self.resolve(resource)["env"][name].as_str().map(str::to_owned)
    }

    /// Waits until a resource resolves and a variable of it is so.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub fn await_env(&self, resource: &str, name: &str, value: Option<&str>) {
        eventually(&format!("{resource} has {name}={value:?}"), || {
            let answer = self.socket(resource).request("GET", "/v1/resolve", &[], b"").ok()?;
            (answer.status == 200 && answer.json()["env"][name].as_str() == value).then_some(())
        });
    }

    /// Waits until the host holds a verified state.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn await_ready(&self) {
        eventually("the host is ready", || {
            self.admin().request("GET", "/readyz", &[], b"").ok().filter(|answer| answer.status == 200)
        });
    }

    /// The daemon's status.
    ///
    /// # Panics
    /// When the admin socket does not answer.
    #[must_use]
    pub fn status(&self) -> Value {
        self.admin().request("GET", "/v1/status", &[], b"").expect("an answer of the admin socket").json()
    }

    /// The admin socket.
    #[must_use]
    pub fn admin(&self) -> Endpoint {
        Endpoint::Unix(self.runtime_dir().join("admin.sock"))
    }

    /// The intake socket.
    #[must_use]
    pub fn intake(&self) -> Endpoint {
        Endpoint::Unix(self.runtime_dir().join("intake.sock"))
    }

    /// Runs `miosad` with the host's folders.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> std::process::Output {
        self.command(args).output().expect("run miosad")
    }

    /// Starts the daemon.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_serve(&mut self) {
        let command = self.command(&["serve", "--log-level", "trace"]);
        let log = self.world.path(&format!("{}-serve.log", self.name));
        self.serve = Some(Program::start("miosad serve", command, &log));
        eventually("the daemon answers", || self.admin().request("GET", "/healthz", &[], b"").ok());
    }

    /// Starts the link.
    pub fn start_link(&mut self) {
        let command = self.command(&["link", "--log-level", "trace"]);
        let log = self.world.path(&format!("{}-link.log", self.name));
        self.link = Some(Program::start("miosad link", command, &log));
    }

    /// Stops the daemon.
    ///
    /// # Panics
    /// When it was not running or does not end cleanly.
    pub fn stop_serve(&mut self) {
        let status = self.serve.take().expect("a running daemon").stop();
        assert!(status.success(), "miosad serve ended with {status}");
    }

    /// Stops the link.
    ///
    /// # Panics
    /// When it was not running or does not end cleanly.
    pub fn stop_link(&mut self) {
        let status = self.link.take().expect("a running link").stop();
        assert!(status.success(), "miosad link ended with {status}");
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// When it was stopped.
    pub fn serve(&mut self) -> &mut Program {
        self.serve.as_mut().expect("a running daemon")
    }

    /// The link's process.
    ///
    /// # Panics
    /// When it was stopped.
    pub fn link(&mut self) -> &mut Program {
        self.link.as_mut().expect("a running link")
    }

    /// The host's state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.world.path(&self.name)
    }

    /// The host's runtime folder.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.world.path(&format!("{}-run", self.name))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command("miosad");
        command
            .args(args)
            .arg("--state-dir")
            .arg(self.state_dir())
            .arg("--runtime-dir")
            .arg(self.runtime_dir());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command
    }
}

/// Every file below a folder, links not followed.
///
/// # Panics
/// When a folder can't be read.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("read the folder") {
        let path = entry.expect("an entry").path();
        let kind = path.symlink_metadata().expect("metadata").file_type();
        if kind.is_dir() {
            files.extend(files_below(&path));
        } else if kind.is_file() {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn created(answer: &Answer) -> String {
    let body = answer.json();
    assert!(answer.status == 201 || answer.status == 200, "{}: {body}", answer.status);
    body["data"]["id"].as_str().expect("an id").to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
