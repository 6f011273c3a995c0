//! A root with nothing in it but the shim twice, the second time as the agent, and the daemon's socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use miosa_tests::StandIn;
use miosa_tests::program::binary;
use miosa_tests::stand_in::resolved;
use serde_json::json;
use tempfile::TempDir;

/// The root.
pub struct Place {
    root: TempDir,
    daemon: StandIn,
}

impl Place {
    /// With a daemon that answers.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).expect("let everybody in");
        for name in ["miosa-exec", "agent"] {
            fs::copy(binary("miosa-exec"), root.path().join(name)).expect("copy the program");
        }
        let answer = resolved(json!({"env": {"KEY": "value"}}));
        let daemon = StandIn::saying(&root.path().join("miosa.sock"), answer);
        Self { root, daemon }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The socket as those outside see it.
    pub fn socket(&self) -> PathBuf {
        self.root.path().join("miosa.sock")
    }

    /// What the agent prints when the shim was started outside of this root.
    pub fn printed(&self) -> String {
        format!("KEY=value\nMIOSA_SOCKET={}\n", self.socket().display())
    }

    /// Whom it asks.
    pub fn daemon(&self) -> &StandIn {
        &self.daemon
    }

    /// The shim outside of this root, below other programs, which starts the agent.
    pub fn directly(&self, words: &[&str], args: &[&str]) -> Command {
        let mut command = below(words);
        command.arg(binary("miosa-exec")).arg("--socket").arg(self.socket()).args(args);
        command.arg("--").arg(self.root.path().join("agent")).args(AGENT);
        command
    }

    /// What the shim in this root is to do: start the agent.
    pub fn finish<'a>(&self, command: &'a mut Command, args: &[&str]) -> &'a mut Command {
        command.args(["--socket", "/miosa.sock"]).args(args).args(["--", "/agent"]).args(AGENT)
    }
}

/// The shim as process 1 in this root, below other programs, with no variable at all.
pub fn as_process_1(place: &Place, words: &[&str], args: &[&str]) -> Command {
    let mut starter = vec!["unshare", "--pid", "--fork", "--kill-child"];
    if !nix::unistd::geteuid().is_root() {
        starter.extend(["--user", "--map-root-user"]);
    }
    let root = place.root().display().to_string();
    starter.extend(words);
    starter.extend(["env", "-i", CHROOT, &root, "/miosa-exec"]);
    let mut command = below(&starter);
    place.finish(&mut command, args);
    command
}

/// The beginning of a command: programs that start what is added to it.
pub fn below(words: &[&str]) -> Command {
    let (first, rest) = words.split_first().expect("a program");
    let mut command = Command::new(first);
    command
        .args(rest)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// The agent asks again, and prints what it was given.
const AGENT: [&str; 6] = ["--run", "agent", "--clear-env", "--print", "env", "--reveal"];
/// Nobody says where to look for programs.
pub const CHROOT: &str = "/usr/sbin/chroot";
