//! The command line. Every option can also be given as a `MIOSA_CONTROL_…` variable.

mod trust;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use miosa_injector::model::TenantId;

use crate::server::Address;
use crate::store::Database;

pub(crate) use trust::{RootKeyCommand, RotateOptions, SignOptions, TrustCommand};

/// The MIOSA control plane: tenant, platform and host APIs over one database.
#[derive(Debug, Parser)]
#[command(name = "miosa-control", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) state: StateOptions,
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where everything is kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateOptions {
    /// Directory for the database and the master key; made at first start
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MIOSA_CONTROL_STATE_DIR",
        default_value = "/var/lib/miosa-control"
    )]
    pub(crate) state_dir: PathBuf,
    /// sqlite:FILE or postgres://… [default: sqlite:STATE_DIR/control.db]
    #[arg(long, global = true, value_name = "URL", env = "MIOSA_CONTROL_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<Database>,
    /// File of the key that all stored values are under [default: the systemd credential
    /// `miosa-control.master-key`, else STATE_DIR/master.key, made at first start]
    #[arg(long, global = true, value_name = "FILE", env = "MIOSA_CONTROL_MASTER_KEY")]
    pub(crate) master_key: Option<PathBuf>,
}

/// What is logged to standard error, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LogOptions {
    /// How much to log
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "L",
        env = "MIOSA_CONTROL_LOG_LEVEL",
        default_value = "info"
    )]
    pub(crate) log_level: LogLevel,
    /// For people or for programs
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "F",
        env = "MIOSA_CONTROL_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// In which form it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane
    Serve(ServeOptions),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make, list and revoke hosts
    #[command(subcommand)]
    Host(HostCommand),
    /// Show and change which keys hosts trust
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Copy the SQLite database to a file while it is in use; the master key is not part of it
    #[command(after_long_help = BACKUP_HELP)]
    Backup {
        /// Where to write the copy; must not exist
        file: PathBuf,
    },
    /// Put a backup in place and raise the epoch, so that hosts take what is published from it
    #[command(after_long_help = RESTORE_HELP)]
    Restore(RestoreOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreOptions {
    /// The backup; not with PostgreSQL, where pg_restore has put it in place already
    pub(crate) file: Option<PathBuf>,
    /// A trust document that was published after the backup was made: every one, in their order
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_TRUST")]
    pub(crate) trust: Vec<PathBuf>,
    /// No trust document was published after the backup was made
    #[arg(long, conflicts_with = "trust", env = "MIOSA_CONTROL_NO_LATER_TRUST")]
    pub(crate) no_later_trust: bool,
    /// Sign with the root key in this file as well
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_ROOT_KEY")]
    pub(crate) root_key: Vec<PathBuf>,
}

const BACKUP_HELP: &str = "\
The copy is of no use without the master key (STATE_DIR/master.key, or what --master-key names), and the
master key gives away nothing without a copy: keep one of it, made once, in another place.
With PostgreSQL use pg_dump instead.";

const RESTORE_HELP: &str = "\
Stop the control plane first. Hosts keep every trust document in STATE_DIR/trust of miosad: if one was
published after the backup was made, copy it from any host and name it with --trust. A signer that was
revoked by a document that is forgotten here would be trusted again.";

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeOptions {
    /// IP:PORT or unix:PATH; without TLS a loopback address only
    #[arg(long, value_name = "ADDR", env = "MIOSA_CONTROL_LISTEN", default_value = "127.0.0.1:7400")]
    pub(crate) listen: Address,
    /// Certificate chain (PEM); with it only TLS 1.3 is spoken
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "MIOSA_CONTROL_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where to serve /healthz, /readyz and /metrics: IP:PORT or unix:PATH
    #[arg(long, value_name = "ADDR", env = "MIOSA_CONTROL_OPS_LISTEN")]
    pub(crate) ops_listen: Option<Address>,
    /// How long a host's state counts as fresh, such as 15m; heartbeats come every third of it
    #[arg(long, value_name = "TIME", env = "MIOSA_CONTROL_FRESH_FOR", default_value = "15m", value_parser = parse_duration)]
    pub(crate) fresh_for: Duration,
    /// How long a host may serve without hearing from here, such as 72h, or `forever`
    #[arg(long, value_name = "TIME", env = "MIOSA_CONTROL_SERVE_FOR", default_value = "72h", value_parser = parse_serve_for)]
    pub(crate) serve_for: ServeFor,
}

/// How long a host may serve a state it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServeFor {
    /// So long from the time it was issued.
    Limited(Duration),
    /// Without limit.
    Forever,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it; it can't be shown again
    Create {
        /// The tenant it is for
        #[arg(long, value_name = "ID", required_unless_present = "role", env = "MIOSA_CONTROL_TENANT")]
        tenant: Option<TenantId>,
        /// What it may do: write or read in the tenant's API, or everything in the platform API
        #[arg(long, value_enum, value_name = "ROLE", env = "MIOSA_CONTROL_ROLE")]
        role: Option<RoleName>,
    },
    /// List the keys (never the keys themselves)
    List,
    /// Revoke a key by its id
    Revoke {
        /// The key's id, as listed
        id: String,
    },
}

/// Roles as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    Write,
    Read,
    Platform,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Make a host and print the token that it enrolls with
    Create {
        /// A name for people, unique among hosts
        #[arg(long, value_name = "NAME", env = "MIOSA_CONTROL_NAME")]
        name: String,
    },
    /// Print a token with which a host that lost its key, or its disk, enrolls once more as what it was
    Rejoin {
        /// The host's id or name, as listed
        host: String,
    },
    /// List the hosts
    List,
    /// Revoke a host by its id or name: it is sent nothing any more
    Revoke {
        /// The host's id or name, as listed
        host: String,
    },
}

fn parse_serve_for(text: &str) -> Result<ServeFor, &'static str> {
    if text == "forever" { Ok(ServeFor::Forever) } else { parse_duration(text).map(ServeFor::Limited) }
}

/// Reads a number with a unit: `90s`, `15m`, `72h`, `7d`.
fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const SYNTAX: &str = "must be a whole number with a unit: 90s, 15m, 72h or 7d";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 60 * 60,
        Some("d") => 24 * 60 * 60,
        _ => return Err(SYNTAX),
    };
    let seconds = digits.parse::<u32>().ok().and_then(|count| u64::from(count).checked_mul(unit));
    match seconds {
        Some(0) => Err("must be longer than nothing"),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(SYNTAX),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_its_variable() {
        fn walk(command: &clap::Command) {
            for option in command.get_arguments().filter(|a| !a.is_positional()) {
                let name = option.get_id().as_str();
                if ["help", "version"].contains(&name) {
                    continue;
                }
                let expected = format!("MIOSA_CONTROL_{}", name.to_uppercase());
                let variable = option.get_env().map(|v| v.to_string_lossy().into_owned());
                assert_eq!(variable, Some(expected), "--{name}");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_serve_for("forever"), Ok(ServeFor::Forever));
        for bad in ["", "15", "m", "0s", "-1s", "1.5h", "1w", "4294967296s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
