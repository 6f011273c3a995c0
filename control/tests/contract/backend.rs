//! Databases to test on: a file, or a database in a `PostgreSQL` cluster that is started once for
//! the whole test program and ends with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database, and whatever must live as long.
pub(crate) struct Backend {
    /// For `--database`; `None` for the default in the state directory.
    pub(crate) url: Option<String>,
}

/// The default: a file in the state directory.
pub(crate) fn sqlite() -> Backend {
    Backend { url: None }
}

/// A new database in the cluster. `None`, with a word on standard error, where `PostgreSQL` is not
/// installed, unless `MIOSA_TEST_POSTGRES=required` asks for it.
pub(crate) fn postgres() -> Option<Backend> {
    static CLUSTER: LazyLock<Option<Cluster>> = LazyLock::new(Cluster::start);
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let Some(cluster) = CLUSTER.as_ref() else {
        let required = std::env::var("MIOSA_TEST_POSTGRES").is_ok_and(|wish| wish == "required");
        assert!(!required, "PostgreSQL is required but not installed: apt-get install postgresql");
        eprintln!("skipped: PostgreSQL is not installed (apt-get install postgresql)");
        return None;
    };
    let database = format!("control_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    cluster.sql("postgres", &format!("CREATE DATABASE {database}"));
    Some(Backend { url: Some(cluster.url(&database)) })
}

struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
}

impl Cluster {
    fn start() -> Option<Self> {
        let programs = programs()?;
        // Not in $TMPDIR of root, which the server's user may not enter.
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap().keep();
        let cluster = Self { dir, programs };
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&cluster.dir));
        }
        let data = cluster.data();
        run(cluster.command("initdb").args(["--auth=trust", "--no-sync", "-U", "miosa", "-D"]).arg(&data));
        let (socket, data) = (cluster.dir.display().to_string(), data.display().to_string());
        let mut server = cluster.command("postgres");
        server.args(["-D", &data, "-k", &socket, "-c", "listen_addresses="]);
        server.args(["-c", "fsync=off", "-c", "max_connections=1000"]);
        std::mem::forget(ends_with_us(&server, &socket));
        for _attempt in 0..200 {
            if cluster.command("pg_isready").args(["-q", "-h", &socket]).status().unwrap().success() {
                return Some(cluster);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start in {socket}");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://miosa@localhost/{database}?host={}", self.dir.display())
    }

    fn sql(&self, database: &str, statement: &str) {
        let mut psql = self.command("psql");
        psql.args(["-q", "-U", "miosa", "-h"]).arg(&self.dir).args(["-d", database, "-c", statement]);
        run(&mut psql);
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A program of `PostgreSQL`, which is never root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

/// Runs a server until this program ends, however it ends, and removes its directory then: a shell
/// waits for the end of a pipe that only this program holds open.
fn ends_with_us(server: &Command, dir: &str) -> Child {
    let script =
        r#"dir=$1; shift; "$@" </dev/null >"$dir/log" 2>&1 & cat; kill -INT $!; wait $!; rm -rf "$dir""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", dir]).arg(server.get_program()).args(server.get_args());
    shell.current_dir("/").stdin(Stdio::piped()).spawn().unwrap()
}

fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    installed.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

const USER: &str = "nobody";
