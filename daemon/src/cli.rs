//! The command line: what can be asked of the program. It fills in no defaults but those of a single
//! command; settings that a file may hold too are merged in `settings`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use miosa_injector::model::{ResourceId, RunId};
use miosa_snapshot::HostId;

use crate::commands::Since;
use crate::logging::{LogFormat, LogLevel};

/// Host daemon of the MIOSA host runtime: verifies, keeps and serves what sandboxes start with.
#[derive(Debug, Parser)]
#[command(name = "miosad", version, propagate_version = true)]
pub struct Arguments {
    /// The options of every command.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Options {
    /// Where keys and accepted updates are kept (default: /var/lib/miosa)
    #[arg(long, global = true, value_name = "DIR", env = "MIOSAD_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the sockets are (default: /run/miosa)
    #[arg(long, global = true, value_name = "DIR", env = "MIOSAD_RUNTIME_DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// The configuration file (default: /etc/miosa/miosad.toml, if it exists)
    #[arg(long, global = true, value_name = "FILE", env = "MIOSAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// How much is logged (default: info)
    #[arg(long, global = true, value_name = "LEVEL", env = "MIOSAD_LOG_LEVEL")]
    pub log_level: Option<LogLevel>,
    /// How a log line looks (default: text)
    #[arg(long, global = true, value_name = "FORMAT", env = "MIOSAD_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this machine a host: with a control plane and its join token, or with a trust document
    Enroll(Enroll),
    /// Forget the enrollment: erase the host key, the link, the trust and every accepted update
    Unenroll,
    /// Verify, keep and serve what this host's resources start with
    Serve(Run),
    /// Carry updates from the control plane to `serve`
    Link(Run),
    /// Hand an update, or a trust document, to `serve`
    Push(Push),
    /// Say what an update or a trust document is, and whether this host would accept it now
    Verify(Verify),
    /// Show what `serve` holds and how it fares
    Status(Print),
    /// List the resources that `serve` serves
    Resources(Print),
    /// Show where every variable of a resource comes from
    Explain(Explain),
    /// Look at everything that this host needs, and say what is wrong and what to do; exit status 1 if a
    /// check failed
    Doctor(Print),
    /// Show who resolved what, and when; names, never values
    Access(Access),
}

impl Command {
    /// Whether it shows what a running `serve` says, or wrote, and no more.
    #[must_use]
    pub fn only_asks(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Resources(_) | Self::Explain(_) | Self::Access(_))
    }
}

/// How to enroll.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("way").required(true).args(["control", "trust"])))]
pub struct Enroll {
    /// The control plane: https://HOST or https://HOST:PORT, http:// to loopback only, or unix:PATH
    #[arg(long, value_name = "URL", env = "MIOSAD_CONTROL", requires = "token")]
    pub control: Option<String>,
    /// The join token that `miosa-control host create` printed
    #[arg(long, value_name = "JOIN", env = "MIOSAD_TOKEN", hide_env_values = true, requires = "control")]
    pub token: Option<String>,
    /// The certificates to trust for the control plane (PEM) instead of the system's
    #[arg(long, value_name = "FILE", env = "MIOSAD_CA", requires = "control")]
    pub ca: Option<PathBuf>,
    /// The trust document to pin, when no control plane of ours is used
    #[arg(long, value_name = "FILE", env = "MIOSAD_TRUST", requires = "host_id")]
    pub trust: Option<PathBuf>,
    /// The id that updates for this host carry
    #[arg(long, value_name = "ID", env = "MIOSAD_HOST_ID", requires = "trust")]
    pub host_id: Option<HostId>,
    /// How to print
    #[command(flatten)]
    pub print: Print,
}

/// How to run.
#[derive(Debug, Clone, Copy, Args)]
pub struct Run {
    /// Only check the settings, of the command line, the environment and the configuration file
    #[arg(long)]
    pub check_config: bool,
}

/// What to hand over.
#[derive(Debug, Args)]
pub struct Push {
    /// The envelope, exactly as it was published
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to print
    #[command(flatten)]
    pub print: Print,
}

/// What to verify.
#[derive(Debug, Args)]
pub struct Verify {
    /// The envelope, exactly as it was published
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to print
    #[command(flatten)]
    pub print: Print,
}

/// What to explain.
#[derive(Debug, Args)]
pub struct Explain {
    /// The resource
    #[arg(value_name = "ID")]
    pub id: ResourceId,
    /// A run on it
    #[arg(long, value_name = "ID", env = "MIOSAD_RUN")]
    pub run: Option<RunId>,
    /// How to print
    #[command(flatten)]
    pub print: Print,
}

/// Which records of the access log to show.
#[derive(Debug, Args)]
pub struct Access {
    /// Only this resource
    #[arg(value_name = "ID")]
    pub id: Option<ResourceId>,
    /// Only what was asked for since then: 30s, 15m, 2h, 7d, or a time like 2027-01-15T08:00:00Z
    #[arg(long, value_name = "TIME", env = "MIOSAD_SINCE")]
    pub since: Option<Since>,
    /// How to print
    #[command(flatten)]
    pub print: Print,
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct Print {
    /// Print JSON, for programs
    #[arg(long, env = "MIOSAD_JSON")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn enrolling_takes_a_token_or_a_trust_document_and_not_both() {
        for bad in [
            "miosad enroll",
            "miosad enroll --control https://c",
            "miosad enroll --token t",
            "miosad enroll --trust f",
            "miosad enroll --control https://c --token t --trust f --host-id h",
            "miosad enroll --trust f --host-id h/1",
        ] {
            assert!(Arguments::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
        for good in [
            "miosad enroll --control https://c --token t --ca f",
            "miosad enroll --trust f --host-id h --json",
        ] {
            assert!(Arguments::try_parse_from(good.split(' ')).is_ok(), "{good}");
        }
    }
}
